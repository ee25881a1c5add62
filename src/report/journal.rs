//! The destination of events: the journal, or otherwise standard error, one line each.
//!
//! This is the only place that uses tracing. Nothing here blocks for long. tracing-journald sends on a blocking socket, and a stopped
//! journald blocks a sender on two limits: the queue of its socket, and the sender's own budget (`net.core.wmem_default`), which no other
//! socket can probe. So each send is interrupted by an alarm after [`PATIENCE`]; from then on events are written to standard error. So is
//! an event that the journal refuses, with the reason. An event that cannot be written anywhere is lost; it never fails the caller.
//!
//! Lines on standard error may end up in a job's log, so they are escaped as such.

use super::escape;
use crate::as_json;
use crate::model::ledger::{Details, FIELDS, Value};
use crate::sys::deadline::Alarm;
use nix::errno::Errno;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
pub use tracing::Level;
use tracing::callsite::{Callsite, Identifier};
use tracing::dispatcher::{self, Dispatch};
use tracing::field::{Field, FieldSet, Visit};
use tracing::metadata::Kind;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{Extensions, ExtensionsMut, LookupSpan, SpanData};

const IDENTIFIER: &str = "disk-guard";

/// The target of our events: it distinguishes them from everything else that is traced.
const TARGET: &str = "disk_guard::event";

/// The fields of each event, by the journal's names.
static NAMES: [&str; FIELDS.len() + 3] = {
    let mut names = ["message"; FIELDS.len() + 3];
    (names[1], names[2]) = ("MESSAGE_ID", "DISK_GUARD_EVENT");
    let mut index = 0;
    while index < FIELDS.len() {
        names[index + 3] = FIELDS[index].key;
        index += 1;
    }
    names
};

/// Where journald listens; tracing-journald keeps its own copy to itself.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long to wait for a journal that accepts nothing, once in a process.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// The wanted destination of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// In the journal; on standard error when it does not answer.
    Journal,
    /// On standard error.
    Stderr,
}

/// Installs the sink for this process and returns which it is. A second call changes nothing.
pub fn init(level: Level, sink: Sink) -> Sink {
    let (dispatch, sink) = dispatch(level, sink);
    // An error means that there is a sink already.
    let _ = dispatcher::set_global_default(dispatch);
    sink
}

/// The same without installing it.
pub fn dispatch(level: Level, sink: Sink) -> (Dispatch, Sink) {
    let journal = match sink {
        Sink::Journal => JournalLayer::connect().ok(),
        Sink::Stderr => None,
    };
    let found = if journal.is_some() { Sink::Journal } else { Sink::Stderr };
    let route = Route { journal, level };
    (Dispatch::new(Spanless.with(route)), found)
}

/// Sends an event to the sink of this process, or of this thread; to nowhere when there is none.
pub(super) fn send(level: Level, message_id: &str, kind: &str, details: &Details) {
    let metadata = &SITES[match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }];
    dispatcher::get_default(|sink| {
        if sink.enabled(metadata) {
            let first = [&details.message, message_id, kind].map(|text| Some(Value::Text(text)));
            let values = first.into_iter().chain(FIELDS.iter().map(|field| (field.get)(details)));
            let values: Vec<Option<Sent>> = values.map(|value| Sent::of(value?)).collect();
            let values: Vec<_> = values.iter().map(|value| value.as_ref().map(Sent::as_value)).collect();
            let values = metadata.fields().value_set_all(&values);
            sink.event(&tracing::Event::new(metadata, &values));
        }
    });
}

/// A value as it is sent.
enum Sent {
    Text(String),
    Number(u64),
}

impl Sent {
    fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Number(number) => Self::Number(number),
            Value::Path(path) => Self::Text(as_json::path_text(path)),
            Value::PathBytes(path) => Self::Text(as_json::path_bytes(path)?),
        })
    }

    fn as_value(&self) -> &dyn tracing::Value {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number,
        }
    }
}

/// The origin of events. tracing's macros make such a site from names in the code; this one uses [`NAMES`].
struct Site;

static SITE: Site = Site;

/// A level is part of a site.
static SITES: [Metadata<'static>; 5] = [
    metadata(Level::ERROR),
    metadata(Level::WARN),
    metadata(Level::INFO),
    metadata(Level::DEBUG),
    metadata(Level::TRACE),
];

