//! The output of a hook in a job's log: one group of plain lines, and at most one annotation.
//!
//! A hook's output is parsed for workflow commands, and a name from disk must never become one: every line passes through
//! [`escape::log_line`], the group's title and the annotation through the runner's own escapes. [`JobLog::finish`] writes the annotation
//! of a group, and consumes the log: there cannot be a second one. [`Warning::write`] is for a hook without a group; the job's lease
//! records that it already has an annotation.

use super::{escape, words};
use crate::model::{ActionResult, CacheHolder, Outcome, RunReport, SpaceHolder, Weight, strongest};
use std::collections::HashSet;
use std::io::{self, Write};
use std::time::SystemTime;

/// The maximum of kept caches that are listed; a job's log is no inventory of the host.
const LISTED: usize = 20;

/// An open group in a job's log. Dropping it closes the group.
#[derive(Debug)]
#[must_use = "`finish` reports whether it could be written"]
pub struct JobLog<W: Write> {
    out: W,
    open: bool,
}

/// A warning annotation: shown on the run's page, so it says what the administrators have to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The annotation's command.
    command: &'static str,
    title: String,
    text: String,
}

impl Warning {
    /// Title and text; names in them need not be escaped.
    pub fn new(title: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        Self {
            command: "warning",
            title: escape::log_line(title.as_ref()),
            text: escape::log_line(text.as_ref()),
        }
    }

    /// The same for a job that is not started.
    pub fn error(title: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        Self { command: "error", ..Self::new(title, text) }
    }

    /// The warning of a run: none when its goal is met.
    pub fn of_run(report: &RunReport) -> Option<Self> {
        if report.goal_met {
            return None;
        }
        let kept: u64 = report
            .outcomes
            .iter()
            .filter(|o| o.result == ActionResult::Kept)
            .map(|o| o.action.cache.bytes())
            .sum();
        let text = format!(
            "This runner's host is short of disk space, which is not this job's fault: {}. disk-guard freed {}; {} of caches are in \
             use or must be kept.{} `disk-guard status` on the host shows more.",
            fullness(report),
            words::size(report.freed_bytes),
            words::size(kept),
            held(report),
        );
        Some(Self::new("Host disk nearly full", text))
    }
}

/// How full each disk is now.
fn fullness(report: &RunReport) -> String {
    let disks = report.balances.iter().map(|balance| {
        let (percent, free) = (balance.after.used_percent(), words::size(balance.after.available_bytes));
        let inodes = words::few_inodes(&balance.after);
        format!("{} is {percent}% full ({free} available{inodes})", escape::path(&balance.before.mount))
    });
    disks.collect::<Vec<_>>().join(", ")
}

/// Holders of a disk that an annotation names.
const NAMED: usize = 3;

/// What holds the disk beside caches: the largest.
fn held(report: &RunReport) -> String {
    let name = |holder: &SpaceHolder| {
        format!("{} ({}, {})", escape::path(&holder.path), words::held(holder), holder.class.in_words())
    };
    let named: Vec<String> = report.holding.iter().take(NAMED).map(name).collect();
    if named.is_empty() { String::new() } else { format!(" Beside caches: {}.", named.join("; ")) }
}

/// The effect of a full disk on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskEffect<'a> {
    /// The disk stays above its critical mark, and the job begins all the same.
    Critical,
    /// The job was refused.
    Refused,
    /// The job's own runner found the disk full; the line of its log about that.
    NoSpace(&'a str),
}

impl Warning {
    /// The host's disk is the cause, and these hold it.
    pub fn of_disk(met: DiskEffect<'_>, report: &RunReport, holders: &[CacheHolder]) -> Self {
        let what = match met {
            DiskEffect::Critical => "The disk stays above its critical mark".to_owned(),
            DiskEffect::Refused => {
                "The disk is above its critical mark and nothing more can be freed, so the job was not started".to_owned()
            }
            DiskEffect::NoSpace(line) => format!("The runner found no space on a disk (its log: {})", escape::text(line)),
        };
        let disks = match fullness(report) {
            disks if disks.is_empty() => disks,
            disks => format!(": {disks}"),
        };
        let holders: Vec<String> = holders.iter().map(holder).collect();
        let holders = match holders.as_slice() {
            [] => "No cache known to disk-guard uses much of it.".to_owned(),
            holders => format!("Most of its caches: {}.", holders.join("; ")),
        };
        let text = format!(
            "{what}{disks}. The cause is the host's infrastructure, not this change. {holders}{} `disk-guard status` on the host shows more.",
            held(report)
        );
        let command = if met == DiskEffect::Refused { "error" } else { "warning" };
        Self { command, ..Self::new("This host's disk, not your change", text) }
    }

