//! Where events go: the journal, or else standard error, one line each.
//!
//! Starting costs a socket and a connect. Nothing here blocks for long: a journal that takes nothing any more (a stopped
//! journald has a full queue) is waited for once, for at most [`PATIENCE`], and from then on its events go to standard
//! error, as does each event that the journal refuses. An event that cannot be written is lost; it never fails the caller.
//!
//! Lines on standard error may end up in a job's log, so they are escaped as such.

mod native;

use super::{escape, events};
use native::{Entry, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

const SOCKET: &str = "/run/systemd/journal/socket";
const IDENTIFIER: &str = "disk-guard";

/// How long a journal that takes nothing is waited for, once a process.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Where events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// In the journal; on standard error when it does not answer.
    Journal,
    /// On standard error.
    Stderr,
}

/// Installs the sink for this process and says which it is. A second call changes nothing.
pub fn init(level: Level, sink: Sink) -> Sink {
    let (dispatch, sink) = dispatch(level, sink);
    // An error means that there is a sink already.
    let _ = tracing::dispatcher::set_global_default(dispatch);
    sink
}

/// The same without installing it.
pub fn dispatch(level: Level, sink: Sink) -> (Dispatch, Sink) {
    let journal = match sink {
        Sink::Journal => Journal::connect(Path::new(SOCKET)).ok(),
        Sink::Stderr => None,
    };
    let found = if journal.is_some() { Sink::Journal } else { Sink::Stderr };
    let route = Route { journal, level };
    (Dispatch::new(tracing_subscriber::registry().with(route)), found)
}

/// The journal, and whether it still takes anything.
struct Journal {
    socket: Socket,
    gave_up: AtomicBool,
}

impl Journal {
    fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: Socket::connect(path)?, gave_up: AtomicBool::new(false) })
    }

    /// Whether the journal has taken the entry. Others may use up the room that was waited for, so it is tried again until
    /// patience is at its end.
    fn takes(&self, entry: &Entry) -> bool {
        if self.gave_up.load(Ordering::Relaxed) {
            return false;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.socket.send(entry) {
                Ok(()) => return true,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return false,
                Err(_) if Instant::now() >= until => {
                    self.gave_up.store(true, Ordering::Relaxed);
                    return false;
                }
                Err(_) => self.await_room(until),
            }
        }
    }

    /// Waits until the queue of the journal and the budget of our socket have room (unix(7)), at most until then.
    fn await_room(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: 0, tv_nsec: left.min(PATIENCE).as_nanos() as i64 };
        // Whatever it says, sending decides.
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&limit));
    }
}

/// syslog(3)'s number for a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

fn entry(event: &tracing::Event<'_>) -> Entry {
    let mut entry = Entry::default();
    entry.put("PRIORITY", priority(*event.metadata().level()));
    entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
    entry.put("TARGET", event.metadata().target());
    event.record(&mut entry);
    entry
}

/// Sends each event to the journal, else to standard error.
struct Route {
    journal: Option<Journal>,
    level: Level,
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Route {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Nobody uses spans: an event is complete in itself.
        if metadata.is_event() && *metadata.level() <= self.level {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let is_told = self.journal.as_ref().is_some_and(|journal| journal.takes(&entry(event)));
        if !is_told {
            write_line(&line(event));
        }
    }
}

/// One write, so that lines of processes that share a log do not mix.
fn write_line(line: &str) {
    use io::Write as _;
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// `disk-guard: EVENT key=value ... message="..."`, escaped for a job's log.
fn line(event: &tracing::Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    if event.metadata().target() != events::TARGET {
        fields.name = event.metadata().level().as_str().to_ascii_lowercase();
    }
    let message = quoted(&fields.message, Escaped::Already);
    escape::log_line(&format!("{IDENTIFIER}: {}{} message={message}", fields.name, fields.pairs()))
}

/// Whether a value has been escaped before it became a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escaped {
    Already,
    NotYet,
}

/// What a line is made of.
#[derive(Default)]
struct Fields {
    name: String,
    message: String,
    values: Vec<(&'static str, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "DISK_GUARD_EVENT" => self.name = value,
            // It says the same as the event's name, for catalogs.
            "MESSAGE_ID" => {}
            name => self.values.push((name.strip_prefix("DISK_GUARD_").unwrap_or(name), value)),
        }
    }

