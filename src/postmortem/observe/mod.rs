//! Looking at a death: every reader of the wing, and how their answers become [`Facts`]. Nothing is written here, every reader
//! is bounded, and what cannot be read is a fact of its own, with how to have it the next time.

pub mod cgroup;
mod clock;
mod guard;
pub mod kernel;
pub mod logs;
mod unit;

use super::keep::Raw;
use super::nouns::{Death, DiskNow, Facts, KernelLog, Seen, WorkerLog};
use crate::model::ledger::{Ledger, Window};
use crate::model::{Attribution, HostFacts, Lease, LeaseState, Runner};
use crate::observe::diag_log;
use crate::setup::units::Systemd;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Jobs of one runner that are looked at.
const MAX_JOBS: usize = 64;

/// A lease is written by the started-hook, which runs after its Worker has begun its log.
const SLACK: Duration = Duration::from_secs(2);

/// Around the end of a job, kernel messages of this time are kept, and at most so many.
const AROUND: Duration = Duration::from_secs(300);
const MAX_KERNEL_LINES: usize = 64;

/// Where the kernel shows its messages.
const KMSG: &str = "/dev/kmsg";

/// What the readers work with. What holds for the whole host is read once, when it is first asked for.
pub struct Observer<'a> {
    proc: &'a Proc,
    programs: Programs<'a>,
    cgroups: PathBuf,
    ledger: Option<&'a Ledger>,
    host: &'a HostFacts,
    systemd: OnceCell<Result<Systemd<'a>, String>>,
    kernel: OnceCell<Result<kernel::Messages, String>>,
    /// Kernel messages are wanted since then.
    since: SystemTime,
}

/// A job that may have died.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The runner's index.
    pub runner: usize,
    /// Its Worker's log, unless it could not even begin one.
    pub log: Option<OsString>,
    /// Its lease.
    pub lease: Option<Lease>,
    /// Whether its Worker lives.
    pub lives: bool,
    /// When it began, as far as that is known.
    pub begun: SystemTime,
}

impl<'a> Observer<'a> {
    /// An observer of deaths since `since`. `host` is a look at who lives.
    pub fn new(
        proc: &'a Proc,
        programs: Programs<'a>,
        host: &'a HostFacts,
        ledger: Option<&'a Ledger>,
        since: SystemTime,
    ) -> Self {
        Self {
            proc,
            programs,
            cgroups: PathBuf::from(cgroup::MOUNT),
            ledger,
            host,
            systemd: OnceCell::new(),
            kernel: OnceCell::new(),
            since,
        }
    }

