//! Reads the journal through journalctl, because the format of its files is internal to systemd.
//!
//! journalctl is looked up in `paths.programs`, gets an environment made here, and its answer is bounded in time and length. The newest
//! entries come first, so that a bound cuts off the oldest; the cut then counts as the end of the journal's reach.
//!
//! journald stores the fields that it adds itself with a leading underscore, which no client can send. Only these identify the writer.

use super::LedgerPart;
use crate::model::ledger::{
    ActionKind, Details, Entry, FIELDS, LedgerReach, LedgerRecord, Source, Stored, UserSpan, Writer,
};
use crate::model::{Pid, Uid};
use crate::sys::journalctl;
use crate::sys::program::{Bounds, Call, ProgramEnd, ProgramError, Programs};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const IDENTIFIER: &str = "disk-guard";

/// Longer answers are cut.
const MAX_BYTES: usize = 64 << 20;

/// An entry without its text is shorter.
const MAX_ENTRY: usize = 16 << 10;

/// journalctl is killed after this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fields to ask for beside [`FIELDS`]. A whole entry is three times as long.
const ASKED: &str = "_UID,_PID,_BOOT_ID,_EXE,MESSAGE,DISK_GUARD_EVENT";

/// The journal, as journalctl shows it.
#[derive(Debug)]
pub struct Journal {
    /// Where journalctl is, or why it was not found.
    program: Result<PathBuf, ProgramError>,
    max_bytes: usize,
    patience: Duration,
}

impl Journal {
    /// The journal of this host.
    pub fn of_host(programs: Programs<'_>) -> Self {
        Self { program: programs.find("journalctl"), max_bytes: MAX_BYTES, patience: PATIENCE }
    }

    /// Reads all entries of ours since `since`, and how far back the journal reaches.
    pub fn read(&self, since: SystemTime) -> LedgerPart {
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => return nothing(error.to_string()),
        };
        let seconds = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut gaps = Vec::new();
        let fields: Vec<&str> = [ASKED].into_iter().chain(FIELDS.iter().map(|field| field.key)).collect();
        let (since, fields) = (format!("--since=@{seconds}"), fields.join(","));
        let asked = ["-t", IDENTIFIER, "--reverse", &since, "--output-fields", &fields];
        let answer = match self.ask(program, &asked, self.max_bytes) {
            Ok(answer) => answer,
            Err(error) => return nothing(error.to_string()),
        };
        let shut = answer.is_shut || !journalctl::shows_everybody(program, self.patience);
        gaps.extend(answer.complaint.clone());
        let mut entries = Vec::new();
        let mut odd = 0;
        for text in answer.lines() {
            match entry(text) {
                JournalLine::Entry(entry) => entries.push(*entry),
                JournalLine::NoDeed => {}
                JournalLine::Odd => odd += 1,
            }
        }
        if odd > 0 {
            gaps.push(format!("{odd} entries under our name are malformed and were skipped"));
        }
        let oldest_of_ours = entries.iter().map(|entry| entry.record.time).min();
        let reach_back = if answer.was_cut {
            gaps.push("the answer was truncated: older entries were not read".into());
            oldest_of_ours
        } else {
            // The first line that journalctl prints is the journal's oldest entry.
            let first = self.ask(program, &["--output-fields", "_UID"], MAX_ENTRY).ok();
            first.and_then(|first| {
                time_of(serde_json::from_slice::<Value>(first.lines().next()?).ok()?.as_object()?)
            })
        };
        if shut {
            gaps.push(
                "the journal shows only entries of this user: run as root or as a member of systemd-journal"
                    .into(),
            );
        }
        let is_volatile = !Path::new("/var/log/journal").exists();
        if is_volatile && reach_back.is_some() {
            gaps.push("the journal is kept in memory: it starts with this boot".into());
        }
        if reach_back.is_none() {
            gaps.push("no journal has been kept on this host".into());
        }
        let span = if shut || reach_back.is_none() { UserSpan::Part } else { UserSpan::Everybody };
        LedgerPart { entries, reach: LedgerReach { source: Source::Journal, since: reach_back, span, gaps } }
    }

    /// Runs journalctl.
    fn ask(&self, program: &Path, arguments: &[&str], most: usize) -> Result<Answer, ProgramError> {
        let arguments = [&["--no-pager", "--all", "-o", "json"], arguments].concat();
        let bounds = Bounds::new(self.patience, most);
        let places = ["/usr/bin", "/bin"].map(PathBuf::from);
        let mut call = Call::new(program.to_owned(), &arguments, &places, bounds);
        call.environment.push(("LC_ALL", "C.UTF-8".into()));
        let mut run = call.run()?;
        let words = &run.complaint;
        let was_cut = !matches!(run.end, ProgramEnd::Itself(_));
        let is_shut = journalctl::HIDDEN.iter().any(|hidden| words.contains(hidden));
        let is_complaint = !was_cut && !words.is_empty() && !words.contains("No journal files were found");
        let output = std::mem::take(&mut run.output);
        let complaint = is_complaint.then(|| run.success().err()).flatten().map(|error| error.to_string());
        Ok(Answer { was_cut, is_shut, complaint, output })
    }
}

