//! `plan` and `sweep` for people: the removals, what was not done, everything that is kept with the reason, and the disks before and
//! after.

use super::screen::{Screen, Tone};
use super::{few, notes, words};
use crate::model::dedupe::DedupeReport;
use crate::model::{
    ActionResult, Balance, Cache, Decision, EvidenceKind, FileId, KeepReason, Outcome, RunReport, Usage,
};
use crate::report::escape;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::SystemTime;

/// The maximum of items that a section lists, of one runner and of all: jobs make any number of caches, and the rest is a sum.
const LISTED_OF_ONE: usize = 64;
const LISTED_OF_ALL: usize = 1024;

/// The report of a run, or of a dry one.
pub fn run(report: &RunReport, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    headline(report, screen, &mut out);
    balances(report, screen, &mut out);
    let of = |wanted: fn(&ActionResult) -> bool| report.outcomes.iter().filter(move |o| wanted(&o.result));
    let gone = |r: &ActionResult| matches!(r, ActionResult::Planned | ActionResult::Removed);
    let kept = |r: &ActionResult| matches!(r, ActionResult::Kept);
    let undone =
        |r: &ActionResult| !matches!(r, ActionResult::Planned | ActionResult::Removed | ActionResult::Kept);
    let heading = if report.dry_run { "Would remove" } else { "Removed" };
    removals(heading, of(gone).collect(), now, screen, &mut out);
    setbacks(of(undone).collect(), now, screen, &mut out);
    stays(of(kept).collect(), now, screen, &mut out);
    targets(report, now, screen, &mut out);
    if let Some(dedupe) = &report.dedupe {
        let text = escape::text(&shared_blocks(dedupe)).into_owned();
        screen.paragraph(&mut out, Tone::Plain, "Shared blocks: ", &text);
    }
    if !report.holding.is_empty() {
        out.push('\n');
        super::holding(&mut out, screen, &report.holding);
    }
    if !report.notes.is_empty() {
        out.push('\n');
        notes(&mut out, screen, &report.notes);
    }
    out
}

fn headline(report: &RunReport, screen: &Screen, out: &mut String) {
    let goal = match (report.goal_met, report.dry_run) {
        (true, true) => screen.paint(Tone::Good, "The goal would be met."),
        (true, false) => screen.paint(Tone::Good, "The goal is met."),
        (false, true) => screen.paint(Tone::Bad, "The goal would NOT be met."),
        (false, false) => screen.paint(Tone::Bad, "The goal is NOT met."),
    };
    let what = if report.dry_run {
        format!("Dry run, nothing was touched. Would free {}.", words::size(planned(report)))
    } else {
        format!("Freed {}.", words::size(report.freed_bytes))
    };
    let _ = writeln!(out, "{what} {goal}");
}

fn planned(report: &RunReport) -> u64 {
    let planned = report.outcomes.iter().filter(|o| o.result == ActionResult::Planned);
    planned.map(|o| o.action.cache.bytes()).sum()
}

fn balances(report: &RunReport, screen: &Screen, out: &mut String) {
    for balance in &report.balances {
        let after = if report.dry_run { expected(report, balance) } else { balance.after };
        let about = if report.dry_run { "about " } else { "" };
        let before = &balance.before.usage;
        let text = format!(
            "{}% -> {about}{}% used, {} -> {about}{} available{}",
            before.used_percent(),
            after.used_percent(),
            words::size(before.available_bytes),
            words::size(after.available_bytes),
            words::few_inodes(&after),
        );
        screen.paragraph(out, Tone::Plain, &format!("  {}: ", escape::path(&balance.before.mount)), &text);
        if let Some(short) = &balance.shortfall {
            screen.paragraph(out, Tone::Warn, "    ", &words::shortfall(short));
        }
    }
}

