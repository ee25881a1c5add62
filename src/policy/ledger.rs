//! What the ledger's entries prove: pure decisions about which writers are trusted, which entry concerns which path, and what a run did.
//!
//! # Trust
//!
//! Root is trusted. A runner's user is trusted where an entry concerns that user's own runners: the user's hooks write such entries. The
//! user's jobs can write the same ones, so an entry of this kind shows what was claimed, not what was done; it can clear or blame only
//! that user. Every other entry is foreign: it is shown as a claim, and no answer relies on it.
//!
//! A program's name (`_EXE`) is shown and decides nothing: a runner's user may run the guard with another configuration, and a process may
//! become another program after it has sent its entry. A user who may start containers as root counts as root.

use crate::model::ledger::{
    ActionKind, Blame, Entry, Extent, History, Judged, Ledger, LedgerRecord, LedgerRun, Ownership,
    PathRelation, PathVerdict, Presence, RunEnd, Scope, Total, Trust, Why, WhyEnvironment, Window,
};
use crate::model::{Pid, Uid};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Two entries without a number are the same when they are this close to each other.
const SAME: Duration = Duration::from_secs(2);

/// How many foreign entries are kept, the newest; of the others only the number is reported.
const MAX_FOREIGN: usize = 1000;

/// Merges the entries of all places, in the order of time. An entry that two places have is one entry with two sources; the first place's
/// account of its writer is kept. Takes time as sorting does, however similar the entries are.
pub fn merge(places: Vec<Vec<Entry>>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for entries in places {
        // One place does not repeat itself: each entry equals at most one of another place.
        let mut elsewhere: HashMap<EntryKey, BTreeMap<SystemTime, VecDeque<usize>>> = HashMap::new();
        if !all.is_empty() {
            for (index, entry) in all.iter().enumerate() {
                let alike = elsewhere.entry(EntryKey::of(entry)).or_default();
                alike.entry(entry.record.time).or_default().push_back(index);
            }
        }
        for entry in entries {
            let same = if elsewhere.is_empty() {
                None
            } else {
                elsewhere.get_mut(&EntryKey::of(&entry)).and_then(|alike| take_same(alike, &entry))
            };
            match same {
                Some(index) => all[index].sources.extend(entry.sources),
                None => all.push(entry),
            }
        }
    }
    all.sort_by_key(|entry| (entry.record.time, entry.record.details.sequence));
    all
}

/// The fields that an entry and its copy have in common. The writer is one of them: nobody can hide another user's entry behind an entry
/// of their own.
#[derive(PartialEq, Eq, Hash)]
struct EntryKey {
    uid: Option<Uid>,
    pid: Option<Pid>,
    boot_id: Option<String>,
    run: Option<String>,
    sequence: Option<u64>,
    deed: ActionKind,
    path: Option<PathBuf>,
}

impl EntryKey {
    fn of(entry: &Entry) -> Self {
        Self {
            uid: entry.writer.uid,
            pid: entry.writer.pid,
            // The journal writes it without hyphens.
            boot_id: entry.writer.boot_id.as_ref().map(|id| id.replace('-', "")),
            run: entry.record.details.run.clone(),
            sequence: entry.record.details.sequence,
            deed: entry.record.deed,
            path: entry.record.details.path.clone(),
        }
    }
}

/// Takes the first of those that have an entry's key which is its copy: by its number, or else by its time.
fn take_same(alike: &mut BTreeMap<SystemTime, VecDeque<usize>>, entry: &Entry) -> Option<usize> {
    let time = match entry.record.details.sequence {
        Some(_) => *alike.keys().next()?,
        None => {
            let from = entry.record.time.checked_sub(SAME).unwrap_or(SystemTime::UNIX_EPOCH);
            let to = entry.record.time.checked_add(SAME).unwrap_or(entry.record.time);
            *alike.range(from..=to).next()?.0
        }
    };
    let same = alike.get_mut(&time)?;
    let index = same.pop_front();
    if same.is_empty() {
        alike.remove(&time);
    }
    index
}

/// Keeps the newest of the foreign entries, and returns how many others there were: anybody can forge any number of them.
pub fn bound_foreign(entries: &mut Vec<Judged>) -> usize {
    let foreign = entries.iter().filter(|judged| !judged.trust.is_authentic()).count();
    let mut excess = foreign.saturating_sub(MAX_FOREIGN);
    let left_out = excess;
    entries.retain(|judged| {
        let goes = excess > 0 && !judged.trust.is_authentic();
        excess -= usize::from(goes);
        !goes
    });
    left_out
}

/// Judges every entry against its writer.
pub fn judge(entries: Vec<Entry>, owners: &[Ownership]) -> Vec<Judged> {
    entries.into_iter().map(|entry| Judged { trust: trust(&entry, owners), entry }).collect()
}

