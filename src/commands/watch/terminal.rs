//! The terminal of `status --watch`: what it shows, and which keys it obeys.

use crate::model::HostStatus;
use crate::report::human::{Scroll, WatchScreen};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// How long a key is waited for before it is asked whether there is something new to show.
const MOMENT: Duration = Duration::from_millis(50);

/// Whether somebody sits at a terminal that can show more than lines. As it was when it was first asked: a worker's standard output
/// is a pipe to its supervisor.
pub(in crate::commands) fn is_for_a_person() -> bool {
    static IS_FOR_A_PERSON: OnceLock<bool> = OnceLock::new();
    *IS_FOR_A_PERSON.get_or_init(|| {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    })
}

/// The terminal of a watch whose workers may be left behind in the middle: raw until this is dropped.
pub(in crate::commands) struct Terminal;

impl Terminal {
    /// Takes it, before there is a worker: what a worker inherits it does not change.
    pub(in crate::commands) fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self)
    }

    /// Leaves the screen of a worker that could not do so itself.
    pub(in crate::commands) fn leave_screen(&self) {
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Shows each look at the host that arrives, until `q` or Ctrl-C.
pub(in crate::commands) fn show(
    terminal: &mut DefaultTerminal,
    looks: &Receiver<HostStatus>,
    mut watch: WatchScreen,
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
                    return Err(io::Error::other("examining the host has failed"));
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

fn obey(event: &Event, watch: &mut WatchScreen) {
    let Event::Key(key) = event else { return };
    watch.scroll(match key.code {
        KeyCode::Down | KeyCode::Char('j') => Scroll::Down,
        KeyCode::Up | KeyCode::Char('k') => Scroll::Up,
        KeyCode::PageDown | KeyCode::Char(' ') => Scroll::PageDown,
        KeyCode::PageUp => Scroll::PageUp,
        KeyCode::Home => Scroll::First,
        KeyCode::End => Scroll::Last,
        _ => return,
    });
}