    /// Writes it outside of any group.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn write(self, mut out: impl Write) -> io::Result<()> {
        let (title, text) = (escape::command_property(&self.title), escape::command_data(&self.text));
        writeln!(out, "::{} title={title}::{text}", self.command)?;
        out.flush()
    }
}

/// `runner-2 holds 8.00 GiB (acme/app run 77)`
fn holder(holding: &CacheHolder) -> String {
    let by = match holding.job.as_ref().filter(|job| !job.repository.is_empty()) {
        Some(job) => format!("{} run {}", escape::text(&job.repository), escape::text(&job.run_id)),
        None => "no job".to_owned(),
    };
    format!("{} holds {} ({by})", escape::text(&holding.runner), words::size(holding.bytes))
}

impl<W: Write> JobLog<W> {
    /// Opens the group `disk-guard TITLE`.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn open(mut out: W, title: &str) -> io::Result<Self> {
        writeln!(out, "::group::disk-guard {}", escape::command_data(&escape::log_line(title)))?;
        Ok(Self { out, open: true })
    }

    /// Writes a plain line. Names in it are expected to be escaped for people; it cannot become a command either way.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{}", escape::log_line(line))
    }

    /// Writes the result of a run: disks, removals, failures, kept caches with the reason.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn run(&mut self, report: &RunReport, now: SystemTime) -> io::Result<()> {
        for balance in &report.balances {
            self.line(&format!(
                "{}: {}% -> {}% used, {} available{}",
                escape::path(&balance.before.mount),
                balance.before.usage.used_percent(),
                balance.after.used_percent(),
                words::size(balance.after.available_bytes),
                words::few_inodes(&balance.after),
            ))?;
            if let Some(short) = &balance.shortfall {
                self.line(&format!("{}: {}", escape::path(&balance.before.mount), words::shortfall(short)))?;
            }
        }
        let (kept, touched): (Vec<_>, Vec<_>) =
            report.outcomes.iter().partition(|o| o.result == ActionResult::Kept);
        for outcome in touched {
            self.line(&touched_line(outcome, now))?;
        }
        // A hook's user sees no processes of other users: that is normal on a host with several, and not reported for each cache.
        let (unexamined, kept): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|outcome| is_unexamined(outcome));
        if !unexamined.is_empty() {
            self.line(&unexamined_line(&unexamined))?;
        }
        for outcome in kept.iter().take(LISTED) {
            self.line(&kept_line(outcome))?;
        }
        if let Some(more @ 1..) = kept.len().checked_sub(LISTED) {
            self.line(&format!(
                "kept     {}; `disk-guard plan` lists them",
                words::count(more, "more cache")
            ))?;
        }
        for note in &report.notes {
            self.line(&format!("note: {}", escape::text(note)))?;
        }
        Ok(())
    }

    /// Closes the group, then writes the run's only annotation, if any: inside the group it would be folded away.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn finish(mut self, warning: Option<Warning>) -> io::Result<()> {
        self.close()?;
        match warning {
            Some(warning) => warning.write(&mut self.out),
            None => self.out.flush(),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.open = false;
        writeln!(self.out, "::endgroup::")
    }
}

impl<W: Write> Drop for JobLog<W> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.close();
        }
    }
}

fn touched_line(outcome: &Outcome, now: SystemTime) -> String {
    let (action, cache) = (&outcome.action, &outcome.action.cache);
    let why = match outcome.result {
        ActionResult::Removed | ActionResult::Planned => String::new(),
        _ => format!("; {}", words::setback(&outcome.result)),
    };
    let (name, size) = (outcome.result.as_str(), words::cache_size(cache));
    format!("{name:<8} {size:>9}  {}  ({}{why})", escape::path(&cache.path), words::removal(action, now))
}

