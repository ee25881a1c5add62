use super::*;
use crate::model::incident::IncidentKind::{
    CriticalDisk, DeadSweep, GoalMissed, Leak, RefusedJob, WiderContamination,
};
use crate::model::reap::{ReapCounts, ReapEntryRecord};
use crate::model::{Filesystem, FilesystemId, Usage};
use std::time::SystemTime;

const NOW: u64 = 1_000_000;
const DAY: u64 = 86_400;
const INTERVALS: RepeatIntervals = RepeatIntervals { repeat: DAY, interval: 300 };

fn sweep() -> SweepEnd {
    SweepEnd { at: NOW - 600, took: 1, success: true, goal_met: true, wider_contamination: false }
}

fn disk(mount: &str, level: Level) -> FilesystemStatus {
    let gib = 1 << 30;
    let usage = Usage {
        total_bytes: 100 * gib,
        used_bytes: 98 * gib,
        available_bytes: 2 * gib,
        inodes_total: 0,
        inodes_free: 0,
    };
    let id = FilesystemId { major: 8, minor: 1 };
    FilesystemStatus {
        filesystem: Filesystem { id, mount: mount.into(), fs_type: "ext4".into(), usage },
        level,
    }
}

fn kinds(seen: &NotifyInput<'_>) -> Vec<IncidentKind> {
    look(seen).incidents.iter().map(|incident| incident.kind).collect()
}

fn seen(last: Option<SweepEnd>) -> NotifyInput<'static> {
    let sweeps = Some(Sweeps { last, jobs_refused: 0 });
    NotifyInput { now: NOW, booted: NOW - 7 * DAY, filesystems: Some(&[]), sweeps, reaper: None }
}

#[test]
fn a_healthy_host_has_no_incident_and_each_fault_is_one() {
    assert_eq!(kinds(&seen(Some(sweep()))), []);
    for (last, expected) in [
        (SweepEnd { goal_met: false, ..sweep() }, GoalMissed),
        (SweepEnd { wider_contamination: true, ..sweep() }, WiderContamination),
        (SweepEnd { success: false, ..sweep() }, DeadSweep),
        (SweepEnd { at: NOW - 2 * 3600, ..sweep() }, DeadSweep),
    ] {
        assert_eq!(kinds(&seen(Some(last))), [expected], "{last:?}");
    }
    let disks = [disk("/home", Level::High), disk("/srv/\u{1b}ci", Level::Critical)];
    let found = look(&NotifyInput { filesystems: Some(&disks), ..seen(Some(sweep())) }).incidents;
    assert_eq!(found.len(), 1, "one of its two disks is critical: {found:?}");
    assert_eq!((found[0].kind, found[0].subject.as_str()), (CriticalDisk, "/srv/\\x1bci"));
    assert!(found[0].text.contains("98% used"), "{}", found[0].text);
}

#[test]
fn a_sweep_is_missed_only_after_the_longest_one_and_never_right_after_a_boot() {
    let silent = |last: Option<u64>, booted| {
        let last = last.map(|at| SweepEnd { at, ..sweep() });
        !kinds(&NotifyInput { booted, ..seen(last) }).is_empty()
    };
    assert!(!silent(Some(NOW - 75 * 60), 0), "a sweep may take an hour");
    assert!(silent(Some(NOW - 81 * 60), 0));
    assert!(!silent(Some(NOW - 7 * DAY), NOW - 600), "it was off");
    assert!(silent(Some(NOW - 7 * DAY), NOW - 2 * 3600));
    assert!(silent(None, NOW - 2 * 3600) && !silent(None, NOW - 600));
}

#[test]
fn an_unobserved_condition_neither_starts_nor_ends_an_incident() {
    let blind = NotifyInput { now: NOW, booted: 0, filesystems: None, sweeps: None, reaper: None };
    let blind = look(&blind);
    assert!(blind.incidents.is_empty());
    for kind in [CriticalDisk, GoalMissed, WiderContamination, Leak, DeadSweep] {
        let memory = Memory { incidents: vec![remembered(kind, Some(NOW - 60))], ..Memory::default() };
        let decision = decide(&memory, &blind, NOW, INTERVALS);
        assert!(decision.tellings.is_empty(), "{kind:?}");
        assert_eq!(decision.told.incidents, memory.incidents, "{kind:?}");
    }
    let sighted = look(&seen(Some(sweep())));
    let memory = Memory { incidents: vec![remembered(CriticalDisk, Some(NOW - 60))], ..Memory::default() };
    let decision = decide(&memory, &sighted, NOW, INTERVALS);
    assert_eq!(decision.tellings[0].news, News::Over, "the control");
    assert!(decision.told.incidents.is_empty() && decision.untold.incidents.len() == 1);
}

fn remembered(kind: IncidentKind, told: Option<u64>) -> Remembered {
    Remembered { kind, subject: String::new(), since: NOW - 3600, told, gist: String::new() }
}