struct Answer {
    output: Vec<u8>,
    was_cut: bool,
    is_shut: bool,
    complaint: Option<String>,
}

impl Answer {
    /// The whole lines that were printed.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.output.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
    }
}

fn nothing(gap: String) -> LedgerPart {
    let reach = LedgerReach { source: Source::Journal, since: None, span: UserSpan::Part, gaps: vec![gap] };
    LedgerPart { entries: Vec::new(), reach }
}

/// The kind of a line of journalctl's answer.
pub(crate) enum JournalLine {
    Entry(Box<Entry>),
    /// An entry of ours that is not an action, or a line of text.
    NoDeed,
    /// It looks like an entry of ours but is not one that the guard writes.
    Odd,
}

pub(crate) fn entry(text: &[u8]) -> JournalLine {
    let Ok(Value::Object(fields)) = serde_json::from_slice(text) else { return JournalLine::Odd };
    let Some(event) = fields.get("DISK_GUARD_EVENT") else { return JournalLine::NoDeed };
    let Some(event) = event.as_str() else { return JournalLine::Odd };
    let Some(deed) = ActionKind::of_event(event) else { return JournalLine::NoDeed };
    record(deed, &fields).map_or(JournalLine::Odd, |record| {
        JournalLine::Entry(Box::new(Entry {
            record,
            writer: writer(&fields),
            sources: vec![Source::Journal],
        }))
    })
}

/// The fields of an entry. A repeated field is a list, a field that is not text a list of bytes: the guard sends neither.
struct JournalFields<'a>(&'a Map<String, Value>);

impl Stored for JournalFields<'_> {
    fn text(&self, name: &str) -> Option<Option<String>> {
        match self.0.get(&format!("DISK_GUARD_{}", name.to_ascii_uppercase())) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        }
    }

    fn number(&self, name: &str) -> Option<Option<u64>> {
        self.text(name)?.map(|text| text.parse().ok()).map_or(Some(None), |number| number.map(Some))
    }
}

fn record(deed: ActionKind, fields: &Map<String, Value>) -> Option<LedgerRecord> {
    let message = fields.get("MESSAGE").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut details = Details { message, ..Details::default() };
    FIELDS.iter().try_for_each(|field| (field.set)(&mut details, &JournalFields(fields)))?;
    Some(LedgerRecord { deed, time: time_of(fields)?, details })
}

fn writer(fields: &Map<String, Value>) -> Writer {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    Writer {
        uid: text("_UID").and_then(|uid| uid.parse().ok()).map(Uid),
        pid: text("_PID").and_then(|pid| pid.parse().ok()).map(Pid),
        boot_id: text("_BOOT_ID").map(str::to_owned),
        exe: text("_EXE").map(PathBuf::from),
    }
}

