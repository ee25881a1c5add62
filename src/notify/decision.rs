//! Which incidents a host has, and which of them to report now: pure functions of what was seen and what was reported before.

use crate::model::incident::{Incident, IncidentKind, IncidentLook, Memory, News, Remembered, Telling};
use crate::model::metrics::SweepEnd;
use crate::model::reap::ReapRecord;
use crate::model::{FilesystemStatus, Level};
use crate::text::{escape, words};
use std::time::Duration;

/// A sweep comes every fifteen minutes and takes at most an hour.
const SILENT: u64 = 80 * 60;

/// Sweeps that fail now and then, because the host lock was taken, are no incident.
const FAILING: u64 = 30 * 60;

/// One of the next runs of the reaper removes what is leaked.
const LEAKED: u64 = 60 * 60;

/// What was seen of the host; `None` is what could not be seen. Times are seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct NotifyInput<'a> {
    /// Now.
    pub now: u64,
    /// When this host was started.
    pub booted: u64,
    /// The filesystems that hold work directories.
    pub filesystems: Option<&'a [FilesystemStatus]>,
    /// What sweeps have left.
    pub sweeps: Option<Sweeps>,
    /// What the reaper has left, where one is configured.
    pub reaper: Option<&'a ReapRecord>,
}

/// The counts of sweeps and hooks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sweeps {
    /// How the last sweep ended, if there was one.
    pub last: Option<SweepEnd>,
    /// How many jobs were refused until now.
    pub jobs_refused: u64,
}

/// The incidents of a host.
pub fn look(seen: &NotifyInput<'_>) -> IncidentLook {
    let mut look = IncidentLook::default();
    match seen.filesystems {
        Some(filesystems) => look.incidents.extend(critical(filesystems)),
        None => drop(look.unseen.insert(IncidentKind::CriticalDisk)),
    }
    match &seen.sweeps {
        Some(sweeps) => {
            look.jobs_refused = Some(sweeps.jobs_refused);
            look.incidents.extend(dead(sweeps.last, seen));
            look.incidents.extend(sweeps.last.filter(|last| !last.goal_met).map(|last| missed(&last, seen)));
            let contaminated = sweeps.last.filter(|last| last.wider_contamination);
            look.incidents.extend(contaminated.map(|_| contamination()));
        }
        None => {
            use IncidentKind::{DeadSweep, GoalMissed, WiderContamination};
            look.unseen.extend([DeadSweep, GoalMissed, WiderContamination]);
        }
    }
    match seen.reaper {
        Some(record) => look.incidents.extend(leaks(record)),
        None => drop(look.unseen.insert(IncidentKind::Leak)),
    }
    look
}

fn critical(filesystems: &[FilesystemStatus]) -> impl Iterator<Item = Incident> {
    filesystems.iter().filter(|seen| seen.level == Level::Critical).map(|seen| {
        let (mount, usage) = (escape::path(&seen.filesystem.mount), &seen.filesystem.usage);
        Incident {
            kind: IncidentKind::CriticalDisk,
            text: format!(
                "{mount} is above critical: {}% used, {} available",
                usage.used_percent(),
                words::size(usage.available_bytes)
            ),
            subject: mount,
            gist: String::new(),
            patience: 0,
            advice: "disk-guard status",
        }
    })
}

fn dead(last: Option<SweepEnd>, seen: &NotifyInput<'_>) -> Option<Incident> {
    let ended = last.map_or(seen.booted, |last| last.at.max(seen.booted));
    let silent = seen.now.saturating_sub(ended);
    let incident = |gist: &str, patience, text| Incident {
        kind: IncidentKind::DeadSweep,
        subject: String::new(),
        gist: gist.to_owned(),
        patience,
        text,
        advice: "systemctl status disk-guard-sweep.timer disk-guard-sweep.service",
    };
    if silent > SILENT {
        let since = words::span(Duration::from_secs(silent));
        let text =
            format!("no sweep has ended for {since}: age limits and other users' trees are not handled");
        Some(incident("silent", 0, text))
    } else if last.is_some_and(|last| !last.success) {
        let text = "sweeps end before they can do their work, usually because they do not get the host lock"
            .to_owned();
        Some(incident("failing", FAILING, text))
    } else {
        None
    }
}

/// The configuration cannot be used: no sweep runs, and hooks make no room.
pub fn unusable_configuration(problem: &str) -> Incident {
    Incident {
        kind: IncidentKind::DeadSweep,
        subject: String::new(),
        gist: "configuration".to_owned(),
        patience: 0,
        text: format!("no sweep can run: {}", escape::text(problem)),
        advice: "disk-guard check-config",
    }
}

fn missed(last: &SweepEnd, seen: &NotifyInput<'_>) -> Incident {
    let pressed = seen.filesystems.unwrap_or_default().iter().filter(|seen| seen.level != Level::Ok);
    let disks: Vec<String> = pressed
        .map(|seen| {
            let usage = &seen.filesystem.usage;
            let mount = escape::path(&seen.filesystem.mount);
            format!("{mount} is {}% used now", usage.used_percent())
        })
        .collect();
    let ago = words::span(Duration::from_secs(seen.now.saturating_sub(last.at)));
    let disks = if disks.is_empty() { String::new() } else { format!("; {}", disks.join(", ")) };
    Incident {
        kind: IncidentKind::GoalMissed,
        subject: String::new(),
        gist: String::new(),
        patience: 0,
        text: format!("the sweep of {ago} ago could not free enough{disks}"),
        advice: "disk-guard plan",
    }
}