fn is_unexamined(outcome: &Outcome) -> bool {
    strongest(outcome.evidence()).is_some_and(|evidence| evidence.weight == Weight::CannotTell)
}

/// `left     3 caches, 12.0 GiB, of 2 runners that cannot be examined from here: the sweep sees to them`
fn unexamined_line(outcomes: &[&Outcome]) -> String {
    let runners: HashSet<_> = outcomes.iter().map(|outcome| outcome.action.runner.root_id).collect();
    let bytes = outcomes.iter().map(|outcome| outcome.action.cache.bytes()).sum();
    format!(
        "left     {}, {}, of {} that cannot be examined from here: the sweep handles them",
        words::count(outcomes.len(), "cache"),
        words::size(bytes),
        words::count(runners.len(), "runner")
    )
}

fn kept_line(outcome: &Outcome) -> String {
    let (action, cache) = (&outcome.action, &outcome.action.cache);
    let (size, runner) = (words::cache_size(cache), escape::text(&action.runner.name));
    let why = words::decision(&action.decision);
    format!("kept     {size:>9}  {}  ({runner}: {why})", escape::path(&cache.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    fn written(title: &str, write: impl FnOnce(JobLog<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        write(JobLog::open(&mut out, title).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_in_a_jobs_log() {
        let report = samples::run(Execution::Apply);
        let text = written("started", |mut log| {
            log.run(&report, samples::now()).unwrap();
            log.finish(Warning::of_run(&report)).unwrap();
        });
        insta::assert_snapshot!(text, @r"
        ::group::disk-guard started
        /home: 92% -> 88% used, 29.0 GiB available
        removed   8.00 GiB  /home/ci/runner-2/_work/app/app/target  (runner-2, cargo-target: its disk is under pressure; newest file 3 d old)
        failed    2.00 GiB  /home/ci/runner-2/_work/caf\xe9/caf\xe9/target  (runner-2, cargo-target: older than its rule's max_age; newest file 9 d old; failed: unlinkat \x1b[2Jx: permission denied)
        restored  3.00 GiB  /home/ci/runner-3/_work/app/app/target  (runner-3, cargo-target: its disk is under pressure; newest file 4 d old; returned after the claim: Worker pid 4711)
        kept      12.0 GiB  /home/ci/runner-1/_work/app/app/target  (runner-1: Worker pid 4711)
        kept      1.00 GiB  /home/ci/runner-1/_work/lib/lib/target  (runner-1: Worker pid 4711)
        note: /opt/actions-runner* matches nothing
        ::endgroup::
        ::warning title=Host disk nearly full::This runner's host is short of disk space, which is not this job's fault: /home is 88%25 full (29.0 GiB available). disk-guard freed 8.00 GiB; 13.0 GiB of caches are in use or must be kept. `disk-guard status` on the host shows more.
        ");
    }

    #[test]
    fn a_met_goal_is_no_warning() {
        assert_eq!(Warning::of_run(&RunReport { goal_met: true, ..RunReport::default() }), None);
    }

    #[test]
    fn a_full_disk_names_its_holders_and_no_command() {
        let job = |repository: &str| {
            Some(crate::model::Job { repository: repository.into(), run_id: "77".into(), job: "b".into() })
        };
        let holders = [
            CacheHolder { runner: "runner-2".into(), bytes: 8 * samples::GIB, job: job("acme/app") },
            CacheHolder { runner: "x\n::error::y".into(), bytes: 1, job: job("##[add-mask]\r\n::error::z") },
            CacheHolder { runner: "runner-3".into(), bytes: 1024, job: None },
        ];
        let mut out = Vec::new();
        for met in [
            DiskEffect::Critical,
            DiskEffect::Refused,
            DiskEffect::NoSpace("No space left\n::error::on device"),
        ] {
            Warning::of_disk(met, &samples::run(Execution::Apply), &holders[..]).write(&mut out).unwrap();
        }
        Warning::of_disk(DiskEffect::Critical, &RunReport::default(), &[]).write(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        ::warning title=This host's disk%2C not your change::The disk stays above its critical mark: /home is 88%25 full (29.0 GiB available). The cause is the host's infrastructure, not this change. Most of its caches: runner-2 holds 8.00 GiB (acme/app run 77); x\n::error::y holds 1 B (#\x23[add-mask]\r\n::error::z run 77); runner-3 holds 1 KiB (no job). `disk-guard status` on the host shows more.
        ::error title=This host's disk%2C not your change::The disk is above its critical mark and nothing more can be freed, so the job was not started: /home is 88%25 full (29.0 GiB available). The cause is the host's infrastructure, not this change. Most of its caches: runner-2 holds 8.00 GiB (acme/app run 77); x\n::error::y holds 1 B (#\x23[add-mask]\r\n::error::z run 77); runner-3 holds 1 KiB (no job). `disk-guard status` on the host shows more.
        ::warning title=This host's disk%2C not your change::The runner found no space on a disk (its log: No space left\n::error::on device): /home is 88%25 full (29.0 GiB available). The cause is the host's infrastructure, not this change. Most of its caches: runner-2 holds 8.00 GiB (acme/app run 77); x\n::error::y holds 1 B (#\x23[add-mask]\r\n::error::z run 77); runner-3 holds 1 KiB (no job). `disk-guard status` on the host shows more.
        ::warning title=This host's disk%2C not your change::The disk stays above its critical mark. The cause is the host's infrastructure, not this change. No cache known to disk-guard uses much of it. `disk-guard status` on the host shows more.
        ");
    }

    #[test]
    fn an_annotation_names_what_holds_the_disk_beside_caches() {
        let report = RunReport { holding: samples::holding(), ..samples::run(Execution::Apply) };
        let mut out = Vec::new();
        Warning::of_run(&report).unwrap().write(&mut out).unwrap();
        Warning::of_disk(DiskEffect::Critical, &report, &[]).write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let told = " Beside caches: /home/ci/runner-1/_work/_tool/go (60.0 GiB, tool cache); \
                    /home/ci/runner-1/_work/x/x/b\\n::error:: (>= 7.00 GiB, build tree without a rule). `disk-guard status`";
        assert_eq!((text.matches(told).count(), text.lines().count()), (2, 2), "{text}");
    }

    #[test]
    fn hostile_names_never_become_commands() {
        let hostile = "x\n::error::boom\r##[add-mask]%0A::set-output::";
        let mut report = samples::run(Execution::Apply);
        for outcome in &mut report.outcomes {
            outcome.action.runner.name = hostile.into();
            outcome.action.cache.path = hostile.into();
            outcome.action.cache.rule = hostile.into();
        }
        report.balances[0].before.mount = hostile.into();
        report.notes = vec![hostile.into()];
        let text = written(hostile, |mut log| {
            log.run(&report, samples::now()).unwrap();
            log.line(hostile).unwrap();
            log.line("::stop-commands::x").unwrap();
            log.finish(Warning::of_run(&report)).unwrap();
        });
        let commands: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
            .map(|line| line[2..].split([':', ' ']).next().unwrap())
            .collect();
        assert_eq!(commands, ["group", "endgroup", "warning"], "{text}");
        assert!(!text.contains('\r'));
        assert_eq!(text.matches("##[").count(), 0);
    }

    #[test]
    fn the_group_is_closed_even_when_nobody_finishes() {
        let text = written("started", |mut log| log.line("one").unwrap());
        assert_eq!(text, "::group::disk-guard started\none\n::endgroup::\n");
    }

    #[test]
    fn a_long_list_of_kept_caches_is_cut() {
        let mut report = samples::run(Execution::Apply);
        let kept = report.outcomes.pop().unwrap();
        report.outcomes = vec![kept; LISTED + 3];
        let text = written("x", |mut log| log.run(&report, samples::now()).unwrap());
        assert!(text.contains("kept     3 more caches; `disk-guard plan` lists them"), "{text}");
    }
}
