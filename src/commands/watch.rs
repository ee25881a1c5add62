//! `status --watch` at a terminal. It has a screen of its own, which is left when it ends. A look at the host may take longer than a person
//! waits for a key, so it runs on another thread.

use super::status::INTERVAL;
use super::{Context, complain};
use crate::cycle::StaleUnits;
use crate::overview::status::{HolderSearch, collect};
use crate::report::exit::Exit;
use crate::report::human::WatchScreen;
use crate::terminal;
use std::sync::mpsc::channel;

/// Watches until `q` or Ctrl-C.
pub(super) fn run(context: &Context) -> Exit {
    let (sender, looks) = channel();
    let looking = context.clone();
    // It ends with this process, in the middle of a look if need be: it changes nothing.
    std::thread::spawn(move || {
        while sender.send(collect(&looking.snapshot(), HolderSearch::Unasked, StaleUnits::Leave)).is_ok() {
            std::thread::sleep(INTERVAL);
        }
    });
    let result = ratatui::try_init().and_then(|mut terminal| {
        let result = terminal::show(&mut terminal, &looks, WatchScreen::new(context.screen));
        ratatui::restore();
        result
    });
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&format_args!("the terminal cannot be used: {error}; leave --watch out"));
            Exit::Error
        }
    }
}
