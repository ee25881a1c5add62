//! The scene of every attack: a hostile runner, an innocent one of another user, and something precious that belongs to neither.

use crate::kit::{Call, Canary, Fs, Host, MIB, Report, Run, Runner, SHARED_GID, Settings, plant_cache};
use nix::libc;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// As whom the hostile runner's jobs run.
pub(crate) const HOSTILE: (u32, u32) = (12_666, SHARED_GID);

/// As whom the innocent one's do.
const INNOCENT: (u32, u32) = (12_001, SHARED_GID);

/// What a run may open. A quarter of what a service may by default.
const DESCRIPTORS: u64 = 256;

/// What a run may have resident at its peak, whatever it meets. It takes about a quarter of this on an empty host.
const MEMORY: u64 = 64 * MIB;

/// How long a run may take, on a busy machine and without optimisation. Its own limit is an hour; none of this is worth that.
const TIME: Duration = Duration::from_secs(100);

/// How much a run may say.
const OUTPUT: usize = 4 << 20;

/// Two runners and a treasure on one filesystem.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) host: Host,
    pub(crate) hostile: Runner,
    pub(crate) innocent: Runner,
    /// Root's own. Seen from any component that is replaced by a link to it or into it, it looks exactly like what lies below
    /// that component in the hostile runner: a work directory with a marked cache, and with trash.
    pub(crate) precious: PathBuf,
    canaries: Vec<Canary>,
    runs: u32,
}

/// How a run ended, and what it took.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) run: Run,
    pub(crate) resident_bytes: u64,
}

impl Scene {
    /// Runners on memory, which is fast; `inodes` is all that anybody can make.
    pub(crate) fn in_memory(inodes: u64) -> Self {
        Self::on(Fs::Tmpfs { mib: 512, inodes })
    }

    pub(crate) fn on(fs: Fs) -> Self {
        let mut host = Host::on(fs);
        host.configure(Settings::want_everything);
        let [hostile, innocent] =
            [("hostile", HOSTILE), ("innocent", INNOCENT)].map(|(name, (user, group))| {
                host.runner(&format!("actions-runner-{name}")).user(user, group).build()
            });
        let precious = host.runners().join("precious");
        plant_cache(&precious.join("widgets/widgets/target"), MIB / 4, 2 * DAY);
        plant_cache(&precious.join(".disk-guard/trash/slot-1-1/tree"), MIB / 4, 2 * DAY);
        let canaries = vec![Canary::of(&precious), Canary::of(&innocent.checkout("acme/source"))];
        Self { host, hostile, innocent, precious, canaries, runs: 0 }
    }

    /// A marked cache of the hostile runner, old and idle.
    pub(crate) fn bait(&self, repository: &str) -> PathBuf {
        self.hostile.cache(repository, "target", MIB / 4, 2 * DAY)
    }

    /// A tree in the hostile runner's trash: it is deleted without a look at any evidence, so that a race with its deletion is
    /// one that takes place.
    pub(crate) fn doomed(&self) -> PathBuf {
        let tree = self.hostile.work.join(".disk-guard/trash/slot-1-1/tree");
        std::fs::create_dir_all(&tree).expect("our own directory");
        self.hostile.own(&self.hostile.work.join(".disk-guard"));
        tree
    }

    /// Remembers something else that must not change.
    pub(crate) fn cherish(&mut self, tree: &Path) {
        self.canaries.push(Canary::of(tree));
    }

    /// Sweeps as root, within bounds. A cache of the innocent runner goes in the same run, and nothing cherished is touched.
    #[track_caller]
    pub(crate) fn sweep(&mut self) -> Report {
        let control = self.control();
        let bounded = bounded(&self.host.call(&["sweep", "--json"]));
        bounded.assert_modest();
        let report = bounded.run.expect_code(&[0, 20]).report();
        self.assert_intact();
        assert_eq!(report.outcome(&control), "removed", "the innocent's goes: {:#}", report.0);
        assert!(!control.exists());
        report
    }

    /// A fresh cache of the innocent runner.
    pub(crate) fn control(&mut self) -> PathBuf {
        self.runs += 1;
        self.innocent.cache(&format!("acme/control{}", self.runs), "target", MIB / 4, 2 * DAY)
    }

    #[track_caller]
    pub(crate) fn assert_intact(&self) {
        self.canaries.iter().for_each(Canary::assert_intact);
    }
}

impl Bounded {
    #[track_caller]
    pub(crate) fn assert_modest(&self) {
        let (out, err) = (self.run.stdout(), self.run.stderr());
        assert!(self.resident_bytes < MEMORY, "{} bytes resident at its peak", self.resident_bytes);
        for said in [&out, &err] {
            assert!(!said.contains("Too many open files"), "descriptors ran out:\n{said:.4000}");
            assert!(said.len() < OUTPUT, "{} bytes said:\n{said:.4000}", said.len());
        }
    }
}

/// Runs the guard with few descriptors and measures it. Panics when it does not end in time.
#[track_caller]
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, in `ended`")]
pub(crate) fn bounded(call: &Call) -> Bounded {
    let mut arguments =
        vec![format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}").into(), call.program.clone().into()];
    arguments.extend(call.arguments.iter().cloned());
    let call = Call { program: "prlimit".into(), arguments, user: call.user };
    let mut child = call.command().spawn().expect("prlimit starts");
    let readers = (read(child.stdout.take()), read(child.stderr.take()));
    let deadline = Instant::now() + TIME;
    let (status, resident_bytes) = loop {
        if let Some(ended) = ended(&child) {
            break ended;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{:?} did not end within {TIME:?}", call.arguments);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let [stdout, stderr] =
        [readers.0, readers.1].map(|reader| reader.join().expect("reading does not panic"));
    Bounded { run: Run { code: status.code(), signal: status.signal(), stdout, stderr }, resident_bytes }
}

fn read(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("piped");
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// Whether a child has ended: how, and the most memory it had resident. The standard library does not tell the latter.
#[allow(unsafe_code, reason = "wait4 has no safe form")]
fn ended(child: &Child) -> Option<(ExitStatus, u64)> {
    // SAFETY: all-zero is a value of a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both places are ours and live; the pid is of a child that has not been waited for.
    let pid = unsafe { libc::wait4(child.id() as i32, &mut status, libc::WNOHANG, &mut usage) };
    assert!(pid >= 0, "it is our child");
    (pid > 0).then(|| (ExitStatus::from_raw(status), usage.ru_maxrss as u64 * 1024))
}