fn incident(gist: &str, patience: u64) -> IncidentLook {
    let incident = Incident {
        kind: Leak,
        subject: "vms".into(),
        gist: gist.into(),
        patience,
        text: "3 leaked".into(),
        advice: "disk-guard reap",
    };
    IncidentLook { incidents: vec![incident], ..IncidentLook::default() }
}

/// What is told over time, run after run: (minute, what is seen, whether the program works, what is told).
fn play(steps: &[(u64, &IncidentLook, bool, &[News])]) {
    let mut memory = Memory::default();
    for (minute, look, works, expected) in steps {
        let decision = decide(&memory, look, NOW + minute * 60, INTERVALS);
        let news: Vec<News> = decision.tellings.iter().map(|telling| telling.news).collect();
        assert_eq!(news, *expected, "minute {minute}");
        memory = match (news.is_empty(), works) {
            (true, _) => decision.untold,
            (false, true) => decision.told,
            (false, false) => Memory { called: decision.told.called, ..decision.untold },
        };
    }
}

#[test]
fn an_incident_is_notified_at_once_on_change_after_the_repeat_interval_and_at_its_end() {
    let (one, other, none) = (incident("a", 0), incident("b", 0), IncidentLook::default());
    let day = DAY / 60;
    play(&[
        (0, &none, true, &[]),
        (15, &one, true, &[News::New]),
        (30, &one, true, &[]),
        (45, &other, true, &[News::Changed]),
        (60, &other, true, &[]),
        (45 + day - 1, &other, true, &[]),
        (45 + day, &other, true, &[News::Still]),
        (60 + day, &none, true, &[News::Over]),
        (75 + day, &none, true, &[]),
    ]);
}

#[test]
fn no_notification_repeats_within_the_interval_and_a_failed_one_is_retried() {
    let (one, none) = (incident("", 0), IncidentLook::default());
    play(&[
        (0, &one, true, &[News::New]),
        (1, &none, true, &[]),
        (2, &one, true, &[]),
        (3, &none, true, &[]),
        (6, &none, true, &[News::Over]),
        (60, &one, false, &[News::New]),
        (61, &one, true, &[]),
        (66, &one, true, &[News::New]),
        (80, &one, true, &[]),
    ]);
}

#[test]
fn an_incident_that_ends_within_its_patience_is_never_notified() {
    let (slow, none) = (incident("", 3600), IncidentLook::default());
    play(&[
        (0, &slow, true, &[]),
        (45, &slow, true, &[]),
        (50, &none, true, &[]),
        (55, &slow, true, &[]),
        (110, &slow, true, &[]),
        (115, &slow, true, &[News::New]),
    ]);
}

#[test]
fn refused_jobs_are_notified_once_and_never_those_before_the_first_look() {
    let with = |jobs_refused| IncidentLook { jobs_refused: Some(jobs_refused), ..IncidentLook::default() };
    let (seven, eight, twelve, two) = (with(7), with(8), with(12), with(2));
    let unseen = IncidentLook::default();
    play(&[
        (0, &seven, true, &[]),
        (15, &eight, false, &[News::New]),
        (30, &eight, true, &[News::New]),
        (45, &eight, true, &[]),
        (60, &unseen, true, &[]),
        (75, &twelve, true, &[News::New]),
        (90, &two, true, &[]),
        (105, &seven, true, &[News::New]),
    ]);
    let told = decide(&Memory { jobs_refused: Some(8), ..Memory::default() }, &twelve, NOW, INTERVALS);
    assert_eq!(told.tellings[0].kind, RefusedJob);
    assert!(told.tellings[0].text.starts_with("4 jobs were refused"), "{}", told.tellings[0].text);
}

#[test]
fn a_clock_that_was_set_back_suppresses_no_notification() {
    let memory = Memory { called: NOW + DAY, ..Memory::default() };
    assert_eq!(decide(&memory, &incident("", 0), NOW, INTERVALS).tellings.len(), 1);
    let future = Remembered { since: NOW + DAY, ..remembered(Leak, None) };
    let memory =
        Memory { incidents: vec![Remembered { subject: "vms".into(), ..future }], ..Memory::default() };
    let decision = decide(&memory, &incident("", 60), NOW, INTERVALS);
    assert_eq!(decision.untold.incidents[0].since, NOW);
}

#[test]
fn leaks_are_notified_by_entry_and_only_when_something_remains() {
    let entry = |name: &str, leaked, failed| ReapEntryRecord {
        name: name.into(),
        kind: "docker".into(),
        time: SystemTime::UNIX_EPOCH,
        counts: ReapCounts { matched: 9, leaked, waiting: 1, reaped: 2, failed, ..ReapCounts::default() },
    };
    let record =
        ReapRecord { entries: vec![entry("clean", 0, 0), entry("stuck", 3, 1)], ..ReapRecord::default() };
    let found = look(&NotifyInput { reaper: Some(&record), ..seen(Some(sweep())) }).incidents;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].subject.as_str(), found[0].patience), ("stuck", 3600));
    assert!(found[0].text.contains("3 leaked (docker)") && found[0].text.contains("1 deletes failed"));
}