/// A filesystem's usage after the planned removals. An estimate: builds continue meanwhile.
fn expected(report: &RunReport, balance: &Balance) -> Usage {
    let here = |o: &&Outcome| {
        let base = o.action.cache.base(&o.action.runner);
        o.result == ActionResult::Planned && base.is_some_and(|base| base.filesystem == balance.before.id)
    };
    let caches = || report.outcomes.iter().filter(here).map(|o| &o.action.cache);
    let entries = |cache: &Cache| cache.measure.map_or(0, |measure| measure.files + measure.directories);
    let usage = balance.before.usage;
    let bytes = caches().map(Cache::bytes).sum::<u64>().min(usage.used_bytes);
    let inodes_free = usage.inodes_free.saturating_add(caches().map(entries).sum()).min(usage.inodes_total);
    Usage {
        used_bytes: usage.used_bytes - bytes,
        available_bytes: usage.available_bytes + bytes,
        inodes_free,
        ..usage
    }
}

/// `SIZE  PATH`, and below it the reason. The path is whole, whatever the width, so that it can be copied.
fn entry(outcome: &Outcome, why: &str, screen: &Screen, out: &mut String) {
    let cache = &outcome.action.cache;
    let _ = writeln!(out, "  {:>11}  {}", words::cache_size(cache), escape::path(&cache.path));
    screen.paragraph(out, Tone::Plain, &" ".repeat(15), why);
}

fn heading(name: &str, tone: Tone, outcomes: &[&Outcome], screen: &Screen, out: &mut String) {
    let bytes = outcomes.iter().map(|o| o.action.cache.bytes()).sum();
    let count = words::count(outcomes.len(), "cache");
    let _ = writeln!(out, "\n{}  {count}, {}", screen.paint(tone, name), words::size(bytes));
}

fn removals(name: &str, outcomes: Vec<&Outcome>, now: SystemTime, screen: &Screen, out: &mut String) {
    if outcomes.is_empty() {
        return;
    }
    heading(name, Tone::Good, &outcomes, screen, out);
    let mut room = RoomLine::default();
    for outcome in outcomes.into_iter().filter(|outcome| room.takes(outcome)) {
        entry(outcome, &words::removal(&outcome.action, now), screen, out);
    }
    room.close(out);
}

fn setbacks(outcomes: Vec<&Outcome>, now: SystemTime, screen: &Screen, out: &mut String) {
    if outcomes.is_empty() {
        return;
    }
    heading("Not done", Tone::Warn, &outcomes, screen, out);
    let mut room = RoomLine::default();
    for outcome in outcomes.into_iter().filter(|outcome| room.takes(outcome)) {
        let why = format!("{}; {}", words::removal(&outcome.action, now), words::setback(&outcome.result));
        entry(outcome, &why, screen, out);
    }
    room.close(out);
}

/// How much of the targets that were read is used by no build.
fn targets(report: &RunReport, now: SystemTime, screen: &Screen, out: &mut String) {
    let unused = report.targets.iter().filter_map(|target| Some((target, words::unused(target, now)?)));
    for (index, (target, text)) in unused.enumerate() {
        if index == 0 {
            let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "What no build uses"));
        }
        let _ = writeln!(out, "  {:>11}  {}", words::size(target.unused_bytes), escape::path(&target.path));
        screen.paragraph(out, Tone::Plain, &" ".repeat(15), &text);
    }
}

/// Anything that cannot be seen for several runners alike holds for the whole host.
fn blindness(outcomes: &[&Outcome]) -> Vec<String> {
    let mut hidden: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes {
        for blind in outcome.evidence().iter().filter(|evidence| evidence.kind == EvidenceKind::Visibility) {
            hidden.entry(&blind.detail).or_default().insert(&outcome.action.runner.name);
        }
    }
    hidden.into_iter().filter(|(_, runners)| runners.len() > 1).map(|(reason, _)| reason.to_owned()).collect()
}

