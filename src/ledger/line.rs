//! One line of a ledger's file: a JSON object. Unknown fields are ignored, so that an older guard reads a newer one's.

use crate::as_json;
use crate::model::Pid;
use crate::model::ledger::{Details, FIELDS, LedgerRecord, Scope, Stored, Value};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Map;
use std::time::{Duration, UNIX_EPOCH};

/// The line's format. `fields` are those that are absent where they do not apply.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct FileLine<F> {
    /// Microseconds since 1970.
    time_us: u64,
    deed: String,
    boot: String,
    pid: i32,
    run: String,
    sequence: u64,
    scope: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hook_runner: String,
    #[serde(flatten)]
    fields: F,
    message: String,
}

/// The writer, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) boot_id: String,
    pub(crate) pid: Pid,
}

/// A record's fields as they are written: each in its exact form.
struct WrittenDetails<'a>(&'a Details);

impl Serialize for WrittenDetails<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = FIELDS.iter().filter(|field| field.is_in_files);
        serializer.collect_map(fields.filter_map(|field| {
            let value = match (field.get)(self.0)? {
                Value::Text(text) => text.into(),
                Value::Number(number) => number.into(),
                Value::Path(path) => path.to_str()?.into(),
                Value::PathBytes(path) => as_json::path_bytes(path)?.into(),
            };
            Some((field.name, value)) as Option<(_, serde_json::Value)>
        }))
    }
}

/// A record as a line, framed by newlines on both sides: a line that a full disk has truncated before it stays separate.
pub(crate) fn write(record: &LedgerRecord, account: &Account) -> Vec<u8> {
    let LedgerRecord { deed, time, details } = record;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let scope = details.scope.as_ref();
    let line = FileLine {
        time_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        deed: deed.as_str().to_owned(),
        boot: account.boot_id.clone(),
        pid: account.pid.0,
        run: details.run.clone().unwrap_or_default(),
        sequence: details.sequence.unwrap_or_default(),
        scope: scope.map(Scope::as_str).unwrap_or_default().to_owned(),
        hook_runner: scope.and_then(Scope::hook_runner).unwrap_or_default().to_owned(),
        fields: WrittenDetails(details),
        message: details.message.clone(),
    };
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, &line).expect("numbers and strings serialise");
    text.push(b'\n');
    text
}

/// A line's fields as they are read.
struct LineFields(Map<String, serde_json::Value>);

impl Stored for LineFields {
    fn text(&self, name: &str) -> Option<Option<String>> {
        match self.0.get(name) {
            None | Some(serde_json::Value::Null) => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        }
    }

    fn number(&self, name: &str) -> Option<Option<u64>> {
        match self.0.get(name) {
            None | Some(serde_json::Value::Null) => Some(None),
            Some(value) => value.as_u64().map(Some),
        }
    }
}

/// Reads a line; `None` when the guard did not write it.
pub(crate) fn read(text: &[u8]) -> Option<(LedgerRecord, Account)> {
    let line: FileLine<Map<String, serde_json::Value>> = serde_json::from_slice(text).ok()?;
    let mut details = Details {
        message: line.message,
        sequence: (!line.run.is_empty()).then_some(line.sequence),
        run: Some(line.run).filter(|run| !run.is_empty()),
        scope: Scope::named(&line.scope, line.hook_runner),
        ..Details::default()
    };
    let fields = LineFields(line.fields);
    for field in FIELDS.iter().filter(|field| field.is_in_files) {
        (field.set)(&mut details, &fields)?;
    }
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(line.time_us))?;
    let record = LedgerRecord { deed: line.deed.parse().ok()?, time, details };
    Some((record, Account { boot_id: line.boot, pid: Pid(line.pid) }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::ledger::ActionKind;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::PathBuf;

    pub(crate) fn sample() -> LedgerRecord {
        let details = Details {
            message: "removed\n".into(),
            run: Some("77-1".into()),
            sequence: Some(3),
            scope: Some(Scope::Hook("runner-2".into())),
            runner: Some("runner-2".into()),
            rule: Some("cargo-target".into()),
            path: Some(PathBuf::from(OsStr::from_bytes(b"/srv/caf\xe9/target"))),
            bytes: Some(u64::MAX),
            reason: Some("pressure".into()),
            ..Details::default()
        };
        let time = UNIX_EPOCH + Duration::from_micros(1_772_634_310_123_456);
        LedgerRecord { deed: ActionKind::Removed, time, details }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let account = Account { boot_id: "b".into(), pid: Pid(77) };
        let utf8 = sample().with(|details| details.path = Some("/a b\n".into()));
        let message = sample().details.message;
        let bare = sample().with(|details| *details = Details { message, ..Details::default() });
        let reaped = sample().with(|details| {
            (details.path, details.environment, details.scope) =
                (None, Some("vm-1".into()), Some(Scope::Reap));
        });
        let reaped = LedgerRecord { deed: ActionKind::Reaped, ..reaped };
        for record in [sample(), utf8, bare, reaped] {
            let text = write(&record, &account);
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2, "one line, framed");
            assert_eq!(read(&text), Some((record, account.clone())));
        }
    }

    #[test]
    fn lines_that_are_no_entries_are_refused() {
        for text in
            ["", "{", "[]", "{}", r#"{"deed":"unheard-of"}"#, r#"{"deed":"removed","path":"relative"}"#]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert!(read(br#"{"deed":"removed","path":"/x","from_the_future":1}"#).is_some());
    }
}