const fn metadata(level: Level) -> Metadata<'static> {
    let fields = FieldSet::new(&NAMES, Identifier(&SITE));
    let (file, line, module) = (Some(file!()), Some(line!()), Some(module_path!()));
    Metadata::new("event", TARGET, level, file, line, module, fields, Kind::EVENT)
}

impl Callsite for Site {
    // Each event asks the sink anew.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &SITES[0]
    }
}

/// The base of the layers: spans are not used, and a [`tracing_subscriber::Registry`] would cost a hook eight pages of memory for them.
/// them.
struct Spanless;

impl Subscriber for Spanless {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl LookupSpan<'_> for Spanless {
    type Data = NoSpan;

    fn span_data(&self, _: &Id) -> Option<NoSpan> {
        None
    }
}

/// The data of spans; there are no spans.
enum NoSpan {}

impl SpanData<'_> for NoSpan {
    fn id(&self) -> Id {
        match *self {}
    }

    fn metadata(&self) -> &'static Metadata<'static> {
        match *self {}
    }

    fn parent(&self) -> Option<&Id> {
        match *self {}
    }

    fn extensions(&self) -> Extensions<'_> {
        match *self {}
    }

    fn extensions_mut(&self) -> ExtensionsMut<'_> {
        match *self {}
    }
}

/// The journal, and whether it has stopped accepting entries.
struct JournalLayer {
    layer: tracing_journald::Layer,
    gave_up: AtomicBool,
}

impl JournalLayer {
    fn connect() -> io::Result<Self> {
        // Without one nothing can block: one look instead of an alarm and a socket.
        if !Path::new(SOCKET).try_exists()? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let alarm = Alarm::after(PATIENCE)?;
        // Sends an empty entry, to see whether journald listens.
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier(IDENTIFIER.to_owned())
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        if alarm.has_rung() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(Self { layer, gave_up: AtomicBool::new(false) })
        }
    }

    /// Runs `send`, which passes an entry to the layer.
    ///
    /// # Errors
    /// Why the journal has not accepted it. The layer hides that; it is in `errno`, which no successful call sets.
    fn take(&self, send: impl FnOnce(&tracing_journald::Layer)) -> io::Result<()> {
        if self.gave_up.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let alarm = Alarm::after(PATIENCE)?;
        Errno::clear();
        send(&self.layer);
        let error = Errno::last_raw();
        if alarm.has_rung() {
            self.gave_up.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::TimedOut.into());
        }
        // An entry that is too long for a datagram is sent as a file: the error of that would be found here instead.
        if error == 0 || error == Errno::EMSGSIZE as i32 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// Sends each event to the journal, else to standard error.
struct Route {
    journal: Option<JournalLayer>,
    level: Level,
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Route {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Spans are not used: an event is complete in itself, and the journal's layer would have to see a span's creation.
        if metadata.is_event() && *metadata.level() <= self.level {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let refused = match &self.journal {
            None => None,
            Some(journal) => match journal.take(|layer| layer.on_event(event, context)) {
                Ok(()) => return,
                Err(error) => Some(error.to_string()),
            },
        };
        write_line(&line(event, refused.as_deref()));
    }
}

/// One write, so that lines of processes that share a log do not mix.
fn write_line(line: &str) {
    use io::Write as _;
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// `disk-guard: EVENT key=value ... message="..."`, escaped for a job's log; with the journal's reason for refusing it.
fn line(event: &tracing::Event<'_>, refused: Option<&str>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    if event.metadata().target() != TARGET {
        fields.name = event.metadata().level().as_str().to_ascii_lowercase();
    }
    let message = quoted(&fields.message, Escaped::Already);
    let refused = refused.map(|why| format!(" journal_refused={}", quoted(why, Escaped::NotYet)));
    let (pairs, refused) = (fields.pairs(), refused.unwrap_or_default());
    escape::log_line(&format!("{IDENTIFIER}: {}{pairs}{refused} message={message}", fields.name))
}

/// Whether a value was escaped before it became a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escaped {
    Already,
    NotYet,
}

/// The parts of a line.
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
            // It repeats the event's name, for catalogs.
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

/// The value, in quotes if it is not a single word.
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
    use std::sync::{Arc, Mutex};

    /// Collects lines instead of writing them.
    #[derive(Clone, Default)]
    struct Collect(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Collect {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line(event, None));
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
    fn events_of_other_crates_are_named_by_their_level() {
        let lines = lines_of(|| tracing::warn!(pid = 7, "odd"));
        assert_eq!(lines, ["disk-guard: warn pid=7 message=odd"]);
    }
}
