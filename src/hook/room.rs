//! A started-hook's part of the forecast: how much its job is expected to write, whether there is room for that, and what is done when
//! there is not.
//!
//! Nothing here fails a job except `forecast.on_short = "refuse"`, and every wait and every measurement is bounded. Failures count as
//! unknown: then the watermarks alone decide.

use super::job;
use super::started::Started;
use crate::clock::now;
use crate::config::OnShort;
use crate::footprints::Footprints;
use crate::forecast::{ForecastInput, Summary};
use crate::model::{DiskForecast, Reservation, RunReport};
use crate::report::events::{Event, EventKind};
use crate::report::job_log::{JobLog, Warning};
use crate::run_dir::RunDir;
use crate::sys::process::Proc;
use crate::text::{escape, words};
use crate::{forecast, lease};
use std::io::Stdout;
use std::time::{Duration, Instant};

/// How long the space of live jobs is measured at most; each of them holds at least what the last sweep has measured.
const MEASURES: Duration = Duration::from_secs(2);

/// How often a hook that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The estimate for the job that begins.
#[derive(Default)]
pub(super) struct Expected {
    /// For its lease; none where nothing is known, or the forecast is switched off.
    pub(super) reservation: Option<Reservation>,
    summary: Option<Summary>,
}

/// There is less room than live jobs may need, and nothing more can be removed.
pub(super) struct Short {
    disk: DiskForecast,
    pub(super) is_refused: bool,
}

impl Short {
    pub(super) fn warning(&self) -> Warning {
        let text = format!("{}.", words::room(&self.disk));
        match self.is_refused {
            true => Warning::error(
                "This host's disk cannot hold this job",
                format!(
                    "{text} Not even all caches of this host together would free it, so the job was not started. The cause is the host's infrastructure, not this change. `disk-guard forecast` on the host shows more."
                ),
            ),
            false => Warning::new(
                "Host disk may run short",
                format!(
                    "{text} Nothing more may be removed now, and the job continues. `disk-guard forecast` on the host shows more."
                ),
            ),
        }
    }
}

impl Started<'_> {
    /// How much this job is expected to write, from two small files.
    pub(super) fn expect(&self, run: &RunDir) -> Expected {
        let (Some(ground), Some(_), true) = (&self.own.ground, self.own.worker, self.config.forecast.enabled)
        else {
            return Expected::default();
        };
        let footprints = Footprints::of(ground.dir(), now());
        let summary = Summary::of(run);
        if let Some(text) = forecast::told(&self.own.runner, &footprints) {
            self.tell(Event::new(EventKind::Error, text).runner(&self.own.runner));
        }
        let directory = self.own.job_directory();
        let reservation =
            forecast::expect(self.config, &footprints, summary.as_ref(), &job(), directory.as_deref());
        Expected { reservation, summary }
    }

    /// How much live jobs need on this job's disk, this one included; none where there is certainly enough.
    pub(super) fn room(&self, run: &RunDir, expected: &Expected) -> Option<DiskForecast> {
        let (reservation, ground) = (expected.reservation.as_ref()?, self.own.ground.as_ref()?);
        let (filesystem, usage) = (self.own.runner.work_dir()?.filesystem, ground.usage().ok()?);
        let summary = expected.summary.as_ref();
        if forecast::is_roomy(self.config, reservation, summary, filesystem, &usage) {
            return None;
        }
        self.survey(run)
    }

    fn survey(&self, run: &RunDir) -> Option<DiskForecast> {
        let snapshot = self.snapshot();
        let deadline = Instant::now() + MEASURES;
        let survey =
            forecast::survey(&ForecastInput { snapshot: &snapshot, run, view: view(self.proc), deadline });
        survey.disk_of(self.own.ground.as_ref()?.dir(), &snapshot).cloned()
    }

    /// After everything removable is gone.
    pub(super) fn still_short(
        &self,
        run: &RunDir,
        report: &RunReport,
        log: &mut JobLog<Stdout>,
    ) -> Option<Short> {
        let Some(mut disk) = self.survey(run).filter(|disk| disk.lacking_bytes() > 0) else {
            let _ = log.line("there is now room for live jobs");
            return None;
        };
        if self.config.forecast.on_short == OnShort::Wait {
            disk = self.await_room(run, disk, log)?;
        }
        let is_refused = self.config.forecast.on_short == OnShort::Refuse && is_hopeless(&disk, report);
        let lacking = words::size(disk.lacking_bytes());
        let _ = log.line(&format!(
            "{lacking} short of what live jobs may need, and nothing more may be removed now"
        ));
        if is_refused {
            let text = format!("the job was refused: {}, and no cache could free it", words::room(&disk));
            self.tell(Event::new(EventKind::Refused, text).runner(&self.own.runner).job(&job()));
        }
        Some(Short { disk, is_refused })
    }

    /// Waits while the end of a live sibling may help. When one has ended more may be removable.
    fn await_room(
        &self,
        run: &RunDir,
        mut disk: DiskForecast,
        log: &mut JobLog<Stdout>,
    ) -> Option<DiskForecast> {
        let limit = self.config.forecast.wait;
        let until = (Instant::now() + limit).min(self.begun + self.config.hook.time_limit);
        let siblings = |disk: &DiskForecast| -> Vec<String> {
            let name = &self.own.runner.name;
            disk.jobs.iter().map(|job| job.runner.clone()).filter(|runner| runner != name).collect()
        };
        let mut live = siblings(&disk);
        if !live.is_empty() && Instant::now() < until {
            let names: Vec<String> = live.iter().map(|name| escape::text(name).into_owned()).collect();
            let _ = log.line(&format!(
                "waiting for room, at most {} s, while jobs run on {}",
                until.saturating_duration_since(Instant::now()).as_secs(),
                names.join(", ")
            ));
        }
        while !live.is_empty() && Instant::now() < until {
            std::thread::sleep(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now())));
            let Some(now) = self.survey(run).filter(|disk| disk.lacking_bytes() > 0) else {
                let _ = log.line("there is room now");
                return None;
            };
            disk = now;
            let left = siblings(&disk);
            if left != live {
                live = left;
                let _ = self.make_room(run, Some(&disk));
            }
        }
        self.survey(run).filter(|disk| disk.lacking_bytes() > 0)
    }
}