    /// The runner of a subject.
    pub fn runner(&self, subject: &Subject) -> &'a Runner {
        &self.host.runners[subject.runner].runner
    }

    /// The jobs of a runner, the latest first: one for each Worker's log, and one for each lease without any.
    ///
    /// # Errors
    /// What reading `_diag` says.
    pub fn subjects(&self, runner: usize) -> io::Result<Vec<Subject>> {
        let root = Dir::open(&self.host.runners[runner].runner.root)?;
        let logs = logs::worker_logs(&root, MAX_JOBS)?;
        let mut leases = self.leases(runner);
        let has_worker = self
            .host
            .processes
            .workers
            .iter()
            .any(|worker| worker.attribution == Attribution::Runner(runner));
        let mut subjects = Vec::new();
        let mut next: Option<SystemTime> = None;
        for (index, log) in logs.into_iter().enumerate() {
            let Some(begun) = diag_log::begun(&log) else { continue };
            let own = leases.iter().position(|(lease, _)| {
                let at = lease.since + SLACK;
                at >= begun && next.is_none_or(|next| at < next)
            });
            let lease = own.map(|own| leases.remove(own));
            next = Some(begun);
            let lives = lease.as_ref().map_or(index == 0 && has_worker, |(_, lives)| *lives);
            subjects.push(Subject {
                runner,
                log: Some(log),
                lease: lease.map(|(lease, _)| lease),
                lives,
                begun,
            });
        }
        let alone = leases.into_iter().map(|(lease, lives)| Subject {
            runner,
            log: None,
            begun: lease.since,
            lease: Some(lease),
            lives,
        });
        subjects.extend(alone);
        subjects.sort_by_key(|subject| std::cmp::Reverse(subject.begun));
        Ok(subjects)
    }

    /// A runner's leases, and whether each one's Worker lives, as far as they are the word of root or of the runner's own user.
    fn leases(&self, runner: usize) -> Vec<(Lease, bool)> {
        let runner = &self.host.runners[runner].runner;
        let own = self.host.leases.iter().filter(|seen| {
            seen.root == Some(runner.root_id)
                && (seen.owner == runner.owner || seen.owner == crate::model::Uid::ROOT)
        });
        let judged = own.filter_map(|seen| match &seen.state {
            LeaseState::Live => Some((seen.lease.clone()?, true)),
            LeaseState::Dead => Some((seen.lease.clone()?, false)),
            LeaseState::CannotTell(_) => None,
        });
        let mut leases: Vec<_> = judged.collect();
        leases.sort_by_key(|(lease, _)| std::cmp::Reverse(lease.since));
        leases.truncate(MAX_JOBS);
        leases
    }

    /// When this boot began.
    pub fn booted(&self) -> Option<SystemTime> {
        clock::booted(self.proc)
    }

    /// What the Worker's log of a subject says.
    ///
    /// # Errors
    /// What opening and reading it say; `NotFound` when it has none.
    pub fn worker_log(&self, subject: &Subject) -> io::Result<(WorkerLog, diag_log::Tail)> {
        let name = subject.log.as_deref().ok_or(io::ErrorKind::NotFound)?;
        logs::worker(&Dir::open(&self.runner(subject).root)?, name)
    }

    /// Looks at everything that can tell of this death, and keeps what may vanish.
    pub fn look(&self, subject: &Subject) -> (Facts, Raw) {
        let runner = self.runner(subject);
        let mut raw = Raw::default();
        let how = "keep the runner's _diag readable for root, on a disk that has room";
        let worker = match self.worker_log(subject) {
            Ok((log, tail)) => {
                raw.worker_log = tail.bytes;
                Seen::Known(log)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Seen::missing("the Worker's log: it has begun none", how)
            }
            Err(error) => Seen::missing(format!("the Worker's log: {error}"), how),
        };
        let mut death = death(runner, subject, worker.known());
        let job = worker.known().and_then(|log| log.job_id.as_deref());
        let listener = Dir::open(&runner.root).and_then(|root| logs::listener(&root, death.started, job));
        let listener = match listener {
            Ok((log, tails)) => {
                raw.listener_log = tails.into_iter().flat_map(|tail| tail.bytes).collect();
                Seen::Known(log)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Seen::missing("the Listener's log: there is none", how)
            }
            Err(error) => Seen::missing(format!("the Listener's log: {error}"), how),
        };
        death.ended = listener.known().and_then(|log| log.finished.as_ref()?.1.at);
        let unit = unit::look(self.programs, self.systemd(), runner, self.host.now);
        let kernel = self.kernel(&death, &mut raw);
        let own = self.host.processes.listeners.iter().filter(|listener| listener.runner == subject.runner);
        let listener_process = own.max_by_key(|listener| listener.started);
        let mut groups = Vec::new();
        groups
            .extend(listener_process.and_then(|listener| cgroup::group_of(self.proc, listener.process.pid)));
        if let Some(group) = unit.known().and_then(|unit| unit.group.clone()) {
            groups.extend([cgroup::Group::Second(group.clone()), cgroup::Group::First(group)]);
        }
        let facts = Facts {
            now: self.host.now,
            worker_lives: subject.lives,
            listener_since: listener_process.map(|listener| listener.started),
            worker,
            listener,
            kernel,
            memory: cgroup::memory_events(&self.cgroups, &groups),
            pressure: cgroup::pressure(self.proc),
            disk: self.disk(runner),
            guard: self.guard(runner, &death),
            clock: clock::look(self.proc, subject.lease.as_ref()),
            unit,
            death,
        };
        (facts, raw)
    }

    fn systemd(&self) -> &Result<Systemd<'a>, String> {
        self.systemd.get_or_init(|| Systemd::find(self.programs))
    }

    fn kernel(&self, death: &Death, raw: &mut Raw) -> Seen<KernelLog> {
        let from = death.started.unwrap_or(self.since);
        let read = || kernel::read(self.programs, Path::new(KMSG), self.since.min(from), self.host.now);
        match self.kernel.get_or_init(read) {
            Ok(messages) => {
                let to = death.ended.map_or(self.host.now, |ended| ended + AROUND);
                let window = Window { from: from.checked_sub(AROUND).unwrap_or(UNIX_EPOCH), to };
                let mut lines: Vec<_> =
                    messages.lines.iter().filter(|line| window.holds(line.at)).cloned().collect();
                lines.drain(..lines.len().saturating_sub(MAX_KERNEL_LINES));
                raw.kernel = lines.iter().map(|line| line.text.clone()).collect();
                let since = death.last_sign.or(death.started).unwrap_or(from);
                let is_complete = messages.complete_since.is_some_and(|complete| complete <= since);
                Seen::Known(KernelLog { source: messages.source, is_complete, lines })
            }
            Err(reason) => Seen::missing(
                format!("the kernel's messages: {reason}"),
                "keep the journal on disk (`mkdir -p /var/log/journal`), and ask as root or as a member of systemd-journal",
            ),
        }
    }

    fn disk(&self, runner: &Runner) -> Seen<DiskNow> {
        let found = runner
            .work_dir()
            .and_then(|work| self.host.filesystems.iter().find(|fs| fs.id == work.filesystem));
        match found {
            Some(fs) => Seen::Known(DiskNow {
                mount: fs.mount.clone(),
                used_percent: fs.usage.used_percent(),
                available_bytes: fs.usage.available_bytes,
                inodes_free: (fs.usage.inodes_total > 0).then_some(fs.usage.inodes_free),
            }),
            None => Seen::missing(
                "the disk of the work directory: it cannot be examined",
                "see `disk-guard doctor`",
            ),
        }
    }

    fn guard(&self, runner: &Runner, death: &Death) -> Seen<super::nouns::GuardDeeds> {
        let from = death.started.unwrap_or(self.since);
        let window = Window {
            from: from.checked_sub(AROUND).unwrap_or(UNIX_EPOCH),
            to: death.ended.map_or(self.host.now, |ended| ended + AROUND),
        };
        match self.ledger {
            Some(ledger) => Seen::Known(guard::deeds(ledger, runner, window)),
            None => Seen::missing("disk-guard's own ledger", "let tmpfiles.d make the state directory"),
        }
    }
}

/// Whose death, as far as lease and log tell.
fn death(runner: &Runner, subject: &Subject, log: Option<&WorkerLog>) -> Death {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let lease = subject.lease.as_ref();
    Death {
        runner: runner.name.clone(),
        root: runner.root.clone(),
        repository: lease.and_then(|lease| said(&lease.job.repository)),
        run_id: lease.and_then(|lease| said(&lease.job.run_id)),
        job: lease.and_then(|lease| said(&lease.job.job)),
        worker_pid: lease.map(|lease| lease.worker.pid.0),
        boot_id: lease.map(|lease| lease.boot_id.clone()),
        worker_log: subject.log.as_deref().map(|name: &OsStr| name.to_string_lossy().into_owned()),
        started: Some(subject.begun),
        last_sign: log.and_then(|log| log.last.as_ref()?.at),
        ended: None,
    }
}
