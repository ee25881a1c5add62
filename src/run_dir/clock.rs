//! Whether the wall clock was set since a moment of this boot.
//!
//! The wall clock and the clock since boot run at the same speed: their difference changes only when the wall clock is set. Every sweep
//! records it when it has changed, in a file that only root can write. Without that, a file's time from before the change looks older than
//! it is, without any sign.

use super::RunDir;
use crate::sys::process::Proc;
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

const FILE: &str = "clock";

/// The maximum of notes of one boot: if the clock is set continuously the first ones suffice.
const MAX_BYTES: u64 = 16 << 10;

/// A smaller difference comes from reading the two clocks one after the other.
const STEP: Duration = Duration::from_secs(1);

/// One note: since when the clocks have had this difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClockNote {
    since_boot: Duration,
    apart: Duration,
}

impl RunDir {
    /// Records the difference of the clocks, if it has changed.
    ///
    /// # Errors
    /// The system's error.
    pub fn note_clock(&self, proc: &Proc) -> io::Result<()> {
        let now = now().ok_or_else(|| io::Error::other("the clocks cannot be read"))?;
        let notes = self.clock_notes(proc)?;
        if notes.last().is_some_and(|last| last.apart.abs_diff(now.apart) < STEP) {
            return Ok(());
        }
        let line = format!("{} {} {}\n", proc.boot_id()?, now.since_boot.as_millis(), now.apart.as_millis());
        // The file may have been replaced by a FIFO since it was read: that must not block.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW;
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(self.dir(), FILE, flags, Mode::from_raw_mode(0o644))?);
        if file.metadata()?.len() + line.len() as u64 > MAX_BYTES {
            return Ok(());
        }
        file.write_all(line.as_bytes())
    }

    /// Whether the wall clock is known to have been set forward since `moment`, counted from boot.
    pub fn clock_was_put_forward(&self, proc: &Proc, moment: Duration) -> bool {
        let (Some(now), Ok(notes)) = (now(), self.clock_notes(proc)) else { return false };
        // The last note before it was in force then.
        let first = notes.partition_point(|note| note.since_boot <= moment).saturating_sub(1);
        notes[first..].iter().any(|note| note.apart + STEP < now.apart)
    }

    /// The notes of this boot, the oldest first.
    fn clock_notes(&self, proc: &Proc) -> io::Result<Vec<ClockNote>> {
        let text = match self.read_beside(FILE, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result?,
        };
        let boot = proc.boot_id()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text.lines().filter_map(|line| note(line, &boot)).collect())
    }
}

fn note(line: &str, boot: &str) -> Option<ClockNote> {
    let mut words = line.split(' ');
    let is_of_this_boot = words.next()? == boot;
    let mut millis = || words.next()?.parse().ok().map(Duration::from_millis);
    let (since_boot, apart) = (millis()?, millis()?);
    is_of_this_boot.then_some(ClockNote { since_boot, apart })
}

fn now() -> Option<ClockNote> {
    let clock = |id| Duration::try_from(rustix::time::clock_gettime(id)).ok();
    let since_boot = clock(rustix::time::ClockId::Boottime)?;
    let apart = clock(rustix::time::ClockId::Realtime)?.checked_sub(since_boot)?;
    Some(ClockNote { since_boot, apart })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_fifo_in_the_notes_place_is_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        nix::unistd::mkfifo(&temp.path().join(FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = run.note_clock(&proc).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::ENXIO), "{refused}");
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        run.note_clock(&proc).unwrap();
        assert_eq!(run.clock_notes(&proc).unwrap().len(), 1, "the control");
    }

    #[test]
    fn a_clock_that_was_put_forward_since_shows_and_one_that_was_not_does_not() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        let (boot, now) = (proc.boot_id().unwrap(), now().unwrap());
        let at = |seconds| Duration::from_secs(seconds);
        assert!(!run.clock_was_put_forward(&proc, at(0)), "nothing is known");
        let was = |notes: &[(u64, i64)], moment: u64| {
            let apart = |by: i64| now.apart.as_millis() as i64 + by * 1000;
            let lines = notes.iter().map(|(since, by)| format!("{boot} {} {}\n", since * 1000, apart(*by)));
            std::fs::write(temp.path().join(FILE), lines.collect::<String>()).unwrap();
            run.clock_was_put_forward(&proc, at(moment))
        };
        assert!(!was(&[(5, 0)], 10) && !was(&[(5, 0)], 1), "it was not set");
        assert!(was(&[(5, -100)], 10), "since a note from before");
        assert!(was(&[(15, -100), (20, 0)], 10), "since a note from after");
        assert!(!was(&[(5, -100), (8, 0)], 10), "before the moment");
        assert!(!was(&[(5, 100)], 10), "it was put back");
        std::fs::write(
            temp.path().join(FILE),
            format!("another-boot 5 {}\n", now.apart.as_millis() - 99_000),
        )
        .unwrap();
        assert!(!run.clock_was_put_forward(&proc, at(10)), "of another boot");
    }

    #[test]
    fn a_difference_is_noted_once() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        for _ in 0..3 {
            run.note_clock(&proc).unwrap();
        }
        assert_eq!(run.clock_notes(&proc).unwrap().len(), 1);
        assert!(!run.clock_was_put_forward(&proc, Duration::ZERO));
    }
}
