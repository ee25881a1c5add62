//! The runner's own logs in `_diag`, of which there are two kinds: the Listener's and the Workers'.
//!
//! They belong to the runner's user, so they are read by handle beneath the root (no link, no FIFO, no mount), and for a bounded length:
//! from their end, or line by line; a directory with very many entries is not read to its end. Memory is bounded.
//!
//! A line counts only with the runner's own prefix, `[2026-01-02 03:04:05Z INFO JobDispatcher] `. A line without it continues the line
//! before it (src/Runner.Common/HostTraceListener.cs, v2.336.0).

pub use crate::actions_runner::log::{LogEntry, LogKind, LogSeverity, begun};
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt as _;

/// More entries than this are a flood.
const MAX_ENTRIES: usize = 200_000;

/// The newest logs of a kind, at most `limit`, the newest first. Their names hold the time, so that they sort.
///
/// # Errors
/// The error of reading the directory; a flood of entries is one, too.
pub fn newest(diag: &Dir, kind: LogKind, limit: usize) -> io::Result<Vec<OsString>> {
    let mut newest: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut buffer = Box::new_uninit_slice(ENTRIES_BUFFER);
    let mut seen = 0;
    let flood = diag.for_each_entry::<()>(&mut buffer, |entry| {
        seen += 1;
        let name = entry.name.to_bytes();
        if kind.names(name) {
            newest.insert(name.to_vec());
            if newest.len() > limit {
                newest.pop_first();
            }
        }
        if seen <= MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if flood.is_some() {
        // The newest log may not have been seen: its content is unknown.
        return Err(io::Error::other(format!("_diag holds more than {MAX_ENTRIES} entries")));
    }
    Ok(newest.into_iter().rev().map(OsString::from_vec).collect())
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Its last bytes, beginning with a whole line.
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// The last `limit` bytes of a log.
///
/// # Errors
/// The error of opening or reading.
pub fn tail(diag: &Dir, name: &OsStr, limit: u64) -> io::Result<Tail> {
    let mut file = diag.open_file(name)?;
    let size = file.metadata()?.len();
    let skipped = size.saturating_sub(limit);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    if skipped > 0 {
        let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..line);
    }
    Ok(Tail { bytes, is_whole: skipped == 0 })
}

impl Tail {
    /// Its lines as text, with any content.
    pub fn lines(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        self.bytes.split(|&byte| byte == b'\n').map(text_of)
    }
}

/// No line is read past this; the rest of a longer one is skipped.
const MAX_LINE: u64 = 64 << 10;

/// How far a log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRead {
    /// To its end: the budget was enough, and the caller did not stop.
    pub is_whole: bool,
    /// Its last line has no end: the write was cut off.
    pub is_cut: bool,
}

/// Passes every line of a log to `each`, from its beginning, until `each` breaks or `budget` bytes of it have been read; the budget is
/// reduced by the bytes read.
///
/// # Errors
/// The error of opening or reading.
pub fn each_line(
    diag: &Dir,
    name: &OsStr,
    budget: &mut u64,
    each: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<LogRead> {
    let mut file = io::BufReader::with_capacity(64 << 10, diag.open_file(name)?);
    let mut bytes = Vec::new();
    let mut skips = false;
    let mut is_cut = false;
    loop {
        bytes.clear();
        let size = (&mut file).take(MAX_LINE.min(*budget)).read_until(b'\n', &mut bytes)? as u64;
        if size == 0 {
            return Ok(LogRead { is_whole: *budget > 0, is_cut });
        }
        *budget -= size;
        let has_end = bytes.last() == Some(&b'\n');
        is_cut = !has_end;
        let is_rest = std::mem::replace(&mut skips, !has_end && size == MAX_LINE);
        if !is_rest && each(&text_of(&bytes)).is_break() {
            return Ok(LogRead { is_whole: false, is_cut: false });
        }
    }
}

/// A line as text, without its line end and without a byte order mark.
fn text_of(line: &[u8]) -> std::borrow::Cow<'_, str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_newest_logs_of_a_kind_come_first_and_foreign_names_are_ignored() {
        let temp = tempfile::tempdir().unwrap();
        for name in [
            "Worker_20260102-030405-utc.log",
            "Worker_20260102-030406-utc.log",
            "Worker_20250102-030406-utc.log",
            "Runner_20270102-030405-utc.log",
            "Worker_20260102-03040x-utc.log",
            "Worker_20260102-030405-utc.log.bak",
        ] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        let (diag, _) = Dir::resolve(temp.path()).unwrap();
        let found = newest(&diag, LogKind::Worker, 2).unwrap();
        assert_eq!(found, ["Worker_20260102-030406-utc.log", "Worker_20260102-030405-utc.log"]);
        let begun = begun(&found[1]).unwrap();
        assert_eq!(begun, SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045));
        assert_eq!(newest(&diag, LogKind::Listener, 9).unwrap().len(), 1);
    }

    #[test]
    fn lines_are_handed_over_one_by_one_within_a_budget() {
        let temp = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 * MAX_LINE as usize);
        let text = format!("one\r\n{long}[2026-01-02 03:04:05Z INFO Worker] forged\nthree\ncut");
        std::fs::write(temp.path().join("log"), &text).unwrap();
        let (diag, _) = Dir::resolve(temp.path()).unwrap();
        let read = |budget: u64, until: &str| {
            let (mut lines, mut left) = (Vec::new(), budget);
            let read = each_line(&diag, OsStr::new("log"), &mut left, &mut |line| {
                lines.push(line.chars().take(5).collect::<String>());
                if line == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (lines, read.unwrap())
        };
        let (lines, end) = read(1 << 20, "");
        assert_eq!(lines, ["one", "xxxxx", "three", "cut"]);
        assert_eq!(end, LogRead { is_whole: true, is_cut: true });
        let (lines, end) = read(1 << 20, "three");
        assert_eq!((lines.len(), end.is_whole), (3, false));
        let (lines, end) = read(3, "");
        assert_eq!((lines, end.is_whole), (vec!["one".to_owned()], false));
    }

    #[test]
    fn a_tail_begins_with_a_whole_line() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("log"), "one\ntwo\nthree").unwrap();
        let (diag, _) = Dir::resolve(temp.path()).unwrap();
        let all = tail(&diag, OsStr::new("log"), 100).unwrap();
        assert!(all.is_whole);
        assert_eq!(all.lines().collect::<Vec<_>>(), ["one", "two", "three"]);
        let part = tail(&diag, OsStr::new("log"), 8).unwrap();
        assert!(!part.is_whole);
        assert_eq!(part.lines().collect::<Vec<_>>(), ["three"]);
    }
}
