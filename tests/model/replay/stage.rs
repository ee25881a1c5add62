//! A real host on which one step after another is taken.

use crate::kit::{self, Call, Entry, MIB, Runner, Stopped, plant_cache};
use crate::state::{At, Guard, Slot, State};
use crate::step::Step;
use disk_guard::lease;
use disk_guard::model::{LeaseSeen, LeaseState};
use disk_guard::run_dir::RunDir;
use disk_guard::sys::process::Proc;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A file that tells one tree of a cache from the next.
const NUMBER: &str = "number";

/// Two guarded runners, of which the first has a cache; processes by the model's numbers.
pub(super) struct Stage<'h> {
    guards: [Option<Stopped>; 2],
    jobs: [Option<Stopped>; 2],
    /// Whether a hook is through with its trash.
    fenced: [Arc<AtomicBool>; 2],
    runners: [Runner; 2],
    cache: PathBuf,
    lock: PathBuf,
    host: &'h kit::Host,
}

/// A host for one stage after the other.
pub(super) fn host() -> kit::Host {
    let mut host = kit::Host::new();
    // Hooks: no pressure, and a wait that ends soon. Sweeps: everything is wanted, and there is time.
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.lock_wait = "200ms";
    });
    std::fs::copy(host.config(), hook_config(&host)).expect("a configuration can be copied");
    host.configure(|settings| {
        settings.want_everything();
        settings.lock_wait = "10min";
        settings.time_limit = "30min";
    });
    host
}

fn hook_config(host: &kit::Host) -> PathBuf {
    host.base.join("hook.toml")
}

impl<'h> Stage<'h> {
    pub(super) fn on(host: &'h kit::Host) -> Self {
        let runners = ["actions-runner-1", "actions-runner-2"].map(|name| host.runner(name).build());
        for runner in &runners {
            // The stand-in would need orders; a shell by the Worker's name takes a script.
            let worker = runner.bin.join("Runner.Worker");
            std::fs::remove_file(&worker).expect("our own file");
            std::fs::copy("/bin/bash", &worker).expect("a shell can be copied");
        }
        let checkout = runners[0].checkout("acme/widgets");
        let stage = Self {
            guards: [None, None],
            jobs: [None, None],
            fenced: Default::default(),
            cache: checkout.join("target"),
            lock: host.host_lock(),
            runners,
            host,
        };
        stage.plant(0);
        stage
    }

    fn plant(&self, number: u8) {
        plant_cache(&self.cache, MIB / 4, 2 * DAY);
        std::fs::write(self.cache.join(NUMBER), [number]).expect("our own file");
        kit::grow_old(&self.cache, 2 * DAY);
    }

    /// Takes one step, after which the model is in the state `after`.
    pub(super) fn take(&mut self, step: Step, after: &State) {
        match step {
            Step::StartWorker(r) => {
                self.fenced[r].store(false, Ordering::Relaxed);
                self.jobs[r] = Some(self.start_worker(r));
            }
            Step::LeaveLease(r) => {
                self.job(r, step, self.drops_lock());
                self.jobs[r].as_ref().expect("it runs").to_exit();
            }
            Step::TimeOut(r) => {
                let leases = self.host.run_dir().join("leases");
                self.job(r, step, move |call| call.number == libc::SYS_openat && call.file(0) == leases);
            }
            Step::LeaveLateLease(r) => {
                self.fenced[r].store(false, Ordering::Relaxed);
                self.fence(r, step, lists(&self.runners[r].work.join(".disk-guard/trash")));
            }
            Step::FenceLists(r) => self.fence(r, step, |call| call.number == libc::SYS_unlinkat),
            Step::FenceRemoves(r) => self.fence(r, step, moves("tree")),
            Step::FenceTakes(r) => self.fence(r, step, |_| false),
            Step::Return(r) => {
                let word = self.word(r, "steps");
                self.job(r, step, reads(word));
            }
            Step::Build(_) => self.plant(after.runners[0].place.expect("it has been built")),
            Step::EndLease(r) => {
                let word = self.word(r, "end");
                self.job(r, step, reads(word));
            }
            Step::EndWorker(r) => {
                let run = self.jobs[r].take().expect("it runs").release();
                assert_eq!(run.code, Some(0), "{}{}", run.stdout(), run.stderr());
            }
            Step::KillWorker(r) => drop(self.jobs[r].take().expect("it runs").kill()),
            Step::Kill(g) => drop(self.guards[g].take().expect("it runs").kill()),
            Step::Relieve(_)
            | Step::Swap(_)
            | Step::GiveUp(_)
            | Step::LoseSupervisor(_)
            | Step::LookForBoth(..) => unreachable!("{step:?} is not played"),
            _ => {
                let guard = step.guard().expect("the rest is a guard's");
                self.guard(guard, step, after.guards[guard].at);
            }
        }
    }

