//! `drain` and `resume`, and what a sweep does for runners that are out of service.

use super::{Context, complain, look, now, print};
use crate::model::{HostFacts, LeaseState, Level, Liveness, Runner};
use crate::policy::{liveness, pressure};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::setup::drain::{self, By, Change, Drained, Step};
use crate::setup::state::{Kept, StateDir};
use crate::setup::units::Systemd;
use crate::sys::program::Programs;
use crate::text::escape;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How long a sweep waits for a Worker whose job has ended: it uploads its log before it goes.
const WORKER_ENDS: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Takes a runner out of service.
pub(super) fn drain(context: &Context, name: &str) -> Exit {
    say(DrainRun::open(context).and_then(|drain_run| {
        let (runner, state) = drain_run.find(name)?;
        let shown = escape::text(&runner.name).into_owned();
        let unit = drain_run.unit(&runner)?;
        drain_run.mark(&runner, By::Hand)?;
        match drain::step(state, unit.is_active && !unit.is_stopping) {
            Step::Nothing if unit.is_stopping => Ok(stopping(&shown, &unit.name)),
            Step::Nothing => Ok(format!("{shown}: drained; its unit {} is stopped already", unit.name)),
            Step::Stop => match drain_run.stop(&runner, &unit.name) {
                Ok(Stopped::Yes) => Ok(format!("{shown}: drained; its unit {} is stopped", unit.name)),
                Ok(Stopped::NotYet) => Ok(stopping(&shown, &unit.name)),
                Err(why) => {
                    drain_run.unmark(&runner)?;
                    Err(why)
                }
            },
            Step::Wait => Ok(format!(
                "{shown}: marked; it is {} now. Its unit {} is stopped by the sweep that follows the end of its job",
                state.as_str(),
                unit.name
            )),
        }
    }))
}

/// Brings it back.
pub(super) fn resume(context: &Context, name: &str) -> Exit {
    say(DrainRun::open(context).and_then(|drain_run| {
        let (runner, _) = drain_run.find(name)?;
        let shown = escape::text(&runner.name).into_owned();
        let unit = drain_run.unit(&runner)?;
        let was_drained = drain_run.state.holds(Kept::Drained, &runner.root);
        if !was_drained && unit.is_active {
            return Ok(format!("{shown}: it was not drained, and its unit {} runs", unit.name));
        }
        if unit.is_stopping {
            // systemd starts it once it has stopped; nobody waits here for as long as that takes.
            drain_run.unmark(&runner)?;
            drain_run.systemd.order(&["start", "--no-block"], &[&unit.name])?;
            tell(&runner, "is in service again once its unit has stopped");
            return Ok(format!(
                "{shown}: in service again; its unit {} is still stopping, and is started after that",
                unit.name
            ));
        }
        drain_run.start(&runner, &unit.name)?;
        Ok(format!("{shown}: in service again; its unit {} is started", unit.name))
    }))
}

/// The sweep's part: `drain.auto`, and marked runners whose job has ended. Costs nothing where neither is in use.
pub(super) fn enforce(context: &Context) {
    let state = StateDir::at(&context.config.paths.state_dir);
    let drained = match state.load_all::<Drained>(Kept::Drained) {
        Ok(drained) => drained,
        Err(error) => return complain(&error),
    };
    if drained.is_empty() && !context.config.drain_auto {
        return;
    }
    let told = DrainRun::open(context).and_then(|drain_run| drain_run.enforce(drained));
    if let Err(why) = told {
        Event::new(EventKind::Error, format!("drained runners cannot be dealt with: {why}")).emit();
        complain(&why);
    }
}

/// Whether a unit that was told to stop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Yes,
    NotYet,
}

fn stopping(runner: &str, unit: &str) -> String {
    format!(
        "{runner}: drained; its unit {unit} has been told to stop and has not ended yet. systemd kills it after its TimeoutStopSec: see `systemctl status {unit}`"
    )
}

fn say(result: Result<String, String>) -> Exit {
    match result {
        Ok(text) => {
            print(&format!("{}\n", escape::log_line(&text)));
            Exit::Done
        }
        Err(why) => {
            complain(&format_args!("{why}; nothing was done"));
            Exit::Error
        }
    }
}

struct DrainRun<'a> {
    context: &'a Context,
    systemd: Systemd<'a>,
    state: StateDir,
}

impl<'a> DrainRun<'a> {
    fn open(context: &'a Context) -> Result<Self, String> {
        let state = StateDir::at(&context.config.paths.state_dir);
        state.check_writable().map_err(|error| error.to_string())?;
        let systemd = Systemd::find(Programs(&context.config.paths.programs))?;
        Ok(Self { context, systemd, state })
    }

