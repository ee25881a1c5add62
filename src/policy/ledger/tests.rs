use super::*;
use crate::model::Pid;
use crate::model::ledger::{Details, LedgerReach, Source, UserSpan, Writer};
use std::time::UNIX_EPOCH;

const ALICE: Uid = Uid(12_001);
const BOB: Uid = Uid(12_002);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn owners() -> Vec<Ownership> {
    let of = |name: &str, owner| Ownership {
        name: name.into(),
        root: format!("/srv/{name}").into(),
        work: format!("/srv/{name}/_work").into(),
        owner,
        work_owner: owner,
    };
    vec![of("a1", ALICE), of("a2", ALICE), of("b1", BOB)]
}

fn record(deed: ActionKind, seconds: u64, path: Option<&str>) -> LedgerRecord {
    let details = Details {
        run: Some("7-1".into()),
        sequence: Some(seconds),
        scope: Some(Scope::Sweep),
        rule: Some("cargo-target".into()),
        path: path.map(PathBuf::from),
        bytes: Some(10),
        ..Details::default()
    };
    LedgerRecord { deed, time: at(seconds), details }
}

fn written(uid: Option<Uid>, record: LedgerRecord) -> Entry {
    let writer = Writer { uid, pid: Some(Pid(7)), boot_id: Some("b-0".into()), exe: None };
    Entry { record, writer, sources: vec![Source::Journal] }
}

fn by_root(deed: ActionKind, seconds: u64, path: Option<&str>) -> Entry {
    written(Some(Uid::ROOT), record(deed, seconds, path))
}

fn reach(span: UserSpan, since: Option<u64>) -> Extent {
    Extent { places: vec![LedgerReach { source: Source::Journal, since: since.map(at), span, gaps: vec![] }] }
}

fn ledger(entries: Vec<Entry>) -> Ledger {
    Ledger { entries: judge(merge(vec![entries]), &owners()), extent: reach(UserSpan::Everybody, Some(0)) }
}

fn ask(ledger: &Ledger, path: &str) -> Why {
    let window = Window { from: at(0), to: at(1000) };
    why(ledger, (path.into(), None), Presence::Present, None, window)
}

