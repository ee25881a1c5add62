//! A run that looks for incidents, decides which are reported now, and hands them to the administrator's program.

use super::Host;
use crate::clock::now;
use crate::config::{Config, ConfigError};
use crate::counters::believed::{counted, epoch};
use crate::model::Execution;
use crate::model::incident::{IncidentKind, IncidentLook, Memory, Telling};
use crate::model::metrics::Counter;
use crate::notify::decision::{self, NotifyDecision, NotifyInput, RepeatIntervals, Sweeps};
use crate::notify::{memory, messenger};
use crate::observe::inventory::host_name;
use crate::overview;
use crate::overview::status::judged;
use crate::report::events::{Event, EventKind};
use crate::report::{escape, json};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use std::time::SystemTime;

/// Why a run has failed; it has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// What is reported now, decided; nothing has been sent.
pub(crate) struct Due<'a> {
    host: Host<'a>,
    state: StateDir,
    decision: NotifyDecision,
}

impl<'a> Due<'a> {
    /// Decides from the present state of this host. An unusable configuration is an incident as well; then the records of the last sweep
    /// are not used.
    pub(crate) fn now(host: Host<'a>, unusable: Option<&ConfigError>) -> Self {
        let Config { notify, paths, .. } = host.config;
        let mut look = incidents(&host);
        if let Some(error) = unusable {
            let dead = decision::unusable_configuration(&error.in_one_line());
            look.incidents.retain(|incident| incident.kind != dead.kind);
            look.incidents.push(dead);
        }
        let is_wanted = |kind| notify.on.contains(&kind);
        look.incidents.retain(|incident| is_wanted(incident.kind));
        look.jobs_refused = look.jobs_refused.filter(|_| is_wanted(IncidentKind::RefusedJob));
        let state = StateDir::at(&paths.state_dir);
        let before = memory::read(&state, &paths.run_dir);
        let intervals =
            RepeatIntervals { repeat: notify.repeat.as_secs(), interval: notify.interval.as_secs() };
        let decision = decision::decide(&before, &look, epoch(now()), intervals);
        Self { host, state, decision }
    }

    /// The incidents.
    pub(crate) fn tellings(&self) -> &[Telling] {
        &self.decision.tellings
    }

    /// Sends them and remembers what was sent.
    ///
    /// # Errors
    /// [`Failed`]; the incidents are sent again after the interval.
    pub(crate) fn send(self, execution: Execution) -> Result<(), Failed> {
        if execution.is_dry_run() {
            return Ok(());
        }
        let NotifyDecision { tellings, told, untold } = &self.decision;
        if tellings.is_empty() {
            return self.remember(untold);
        }
        let message = json::message(&host_name(), now(), tellings, json::Layout::Line);
        match send(&self.host, &message) {
            Ok(()) => self.remember(told),
            Err(failed) => {
                // The next attempt waits for as long as if they had been sent.
                let _ = self.remember(&Memory { called: told.called, ..untold.clone() });
                Err(failed)
            }
        }
    }

    fn remember(&self, memory: &Memory) -> Result<(), Failed> {
        memory::write(&self.state, &self.host.config.paths.run_dir, memory).map_err(|why| {
            let complain = self.host.complain;
            complain(&format_args!(
                "sent notifications cannot be recorded and will be sent once more: {why}"
            ));
            Failed
        })
    }
}

/// Runs the administrator's program with a message.
///
/// # Errors
/// [`Failed`].
pub(crate) fn send(host: &Host<'_>, message: &str) -> Result<(), Failed> {
    messenger::send(&host.config.notify, &host.config.paths.programs, message).map_err(|error| {
        let text = format!("incidents could not be notified: {error}");
        (host.complain)(&text);
        Event::new(EventKind::Error, escape::text(&text)).emit();
        Failed
    })
}

/// The incidents of this host. No cache is looked at.
fn incidents(host: &Host<'_>) -> IncidentLook {
    let snapshot = host.snapshot();
    let alive = overview::alive(&snapshot);
    let filesystems = judged(host.config, &alive.facts.filesystems);
    let run = RunDir::open_existing(&host.config.paths.run_dir).ok().flatten();
    let counted = counted(&snapshot, run.as_ref(), now()).map(|counted| counted.totals);
    if let Err(error) = &counted {
        (host.complain)(error);
    }
    let reaper = overview::status::last_reaping(host.config);
    decision::look(&NotifyInput {
        now: epoch(now()),
        booted: epoch(host.proc.boot_time().unwrap_or(SystemTime::UNIX_EPOCH)),
        filesystems: Some(&filesystems),
        sweeps: counted.ok().map(|totals| Sweeps {
            last: totals.last_sweep,
            jobs_refused: totals.counts.get(&(Counter::JobsRefused, Vec::new())).copied().unwrap_or(0),
        }),
        reaper: reaper.as_ref(),
    })
}
