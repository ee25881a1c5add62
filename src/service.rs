//! Takes runners out of service and brings them back, for a person ([`Service::drain`], [`Service::resume`]) or for a sweep
//! ([`Service::enforce`]). [`crate::setup::drain`] decides what to do with a runner.

use crate::config::Config;
use crate::cycle::Preview;
use crate::model::{HostFacts, LeaseState, Level, Liveness, Runner};
use crate::policy::{liveness, pressure};
use crate::report::events::{Event, EventKind};
use crate::setup::drain::{self, By, DrainChange, DrainStep, Drained};
use crate::setup::state::{RecordKind, StateDir, StateError};
use crate::setup::units::{NoUnit, RunnerUnit, Systemd, SystemdError, UnnamedError, named};
use crate::sys::program::Programs;
use crate::text::escape;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a sweep waits for a Worker whose job has ended: it uploads its log before it exits.
const WORKER_ENDS: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Whether a unit has stopped on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Yes,
    NotYet,
}

fn stopping(runner: &str, unit: &str) -> String {
    format!(
        "{runner}: drained; its unit {unit} was asked to stop and has not ended yet. systemd kills it after its TimeoutStopSec: see `systemctl status {unit}`"
    )
}

/// Why a runner was not taken out of service, or not brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The mark cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// systemd cannot be asked, or refuses.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The name is no runner's, or several runners'.
    #[error(transparent)]
    Unnamed(#[from] UnnamedError),
    /// It has no unit that the guard may stop.
    #[error("{runner}: {source}")]
    NoUnit {
        /// Its name, escaped.
        runner: String,
        /// Why.
        source: NoUnit,
    },
    /// Errors of several runners.
    #[error("{0}")]
    Several(String),
}

/// Drains runners and resumes them.
pub(crate) struct Service<'a> {
    config: &'a Config,
    /// Observes which runners are live now.
    look: &'a dyn Fn() -> Preview,
    clock: fn() -> SystemTime,
    systemd: Systemd<'a>,
    state: StateDir,
}

impl<'a> Service<'a> {
    /// Of this host.
    ///
    /// # Errors
    /// [`ServiceError`]: no mark can be written, or systemd does not run this host.
    pub(crate) fn open(
        config: &'a Config,
        look: &'a dyn Fn() -> Preview,
        clock: fn() -> SystemTime,
    ) -> Result<Self, ServiceError> {
        let state = StateDir::at(&config.paths.state_dir);
        state.check_writable()?;
        let systemd = Systemd::find(Programs(&config.paths.programs))?;
        Ok(Self { config, look, clock, systemd, state })
    }

    /// Takes a runner out of service. Returns the result as text for people.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing was done then.
    pub(crate) fn drain(&self, name: &str) -> Result<String, ServiceError> {
        let (runner, state) = self.find(name)?;
        let shown = escape::text(&runner.name).into_owned();
        let unit = self.unit(&runner)?;
        self.mark(&runner, By::Hand)?;
        match drain::step(state, unit.is_active && !unit.is_stopping) {
            DrainStep::Nothing if unit.is_stopping => Ok(stopping(&shown, &unit.name)),
            DrainStep::Nothing => Ok(format!("{shown}: drained; its unit {} is stopped already", unit.name)),
            DrainStep::Stop => match self.stop(&runner, &unit.name) {
                Ok(Stopped::Yes) => Ok(format!("{shown}: drained; its unit {} is stopped", unit.name)),
                Ok(Stopped::NotYet) => Ok(stopping(&shown, &unit.name)),
                Err(why) => {
                    self.unmark(&runner)?;
                    Err(why)
                }
            },
            DrainStep::Wait => Ok(format!(
                "{shown}: marked; it is {} now. Its unit {} is stopped by the sweep that follows the end of its job",
                state.as_str(),
                unit.name
            )),
        }
    }

    /// Brings a runner back. Returns the result as text for people.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing was done then.
    pub(crate) fn resume(&self, name: &str) -> Result<String, ServiceError> {
        let (runner, _) = self.find(name)?;
        let shown = escape::text(&runner.name).into_owned();
        let unit = self.unit(&runner)?;
        let was_drained = self.state.holds(RecordKind::Drained, &runner.root);
        if !was_drained && unit.is_active {
            return Ok(format!("{shown}: it was not drained, and its unit {} runs", unit.name));
        }
        if unit.is_stopping {
            // systemd starts it once it has stopped; this call does not wait for that.
            self.unmark(&runner)?;
            self.systemd.order(&["start", "--no-block"], &[&unit.name])?;
            tell(&runner, "is in service again once its unit has stopped");
            return Ok(format!(
                "{shown}: in service again; its unit {} is still stopping, and is started after that",
                unit.name
            ));
        }
        self.start(&runner, &unit.name)?;
        Ok(format!("{shown}: in service again; its unit {} is started", unit.name))
    }