    fn pairs(&self) -> String {
        let path_is_escaped = self.values.iter().any(|(name, _)| *name == "PATH_BYTES");
        let mut out = String::new();
        for (name, value) in &self.values {
            let escaped = if *name == "PATH" && path_is_escaped { Escaped::Already } else { Escaped::NotYet };
            let _ = write!(out, " {}={}", name.to_ascii_lowercase(), quoted(value, escaped));
        }
        out
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// The value, in quotes when it would not read as one word.
fn quoted(value: &str, escaped: Escaped) -> String {
    let value = match escaped {
        Escaped::Already => value.to_owned(),
        Escaped::NotYet => escape::text(value).into_owned(),
    };
    if !value.is_empty() && !value.contains([' ', '"', '=']) {
        return value;
    }
    format!("\"{}\"", value.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Job;
    use crate::report::events::{Event, EventKind};
    use crate::report::samples;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::UnixDatagram;
    use std::sync::{Arc, Mutex};

    /// Collects lines instead of writing them.
    #[derive(Clone, Default)]
    struct Collect(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Collect {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line(event));
        }
    }

    fn lines_of(emit: impl FnOnce()) -> Vec<String> {
        let collect = Collect::default();
        let subscriber = tracing_subscriber::registry().with(collect.clone());
        tracing::subscriber::with_default(subscriber, emit);
        let lines = collect.0.lock().unwrap();
        lines.clone()
    }

    fn every_field() -> Event {
        Event::new(EventKind::Removed, "removed 8 GiB of \u{1b}[31m\n::error::\"runner-2\"")
            .runner(&samples::runner("runner 2\n::error::"))
            .path(OsStr::from_bytes(b"/home/\n##[error]/caf\xe9").as_ref())
            .bytes(8 * samples::GIB)
            .reason("pressure")
            .evidence(&[samples::worker()])
            .used_percent(91)
            .job(&Job { repository: "acme/app".into(), run_id: "77".into(), job: "build".into() })
            .duration(Duration::from_millis(1234))
    }

    #[test]
    fn a_line_holds_every_field_and_no_command() {
        let lines = lines_of(|| every_field().emit());
        insta::assert_snapshot!(lines.join("\n---\n"), @r#"disk-guard: removed runner="runner 2\n::error::" path=/home/\n#\x23[error]/caf\xe9 path_bytes=L2hvbWUvCiMjW2Vycm9yXS9jYWbp bytes=8589934592 reason=pressure evidence="worker-process: Worker pid 4711" used_percent=91 repository=acme/app run_id=77 job=build duration_ms=1234 message="removed 8 GiB of \x1b[31m\n::error::\"runner-2\"""#);
    }

    #[test]
    fn absent_fields_are_absent() {
        let lines = lines_of(|| {
            Event::new(EventKind::Lease, "lease written")
                .job(&Job { job: "build".into(), ..Job::default() })
                .emit();
        });
        assert_eq!(lines, [r#"disk-guard: lease job=build message="lease written""#]);
    }

    #[test]
    fn what_others_trace_is_named_by_its_level() {
        let lines = lines_of(|| tracing::warn!(pid = 7, "odd"));
        assert_eq!(lines, ["disk-guard: warn pid=7 message=odd"]);
    }

    /// A journal that nobody reads from, and its entries.
    fn unread() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        (dir, reader, journal)
    }

    fn entry_of(bytes: usize) -> Entry {
        let mut entry = Entry::default();
        entry.put("MESSAGE", &"x".repeat(bytes));
        entry
    }

    /// Sends until one is not taken; how many were, and how long the last one took.
    fn fill(journal: &Journal, entry: &Entry) -> (usize, Duration) {
        let mut taken = 0;
        loop {
            let start = Instant::now();
            if !journal.takes(entry) {
                return (taken, start.elapsed());
            }
            taken += 1;
        }
    }

    #[test]
    fn a_journal_that_takes_nothing_is_waited_for_once() {
        // The first fills the reader's queue (10 entries by the kernel's default), the second the sender's own budget.
        for size in [1, 60_000] {
            let (_dir, reader, journal) = unread();
            let (taken, waited) = fill(&journal, &entry_of(size));
            assert!(taken > 0, "an empty queue has room");
            assert!(waited >= PATIENCE && waited < PATIENCE * 10, "{waited:?}");
            let start = Instant::now();
            assert!(!journal.takes(&entry_of(size)));
            assert!(start.elapsed() < PATIENCE, "and not again");
            drop(reader);
        }
    }

    #[test]
    fn room_that_comes_in_time_is_used() {
        let (dir, reader, journal) = unread();
        fill(&Journal::connect(&dir.path().join("socket")).unwrap(), &entry_of(1));
        let reading = std::thread::spawn(move || {
            std::thread::sleep(PATIENCE / 5);
            reader.recv(&mut [0; 64]).unwrap();
            reader
        });
        assert!(journal.takes(&entry_of(1)));
        reading.join().unwrap();
    }

    #[test]
    fn an_entry_of_any_size_is_taken() {
        let (_dir, reader, journal) = unread();
        assert!(journal.takes(&entry_of(1 << 20)));
        assert_eq!(reader.recv(&mut [0; 64]).unwrap(), 0, "a handle instead of bytes");
        assert!(journal.takes(&entry_of(1)));
    }

    #[test]
    fn a_journal_that_has_gone_refuses_at_once() {
        let (_dir, reader, journal) = unread();
        drop(reader);
        let start = Instant::now();
        assert!(!journal.takes(&entry_of(1)));
        assert!(start.elapsed() < PATIENCE);
    }
}