fn time_of(fields: &Map<String, Value>) -> Option<SystemTime> {
    let micros = fields.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    /// An entry as journalctl prints it.
    fn printed(uid: &str, more: &str) -> String {
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"1772634310123456","_BOOT_ID":"b00t","_UID":"{uid}","_PID":"77","_EXE":"/usr/bin/disk-guard","MESSAGE":"m"{more}}}"#
        )
    }

    fn removed(uid: &str) -> String {
        printed(
            uid,
            r#","DISK_GUARD_EVENT":"removed","DISK_GUARD_PATH":"/srv/caf\\xe9","DISK_GUARD_PATH_BYTES":"L3Nydi9jYWbp","DISK_GUARD_BYTES":"42","DISK_GUARD_SCOPE":"hook","DISK_GUARD_HOOK_RUNNER":"r2","DISK_GUARD_RUN":"77-1","DISK_GUARD_SEQUENCE":"3""#,
        )
    }

    /// A journalctl that prints `answer`; asked for the oldest entry it prints one of 2026-01-01.
    struct FakeJournal {
        _dir: tempfile::TempDir,
        journal: Journal,
    }

    fn fake(answer: &str, script: &str) -> FakeJournal {
        fake_with(answer, script, ":")
    }

    /// `plain` answers what is not asked for as JSON.
    fn fake_with(answer: &str, script: &str, plain: &str) -> FakeJournal {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("answer"), answer).unwrap();
        let program = dir.path().join("journalctl");
        let text = format!(
            "#!/bin/sh\ncd '{}'\ncase \"$*\" in *reverse*) {script};; *json*) echo '{{\"__REALTIME_TIMESTAMP\":\"1767225600000000\"}}'; echo more;; *) {plain};; esac\n",
            dir.path().display()
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let journal = Journal { program: Ok(program), max_bytes: 4096, patience: Duration::from_secs(20) };
        FakeJournal { _dir: dir, journal }
    }

    fn read(fake: &FakeJournal) -> LedgerPart {
        // Another test's fork may still hold the script open for writing.
        for _ in 0..200 {
            let found = fake.journal.read(UNIX_EPOCH);
            if !found.reach.gaps.iter().any(|gap| gap.contains("busy")) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the script stays busy")
    }

    #[test]
    fn entries_are_read_with_the_writer_that_journald_names() {
        let fake = fake(&format!("{}\n{}\n", removed("0"), removed("12001")), "cat answer");
        let found = read(&fake);
        assert_eq!(found.entries.len(), 2);
        let first = &found.entries[0];
        assert_eq!((first.writer.uid, first.writer.pid), (Some(Uid(0)), Some(Pid(77))));
        assert_eq!(first.writer.exe.as_deref(), Some(Path::new("/usr/bin/disk-guard")));
        assert_eq!(
            first.record.details.path.as_ref().unwrap().as_os_str().as_encoded_bytes(),
            b"/srv/caf\xe9"
        );
        assert_eq!((first.record.details.bytes, first.record.details.sequence), (Some(42), Some(3)));
        assert_eq!(found.entries[1].writer.uid, Some(Uid(12001)));
        assert_eq!(found.reach.since, Some(UNIX_EPOCH + Duration::from_secs(1_767_225_600)));
        assert_eq!(found.reach.span, UserSpan::Everybody);
    }

    #[test]
    fn entries_that_the_guard_never_sends_are_skipped_and_reported() {
        let lines = [
            printed("0", ""),
            printed("0", r#","DISK_GUARD_EVENT":"postmortem""#),
            printed("0", r#","DISK_GUARD_EVENT":["removed","kept"]"#),
            printed("0", r#","DISK_GUARD_EVENT":"removed","DISK_GUARD_PATH":["/a","/b"]"#),
            printed("0", r#","DISK_GUARD_EVENT":"removed","DISK_GUARD_PATH":"relative""#),
            printed("0", r#","DISK_GUARD_EVENT":"removed","DISK_GUARD_BYTES":"many""#),
            "no JSON".into(),
            removed("0"),
        ];
        let fake = fake(&(lines.join("\n") + "\n"), "cat answer");
        let found = read(&fake);
        assert_eq!(found.entries.len(), 1);
        assert!(found.reach.gaps.iter().any(|gap| gap.starts_with("5 entries")), "{:?}", found.reach.gaps);
    }

    #[test]
    fn a_flood_is_cut_at_its_oldest_end() {
        let answer: String = (0..100).map(|_| removed("0") + "\n").collect();
        let fake = fake(&answer, "cat answer");
        let found = read(&fake);
        assert!((1..20).contains(&found.entries.len()), "{}", found.entries.len());
        assert!(found.reach.gaps.iter().any(|gap| gap.contains("truncated")), "{:?}", found.reach.gaps);
        assert_eq!(found.reach.since, found.entries.iter().map(|entry| entry.record.time).min());
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let mut fake = fake(&(removed("0") + "\n"), "cat answer; exec sleep 600");
        fake.journal.patience = Duration::from_millis(300);
        let begun = Instant::now();
        let found = read(&fake);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(found.entries.len(), 1);
        assert!(found.reach.gaps.iter().any(|gap| gap.contains("truncated")), "{:?}", found.reach.gaps);
    }

    /// With `-o json` journalctl does not say that it hides entries.
    #[test]
    fn an_incomplete_journal_is_not_vouched_for() {
        let hint = "echo 'Hint: You are currently not seeing messages from other users and the system.' >&2";
        let fake = fake_with(&(removed("12001") + "\n"), "cat answer", hint);
        let found = read(&fake);
        assert_eq!((found.entries.len(), found.reach.span), (1, UserSpan::Part));
        assert!(found.reach.gaps.iter().any(|gap| gap.contains("systemd-journal")), "{:?}", found.reach.gaps);
    }

    #[test]
    fn none_is_a_gap() {
        let found = Journal::of_host(Programs(&["/nowhere".into()])).read(UNIX_EPOCH);
        assert_eq!((found.entries.len(), found.reach.span), (0, UserSpan::Part));
        assert!(found.reach.gaps[0].contains("journalctl is in none of /nowhere"));
    }
}
