use crate::ledger::journal::{JournalLine, entry};
use crate::ledger::line::{Account, read, write};
use crate::model::ledger::{ActionKind, Details, Entry, LedgerRecord, Ownership, Trust, Writer};
use crate::model::{Pid, Uid};
use crate::policy::ledger::trust;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

/// A line of a ledger's file: a written entry is read back equal, on one line; damage before an entry does not hide it.
pub fn ledger_line(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((record, account)) = read(line) else { continue };
        assert!(record.details.path.as_ref().is_none_or(|path| path.is_absolute()));
        let written = write(&record, &account);
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 2, "one line, framed");
        assert_eq!(read(&written), Some((record, account)));
    }
    let (record, account) = (sample(), Account { boot_id: "b".into(), pid: Pid(77) });
    let file = [bytes, &write(&record, &account), bytes].concat();
    let found = file
        .split(|byte| *byte == b'\n')
        .filter_map(read)
        .any(|found| found == (record.clone(), account.clone()));
    assert!(found, "an entry was hidden by what stands around it");
}

fn sample() -> LedgerRecord {
    let details = Details {
        message: "removed".into(),
        run: Some("77-1".into()),
        sequence: Some(3),
        runner: Some("runner-2".into()),
        rule: Some("cargo-target".into()),
        path: Some("/srv/actions-runner-2/_work/r/r/target".into()),
        bytes: Some(u64::MAX),
        ..Details::default()
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_772_634_310_123_456);
    LedgerRecord { deed: ActionKind::Removed, time, details }
}

/// An entry of the journal: its writer is the user in journald's own field, whatever other fields contain; an entry without one is
/// rejected.
pub fn journal_entry(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let JournalLine::Entry(found) = entry(line) else { continue };
        assert!(found.record.details.path.as_ref().is_none_or(|path| path.is_absolute()));
        let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(line) else {
            panic!("an entry of what is no object")
        };
        let sent = |key: &str| !key.starts_with('_');
        let trusted: Map<String, Value> = with(&fields, |key| !sent(key) || key == "DISK_GUARD_EVENT");
        assert_eq!(read_again(&trusted).writer, found.writer, "a client's field has named a writer");
        let nobody = read_again(&with(&fields, |key| sent(key) || key == "__REALTIME_TIMESTAMP"));
        assert_eq!(nobody.writer, Writer::default());
        assert!(matches!(trust(&nobody, &owners()), Trust::Foreign(_)));
        is_within_its_own(&found);
    }
}

fn with(fields: &Map<String, Value>, keep: impl Fn(&str) -> bool) -> Map<String, Value> {
    fields.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn read_again(fields: &Map<String, Value>) -> Entry {
    match entry(json!(fields).to_string().as_bytes()) {
        JournalLine::Entry(entry) => *entry,
        JournalLine::NoDeed | JournalLine::Odd => panic!("{fields:?} was an entry with more fields"),
    }
}

/// Entries of a runner's user are accepted for that runner alone, never for the whole host.
fn is_within_its_own(entry: &Entry) {
    let Trust::Owner(uid) = trust(entry, &owners()) else { return };
    assert_eq!(Some(uid), entry.writer.uid);
    for (owner, other) in owners().into_iter().zip(owners().into_iter().rev()) {
        if owner.owner == uid {
            let record = &entry.record;
            assert_ne!(record.details.runner.as_deref(), Some(other.name.as_str()));
            let path = record.details.path.as_deref().filter(|_| record.deed != ActionKind::Pressure);
            assert!(path.is_none_or(|path| path.starts_with(&owner.root) && !path.starts_with(&other.root)));
        }
    }
}

fn owners() -> [Ownership; 2] {
    [1, 2].map(|number| {
        let root = std::path::PathBuf::from(format!("/srv/actions-runner-{number}"));
        Ownership {
            name: format!("runner-{number}"),
            owner: Uid(12_000 + number),
            work: root.join("_work"),
            work_owner: Uid(12_000 + number),
            root,
        }
    })
}