    /// A guard's step, to the system call before which the next one lies.
    fn guard(&mut self, guard: usize, step: Step, then: At) {
        if let Step::EmptyTrash(_) = step {
            self.guards[guard] = Some(Stopped::at(&self.host.call(&["sweep", "--json"]), self.takes_lock()));
        }
        let it = self.guards[guard].as_ref().expect("it runs");
        match step {
            // Into a slot that is gone nothing is renamed.
            Step::Rename(_) if then == At::Renamed => {
                assert!(it.to_next(moves("target")), "guard {guard} ended in {step:?}");
                it.to_exit();
            }
            Step::Release(_) => it.to_exit(),
            _ => {}
        }
        let work = self.runners[0].work.clone();
        let is_held = match then {
            At::Listed => it.to_next(|call| call.number == libc::SYS_unlinkat),
            At::Emptied => it.to_next(move |call| lists(&work)(call)),
            At::Planned => it.to_next(makes_slot),
            At::Slotted => it.to_next(lists(Path::new("/proc"))),
            At::Cleared => it.to_next(self.takes_lock()),
            At::Sure => it.to_next(opens_slot),
            At::Doubted => it.to_next(moves("tree")),
            At::Settled => it.to_next(self.drops_lock()),
            At::Renamed | At::Released => true,
            At::Done => {
                // Before it looks at the trash anew, or at its end.
                it.to_next(self.takes_lock());
                true
            }
            At::Off | At::Begin | At::Holding => unreachable!("{step:?} leads there never"),
        };
        assert!(is_held, "guard {guard} ended in {step:?}");
    }

    fn job(&self, runner: usize, step: Step, wanted: impl FnMut(&Entry) -> bool + Send + 'static) {
        assert!(self.jobs[runner].as_ref().expect("it runs").to_next(wanted), "the job ended in {step:?}");
    }

    /// A hook's way through its trash: to the next call of the kind `wanted`, or to the end of it. There it opens its configuration,
    /// or on the way out the lock's file, to see what is announced, and stays until its next step.
    fn fence(&self, runner: usize, step: Step, mut wanted: impl FnMut(&Entry) -> bool + Send + 'static) {
        if !self.fenced[runner].load(Ordering::Relaxed) {
            let fenced = Arc::clone(&self.fenced[runner]);
            let mut configures = reads(hook_config(self.host));
            self.job(runner, step, move |call| {
                let is_through = opens("host.lock")(call) || configures(call);
                fenced.fetch_or(is_through, Ordering::Relaxed);
                is_through || wanted(call)
            });
        }
    }

    /// A Worker whose started-hook is about to fence.
    fn start_worker(&self, runner: usize) -> Stopped {
        let hook =
            format!("{} --config {} hook", self.host.program().display(), hook_config(self.host).display());
        let (steps, end) = (self.word(runner, "steps"), self.word(runner, "end"));
        for word in [&steps, &end] {
            std::fs::write(word, "go\n").expect("our own file");
        }
        let script = format!(
            "{hook} started || exit 3; read -r x <{}; {hook} completed || exit 4; read -r x <{}; exit 0",
            steps.display(),
            end.display()
        );
        let program = self.runners[runner].bin.join("Runner.Worker");
        Stopped::at(
            &Call { program, arguments: vec!["-c".into(), script.into()], user: None },
            opens(".disk-guard"),
        )
    }

    /// A file that the job's shell reads when it has come so far.
    fn word(&self, runner: usize, name: &str) -> PathBuf {
        self.host.base.join(format!("{name}-{runner}"))
    }

