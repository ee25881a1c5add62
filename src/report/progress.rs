//! One redrawn line on standard error during a long operation.
//!
//! It shows nothing when standard error is no terminal, and nothing for work that is over within a tenth of a second. It only reads
//! counters, at most ten times a second, from a thread of its own: the work never waits for a terminal.

use super::human::{ColorWhen, Screen, Surroundings, fit};
use super::words;
use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr as _;

const PERIOD: Duration = Duration::from_millis(100);

/// Back to the line's start, and erase it (ECMA-48 EL 2).
const CLEAR: &str = "\r\x1b[2K";

/// What has been done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgressCount {
    /// Files.
    pub files: u64,
    /// Bytes freed.
    pub bytes: u64,
}

/// A progress line; dropping it ends and clears it.
#[derive(Debug)]
#[must_use = "the line ends when this is dropped"]
pub struct ProgressLine {
    running: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl ProgressLine {
    /// Starts one, when standard error is a terminal. `label` names the work ("deleting target of runner-2"), `total` is the number of
    /// files, if it is known; `read` returns the progress.
    pub fn start(label: &str, total: Option<u64>, read: impl Fn() -> ProgressCount + Send + 'static) -> Self {
        let stderr = io::stderr();
        if !stderr.is_terminal() {
            return Self { running: None };
        }
        let terminal = terminal_size::terminal_size_of(&stderr).map(|(width, _)| width.0);
        let width = Screen::choose(ColorWhen::Never, Surroundings { terminal, ..Default::default() }).width();
        Self::draw_on(stderr, width, label, total, read)
    }

    fn draw_on(
        out: impl Write + Send + 'static,
        width: usize,
        label: &str,
        total: Option<u64>,
        read: impl Fn() -> ProgressCount + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel();
        let label = label.to_owned();
        let draw = move || redraw(out, width, &label, total, read, &stopped);
        // Without a thread there is no line; the work continues.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(draw);
        Self { running: thread.ok().map(|thread| (stop, thread)) }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn redraw(
    mut out: impl Write,
    width: usize,
    label: &str,
    total: Option<u64>,
    read: impl Fn() -> ProgressCount,
    stopped: &mpsc::Receiver<()>,
) {
    let start = Instant::now();
    let mut drawn = false;
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let text = line(label, read(), total, start.elapsed(), width);
        drawn |= write!(out, "{CLEAR}{text}").and_then(|()| out.flush()).is_ok();
    }
    if drawn {
        let _ = write!(out, "{CLEAR}").and_then(|()| out.flush());
    }
}

/// `LABEL: 1200 of 6386 files, 1.20 GiB freed, 310 MiB/s`, less than a screen wide: the cursor stays on its line.
fn line(label: &str, tally: ProgressCount, total: Option<u64>, elapsed: Duration, width: usize) -> String {
    let files = match total {
        // More can be found than was counted: then the total is useless.
        Some(total) if total >= tally.files => {
            format!("{} of {}", tally.files, words::count_u64(total, "file"))
        }
        _ => words::count_u64(tally.files, "file"),
    };
    let rate = tally.bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let figures = format!("{files}, {} freed, {}/s", words::size(tally.bytes), words::size(rate as u64));
    let room = width.saturating_sub(figures.width() + ": ".len() + 1);
    format!("{}: {figures}", fit(label, room))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_progress_line_shows_the_step_the_share_the_bytes_and_the_rate() {
        let tally = ProgressCount { files: 1200, bytes: GIB };
        for (total, text) in [
            (Some(6386), "deleting target: 1200 of 6386 files, 1.00 GiB freed, 512 MiB/s"),
            (None, "deleting target: 1200 files, 1.00 GiB freed, 512 MiB/s"),
            (Some(3), "deleting target: 1200 files, 1.00 GiB freed, 512 MiB/s"),
        ] {
            assert_eq!(line("deleting target", tally, total, Duration::from_secs(2), 100), text);
        }
    }

    #[test]
    fn a_long_label_gives_way_to_the_figures() {
        let tally = ProgressCount { files: 7, bytes: GIB };
        let text = line(&"deep/".repeat(50), tally, Some(9), Duration::from_secs(1), 60);
        assert!(text.width() < 60, "{text}");
        assert!(text.ends_with("7 of 9 files, 1.00 GiB freed, 1.00 GiB/s"), "{text}");
    }

    /// A terminal that records its output.
    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn_in(duration: Duration) -> String {
        let kept = Captured::default();
        let line = ProgressLine::draw_on(kept.clone(), 80, "x\n", None, ProgressCount::default);
        std::thread::sleep(duration);
        drop(line);
        let bytes = kept.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn it_is_redrawn_in_place_at_most_ten_times_a_second_and_cleared() {
        let text = drawn_in(PERIOD * 4);
        let redraws = text.matches(CLEAR).count() - 1;
        assert!((1..=4).contains(&redraws), "{redraws}");
        assert!(text.ends_with(CLEAR) && !text.contains('\n'), "{text:?}");
    }

    #[test]
    fn short_work_draws_nothing() {
        assert_eq!(drawn_in(Duration::ZERO), "");
    }
}