    fn find(&self, name: &str) -> Result<(Runner, Liveness), ServiceError> {
        let alive = (self.look)();
        let runners: Vec<&Runner> = alive.facts.runners.iter().map(|facts| &facts.runner).collect();
        let index = named(&runners, name)?;
        Ok((runners[index].clone(), liveness::judge(&alive.evidence[index])))
    }

    fn unit(&self, runner: &Runner) -> Result<RunnerUnit, ServiceError> {
        self.systemd.unit_of(runner).map_err(|source| ServiceError::NoUnit {
            runner: escape::text(&runner.name).into_owned(),
            source,
        })
    }

    fn mark(&self, runner: &Runner, by: By) -> Result<(), ServiceError> {
        let record = Drained {
            schema: 1,
            name: runner.name.clone(),
            root: runner.root.to_string_lossy().into_owned(),
            by,
            since_unix: (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        Ok(self.state.save(RecordKind::Drained, &runner.root, &record)?)
    }

    fn unmark(&self, runner: &Runner) -> Result<(), ServiceError> {
        Ok(self.state.forget(RecordKind::Drained, &runner.root)?)
    }

    fn stop(&self, runner: &Runner, unit: &str) -> Result<Stopped, ServiceError> {
        let told = self.systemd.order(&["stop"], &[unit]);
        match told {
            Ok(()) => {
                tell(runner, "is out of service");
                Ok(Stopped::Yes)
            }
            // The wait is over; systemd continues to stop it.
            Err(_) if self.unit(runner).is_ok_and(|unit| unit.is_stopping) => {
                tell(runner, "is out of service: its unit is stopping, and takes long");
                Ok(Stopped::NotYet)
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Removes the mark first: a sweep in between would stop the unit again.
    fn start(&self, runner: &Runner, unit: &str) -> Result<(), ServiceError> {
        self.unmark(runner)?;
        self.systemd.order(&["start"], &[unit])?;
        tell(runner, "is in service again");
        Ok(())
    }

    /// A sweep's part: `drain.auto`, and marked runners whose job has ended.
    ///
    /// # Errors
    /// [`ServiceError`]: what could not be done; the other runners have been dealt with.
    pub(crate) fn enforce(&self, drained: &[Drained]) -> Result<(), ServiceError> {
        let alive = (self.look)();
        let mut problems = Vec::new();
        for (index, facts) in alive.facts.runners.iter().enumerate() {
            let runner = &facts.runner;
            let root = runner.root.to_string_lossy();
            let by = drained.iter().find(|drained| drained.root == root).map(|drained| drained.by);
            let change = if self.config.drain_auto {
                self.change(&alive.facts, runner, by)
            } else {
                DrainChange::Stay
            };
            let state = liveness::judge(&alive.evidence[index]);
            let done = match (change, by) {
                (DrainChange::Resume, _) => self.unit(runner).and_then(|unit| self.start(runner, &unit.name)),
                (DrainChange::Drain, _) => self
                    .unit(runner)
                    .and_then(|_| self.mark(runner, By::Auto))
                    .and_then(|()| self.hold(&alive.facts, runner, state)),
                (DrainChange::Stay, Some(_)) => self.hold(&alive.facts, runner, state),
                (DrainChange::Stay, None) => Ok(()),
            };
            problems.extend(done.err().map(|error| error.to_string()));
        }
        if problems.is_empty() { Ok(()) } else { Err(ServiceError::Several(problems.join("; "))) }
    }

    fn change(&self, facts: &HostFacts, runner: &Runner, by: Option<By>) -> DrainChange {
        let filesystem =
            runner.work_dir().and_then(|work| facts.filesystems.iter().find(|fs| fs.id == work.filesystem));
        let Some(filesystem) = filesystem else { return DrainChange::Stay };
        let marks = &self.config.watermarks;
        let level: Level = pressure::level(&filesystem.usage, marks);
        drain::change(level, pressure::lacking(&filesystem.usage, marks).is_met(), by)
    }

    /// Stops a drained runner when it is idle. A runner whose lease has ended is about to become idle.
    fn hold(&self, facts: &HostFacts, runner: &Runner, mut state: Liveness) -> Result<(), ServiceError> {
        let unit = self.unit(runner)?;
        let has_lease = facts
            .leases
            .iter()
            .any(|seen| seen.root == Some(runner.root_id) && seen.state != LeaseState::Dead);
        if unit.is_active && state == Liveness::Busy && !has_lease {
            state = self.await_idle(runner);
        }
        match drain::step(state, unit.is_active && !unit.is_stopping) {
            DrainStep::Stop => self.stop(runner, &unit.name).map(drop),
            DrainStep::Nothing | DrainStep::Wait => Ok(()),
        }
    }

    fn await_idle(&self, runner: &Runner) -> Liveness {
        let until = Instant::now() + WORKER_ENDS;
        loop {
            let alive = (self.look)();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Evidence, EvidenceKind, FileId, Guarded, JobReceived, Plan, RunnerFacts, Uid, Weight, Work,
    };
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    const UNIT: &str = "actions.runner.acme.r1.service";

    /// A runner with a unit, and a systemctl that keeps the unit's state in a file and notes what it is told.
    struct Scene {
        temp: tempfile::TempDir,
        config: Config,
        runner: Runner,
    }

    fn scene() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let base = crate::sys::dir::Dir::resolve(temp.path()).unwrap().1;
        let root = base.join("runner");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join(".service"), UNIT).unwrap();
        std::fs::write(base.join("state-of-unit"), "active").unwrap();
        let script = format!(
            "#!/bin/sh\ncd '{}'\ncase \"$*\" in\n  is-system-running) echo running;;\n  *LoadState*) echo loaded;;\n  \
             *WorkingDirectory*) echo '{}';;\n  *ActiveState*) read -r state <state-of-unit; echo \"$state\";;\n  *) echo \"$*\" >>told;;\nesac\n\
             case \"$1\" in start) echo active >state-of-unit;; stop) echo inactive >state-of-unit;; esac\n",
            base.display(),
            root.display()
        );
        let program = base.join("systemctl");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = format!("[paths]\nstate_dir = \"{0}/state\"\nprograms = [\"{0}\"]\n", base.display());
        let runner = Runner {
            name: "r1".into(),
            root: root.clone(),
            root_id: FileId { dev: 1, ino: 1 },
            owner: Uid(1),
            work: Work::Absent { path: root.join("_work") },
        };
        Scene { temp, config: Config::parse(&text).unwrap(), runner }
    }

    impl Scene {
        fn look(&self, evidence: Vec<Evidence>) -> Preview {
            let facts = RunnerFacts {
                runner: self.runner.clone(),
                guarded: Guarded::Yes,
                other_hosts: None,
                received: JobReceived::No,
                caches: Vec::new(),
                locks: Vec::new(),
                leftovers: Vec::new(),
            };
            let facts = HostFacts::quiet(UNIX_EPOCH, vec![facts]);
            Preview { facts, evidence: vec![evidence], plan: Plan::default(), root_matches: Vec::new() }
        }

        fn told(&self) -> String {
            std::fs::read_to_string(self.temp.path().join("told")).unwrap_or_default()
        }

        fn is_marked(&self) -> bool {
            StateDir::at(&self.config.paths.state_dir).holds(RecordKind::Drained, &self.runner.root)
        }

        fn with<T>(&self, evidence: &[Evidence], act: impl FnOnce(&Service<'_>) -> T) -> T {
            let look = || self.look(evidence.to_vec());
            // Another test's fork may still hold the script open for writing.
            let service = (0..200).find_map(|_| match Service::open(&self.config, &look, || UNIX_EPOCH) {
                Ok(service) => Some(service),
                Err(error) if error.to_string().contains("busy") => {
                    std::thread::sleep(Duration::from_millis(5));
                    None
                }
                Err(error) => panic!("{error}"),
            });
            act(&service.expect("the script stays busy"))
        }
    }

    fn busy() -> Vec<Evidence> {
        vec![Evidence::new(EvidenceKind::WorkerProcess, Weight::InUse, "a Worker runs")]
    }

    #[test]
    fn an_idle_runner_is_stopped_and_comes_back() {
        let scene = scene();
        let said = scene.with(&[], |service| service.drain("r1").unwrap());
        assert!(said.contains("drained; its unit") && said.ends_with("is stopped"), "{said}");
        assert!(scene.is_marked());
        assert_eq!(scene.told(), format!("stop -- {UNIT}\n"));
        let said = scene.with(&[], |service| service.resume("r1").unwrap());
        assert!(said.contains("in service again"), "{said}");
        assert!(!scene.is_marked());
        assert_eq!(scene.told(), format!("stop -- {UNIT}\nstart -- {UNIT}\n"));
    }

    #[test]
    fn a_busy_runner_is_marked_and_stopped_by_the_sweep_after_its_job() {
        let scene = scene();
        let said = scene.with(&busy(), |service| service.drain("r1").unwrap());
        assert!(said.contains("marked; it is busy now"), "{said}");
        assert!(scene.is_marked());
        assert_eq!(scene.told(), "", "nothing stops a job");
        let drained: Vec<Drained> =
            StateDir::at(&scene.config.paths.state_dir).load_all(RecordKind::Drained).unwrap();
        scene.with(&[], |service| service.enforce(&drained).unwrap());
        assert_eq!(scene.told(), format!("stop -- {UNIT}\n"));
        assert!(scene.is_marked(), "it stays out of service");
    }

    #[test]
    fn a_unit_that_works_elsewhere_is_not_touched() {
        let mut scene = scene();
        let elsewhere: PathBuf = crate::sys::dir::Dir::resolve(scene.temp.path()).unwrap().1.join("other");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join(".service"), UNIT).unwrap();
        scene.runner.root = elsewhere;
        let error = scene.with(&[], |service| service.drain("r1").unwrap_err());
        assert!(error.to_string().contains("does not work in this root"), "{error}");
        let error = scene.with(&[], |service| service.drain("r2").unwrap_err());
        assert_eq!(error.to_string(), "there is no runner `r2`; known are: r1");
        assert!(scene.told().is_empty() && !scene.is_marked());
    }
}