    fn takes_lock(&self) -> impl FnMut(&Entry) -> bool + Send + 'static + use<> {
        let lock = self.lock.clone();
        move |call| call.number == libc::SYS_flock && call.file(0) == lock
    }

    fn drops_lock(&self) -> impl FnMut(&Entry) -> bool + Send + 'static + use<> {
        let lock = self.lock.clone();
        move |call| call.number == libc::SYS_close && call.file(0) == lock
    }

    /// The host is as the model says.
    #[track_caller]
    pub(super) fn compare(&self, state: &State, when: &str) {
        let model = &state.runners[0];
        let number = |tree: &Path| std::fs::read(tree.join(NUMBER)).ok().map(|bytes| bytes[0]);
        assert_eq!(number(&self.cache), model.place, "the tree in its place, {when}");

        let (trees, empty) = self.trash();
        let of_guards = |wanted: fn(&Slot) -> bool| {
            let claims = state.guards.iter().flat_map(Guard::claims);
            claims.filter(|claim| claim.target == 0 && wanted(&claim.slot)).count()
        };
        let in_slots = of_guards(|slot| matches!(slot, Slot::Tree(_)));
        assert_eq!(trees, in_slots + usize::from(model.trash), "trees in trash, {when}");
        assert_eq!(empty, of_guards(|slot| *slot == Slot::Empty), "empty slots, {when}");

        let run = RunDir::open(&self.host.run_dir()).expect("the run directory");
        let leases = lease::read_all(
            &run,
            lease::LeaseView {
                proc: &Proc::new(Path::new("/proc")),
                sees_all: |_| false,
                now: std::time::SystemTime::now(),
            },
        )
        .expect("leases");
        for (index, runner) in self.runners.iter().enumerate() {
            let root = std::fs::metadata(&runner.root).expect("it is there").ino();
            let mine = |seen: &&LeaseSeen| seen.root.is_some_and(|id| id.ino == root);
            let live = leases.iter().filter(mine).any(|seen| seen.state == LeaseState::Live);
            assert_eq!(live, state.runners[index].lease, "runner {index}'s lease, {when}");
            assert_eq!(
                self.jobs[index].is_some(),
                state.runners[index].job.has_worker(),
                "runner {index}'s Worker, {when}"
            );
        }

        let file = File::open(&self.lock).expect("the host lock");
        let is_free = Flock::lock(file, FlockArg::LockSharedNonblock).is_ok();
        assert_eq!(!is_free, state.is_locked(), "the host lock, {when}");
    }

    /// How many trees lie in trash, and how many slots without one.
    fn trash(&self) -> (usize, usize) {
        let (mut trees, mut empty) = (0, 0);
        let trash = self.runners[0].work.join(".disk-guard/trash");
        for entry in std::fs::read_dir(trash).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_tree = |path: PathBuf| path.join(NUMBER).exists();
            if is_tree(entry.path().join("tree")) || is_tree(entry.path()) {
                trees += 1;
            } else if name.starts_with("slot-") {
                empty += 1;
            }
        }
        (trees, empty)
    }

    /// Every guard dies where it is; one more run leaves no trash behind, and takes what is idle.
    pub(super) fn next_run_finishes(mut self, steps: &[Step]) {
        for stopped in self.guards.iter_mut().chain(&mut self.jobs).filter_map(Option::take) {
            stopped.kill();
        }
        let sweep = self.host.sweep();
        assert_eq!(self.trash(), (0, 0), "after {steps:?}: {:#}", sweep.0);
        assert!(!self.cache.exists(), "after {steps:?}: {:#}", sweep.0);
        for runner in &self.runners {
            std::fs::remove_dir_all(&runner.root).expect("our own directory");
        }
    }
}

fn opens(name: &'static str) -> impl FnMut(&Entry) -> bool + Send + Copy + 'static {
    move |call| matches!(call.number, libc::SYS_openat | libc::SYS_openat2) && call.text(1) == name
}

fn makes_slot(call: &Entry) -> bool {
    call.number == libc::SYS_mkdirat && call.text(1).starts_with("slot-")
}

fn opens_slot(call: &Entry) -> bool {
    call.number == libc::SYS_openat2 && call.text(1).starts_with("slot-")
}

fn moves(name: &'static str) -> impl FnMut(&Entry) -> bool + Send + Copy + 'static {
    move |call| call.number == libc::SYS_renameat2 && call.text(1) == name
}

fn lists(directory: &Path) -> impl FnMut(&Entry) -> bool + Send + 'static + use<> {
    let directory = directory.to_owned();
    move |call| call.number == libc::SYS_getdents64 && call.file(0) == directory
}

/// The shell opens a file.
fn reads(path: PathBuf) -> impl FnMut(&Entry) -> bool + Send + 'static {
    move |call| call.number == libc::SYS_openat && Path::new(&call.text(1)) == path
}