/// Kept caches, those with the same reason together: a busy runner with twenty caches is one fact, and so is a disk without a shortfall.
fn stays(outcomes: Vec<&Outcome>, now: SystemTime, screen: &Screen, out: &mut String) {
    if outcomes.is_empty() {
        return;
    }
    heading("Kept", Tone::Busy, &outcomes, screen, out);
    let told = blindness(&outcomes);
    let mut groups: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    let mut room = RoomLine::default();
    for outcome in outcomes.into_iter().filter(|outcome| room.takes(outcome)) {
        let decision = &outcome.action.decision;
        let blind = match decision {
            Decision::Keep(KeepReason::Protected(list)) => words::strongest_but(list, &told),
            _ => None,
        };
        let why = blind.unwrap_or_else(|| words::decision(decision));
        groups.entry(why).or_default().push(outcome);
    }
    for members in groups.values_mut() {
        members.sort_by_key(|outcome| &outcome.action.runner.name);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, members)| members.first().map(|outcome| &outcome.action.runner.name));
    for (why, members) in groups {
        let mut names: Vec<&str> = members.iter().map(|o| o.action.runner.name.as_str()).collect();
        names.dedup();
        let label = format!("  {}: ", escape::text(&few(&names)));
        screen.paragraph(out, Tone::Plain, &label, &why);
        for outcome in members {
            let cache = &outcome.action.cache;
            let age =
                words::newest(cache, now).map(|age| format!("  (newest file {age})")).unwrap_or_default();
            let _ = writeln!(out, "  {:>11}  {}{age}", words::cache_size(cache), escape::path(&cache.path));
        }
    }
    room.close(out);
    for reason in told {
        let text =
            format!("{}. What cannot be seen counts as in use; root sees more.", escape::text(&reason));
        screen.paragraph(out, Tone::Warn, "visibility is partial: ", &text);
    }
}

/// How much of a section has been listed, and the sum of the rest.
#[derive(Default)]
struct RoomLine {
    listed: usize,
    of_one: HashMap<FileId, usize>,
    left_out: usize,
    bytes: u64,
}

impl RoomLine {
    /// Whether there is room for one more.
    fn takes(&mut self, outcome: &Outcome) -> bool {
        let of_one = self.of_one.entry(outcome.action.runner.root_id).or_default();
        if self.listed >= LISTED_OF_ALL || *of_one >= LISTED_OF_ONE {
            self.left_out += 1;
            self.bytes = self.bytes.saturating_add(outcome.action.cache.bytes());
            return false;
        }
        self.listed += 1;
        *of_one += 1;
        true
    }

    fn close(&self, out: &mut String) {
        if self.left_out > 0 {
            let size = words::size(self.bytes);
            let _ = writeln!(out, "  {:>11}  in {} more; --json lists all", size, self.left_out);
        }
    }
}