/// Whether an entry is trusted.
pub fn trust(entry: &Entry, owners: &[Ownership]) -> Trust {
    let uid = match entry.writer.uid {
        None => return Trust::Foreign("anybody could have written it".into()),
        Some(Uid::ROOT) => return Trust::Root,
        Some(uid) => uid,
    };
    match speaks_of_own(&entry.record, uid, owners) {
        Ok(()) => Trust::Owner(uid),
        Err(reason) => Trust::Foreign(reason),
    }
}

/// Whether everything that a record names belongs to this user.
fn speaks_of_own(record: &LedgerRecord, uid: Uid, owners: &[Ownership]) -> Result<(), String> {
    let named = |name: &str| {
        let mut runners = owners.iter().filter(|owner| owner.name == name).peekable();
        if runners.peek().is_none() {
            Err(format!("there is no runner {name} here now, so the owner of the entry is unknown"))
        } else if runners.any(|runner| runner.owner == uid) {
            Ok(())
        } else {
            Err(format!("the runner {name} is not uid {uid}'s"))
        }
    };
    let mut names_something = false;
    if let Some(name) = &record.details.runner {
        named(name)?;
        names_something = true;
    }
    if let Some(Scope::Hook(name)) = &record.details.scope {
        named(name)?;
        names_something = true;
    }
    // The path of a filesystem under pressure belongs to no user.
    if let Some(path) = record.details.path.as_deref().filter(|_| record.deed != ActionKind::Pressure) {
        match owner_of(path, owners) {
            None => return Err("its path is in no runner of this host".into()),
            Some(owner) if owner == uid => names_something = true,
            Some(_) => return Err(format!("its path is not uid {uid}'s")),
        }
    }
    let owns_all = !owners.is_empty() && owners.iter().all(|owner| owner.owner == uid);
    let is_of_host = matches!(record.details.scope, Some(Scope::Sweep | Scope::Reap | Scope::Stores))
        || record.details.environment.is_some();
    if owns_all || (names_something && !is_of_host) {
        Ok(())
    } else {
        Err("it concerns the whole host".into())
    }
}

/// The owner of the runner or work directory that holds `path`: that of the longest match. A path with `..` matches none.
fn owner_of(path: &Path, owners: &[Ownership]) -> Option<Uid> {
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    let places =
        owners.iter().flat_map(|owner| [(&owner.root, owner.owner), (&owner.work, owner.work_owner)]);
    let holding = places.filter(|(place, _)| path.starts_with(place));
    holding.max_by_key(|(place, _)| place.components().count()).map(|(_, owner)| owner)
}

/// The runner to which a path belongs.
pub fn runner_of<'o>(paths: &[&Path], owners: &'o [Ownership]) -> Option<&'o str> {
    let holds = |owner: &&Ownership| {
        paths.iter().any(|path| path.starts_with(&owner.root) || path.starts_with(&owner.work))
    };
    owners.iter().find(holds).map(|owner| owner.name.as_str())
}

/// The authentic entries, run by run, in the order in which the runs began.
pub fn runs<'j>(entries: impl IntoIterator<Item = &'j Judged>) -> Vec<LedgerRun> {
    let mut runs: Vec<LedgerRun> =
        groups(entries).into_values().filter_map(|members| run(&members)).collect();
    runs.sort_by_key(|run| run.window.from);
    runs
}

/// The key that the entries of one run share.
type RunKey = (Option<Uid>, Option<String>, Option<Pid>, Option<String>);

fn run_key(judged: &Judged) -> RunKey {
    let writer = &judged.entry.writer;
    let boot_id = writer.boot_id.as_ref().map(|id| id.replace('-', ""));
    (writer.uid, boot_id, writer.pid, judged.record().details.run.clone())
}

fn groups<'j>(entries: impl IntoIterator<Item = &'j Judged>) -> BTreeMap<RunKey, Vec<&'j Judged>> {
    let mut groups: BTreeMap<RunKey, Vec<&Judged>> = BTreeMap::new();
    for judged in entries.into_iter().filter(|judged| judged.trust.is_authentic()) {
        groups.entry(run_key(judged)).or_default().push(judged);
    }
    groups
}

/// The runs that were active in a window. Only these are copied: the ledger may be long.
fn runs_in(entries: &[Judged], window: &Window) -> Vec<LedgerRun> {
    let overlaps_it = |members: &Vec<&Judged>| {
        let ends = members.first().zip(members.last());
        ends.is_some_and(|(first, last)| {
            overlaps(&Window { from: first.record().time, to: last.record().time }, window)
        })
    };
    let inside = groups(entries).into_values().filter(overlaps_it);
    let mut runs: Vec<LedgerRun> = inside.filter_map(|members| run(&members)).collect();
    runs.sort_by_key(|run| run.window.from);
    runs
}