fn view(proc: &Proc) -> lease::LeaseView<'_> {
    lease::LeaseView { proc, sees_all: |_| false, now: now() }
}

/// Whether everything that the guard could ever remove from this disk, caches in use included, would still not make the room.
fn is_hopeless(disk: &DiskForecast, report: &RunReport) -> bool {
    let there = report.outcomes.iter().filter(|outcome| {
        let base = outcome.action.cache.base(&outcome.action.runner);
        outcome.result != crate::model::ActionResult::Removed
            && base.is_some_and(|base| base.filesystem == disk.filesystem.id)
    });
    let held = there.fold(0u64, |sum, outcome| sum.saturating_add(outcome.action.cache.yields().bytes));
    disk.lacking_bytes() > held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Filesystem, FilesystemId, Room, Usage};

    fn disk(available_bytes: u64, need: u64) -> DiskForecast {
        DiskForecast {
            filesystem: Filesystem {
                id: FilesystemId { major: 8, minor: 1 },
                mount: "/home".into(),
                fs_type: "ext4".into(),
                usage: Usage {
                    total_bytes: 100 << 30,
                    used_bytes: 90 << 30,
                    available_bytes,
                    inodes_total: 0,
                    inodes_free: 0,
                },
            },
            room: Room { need, expected: need },
            jobs: Vec::new(),
            trend: None,
        }
    }

    #[test]
    fn a_disk_is_hopeless_when_all_its_caches_would_not_give_the_room() {
        let report = RunReport::default();
        assert!(is_hopeless(&disk(1 << 30, 2 << 30), &report), "there is no cache at all");
        assert!(!is_hopeless(&disk(2 << 30, 2 << 30), &report), "nothing is missing");
    }

    #[test]
    fn only_a_refusal_is_an_error_of_the_job() {
        let said = |is_refused| {
            let mut text = Vec::new();
            Short { disk: disk(1 << 30, 2 << 30), is_refused }.warning().write(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert!(
            said(true).starts_with("::error") && said(true).contains("was not started"),
            "{}",
            said(true)
        );
        assert!(
            said(false).starts_with("::warning") && said(false).contains("the job continues"),
            "{}",
            said(false)
        );
    }
}
