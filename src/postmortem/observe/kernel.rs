//! The kernel's messages: from the journal, which survives a boot if it is kept on disk, otherwise from `/dev/kmsg`, the kernel's own
//! ring, which forgets.
//!
//! Both are bounded: journalctl in time and length, the ring in records, and it is read without waiting. A process's name is chosen by its
//! owner, so a message is parsed starting from the kernel's own words, and a pid found in it counts only together with the time.

mod event;

use event::DECISION;
pub use event::event;

use super::clock;
use super::logs::cut;
use crate::model::postmortem::{KernelEvent, KernelLine, OomScope};
use crate::sys::program::{Bounds, ProgramEnd, ProgramError, Programs};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is asked of journalctl.
const BOUNDS: Bounds = Bounds::new(Duration::from_secs(20), 4 << 20);

/// Records of the ring that are read; it holds a few thousand.
const MAX_RECORDS: usize = 100_000;

/// The longest record (`PRINTK_MESSAGE_MAX` and its dictionary, include/linux/printk.h).
const RECORD: usize = 8192;

/// The maximum of relevant messages; older ones are dropped.
const MAX_LINES: usize = 4096;

/// The maximum distance between a decision and its kill.
const SAME_KILL: Duration = Duration::from_secs(5);

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// `journal` or `kmsg`.
    pub source: &'static str,
    /// From when on nothing is missing.
    pub complete_since: Option<SystemTime>,
    /// The relevant messages, in the order of time.
    pub lines: Vec<KernelLine>,
}

/// Why there are no messages: neither place can be read, or the journal is empty.
#[derive(Debug, thiserror::Error)]
pub enum KernelLogError {
    /// The journal has none.
    #[error("the journal holds none, and {0}")]
    Ring(RingError),
    /// Both failed.
    #[error("{0}, and {1}")]
    Neither(ProgramError, RingError),
}

/// Why the kernel's ring cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read: {source}")]
pub struct RingError {
    path: String,
    source: io::Error,
}

/// The messages since `from`.
///
/// # Errors
/// [`KernelLogError`].
pub fn read(
    programs: Programs<'_>,
    kmsg: &Path,
    from: SystemTime,
    now: SystemTime,
) -> Result<Messages, KernelLogError> {
    let journal = match of_journal(programs, from) {
        Ok(messages) if messages.complete_since.is_some_and(|since| since <= from) => return Ok(messages),
        journal => journal,
    };
    match (journal, of_ring(kmsg, now)) {
        (Ok(journal), Ok(ring)) => {
            // The one that reaches farther back.
            let reach = |messages: &Messages| {
                messages
                    .complete_since
                    .map_or(Duration::ZERO, |since| now.duration_since(since).unwrap_or_default())
            };
            Ok(if reach(&ring) >= reach(&journal) { ring } else { journal })
        }
        (Ok(journal), Err(_)) if journal.complete_since.is_some() || !journal.lines.is_empty() => Ok(journal),
        (_, Ok(ring)) => Ok(ring),
        (Ok(_), Err(ring)) => Err(KernelLogError::Ring(ring)),
        (Err(journal), Err(ring)) => Err(KernelLogError::Neither(journal, ring)),
    }
}

/// `journalctl _TRANSPORT=kernel`: `-k` means the same but hides earlier boots.
fn of_journal(programs: Programs<'_>, from: SystemTime) -> Result<Messages, ProgramError> {
    let seconds = from.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ask = |more: &[&str]| {
        let fixed = [
            "--no-pager",
            "--quiet",
            "-o",
            "json",
            "--output-fields=MESSAGE,_SOURCE_MONOTONIC_TIMESTAMP",
            "_TRANSPORT=kernel",
        ];
        let run = programs.run("journalctl", &[&fixed, more].concat(), BOUNDS);
        let run = run.and_then(|run| match run.end {
            ProgramEnd::TooLong => Ok(run),
            ProgramEnd::Itself(_) if !run.output.is_empty() => Ok(run),
            _ => run.success(),
        });
        run.map(|run| (run.text(), run.end == ProgramEnd::TooLong))
    };
    let (answer, is_cut) = ask(&[&format!("--since=@{seconds}")])?;
    let mut lines = Vec::new();
    for text in answer.lines() {
        let Some((at, message)) = entry(text) else { continue };
        keep(&mut lines, at, &message);
    }
    let (before, _) = ask(&[&format!("--until=@{seconds}"), "--reverse", "--lines=1"])?;
    let first = answer.lines().next().and_then(entry).map(|(at, _)| at);
    let complete_since = match (is_cut, before.lines().next()) {
        (true, _) => None,
        (false, Some(_)) => Some(from),
        (false, None) => first,
    };
    Ok(Messages { source: "journal", complete_since, lines })
}