fn run(members: &[&Judged]) -> Option<LedgerRun> {
    let (first, last) = (members.first()?, members.last()?);
    let has = |deed: ActionKind| members.iter().any(|judged| judged.record().deed == deed);
    let only_lease = members.iter().all(|judged| judged.record().deed == ActionKind::Lease);
    let end = match (has(ActionKind::Begun), has(ActionKind::Ended)) {
        (_, true) => RunEnd::Complete,
        (true, false) => RunEnd::Open,
        (false, false) if only_lease => RunEnd::NothingToDo,
        (false, false) => RunEnd::Unknown,
    };
    Some(LedgerRun {
        scope: members.iter().find_map(|judged| judged.record().details.scope.clone()),
        writer: first.entry.writer.clone(),
        trust: first.trust.clone(),
        window: Window { from: first.record().time, to: last.record().time },
        end,
        entries: members.iter().map(|judged| (*judged).clone()).collect(),
        freed_bytes: removed(members.iter().copied())
            .filter_map(|judged| judged.record().details.bytes)
            .sum(),
    })
}

fn removed<'j>(entries: impl Iterator<Item = &'j Judged>) -> impl Iterator<Item = &'j Judged> {
    entries.filter(|judged| judged.record().deed == ActionKind::Removed && judged.trust.is_authentic())
}

/// Answers `why`. `asked` are the path's spellings: as given, and without links.
pub fn why(
    ledger: &Ledger,
    (path, real): (PathBuf, Option<PathBuf>),
    present: Presence,
    runner: Option<String>,
    window: Window,
) -> Why {
    let asked: Vec<&Path> = std::iter::once(path.as_path()).chain(real.as_deref()).collect();
    let related = |judged: &Judged| {
        let record = judged.record();
        // A filesystem under pressure contains every path, and the end of a run concerns none.
        let recorded = record.details.path.as_deref().filter(|_| record.deed != ActionKind::Pressure)?;
        asked.iter().filter_map(|asked| PathRelation::of(recorded, asked)).min()
    };
    let (mut entries, mut foreign) = (Vec::new(), Vec::new());
    for judged in &ledger.entries {
        let Some(relation) = related(judged) else { continue };
        let list = if judged.trust.is_authentic() { &mut entries } else { &mut foreign };
        list.push((relation, judged.clone()));
    }
    let verdict = verdict(&entries, &present, &ledger.extent);
    let dealt_with: HashSet<RunKey> = entries.iter().map(|(_, judged)| run_key(judged)).collect();
    let acts = runs(ledger.entries.iter().filter(|judged| dealt_with.contains(&run_key(judged))));
    let runs = runs_in(&ledger.entries, &window);
    let extent = ledger.extent.clone();
    Why { path, real, present, verdict, entries, acts, foreign, window, runs, extent, runner }
}

/// Answers `why` for the name of an environment; `None` when no entry names one.
pub fn why_environment(ledger: &Ledger, name: &str) -> Option<WhyEnvironment> {
    let about =
        ledger.entries.iter().filter(|judged| judged.record().details.environment.as_deref() == Some(name));
    let (entries, foreign): (Vec<Judged>, Vec<Judged>) =
        about.cloned().partition(|judged| judged.trust.is_authentic());
    let is_named = !entries.is_empty() || !foreign.is_empty();
    is_named.then(|| WhyEnvironment {
        name: name.to_owned(),
        entries,
        foreign,
        extent: ledger.extent.clone(),
    })
}

fn overlaps(one: &Window, other: &Window) -> bool {
    one.from <= other.to && other.from <= one.to
}

fn verdict(entries: &[(PathRelation, Judged)], present: &Presence, extent: &Extent) -> PathVerdict {
    let has = |deed: ActionKind, inside: bool| {
        entries.iter().any(|(relation, judged)| {
            judged.record().deed == deed && inside == (*relation == PathRelation::Contains)
        })
    };
    let is_open = |inside: bool| {
        let ends = entries.iter().rev().filter(|(relation, judged)| {
            inside == (*relation == PathRelation::Contains) && judged.record().deed.touches()
        });
        ends.map(|(_, judged)| judged.record().deed).next() == Some(ActionKind::Claimed)
    };
    if has(ActionKind::Removed, false) {
        PathVerdict::Removed
    } else if is_open(false) {
        PathVerdict::Claimed
    } else if has(ActionKind::Removed, true) || is_open(true) {
        PathVerdict::RemovedInside
    } else if has(ActionKind::Collected, false) {
        PathVerdict::Collected
    } else if has(ActionKind::Restored, false) || has(ActionKind::Restored, true) {
        PathVerdict::Restored
    } else if has(ActionKind::Repaired, false) || has(ActionKind::Repaired, true) {
        PathVerdict::Repaired
    } else if has(ActionKind::Kept, false) || has(ActionKind::Kept, true) {
        PathVerdict::Kept
    } else if reaches_its_end(present, extent) {
        PathVerdict::NotTouched
    } else {
        PathVerdict::NoEvidence
    }
}

