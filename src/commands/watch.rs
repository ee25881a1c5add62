//! `status --watch` at a terminal: a screen of its own, which goes when it is left. Looking may take longer than anybody waits
//! for a key, so it goes on beside it.

use super::status::INTERVAL;
use super::{Context, complain};
use crate::cycle::Stale;
use crate::overview::status::{Holders, collect};
use crate::report::exit::Exit;
use crate::report::human::Watch;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// How long a key is waited for before it is asked whether there is something new to show.
const MOMENT: Duration = Duration::from_millis(50);

/// Whether somebody sits at a terminal that can show more than lines. As it was when it was first asked: a worker's standard output
/// is a pipe to its supervisor.
pub(super) fn is_for_a_person() -> bool {
    static IS_FOR_A_PERSON: OnceLock<bool> = OnceLock::new();
    *IS_FOR_A_PERSON.get_or_init(|| {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    })
}

/// The terminal of a watch whose workers may be left behind in the middle: raw until this is dropped.
pub(super) struct Terminal;

impl Terminal {
    /// Takes it, before there is a worker: what a worker inherits it does not change.
    pub(super) fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self)
    }

    /// Leaves the screen of a worker that could not do so itself.
    pub(super) fn leave_screen(&self) {
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Watches until `q` or Ctrl-C.
pub(super) fn run(context: &Context) -> Exit {
    let (sender, looks) = channel();
    let (looking, colour) = (context.clone(), context.screen.has_colour());
    // It ends with this process, in the middle of a look if need be: it changes nothing.
    std::thread::spawn(move || {
        while sender.send(collect(&looking.snapshot(), Holders::Unasked, Stale::Leave)).is_ok() {
            std::thread::sleep(INTERVAL);
        }
    });
    let result = ratatui::try_init().and_then(|mut terminal| {
        let result = show(&mut terminal, &looks, Watch::new(colour));
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

fn show(
    terminal: &mut DefaultTerminal,
    looks: &Receiver<crate::model::HostStatus>,
    mut watch: Watch,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| watch.draw(frame))?;
        loop {
            if event::poll(MOMENT)? {
                let event = event::read()?;
                if is_end(&event) {
                    return Ok(());
                }
                obey(&event, &mut watch);
                break;
            }
            match looks.try_recv() {
                Ok(host) => {
                    watch.host = Some(host);
                    break;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("looking at the host has failed"));
                }
            }
        }
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn obey(event: &Event, watch: &mut Watch) {
    let Event::Key(key) = event else { return };
    match key.code {
        KeyCode::Down | KeyCode::Char('j') => watch.scroll(false, false),
        KeyCode::Up | KeyCode::Char('k') => watch.scroll(true, false),
        KeyCode::PageDown | KeyCode::Char(' ') => watch.scroll(false, true),
        KeyCode::PageUp => watch.scroll(true, true),
        KeyCode::Home => watch.jump(false),
        KeyCode::End => watch.jump(true),
        _ => {}
    }
}
