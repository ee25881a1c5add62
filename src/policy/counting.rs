//! Which counts of a run's record are trusted. A job can write records in the name of its runner's hook: it may falsify the counts of its
//! own runners, within bounds, and no others.

use crate::model::metrics::{Counter, OUTCOMES, Series, TRASH, Tally};
use crate::model::{EvidenceKind, RemoveReason, Runner, Uid};

/// The most caches and errors that one run can record.
const MAX_COUNT: u64 = 1000;

/// The most bytes that one run can free: a pebibyte.
const MAX_BYTES: u64 = 1 << 50;

/// A hook ends within its time limit and a sweep within an hour.
const MAX_MICROS: u64 = 86_400 * 1_000_000;

/// The most waits for a lock that one run can record.
const MAX_TIMINGS: usize = 256;

/// The facts that records are checked against.
#[derive(Debug, Clone, Copy)]
pub struct FoldInput<'a> {
    /// The user that folds the records: that user's own records are trusted.
    pub trusted: Uid,
    /// The runners of the host.
    pub runners: &'a [Runner],
    /// The names of the cache rules.
    pub rules: &'a [String],
}

/// The part of `tally` that is trusted, given that `writer` wrote it.
pub fn believed(tally: Tally, writer: Uid, input: &FoldInput<'_>) -> Tally {
    let is_trusted = writer == input.trusted;
    let counts = tally.counts.into_iter().filter(|(series, _)| is_named(series));
    let counts = counts.filter(|(series, _)| is_trusted || is_his(series, writer, input));
    let counts = counts.map(|(series, count)| {
        let is_bytes = matches!(series.0, Counter::Reclaimed | Counter::DedupeFreed);
        let limit = if is_bytes { MAX_BYTES } else { MAX_COUNT };
        (series, count.min(limit))
    });
    let timings = tally.timings.into_iter().filter(|(_, micros)| *micros <= MAX_MICROS).take(MAX_TIMINGS);
    Tally { counts: counts.collect(), timings: timings.collect(), sweep: tally.sweep.filter(|_| is_trusted) }
}

/// Whether the labels are values that the guard itself uses.
fn is_named((counter, labels): &Series) -> bool {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match (counter, &labels[..]) {
        (Counter::Actions, [outcome]) => OUTCOMES.contains(outcome),
        (Counter::Refusals, [evidence]) => EvidenceKind::NAMES.contains(evidence),
        (Counter::Reclaimed, [runner, rule, reason]) => {
            let reasons =
                [RemoveReason::Pressure, RemoveReason::Forecast, RemoveReason::Age, RemoveReason::Size];
            match *reason {
                TRASH => runner.is_empty() && rule.is_empty(),
                reason => reasons.iter().any(|known| known.as_str() == reason) && !rule.is_empty(),
            }
        }
        (Counter::DedupeFreed | Counter::JobsRefused | Counter::LockTimeouts | Counter::Errors, []) => true,
        _ => false,
    }
}