/// Whether the ledger is complete since before the path can have vanished.
fn reaches_its_end(present: &Presence, extent: &Extent) -> bool {
    match (extent.complete_since(), present) {
        (None, _) => false,
        (Some(since), Presence::Gone(_, changed)) => since <= *changed,
        (Some(_), Presence::Present | Presence::Hidden(_)) => true,
    }
}

/// Answers `blame`.
pub fn blame(ledger: &Ledger, at: SystemTime, window: Window) -> Blame {
    let is_deed = |judged: &&Judged| {
        let deed = judged.record().deed;
        judged.trust.is_authentic()
            && (deed.touches()
                || matches!(deed, ActionKind::Repaired | ActionKind::Refused | ActionKind::Failed))
    };
    let inside = |judged: &&Judged| window.holds(judged.record().time);
    // A run that began before the window and ended after it was active in it.
    let runs = runs_in(&ledger.entries, &window);
    let foreign = ledger.entries.iter().filter(|judged| !judged.trust.is_authentic()).filter(inside).cloned();
    let before = ledger.entries.iter().filter(is_deed).rfind(|judged| judged.record().time < window.from);
    let after = ledger.entries.iter().filter(is_deed).find(|judged| judged.record().time > window.to);
    Blame {
        at,
        window,
        runs,
        foreign: foreign.collect(),
        before: before.cloned(),
        after: after.cloned(),
        extent: ledger.extent.clone(),
    }
}

/// Answers `history`.
pub fn history(ledger: &Ledger, window: Window) -> History {
    let inside: Vec<&Judged> =
        ledger.entries.iter().filter(|judged| window.holds(judged.record().time)).collect();
    let (authentic, foreign): (Vec<&Judged>, Vec<&Judged>) =
        inside.into_iter().partition(|judged| judged.trust.is_authentic());
    let mut ends: HashMap<(&Option<PathBuf>, &Option<String>), SystemTime> = HashMap::new();
    for judged in &authentic {
        let record = judged.record();
        if matches!(
            record.deed,
            ActionKind::Removed | ActionKind::Restored | ActionKind::Failed | ActionKind::Kept
        ) {
            let end = ends.entry((&record.details.path, &record.details.run)).or_insert(record.time);
            *end = record.time.max(*end);
        }
    }
    let is_finished = |claim: &Judged| {
        let record = claim.record();
        ends.get(&(&record.details.path, &record.details.run)).is_some_and(|end| *end >= record.time)
    };
    let is_shown = |judged: &&&Judged| match judged.record().deed {
        ActionKind::Removed
        | ActionKind::Restored
        | ActionKind::Repaired
        | ActionKind::Reaped
        | ActionKind::Collected
        | ActionKind::Deduplicated
        | ActionKind::Refused
        | ActionKind::Failed
        | ActionKind::LockTimeout => true,
        ActionKind::Claimed => !is_finished(judged),
        ActionKind::Begun
        | ActionKind::Ended
        | ActionKind::Lease
        | ActionKind::Pressure
        | ActionKind::Kept => false,
    };
    let gone = || removed(authentic.iter().copied());
    History {
        window,
        deeds: authentic.iter().filter(is_shown).map(|judged| (*judged).clone()).collect(),
        runs: groups(authentic.iter().copied()).len(),
        kept: authentic.iter().filter(|judged| judged.record().deed == ActionKind::Kept).count(),
        foreign: foreign.into_iter().cloned().collect(),
        by_rule: totals(gone(), |record| record.details.rule.as_deref().or(record.details.reason.as_deref())),
        by_runner: totals(gone(), |record| record.details.runner.as_deref()),
        extent: ledger.extent.clone(),
    }
}

/// The largest first; trash of earlier runs has neither rule nor runner.
fn totals<'j>(
    entries: impl Iterator<Item = &'j Judged>,
    name: impl Fn(&LedgerRecord) -> Option<&str>,
) -> Vec<Total> {
    let mut sums: BTreeMap<&str, Total> = BTreeMap::new();
    for judged in entries {
        let name = name(judged.record()).unwrap_or("-");
        let total = sums.entry(name).or_insert_with(|| Total { name: name.to_owned(), ..Total::default() });
        total.count += 1;
        total.bytes = total.bytes.saturating_add(judged.record().details.bytes.unwrap_or(0));
    }
    let mut totals: Vec<Total> = sums.into_values().collect();
    totals.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name)));
    totals
}

#[cfg(test)]
mod tests;
