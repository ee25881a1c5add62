//! The terminal of `status --watch`: its screen and its keys.

use crate::model::HostStatus;
use crate::report::human::{Scroll, WatchScreen};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// How long to wait for a key before looking for something new to show.
const MOMENT: Duration = Duration::from_millis(50);

/// Whether standard output is a terminal that can show a screen. The first answer is kept, because a worker's standard output is a pipe
/// to its supervisor.
pub(crate) fn is_for_a_person() -> bool {
    static IS_FOR_A_PERSON: OnceLock<bool> = OnceLock::new();
    *IS_FOR_A_PERSON.get_or_init(|| {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    })
}

/// A terminal in raw mode until this is dropped. It belongs to the supervisor, which may leave a worker behind at any time.
pub(crate) struct Terminal;

impl Terminal {
    /// Enters raw mode. Call it before a worker is started: a worker that inherits this mode does not change it.
    pub(crate) fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self)
    }

    /// Leaves the alternate screen of a worker that could not do so itself.
    pub(crate) fn leave_screen(&self) {
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Shows each status of the host that arrives, until `q` or Ctrl-C.
pub(crate) fn show(
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
                scroll(&event, &mut watch);
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

fn scroll(event: &Event, watch: &mut WatchScreen) {
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