/// Whether the labels name only things of the writer.
fn is_his((counter, labels): &Series, writer: Uid, input: &FoldInput<'_>) -> bool {
    // Only sweeps do that.
    if *counter == Counter::DedupeFreed {
        return false;
    }
    let (Counter::Reclaimed, [runner, rule, reason]) = (counter, &labels[..]) else { return true };
    let owns = |known: &Runner| {
        let works_there = known.work_dir().is_some_and(|work| work.owner == writer);
        known.name == *runner && (known.owner == writer || works_there)
    };
    reason == TRASH || (input.rules.contains(rule) && input.runners.iter().any(owns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metrics::{SweepEnd, Timing};
    use crate::model::{FileId, FilesystemId, Work, WorkDir};

    /// The runner's owner and its work directory's owner.
    const KEEPER: Uid = Uid(1000);
    const OWNER: Uid = Uid(1001);
    const OTHER: Uid = Uid(1002);

    fn runner() -> Runner {
        let (id, filesystem) = (FileId { dev: 1, ino: 3 }, FilesystemId { major: 8, minor: 1 });
        let work = WorkDir { path: "/srv/r/_work".into(), id, owner: OWNER, filesystem };
        let root_id = FileId { dev: 1, ino: 2 };
        Runner { name: "r".into(), root: "/srv/r".into(), root_id, owner: KEEPER, work: Work::Present(work) }
    }

    fn judged(writer: Uid, counter: Counter, labels: &[&str], count: u64) -> Option<u64> {
        let (runners, rules) = ([runner()], ["cargo-target".to_owned()]);
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let tally = Tally { counts: [((counter, labels), count)].into(), ..Tally::default() };
        let input = FoldInput { trusted: Uid::ROOT, runners: &runners, rules: &rules };
        believed(tally, writer, &input).counts.into_values().next()
    }

    #[test]
    fn counts_are_accepted_for_the_writers_own_runners_with_known_names_and_within_bounds() {
        use Counter::*;
        for (writer, counter, labels, count, expected) in [
            (OWNER, Reclaimed, &["r", "cargo-target", "pressure"][..], 5, Some(5)),
            (KEEPER, Reclaimed, &["r", "cargo-target", "pressure"], 5, Some(5)),
            (OTHER, Reclaimed, &["r", "cargo-target", "pressure"], 5, None),
            (Uid::ROOT, Reclaimed, &["r", "cargo-target", "pressure"], 5, Some(5)),
            (Uid::ROOT, Reclaimed, &["gone", "old-rule", "age"], 5, Some(5)),
            (OWNER, Reclaimed, &["r", "unheard-of", "pressure"], 5, None),
            (OWNER, Reclaimed, &["r", "cargo-target", "spite"], 5, None),
            (OWNER, Reclaimed, &["r", "cargo-target"], 5, None),
            (OWNER, Reclaimed, &["r", "cargo-target", "size"], u64::MAX, Some(1 << 50)),
            (OWNER, Reclaimed, &["", "", "trash"], 5, Some(5)),
            (OWNER, Reclaimed, &["r", "", "trash"], 5, None),
            (OWNER, Actions, &["removed"], 3, Some(3)),
            (OWNER, Actions, &["removed"], u64::MAX, Some(1000)),
            (OWNER, Actions, &["invented"], 3, None),
            (OWNER, Refusals, &["lease"], 1, Some(1)),
            (OWNER, Refusals, &["mood"], 1, None),
            (OWNER, Errors, &[], 1, Some(1)),
            (OWNER, Errors, &["x"], 1, None),
        ] {
            assert_eq!(judged(writer, counter, labels, count), expected, "{writer} {counter:?} {labels:?}");
        }
    }

    #[test]
    fn sweep_ends_are_accepted_from_the_trusted_user_alone_and_waits_are_at_most_a_day() {
        let end = SweepEnd { at: 1, took: 1, success: true, goal_met: true, wider_contamination: false };
        let day = 24 * 3600 * 1_000_000;
        let timings = [3, day + 1, day].map(|micros| (Timing::LockShared, micros)).to_vec();
        let flood = vec![(Timing::HookStarted, 1); 10_000];
        let tally = Tally { timings: [timings, flood].concat(), sweep: Some(end), ..Tally::default() };
        let input = FoldInput { trusted: Uid::ROOT, runners: &[], rules: &[] };
        let (theirs, ours) = (believed(tally.clone(), OWNER, &input), believed(tally, Uid::ROOT, &input));
        assert_eq!((theirs.sweep, ours.sweep), (None, Some(end)));
        assert_eq!(theirs.timings[..2], [(Timing::LockShared, 3), (Timing::LockShared, day)]);
        assert_eq!(theirs.timings[2].0, Timing::HookStarted);
        assert_eq!(theirs.timings.len(), 256);
    }
}