#[test]
fn entries_are_accepted_from_root_and_from_a_runners_own_user() {
    let hook = |name: &str| Some(Scope::Hook(name.into()));
    for (uid, scope, runner, path, deed, expected) in [
        (
            Some(Uid::ROOT),
            Some(Scope::Sweep),
            Some("b1"),
            Some("/srv/b1/_work/x"),
            ActionKind::Removed,
            "root",
        ),
        (Some(ALICE), hook("a1"), Some("a1"), Some("/srv/a1/_work/x"), ActionKind::Removed, "owner"),
        (Some(ALICE), hook("a1"), Some("a2"), Some("/srv/a2/_work/x"), ActionKind::Removed, "owner"),
        (Some(ALICE), hook("a1"), None, Some("/"), ActionKind::Pressure, "owner"),
        (Some(ALICE), hook("a1"), Some("a1"), None, ActionKind::Lease, "owner"),
        // About others, in every way in which that can be put.
        (Some(ALICE), hook("a1"), Some("b1"), Some("/srv/b1/_work/x"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("a1"), Some("a1"), Some("/srv/b1/_work/x"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("a1"), Some("b1"), Some("/srv/a1/_work/x"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("b1"), Some("a1"), Some("/srv/a1/_work/x"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("a1"), Some("a1"), Some("/srv/a1/../b1/_work"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("a1"), Some("a1"), Some("/srv/a11"), ActionKind::Removed, "foreign"),
        (Some(ALICE), hook("gone"), None, None, ActionKind::Begun, "foreign"),
        (Some(ALICE), Some(Scope::Sweep), None, None, ActionKind::Ended, "foreign"),
        (Some(ALICE), Some(Scope::Sweep), Some("a1"), Some("/srv/a1/x"), ActionKind::Removed, "foreign"),
        (Some(ALICE), None, None, None, ActionKind::Failed, "foreign"),
        (Some(Uid(65_534)), hook("a1"), Some("a1"), Some("/srv/a1/_work/x"), ActionKind::Removed, "foreign"),
        (None, hook("a1"), Some("a1"), Some("/srv/a1/_work/x"), ActionKind::Removed, "foreign"),
    ] {
        let runner = runner.map(str::to_owned);
        let record = record(deed, 1, path);
        let entry =
            written(uid, record.with(|details| (details.scope, details.runner) = (scope.clone(), runner)));
        assert_eq!(trust(&entry, &owners()).as_str(), expected, "{uid:?} {scope:?} {:?}", entry.record);
    }
}

#[test]
fn the_owner_of_every_runner_is_accepted_for_the_host() {
    let sweep = written(Some(ALICE), record(ActionKind::Ended, 1, None));
    let own: Vec<Ownership> = owners().into_iter().filter(|owner| owner.owner == ALICE).collect();
    assert_eq!(trust(&sweep, &own), Trust::Owner(ALICE));
    assert!(!trust(&sweep, &[]).is_authentic(), "of no runner nobody owns all");
}

#[test]
fn an_entry_in_both_places_is_read_once_and_no_user_hides_anothers() {
    let journal = by_root(ActionKind::Removed, 5, Some("/srv/a1/_work/x"));
    let mut file = Entry { sources: vec![Source::File], ..journal.clone() };
    file.writer.boot_id = Some("b0".into());
    file.record.time += Duration::from_millis(3);
    let forged = Entry { writer: Writer { uid: Some(ALICE), ..file.writer.clone() }, ..file.clone() };
    let later = file.record.clone().with(|details| details.sequence = Some(6));
    let later = Entry { record: later, ..file.clone() };
    let other_boot =
        Entry { writer: Writer { boot_id: Some("c".into()), ..file.writer.clone() }, ..file.clone() };
    let merged =
        merge(vec![vec![journal.clone()], vec![forged.clone(), file.clone(), later.clone(), other_boot]]);
    assert_eq!(merged.len(), 4);
    let told_twice: Vec<_> = merged.iter().filter(|entry| entry.sources.len() == 2).collect();
    assert_eq!(told_twice.len(), 1);
    assert_eq!(told_twice[0].writer, journal.writer);
    assert_eq!(merge(vec![vec![journal.clone(), journal]]).len(), 2, "one place does not repeat itself");
}

#[test]
fn verdicts() {
    let target = Some("/srv/a1/_work/app/target");
    for (deeds, asked, expected) in [
        (&[ActionKind::Claimed, ActionKind::Removed][..], "/srv/a1/_work/app/target", PathVerdict::Removed),
        (
            &[ActionKind::Claimed, ActionKind::Removed],
            "/srv/a1/_work/app/target/debug/x.o",
            PathVerdict::Removed,
        ),
        (&[ActionKind::Claimed, ActionKind::Removed], "/srv/a1/_work", PathVerdict::RemovedInside),
        (&[ActionKind::Claimed], "/srv/a1/_work/app/target", PathVerdict::Claimed),
        (&[ActionKind::Claimed, ActionKind::Restored], "/srv/a1/_work/app/target", PathVerdict::Restored),
        (&[ActionKind::Kept], "/srv/a1/_work/app/target/x", PathVerdict::Kept),
        (&[ActionKind::Claimed, ActionKind::Removed], "/srv/a1/_work/app/target-2", PathVerdict::NotTouched),
        (&[ActionKind::Claimed, ActionKind::Removed], "/srv/a1/_work/app/src", PathVerdict::NotTouched),
        (&[ActionKind::Pressure, ActionKind::Begun], "/srv/a1/_work/app/target", PathVerdict::NotTouched),
    ] {
        let entries = deeds.iter().zip(1..).map(|(deed, n)| {
            by_root(*deed, n, if *deed == ActionKind::Pressure { Some("/") } else { target })
        });
        let entries: Vec<Entry> = entries
            .map(|mut entry| {
                if entry.record.deed == ActionKind::Begun {
                    entry.record.details.path = None;
                }
                entry
            })
            .collect();
        assert_eq!(ask(&ledger(entries), asked).verdict, expected, "{deeds:?} {asked}");
    }
}

#[test]
fn clearing_requires_a_ledger_that_covers_every_user() {
    let mut ledger = ledger(vec![]);
    for (extent, expected) in [
        (reach(UserSpan::Everybody, Some(0)), PathVerdict::NotTouched),
        (reach(UserSpan::Part, Some(0)), PathVerdict::NoEvidence),
        (reach(UserSpan::Everybody, None), PathVerdict::NoEvidence),
        (Extent::default(), PathVerdict::NoEvidence),
    ] {
        ledger.extent = extent;
        assert_eq!(ask(&ledger, "/srv/a1/_work/x").verdict, expected, "{:?}", ledger.extent);
    }
}

#[test]
fn innocence_needs_a_ledger_that_reaches_back_to_when_it_vanished() {
    let mut ledger = ledger(vec![]);
    ledger.extent = reach(UserSpan::Everybody, Some(500));
    for (changed, expected) in [(499, PathVerdict::NoEvidence), (500, PathVerdict::NotTouched)] {
        let gone = Presence::Gone("/srv/a1/_work".into(), at(changed));
        let window = Window { from: at(0), to: at(1000) };
        let answer = why(&ledger, ("/srv/a1/_work/x".into(), None), gone, None, window);
        assert_eq!(answer.verdict, expected, "{changed}");
    }
}

#[test]
fn a_forgery_is_shown_and_counts_for_nothing() {
    let forged = written(Some(ALICE), record(ActionKind::Removed, 5, Some("/srv/b1/_work/app/target")));
    let ledger = ledger(vec![forged]);
    let why = ask(&ledger, "/srv/b1/_work/app/target");
    assert_eq!((why.verdict, why.entries.len(), why.foreign.len()), (PathVerdict::NotTouched, 0, 1));
    let window = Window::around(at(5), Duration::from_secs(60));
    let blame = blame(&ledger, at(5), window);
    assert_eq!((blame.runs.len(), blame.foreign.len()), (0, 1));
    let history = history(&ledger, window);
    assert_eq!((history.deeds.len(), history.foreign.len(), history.by_rule.len()), (0, 1, 0));
}

#[test]
fn blame_finds_the_runs_in_its_window_and_the_actions_around_it() {
    let run = |name: &str, entries: Vec<Entry>| {
        entries
            .into_iter()
            .map(|mut entry| {
                entry.record.details.run = Some(name.into());
                entry
            })
            .collect::<Vec<_>>()
    };
    let path = Some("/srv/a1/_work/app/target");
    let early = run(
        "7-1",
        vec![
            by_root(ActionKind::Begun, 10, None),
            by_root(ActionKind::Removed, 11, path),
            by_root(ActionKind::Ended, 12, None),
        ],
    );
    let long = run("7-2", vec![by_root(ActionKind::Begun, 300, None), by_root(ActionKind::Ended, 500, None)]);
    let late =
        run("7-3", vec![by_root(ActionKind::Begun, 900, None), by_root(ActionKind::Removed, 901, path)]);
    let ledger = ledger([early, long, late].concat());
    for (seconds, reach, runs, before, after) in [
        (400, 20, 1, Some(11), Some(901)),
        (100, 50, 0, Some(11), Some(901)),
        (11, 5, 1, None, Some(901)),
        (902, 5, 1, Some(11), None),
        (450, 1000, 3, None, None),
    ] {
        let window = Window::around(at(seconds), Duration::from_secs(reach));
        let answer = blame(&ledger, at(seconds), window);
        let time = |judged: &Option<Judged>| judged.as_ref().map(|judged| judged.record().time);
        assert_eq!(answer.runs.len(), runs, "{seconds}");
        assert_eq!((time(&answer.before), time(&answer.after)), (before.map(at), after.map(at)), "{seconds}");
    }
    let ends: Vec<RunEnd> = runs(&ledger.entries).iter().map(|run| run.end).collect();
    assert_eq!(ends, [RunEnd::Complete, RunEnd::Complete, RunEnd::Open]);
}

#[test]
fn history_sums_removed_bytes_and_shows_claims_without_an_end() {
    let named = |mut entry: Entry, runner: &str, bytes: u64| {
        (entry.record.details.runner, entry.record.details.bytes) = (Some(runner.into()), Some(bytes));
        entry
    };
    let ledger = ledger(vec![
        named(by_root(ActionKind::Claimed, 1, Some("/srv/a1/x")), "a1", 5),
        named(by_root(ActionKind::Removed, 2, Some("/srv/a1/x")), "a1", 5),
        named(by_root(ActionKind::Removed, 3, Some("/srv/b1/y")), "b1", 7),
        named(by_root(ActionKind::Claimed, 4, Some("/srv/b1/z")), "b1", 9),
        named(by_root(ActionKind::Kept, 5, Some("/srv/b1/k")), "b1", 9),
        named(by_root(ActionKind::Removed, 900, Some("/srv/b1/late")), "b1", 1000),
    ]);
    let history = history(&ledger, Window { from: at(0), to: at(100) });
    let deeds: Vec<ActionKind> = history.deeds.iter().map(|judged| judged.record().deed).collect();
    assert_eq!(deeds, [ActionKind::Removed, ActionKind::Removed, ActionKind::Claimed]);
    assert_eq!(history.kept, 1);
    let sums: Vec<_> =
        history.by_runner.iter().map(|total| (total.name.as_str(), total.count, total.bytes)).collect();
    assert_eq!(sums, [("b1", 1, 7), ("a1", 1, 5)]);
    assert_eq!(history.by_rule[0].bytes, 12);
}

/// The journal's clock and a file's are not one: an entry's number tells, and without one nearness.
#[test]
fn copies_are_recognised_by_their_number_or_by_their_time() {
    for (sequence, apart, left) in [(Some(3), 0, 1), (Some(3), 60, 1), (None, 2, 1), (None, 3, 2)] {
        let entry = |seconds, source| {
            let record = record(ActionKind::Removed, seconds, Some("/srv/a1/x"));
            let record = record.with(|details| details.sequence = sequence);
            Entry { sources: vec![source], ..written(Some(ALICE), record) }
        };
        let merged = merge(vec![vec![entry(5, Source::Journal)], vec![entry(5 + apart, Source::File)]]);
        assert_eq!(merged.len(), left, "{sequence:?}, {apart} s apart");
        let told: usize = merged.iter().map(|entry| entry.sources.len()).sum();
        assert_eq!(told, 2, "no account is lost");
    }
}

#[test]
fn a_claim_remains_open_until_its_tree_is_restored_or_removed() {
    let path = Some("/srv/a1/_work/x");
    let entries = vec![by_root(ActionKind::Claimed, 1, path), by_root(ActionKind::Kept, 2, path)];
    assert_eq!(ask(&ledger(entries), "/srv/a1/_work/x").verdict, PathVerdict::Claimed);
    let entries = vec![by_root(ActionKind::Claimed, 1, path), by_root(ActionKind::Restored, 2, path)];
    assert_eq!(ask(&ledger(entries), "/srv/a1/_work/x").verdict, PathVerdict::Restored);
}

#[test]
fn a_path_in_a_root_or_work_directory_belongs_to_that_runner() {
    let mut owners = owners();
    owners[0].work = "/data/a1".into();
    for (path, runner) in [
        ("/srv/a1/bin", Some("a1")),
        ("/data/a1/x", Some("a1")),
        ("/srv/b1/_work/x", Some("b1")),
        ("/srv/b10/_work", None),
    ] {
        assert_eq!(runner_of(&[Path::new("/nowhere"), Path::new(path)], &owners), runner, "{path}");
    }
}

#[test]
fn the_end_of_a_run_is_derived_from_its_first_and_last_entry() {
    for (deeds, expected) in [
        (&[ActionKind::Begun, ActionKind::Removed, ActionKind::Ended][..], RunEnd::Complete),
        (&[ActionKind::Ended], RunEnd::Complete),
        (&[ActionKind::Begun, ActionKind::Removed], RunEnd::Open),
        (&[ActionKind::Lease], RunEnd::NothingToDo),
        (&[ActionKind::Lease, ActionKind::Removed], RunEnd::Unknown),
    ] {
        let entries = deeds.iter().zip(1..).map(|(deed, second)| by_root(*deed, second, None)).collect();
        let ends: Vec<RunEnd> = runs(&ledger(entries).entries).into_iter().map(|run| run.end).collect();
        assert_eq!(ends, [expected], "{deeds:?}");
    }
}

#[test]
fn a_path_is_answered_with_the_runs_that_dealt_with_it() {
    let other = record(ActionKind::Removed, 2, Some("/srv/b1/_work/y"));
    let other = other.with(|details| details.run = Some("7-2".into()));
    let ledger = ledger(vec![
        by_root(ActionKind::Repaired, 1, Some("/srv/a1/_work/x/file")),
        written(Some(Uid::ROOT), other),
    ]);
    for asked in ["/srv/a1/_work/x/file", "/srv/a1/_work/x"] {
        let why = ask(&ledger, asked);
        assert_eq!(why.verdict, PathVerdict::Repaired, "{asked}");
        let acts: Vec<_> =
            why.acts.iter().map(|run| run.entries[0].record().details.run.as_deref()).collect();
        assert_eq!((acts, why.runs.len()), (vec![Some("7-1")], 2), "{asked}");
    }
}

#[test]
fn an_environment_is_answered_with_the_entries_that_name_it() {
    let of = |uid, name: &str, second| {
        let record = record(ActionKind::Reaped, second, None);
        written(
            Some(uid),
            record.with(|details| {
                (details.environment, details.scope) = (Some(name.into()), Some(Scope::Reap));
                details.path = None;
            }),
        )
    };
    for (entries, expected) in [
        (vec![of(Uid::ROOT, "vm-1", 1), of(ALICE, "vm-1", 2), of(Uid::ROOT, "vm-2", 3)], Some((1, 1))),
        (vec![of(Uid::ROOT, "vm-1", 1)], Some((1, 0))),
        (vec![of(ALICE, "vm-1", 1)], Some((0, 1))),
        (vec![of(Uid::ROOT, "vm-2", 1)], None),
    ] {
        let why = why_environment(&ledger(entries), "vm-1");
        assert_eq!(why.map(|why| (why.entries.len(), why.foreign.len())), expected);
    }
}

#[test]
fn an_entry_at_the_edge_of_blames_window_is_inside_it() {
    let ledger =
        ledger((9..13).map(|second| by_root(ActionKind::Removed, second, Some("/srv/a1/x"))).collect());
    let beside = |from, to| {
        let blame = blame(&ledger, at(from), Window { from: at(from), to: at(to) });
        (blame.before.map(|judged| judged.record().time), blame.after.map(|judged| judged.record().time))
    };
    assert_eq!(beside(9, 12), (None, None));
    assert_eq!(beside(10, 11), (Some(at(9)), Some(at(12))));
}

#[test]
fn any_number_of_entries_alike_are_put_together_in_no_time() {
    let mut entry = by_root(ActionKind::Kept, 5, Some("/w/a"));
    entry.record.details.sequence = Some(7);
    let copies = |source: Source, count: usize| vec![Entry { sources: vec![source], ..entry.clone() }; count];
    let begun = std::time::Instant::now();
    let merged = merge(vec![copies(Source::Journal, 20_000), copies(Source::File, 30_000)]);
    assert_eq!(merged.len(), 30_000);
    assert_eq!(merged.iter().filter(|entry| entry.sources.len() == 2).count(), 20_000);
    let ledger = ledger(merged);
    let answer = ask(&ledger, "/w/a");
    assert_eq!(answer.entries.len(), 30_000);
    assert_eq!(history(&ledger, Window { from: at(0), to: at(9) }).kept, 30_000);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn the_newest_rejected_entries_are_listed_and_the_rest_is_counted() {
    let mut entries: Vec<Entry> = (0..MAX_FOREIGN as u64 + 7)
        .map(|second| written(None, record(ActionKind::Removed, second, Some("/w/a"))))
        .collect();
    entries.push(by_root(ActionKind::Removed, 0, Some("/w/b")));
    let mut judged = judge(merge(vec![entries]), &owners());
    assert_eq!(bound_foreign(&mut judged), 7);
    assert_eq!(judged.len(), MAX_FOREIGN + 1);
    assert!(judged.iter().any(|judged| judged.trust.is_authentic()));
    assert_eq!(judged.last().unwrap().record().time, at(MAX_FOREIGN as u64 + 6));
}
