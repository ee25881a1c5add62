//! One line of a ledger's file: a JSON object. Unknown fields are ignored, so that an older guard reads a newer one's.

use crate::model::Pid;
use crate::model::ledger::{Record, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The line's shape.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    message: String,
}

/// Who writes, by his own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) boot_id: String,
    pub(crate) pid: Pid,
}

/// A record as a line, framed by line ends on both sides: what a full disk has cut off before it stays a line of its own.
pub(crate) fn write(record: &Record, account: &Account) -> Vec<u8> {
    let (path, path_bytes) = match record.path.as_deref() {
        None => (None, None),
        Some(path) => match path.to_str() {
            Some(text) => (Some(text.to_owned()), None),
            None => (None, Some(STANDARD.encode(path.as_os_str().as_bytes()))),
        },
    };
    let (scope, hook_runner) = match &record.scope {
        None => (String::new(), String::new()),
        Some(Scope::Sweep) => ("sweep".to_owned(), String::new()),
        Some(Scope::Reap) => ("reap".to_owned(), String::new()),
        Some(Scope::Stores) => ("stores".to_owned(), String::new()),
        Some(Scope::Hook(runner)) => ("hook".to_owned(), runner.clone()),
        Some(Scope::Remediate) => ("remediate".to_owned(), String::new()),
    };
    let since = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = Line {
        time_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        deed: record.deed.as_str().to_owned(),
        boot: account.boot_id.clone(),
        pid: account.pid.0,
        run: record.run.clone().unwrap_or_default(),
        sequence: record.sequence.unwrap_or_default(),
        scope,
        hook_runner,
        runner: record.runner.clone(),
        rule: record.rule.clone(),
        path,
        path_bytes,
        environment: record.environment.clone(),
        bytes: record.bytes,
        reason: record.reason.clone(),
        evidence: record.evidence.clone(),
        repository: record.repository.clone(),
        run_id: record.run_id.clone(),
        job: record.job.clone(),
        message: record.message.clone(),
    };
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, &line).expect("numbers and strings serialise");
    text.push(b'\n');
    text
}

/// Reads a line; `None` when it is none of ours.
pub(crate) fn read(text: &[u8]) -> Option<(Record, Account)> {
    let line: Line = serde_json::from_slice(text).ok()?;
    let deed = line.deed.parse().ok()?;
    let some = |text: String| (!text.is_empty()).then_some(text);
    let record = Record {
        deed,
        time: UNIX_EPOCH.checked_add(Duration::from_micros(line.time_us))?,
        message: line.message,
        sequence: (!line.run.is_empty()).then_some(line.sequence),
        run: some(line.run),
        scope: scope(&line.scope, line.hook_runner),
        runner: line.runner,
        rule: line.rule,
        path: path(line.path, line.path_bytes.as_deref())?,
        environment: line.environment,
        bytes: line.bytes,
        reason: line.reason,
        evidence: line.evidence,
        repository: line.repository,
        run_id: line.run_id,
        job: line.job,
    };
    Some((record, Account { boot_id: line.boot, pid: Pid(line.pid) }))
}

pub(super) fn scope(name: &str, hook_runner: String) -> Option<Scope> {
    match name {
        "sweep" => Some(Scope::Sweep),
        "reap" => Some(Scope::Reap),
        "stores" => Some(Scope::Stores),
        "hook" => Some(Scope::Hook(hook_runner)),
        "remediate" => Some(Scope::Remediate),
        _ => None,
    }
}

/// The exact path; `None` when what should be one is none.
#[expect(clippy::option_option, reason = "no path is an answer, a broken one is none")]
pub(super) fn path(text: Option<String>, bytes: Option<&str>) -> Option<Option<PathBuf>> {
    let path = match bytes {
        Some(bytes) => Some(PathBuf::from(OsString::from_vec(STANDARD.decode(bytes).ok()?))),
        None => text.map(PathBuf::from),
    };
    match path {
        Some(path) if !Path::is_absolute(&path) => None,
        path => Some(path),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ledger::ActionKind;
    use std::ffi::OsStr;

    pub(crate) fn sample() -> Record {
        Record {
            deed: ActionKind::Removed,
            time: UNIX_EPOCH + Duration::from_micros(1_772_634_310_123_456),
            message: "removed\n".into(),
            run: Some("77-1".into()),
            sequence: Some(3),
            scope: Some(Scope::Hook("runner-2".into())),
            runner: Some("runner-2".into()),
            rule: Some("cargo-target".into()),
            path: Some(PathBuf::from(OsStr::from_bytes(b"/srv/caf\xe9/target"))),
            environment: None,
            bytes: Some(u64::MAX),
            reason: Some("pressure".into()),
            evidence: None,
            repository: None,
            run_id: None,
            job: None,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let account = Account { boot_id: "b".into(), pid: Pid(77) };
        let utf8 = Record { path: Some("/a b\n".into()), scope: Some(Scope::Sweep), ..sample() };
        let bare = Record {
            run: None,
            sequence: None,
            scope: None,
            runner: None,
            rule: None,
            path: None,
            bytes: None,
            reason: None,
            ..sample()
        };
        let reaped = Record {
            deed: ActionKind::Reaped,
            scope: Some(Scope::Reap),
            path: None,
            environment: Some("vm-1".into()),
            ..sample()
        };
        for record in [sample(), utf8, bare, reaped] {
            let text = write(&record, &account);
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2, "one line, framed");
            assert_eq!(read(&text), Some((record, account.clone())));
        }
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for text in
            ["", "{", "[]", "{}", r#"{"deed":"unheard-of"}"#, r#"{"deed":"removed","path":"relative"}"#]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert!(read(br#"{"deed":"removed","path":"/x","from_the_future":1}"#).is_some());
    }
}