/// Equal files of several runners.
fn shared_blocks(report: &DedupeReport) -> String {
    let pairs = words::count_u64(report.pairs, "pair");
    let pair_bytes = words::size(report.pair_bytes);
    let of = format!("{pairs} of one repository, name and size ({pair_bytes})");
    if report.dry_run {
        return format!("{of} would be compared, unless they already share their blocks");
    }
    let ended = report.ended.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!(
        "{of}; {} compared, {} equal, {} shared before, {} different, {} failed; freed {} in {}{ended}",
        words::size(report.compared_bytes),
        words::size(report.shared_bytes),
        report.already,
        report.differing,
        report.failed,
        words::size(report.freed_bytes),
        words::span(report.took)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn a_sweep() {
        insta::assert_snapshot!(run(&samples::run(Execution::Apply), samples::now(), &Screen::plain(90)), @r"
        Freed 8.00 GiB. The goal is NOT met.
          /home: 92% -> 88% used, 21.0 GiB -> 29.0 GiB available

        Removed  1 cache, 8.00 GiB
             8.00 GiB  /home/ci/runner-2/_work/app/app/target
                       runner-2, cargo-target: its disk is under pressure; newest file 3 d old

        Not done  2 caches, 5.00 GiB
             2.00 GiB  /home/ci/runner-2/_work/caf\xe9/caf\xe9/target
                       runner-2, cargo-target: older than its rule's max_age; newest file 9 d old;
                       failed: unlinkat \x1b[2Jx: permission denied
             3.00 GiB  /home/ci/runner-3/_work/app/app/target
                       runner-3, cargo-target: its disk is under pressure; newest file 4 d old;
                       returned after the claim: Worker pid 4711

        Kept  2 caches, 13.0 GiB
          runner-1: Worker pid 4711
             12.0 GiB  /home/ci/runner-1/_work/app/app/target  (newest file 2 min old)
             1.00 GiB  /home/ci/runner-1/_work/lib/lib/target  (newest file 2 min old)

        note: /opt/actions-runner* matches nothing
        ");
    }

    #[test]
    fn a_flood_of_one_runner_is_a_sum_and_hides_no_other() {
        let mut report = samples::run(Execution::Apply);
        let kept =
            report.outcomes.iter().find(|o| o.result == ActionResult::Kept).expect("one is kept").clone();
        let mut flood = kept.clone();
        flood.action.runner.root_id = FileId { dev: 9, ino: 9 };
        flood.action.runner.name = "a-flood".into();
        report.outcomes.splice(0..0, std::iter::repeat_n(flood, 20_000));
        let text = run(&report, samples::now(), &Screen::plain(90));
        let path = escape::path(&kept.action.cache.path).to_string();
        assert_eq!(text.matches(&path).count(), LISTED_OF_ONE + 1, "{text}");
        assert!(text.contains("Kept  20002 caches"), "the sum is of all: {text}");
        assert!(text.contains("  in 19936 more; --json lists all\n"), "{text}");
        assert!(text.contains("  a-flood, runner-1: Worker pid 4711\n"), "{text}");
        let names = ["Removed", "Not done"].map(|name| text.matches(name).count());
        assert_eq!(names, [1, 1]);
    }

    #[test]
    fn a_plan() {
        insta::assert_snapshot!(run(&samples::run(Execution::DryRun), samples::now(), &Screen::plain(90)), @r"
        Dry run, nothing was touched. Would free 13.0 GiB. The goal would NOT be met.
          /home: 92% -> about 86% used, 21.0 GiB -> about 34.0 GiB available

        Would remove  3 caches, 13.0 GiB
             8.00 GiB  /home/ci/runner-2/_work/app/app/target
                       runner-2, cargo-target: its disk is under pressure; newest file 3 d old
             2.00 GiB  /home/ci/runner-2/_work/caf\xe9/caf\xe9/target
                       runner-2, cargo-target: older than its rule's max_age; newest file 9 d old
             3.00 GiB  /home/ci/runner-3/_work/app/app/target
                       runner-3, cargo-target: its disk is under pressure; newest file 4 d old

        Kept  2 caches, 13.0 GiB
          runner-1: Worker pid 4711
             12.0 GiB  /home/ci/runner-1/_work/app/app/target  (newest file 2 min old)
             1.00 GiB  /home/ci/runner-1/_work/lib/lib/target  (newest file 2 min old)

        note: /opt/actions-runner* matches nothing
        ");
    }

    #[test]
    fn a_missed_goal_comes_with_what_holds_the_disk() {
        let report = RunReport { holding: samples::holding(), ..RunReport::default() };
        let text = run(&report, samples::now(), &Screen::plain(90));
        let told: Vec<&str> = text.lines().skip_while(|line| *line != "What holds the disk").collect();
        assert_eq!(
            told,
            [
                "What holds the disk",
                "     60.0 GiB  /home/ci/runner-1/_work/_tool/go",
                "               tool cache: remove it",
                "  >= 7.00 GiB  /home/ci/runner-1/_work/x/x/b\\n::error::",
                "               build tree without a rule: remove it",
            ],
            "{text}"
        );
    }

    #[test]
    fn nothing_to_do() {
        let report = RunReport { goal_met: true, ..RunReport::default() };
        insta::assert_snapshot!(run(&report, samples::now(), &Screen::plain(90)), @"Freed 0 B. The goal is met.");
    }
}