fn contamination() -> Incident {
    Incident {
        kind: IncidentKind::WiderContamination,
        subject: String::new(),
        gist: String::new(),
        patience: 0,
        text: "more than one repository's work directory is contaminated: sweeps repair none until a person has examined them"
            .to_owned(),
        advice: "disk-guard audit",
    }
}

fn leaks(record: &ReapRecord) -> impl Iterator<Item = Incident> {
    record.entries.iter().filter(|entry| entry.counts.leaked > 0).map(|entry| {
        let failed = match entry.counts.failed {
            0 => String::new(),
            failed => format!(", {failed} deletes failed"),
        };
        let name = escape::text(&entry.name).into_owned();
        Incident {
            kind: IncidentKind::Leak,
            text: format!(
                "{} leaked ({}) of [[reap]] {name} remain{failed}",
                entry.counts.leaked, entry.kind
            ),
            subject: name,
            gist: String::new(),
            patience: LEAKED,
            advice: "disk-guard reap --dry-run",
        }
    })
}

/// When to report again.
#[derive(Debug, Clone, Copy)]
pub struct RepeatIntervals {
    /// After how many seconds an incident that lasts is reported again; 0 = never.
    pub repeat: u64,
    /// How many seconds lie between two runs of the command.
    pub interval: u64,
}

/// What to report now, and what to record after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyDecision {
    /// The reports; none while the last run of the command is too recent.
    pub tellings: Vec<Telling>,
    /// What to remember when they were sent.
    pub told: Memory,
    /// What to remember when they were not.
    pub untold: Memory,
}

/// Decides what to report.
pub fn decide(memory: &Memory, look: &IncidentLook, now: u64, intervals: RepeatIntervals) -> NotifyDecision {
    let mut tellings = Vec::new();
    let mut told = Memory { at: now, called: now, incidents: Vec::new(), ..memory.clone() };
    let mut untold = Memory { at: now, incidents: Vec::new(), ..memory.clone() };
    for incident in &look.incidents {
        let old = memory.incidents.iter().find(|old| is_of(old, incident));
        // A clock that was set back makes nothing last longer.
        let since = old.map_or(now, |old| old.since.min(now));
        let news = match old.and_then(|old| Some((old, old.told?))) {
            None if now - since < incident.patience => None,
            None => Some(News::New),
            Some((old, _)) if old.gist != incident.gist => Some(News::Changed),
            Some((_, at)) if intervals.repeat > 0 && now.abs_diff(at) >= intervals.repeat => {
                Some(News::Still)
            }
            Some(_) => None,
        };
        let before = old.cloned().unwrap_or_else(|| Remembered {
            kind: incident.kind,
            subject: incident.subject.clone(),
            since,
            told: None,
            gist: incident.gist.clone(),
        });
        let before = Remembered { since, ..before };
        if let Some(news) = news {
            tellings.push(Telling {
                news,
                kind: incident.kind,
                subject: incident.subject.clone(),
                since,
                text: incident.text.clone(),
                advice: incident.advice.to_owned(),
            });
            let gist = incident.gist.clone();
            told.incidents.push(Remembered { told: Some(now), gist, ..before.clone() });
        } else {
            told.incidents.push(before.clone());
        }
        untold.incidents.push(before);
    }
    for old in &memory.incidents {
        if look.incidents.iter().any(|incident| is_of(old, incident)) {
            continue;
        }
        if look.unseen.contains(&old.kind) {
            told.incidents.push(old.clone());
            untold.incidents.push(old.clone());
        } else if old.told.is_some() {
            tellings.push(over(old));
            untold.incidents.push(old.clone());
        }
    }
    refusals(memory, look, now, &mut tellings, &mut told, &mut untold);
    if now.abs_diff(memory.called) < intervals.interval {
        tellings.clear();
    }
    NotifyDecision { tellings, told, untold }
}

fn is_of(old: &Remembered, incident: &Incident) -> bool {
    old.kind == incident.kind && old.subject == incident.subject
}

fn over(old: &Remembered) -> Telling {
    let of = if old.subject.is_empty() { String::new() } else { format!(" of {}", old.subject) };
    Telling {
        news: News::Over,
        kind: old.kind,
        subject: old.subject.clone(),
        since: old.since,
        text: format!("{}{of} is over", old.kind.as_str()),
        advice: String::new(),
    }
}

/// A refusal does not last: each is reported once, several that were not reported yet together.
fn refusals(
    memory: &Memory,
    look: &IncidentLook,
    now: u64,
    tellings: &mut Vec<Telling>,
    told: &mut Memory,
    untold: &mut Memory,
) {
    let Some(total) = look.jobs_refused else { return };
    told.jobs_refused = Some(total);
    let before = memory.jobs_refused.filter(|before| *before <= total);
    untold.jobs_refused = before.or(Some(total));
    let refused = total - before.unwrap_or(total);
    if refused > 0 {
        tellings.push(Telling {
            news: News::New,
            kind: IncidentKind::RefusedJob,
            subject: String::new(),
            since: now,
            text: format!(
                "{} refused, because the disk was above critical and nothing more could be removed",
                if refused == 1 { "a job was".to_owned() } else { format!("{refused} jobs were") }
            ),
            advice: "disk-guard history".to_owned(),
        });
    }
}

#[cfg(test)]
#[path = "decision/tests.rs"]
mod tests;