pub(crate) fn entry(text: &str) -> Option<(SystemTime, String)> {
    let entry: Value = serde_json::from_str(text).ok()?;
    let number = |field: &str| entry[field].as_str()?.parse::<u64>().ok();
    // journald may have read a message long after the kernel wrote it: both times are in the entry, by the clock that runs since boot.
    let late = number("__MONOTONIC_TIMESTAMP").zip(number("_SOURCE_MONOTONIC_TIMESTAMP"));
    let late = late.map_or(0, |(read, written)| read.saturating_sub(written));
    let micros = number("__REALTIME_TIMESTAMP")?.saturating_sub(late);
    let message = message_of(&entry)?;
    Some((UNIX_EPOCH + Duration::from_micros(micros), message))
}

/// The message of an entry, which has a list of bytes if it is not UTF-8 (journalctl(1)).
pub(super) fn message_of(entry: &Value) -> Option<String> {
    match &entry["MESSAGE"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Vec<u8> =
                bytes.iter().filter_map(|byte| byte.as_u64()).map(|byte| byte as u8).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

/// The ring, from its oldest record to its newest, without waiting for more (Documentation/ABI/testing/dev-kmsg).
fn of_ring(kmsg: &Path, now: SystemTime) -> Result<Messages, RingError> {
    let cannot = |source: io::Error| RingError { path: kmsg.display().to_string(), source };
    let mut ring =
        File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(kmsg).map_err(cannot)?;
    let since_boot = clock::monotonic();
    let booted = now.checked_sub(since_boot).unwrap_or(UNIX_EPOCH);
    let (mut lines, mut complete_since) = (Vec::new(), None);
    let mut record = [0; RECORD];
    for number in 0..MAX_RECORDS {
        let size = match ring.read(&mut record) {
            Ok(0) => break,
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Overwritten while it was read: the next ones are still there.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {
                complete_since = None;
                continue;
            }
            Err(error) => return Err(cannot(error)),
        };
        let text = String::from_utf8_lossy(&record[..size]);
        let Some((sequence, at, message)) = ring_record(&text, booted) else { continue };
        if number == 0 || complete_since.is_none() {
            complete_since = Some(if sequence == 0 { booted } else { at });
        }
        keep(&mut lines, at, message);
    }
    Ok(Messages { source: "kmsg", complete_since, lines })
}

/// `6,783,6729199088,-;message` and continuation lines.
pub(crate) fn ring_record(text: &str, booted: SystemTime) -> Option<(u64, SystemTime, &str)> {
    let (head, message) = text.split_once(';')?;
    let mut fields = head.split(',');
    let (_, sequence, micros) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let at = booted.checked_add(Duration::from_micros(micros))?;
    Some((sequence, at, message.lines().next().unwrap_or_default()))
}

fn keep(lines: &mut Vec<KernelLine>, at: SystemTime, message: &str) {
    if let Some(mut event) = event(message) {
        complete(lines, at, &mut event);
        if lines.len() == MAX_LINES {
            lines.remove(0);
        }
        lines.push(KernelLine { at, event, text: cut(message) });
    }
}

/// The line about a kill does not name the group; the decision before it does, or in kernels before 5.0 a line of its own. Before 4.20 it
/// does not even show which limit was exceeded: that is in the choice.
fn complete(lines: &[KernelLine], at: SystemTime, event: &mut KernelEvent) {
    let KernelEvent::OomKill { pid, scope, group, .. } = event else { return };
    if group.is_some() || matches!(scope, OomScope::Group(_)) {
        return;
    }
    let is_just_before =
        |line: &&KernelLine| at.duration_since(line.at).is_ok_and(|length| length < SAME_KILL);
    let mut is_first = true;
    for line in lines.iter().rev().take_while(is_just_before) {
        match &line.event {
            KernelEvent::OomKill { pid: decided, scope: limit, group: of @ Some(_), .. }
                if decided == pid && is_first =>
            {
                (*scope, *group) = (limit.clone(), of.clone());
                return;
            }
            // The decision names one process of a group whose processes are all killed.
            KernelEvent::OomWholeGroup { group: of } => {
                *group = Some(of.clone()).filter(|_| *scope == OomScope::SomeGroup);
                return;
            }
            // Another decision: the lines before it belong to that.
            KernelEvent::OomKill { .. } if line.text.starts_with(DECISION) => return,
            // Another kill: only a group whose processes are all killed concerns both.
            KernelEvent::OomKill { .. } => is_first = false,
            _ if !is_first => {}
            KernelEvent::OomChoice { scope: limit, .. } if *scope == OomScope::Unknown => {
                *scope = limit.clone()
            }
            KernelEvent::OomGroup { group: of, limit } => {
                (*scope, *group) = (OomScope::Group(limit.clone()), Some(of.clone()));
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::event::tests::kill;
    use super::*;

    #[test]
    fn an_entry_of_the_journal_has_the_time_at_which_the_kernel_wrote_it() {
        let text = r#"{"__REALTIME_TIMESTAMP":"9000000","__MONOTONIC_TIMESTAMP":"5000000","_SOURCE_MONOTONIC_TIMESTAMP":"2000000","MESSAGE":"x"}"#;
        assert_eq!(entry(text), Some((UNIX_EPOCH + Duration::from_secs(6), "x".to_owned())));
        let text = r#"{"__REALTIME_TIMESTAMP":"9000000","MESSAGE":[104,105,255]}"#;
        assert_eq!(entry(text), Some((UNIX_EPOCH + Duration::from_secs(9), "hi\u{fffd}".to_owned())));
        assert_eq!(entry("{}"), None);
    }

    #[test]
    fn a_kill_has_the_group_of_its_decision() {
        let mut lines = Vec::new();
        let decided = "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task_memcg=/a/b,task=x,pid=7,uid=0";
        keep(&mut lines, UNIX_EPOCH, decided);
        keep(&mut lines, UNIX_EPOCH, "Memory cgroup out of memory: Killed process 7 (x) total-vm");
        keep(&mut lines, UNIX_EPOCH, "Memory cgroup out of memory: Killed process 8 (x) total-vm");
        keep(
            &mut lines,
            UNIX_EPOCH + SAME_KILL,
            "Memory cgroup out of memory: Killed process 7 (x) total-vm",
        );
        let scopes: Vec<_> = lines[1..].iter().map(|line| line.event.clone()).collect();
        assert_eq!(Some(scopes[0].clone()), kill(7, "x", OomScope::Group("/a".into()), Some("/a/b")));
        assert_eq!(Some(scopes[1].clone()), kill(8, "x", OomScope::SomeGroup, None));
        assert_eq!(Some(scopes[2].clone()), kill(7, "x", OomScope::SomeGroup, None));
    }

    #[test]
    fn a_kill_of_an_old_kernel_has_the_group_and_the_limit_of_the_lines_before_it() {
        let mut lines = Vec::new();
        for message in [
            "Task in /docker/a killed as a result of limit of /docker",
            "Memory cgroup out of memory: Kill process 7 (Runner.Worker) score 68 or sacrifice child",
            "Killed process 8 (x) total-vm:1kB, anon-rss:1kB",
            "Out of memory: Kill process 9 (y) score 68 or sacrifice child",
            "Killed process 9 (y) total-vm:1kB, anon-rss:1kB",
        ] {
            keep(&mut lines, UNIX_EPOCH, message);
        }
        let limit = OomScope::Group("/docker".into());
        assert_eq!(Some(lines[2].event.clone()), kill(8, "x", limit, Some("/docker/a")));
        assert_eq!(Some(lines[4].event.clone()), kill(9, "y", OomScope::Host, None));
    }

    #[test]
    fn kills_of_a_whole_group_have_that_group() {
        let mut lines = Vec::new();
        for message in [
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task_memcg=/a/b,task=x,pid=7,uid=0",
            "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB",
            "Tasks in /a are going to be killed due to memory.oom.group set",
            "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB",
            "Memory cgroup out of memory: Killed process 8 (Runner.Worker) total-vm:1kB",
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/c,task_memcg=/c/d,task=y,pid=9,uid=0",
            "Memory cgroup out of memory: Killed process 9 (y) total-vm:1kB",
            "Out of memory: Killed process 10 (z) total-vm:1kB",
        ] {
            keep(&mut lines, UNIX_EPOCH, message);
        }
        let of = |index: usize| Some(lines[index].event.clone());
        assert_eq!(of(1), kill(7, "x", OomScope::Group("/a".into()), Some("/a/b")));
        assert_eq!(of(4), kill(8, "Runner.Worker", OomScope::SomeGroup, Some("/a")));
        assert_eq!(of(6), kill(9, "y", OomScope::Group("/c".into()), Some("/c/d")));
        assert_eq!(of(7), kill(10, "z", OomScope::Host, None), "not at a group's limit");
    }

    #[test]
    fn a_record_of_the_ring_has_its_time_since_boot() {
        let booted = UNIX_EPOCH + Duration::from_secs(1000);
        let text = "4,2325,14090989904,-;python3[7]: segfault at 0\n SUBSYSTEM=x\n";
        let (sequence, at, message) = ring_record(text, booted).unwrap();
        assert_eq!((sequence, message), (2325, "python3[7]: segfault at 0"));
        assert_eq!(at, booted + Duration::from_micros(14_090_989_904));
        assert_eq!(ring_record("nonsense", booted), None);
    }

    #[test]
    fn without_a_readable_source_the_reason_is_reported() {
        let error =
            read(Programs(&[]), Path::new("/nonexistent"), UNIX_EPOCH, UNIX_EPOCH).unwrap_err().to_string();
        assert!(error.contains("journalctl") && error.contains("/nonexistent"), "{error}");
    }
}