    fn find(&self, name: &str) -> Result<(Runner, Liveness), String> {
        let alive = look::alive(&self.context.snapshot());
        let runners: Vec<&Runner> = alive.facts.runners.iter().map(|facts| &facts.runner).collect();
        let index = look::named(&runners, name)?;
        Ok((runners[index].clone(), liveness::judge(&alive.evidence[index])))
    }

    fn unit(&self, runner: &Runner) -> Result<crate::setup::units::Unit, String> {
        let name = escape::text(&runner.name).into_owned();
        self.systemd.unit_of(runner).map_err(|error| format!("{name}: {error}"))
    }

    fn mark(&self, runner: &Runner, by: By) -> Result<(), String> {
        let record = Drained {
            schema: 1,
            name: runner.name.clone(),
            root: runner.root.to_string_lossy().into_owned(),
            by,
            since_unix: now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        self.state.save(Kept::Drained, &runner.root, &record).map_err(|error| error.to_string())
    }

    fn unmark(&self, runner: &Runner) -> Result<(), String> {
        self.state.forget(Kept::Drained, &runner.root).map_err(|error| error.to_string())
    }

    fn stop(&self, runner: &Runner, unit: &str) -> Result<Stopped, String> {
        let told = self.systemd.order(&["stop"], &[unit]);
        match told {
            Ok(()) => {
                tell(runner, "is out of service");
                Ok(Stopped::Yes)
            }
            // Our patience is over; systemd goes on with it.
            Err(_) if self.unit(runner).is_ok_and(|unit| unit.is_stopping) => {
                tell(runner, "is out of service: its unit is stopping, and takes long");
                Ok(Stopped::NotYet)
            }
            Err(why) => Err(why),
        }
    }

    /// The mark goes first: a sweep in between would stop the unit again.
    fn start(&self, runner: &Runner, unit: &str) -> Result<(), String> {
        self.unmark(runner)?;
        self.systemd.order(&["start"], &[unit])?;
        tell(runner, "is in service again");
        Ok(())
    }

    fn enforce(&self, drained: Vec<Drained>) -> Result<(), String> {
        let alive = look::alive(&self.context.snapshot());
        let mut problems = Vec::new();
        for (index, facts) in alive.facts.runners.iter().enumerate() {
            let runner = &facts.runner;
            let root = runner.root.to_string_lossy();
            let by = drained.iter().find(|drained| drained.root == root).map(|drained| drained.by);
            let change = if self.context.config.drain_auto {
                self.change(&alive.facts, runner, by)
            } else {
                Change::Stay
            };
            let state = liveness::judge(&alive.evidence[index]);
            let done = match (change, by) {
                (Change::Resume, _) => self.unit(runner).and_then(|unit| self.start(runner, &unit.name)),
                (Change::Drain, _) => self
                    .unit(runner)
                    .and_then(|_| self.mark(runner, By::Auto))
                    .and_then(|()| self.hold(&alive.facts, runner, state)),
                (Change::Stay, Some(_)) => self.hold(&alive.facts, runner, state),
                (Change::Stay, None) => Ok(()),
            };
            problems.extend(done.err());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    fn change(&self, facts: &HostFacts, runner: &Runner, by: Option<By>) -> Change {
        let filesystem =
            runner.work_dir().and_then(|work| facts.filesystems.iter().find(|fs| fs.id == work.filesystem));
        let Some(filesystem) = filesystem else { return Change::Stay };
        let marks = &self.context.config.watermarks;
        let level: Level = pressure::level(&filesystem.usage, marks);
        drain::change(level, pressure::lacking(&filesystem.usage, marks).is_met(), by)
    }

    /// Stops a marked runner when it is idle. One whose lease has ended is about to be.
    fn hold(&self, facts: &HostFacts, runner: &Runner, mut state: Liveness) -> Result<(), String> {
        let unit = self.unit(runner)?;
        let has_lease = facts
            .leases
            .iter()
            .any(|seen| seen.root == Some(runner.root_id) && seen.state != LeaseState::Dead);
        if unit.is_active && state == Liveness::Busy && !has_lease {
            state = self.await_idle(runner);
        }
        match drain::step(state, unit.is_active && !unit.is_stopping) {
            Step::Stop => self.stop(runner, &unit.name).map(drop),
            Step::Nothing | Step::Wait => Ok(()),
        }
    }

    fn await_idle(&self, runner: &Runner) -> Liveness {
        let until = Instant::now() + WORKER_ENDS;
        loop {
            let alive = look::alive(&self.context.snapshot());
            let index = alive.facts.runners.iter().position(|seen| seen.runner.root_id == runner.root_id);
            let state = index.map_or(Liveness::Unknown, |index| liveness::judge(&alive.evidence[index]));
            if state == Liveness::Idle || Instant::now() > until {
                return state;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn tell(runner: &Runner, what: &str) {
    Event::new(EventKind::Drain, format!("{} {what}", escape::text(&runner.name))).runner(runner).emit();
}
