//! Observation of a death: one reader for each source; their answers become [`Facts`]. Nothing is written here, every reader is bounded,
//! and an unreadable source is a fact of its own, with how to have it the next time.

pub mod cgroup;
mod clock;
mod guard;
pub mod journal;
pub mod kernel;
pub mod logs;
mod unit;

use super::exit_code::{self, Ending};
use super::keep::Raw;
use crate::model::ledger::{Ledger, Window};
use crate::model::postmortem::{
    Death, DiskNow, Facts, HostLog, KernelLog, ListenerLog, Observed, Reported, UnitRecord, WorkerLog,
};
use crate::model::{Attribution, Filesystem, HostFacts, Lease, LeaseState, Pid, Runner, Usage};
use crate::observe::diag_log;
use crate::setup::units::{self, Systemd, SystemdError};
use crate::sys::cgroup::{Group, Hierarchies};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use logs::{LoggedJobs, Pages};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Jobs of one runner that are looked at.
const MAX_JOBS: usize = 64;

/// A lease is written by the started-hook, which runs after its Worker has begun its log.
const SLACK: Duration = Duration::from_secs(2);

/// The span of kernel messages around the end of a job, and their maximum; fewer are recorded.
const AROUND: Duration = Duration::from_secs(300);
const MAX_KERNEL_LINES: usize = 2048;
const MAX_KEPT_LINES: usize = 64;

/// The journal's lines about the cause are at most this long before the job's end, or after the last sign of life.
const BEFORE_END: Duration = Duration::from_secs(900);
const BEHIND_LAST_SIGN: Duration = Duration::from_secs(1800);

const KEEP_LOGS: &str = "keep the runner's _diag readable for root, on a disk that has room";
const KEEP_JOURNAL: &str = "keep the journal on disk (`mkdir -p /var/log/journal`), and run this as root or as a member of systemd-journal";

/// The kernel's messages.
const KMSG: &str = "/dev/kmsg";

/// The inputs of the readers. Data of the whole host is read once, when it is first needed.
pub struct Observer<'a> {
    proc: &'a Proc,
    programs: Programs<'a>,
    hierarchies: OnceCell<Hierarchies>,
    ledger: Option<&'a Ledger>,
    host: &'a HostFacts,
    systemd: OnceCell<Result<Systemd<'a>, SystemdError>>,
    kernel: OnceCell<Result<kernel::Messages, kernel::KernelLogError>>,
    /// By runner, and since when: the content of its Listener's logs.
    stories: RefCell<HashMap<usize, (SystemTime, ListenerStories)>>,
    /// Kernel messages and Listeners' logs are wanted since then.
    since: SystemTime,
}

/// The content of a runner's Listener's logs, or why it is unknown.
type ListenerStories = Rc<io::Result<LoggedJobs>>;

/// A job that may have died.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The runner's index.
    pub runner: usize,
    /// Its Worker's log, unless it could not even begin one.
    pub log: Option<Pages>,
    /// The job's id, if only the Listener's log has the job.
    pub job: Option<String>,
    /// Its lease.
    pub lease: Option<Lease>,
    /// Whether its Worker lives.
    pub lives: bool,
    /// When it began, as far as that is known.
    pub begun: SystemTime,
}

impl<'a> Observer<'a> {
    /// An observer of deaths since `since`. `host` is a look at the living processes.
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
            hierarchies: OnceCell::new(),
            ledger,
            host,
            systemd: OnceCell::new(),
            kernel: OnceCell::new(),
            stories: RefCell::new(HashMap::new()),
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
    /// The error of reading `_diag`.
    pub fn subjects(&self, runner: usize) -> io::Result<Vec<Subject>> {
        let root = Dir::open(&self.host.runners[runner].runner.root)?;
        let logs = logs::worker_logs(&root, MAX_JOBS)?;
        let mut leases = self.leases(runner);
        let has_worker = self.has_worker(runner);
        let mut subjects = Vec::new();
        let mut next: Option<SystemTime> = None;
        for (index, log) in logs.into_iter().enumerate() {
            let Some(begun) = log.0.first().and_then(|name| diag_log::begun(name)) else { continue };
            let own = leases.iter().position(|(lease, _)| {
                let at = lease.since + SLACK;
                at >= begun && next.is_none_or(|next| at < next)
            });
            let lease = own.map(|own| leases.remove(own));
            next = Some(begun);
            let lives = lease.as_ref().map_or(index == 0 && has_worker, |(_, lives)| *lives);
            let lease = lease.map(|(lease, _)| lease);
            subjects.push(Subject { runner, log: Some(log), job: None, lease, lives, begun });
        }
        let alone = leases.into_iter().map(|(lease, lives)| Subject {
            runner,
            log: None,
            job: None,
            begun: lease.since,
            lease: Some(lease),
            lives,
        });
        subjects.extend(alone);
        subjects.sort_by_key(|subject| std::cmp::Reverse(subject.begun));
        Ok(subjects)
    }

    /// Jobs that the Listener has received and for which `known` has neither a Worker's log nor a lease: the logs are gone, or the Worker
    /// could not begin one.
    pub fn without_worker(&self, runner: usize, known: &[Subject]) -> Vec<Subject> {
        let told = self.stories(runner, self.since);
        let Ok(stories) = &*told else { return Vec::new() };
        let received: Vec<(&str, SystemTime)> = stories.received().collect();
        let mut alone = Vec::new();
        for (index, (job, at)) in received.iter().enumerate() {
            let next = received.get(index + 1).map(|(_, at)| *at);
            let is_known = known
                .iter()
                .any(|subject| subject.begun + SLACK >= *at && next.is_none_or(|next| subject.begun < next));
            // A Worker may still have to begin its log.
            let may_live = next.is_none() && (self.has_worker(runner) || *at + AROUND > self.host.now);
            let is_open = may_live && !stories.of(job).has_end();
            if !is_known && !is_open {
                let job = Some((*job).to_owned());
                alone.push(Subject { runner, log: None, job, lease: None, lives: false, begun: *at });
            }
        }
        alone.reverse();
        alone.truncate(MAX_JOBS);
        alone
    }

    fn has_worker(&self, runner: usize) -> bool {
        let workers = &self.host.processes.workers;
        workers.iter().any(|worker| worker.attribution == Attribution::Runner(runner))
    }

    /// The jobs in the Listener's logs of a runner since `since`, read once.
    fn stories(&self, runner: usize, since: SystemTime) -> ListenerStories {
        let since = since.min(self.since);
        if let Some((from, told)) = self.stories.borrow().get(&runner)
            && *from <= since
        {
            return Rc::clone(told);
        }
        let read =
            Dir::open(&self.host.runners[runner].runner.root).and_then(|root| LoggedJobs::read(&root, since));
        let told = Rc::new(read);
        self.stories.borrow_mut().insert(runner, (since, Rc::clone(&told)));
        told
    }

    /// Whether a job may be worth an examination: not if it lives, succeeded, or was cancelled and ended as expected. Only the end of the
    /// Worker's log is read for this.
    pub fn may_be_of_interest(&self, subject: &Subject) -> bool {
        if subject.lives {
            return false;
        }
        let Ok((log, _)) = self.worker_end(subject) else { return true };
        let listener = self.listener(subject, log.job_id.as_deref());
        let listener = listener.known();
        let code = listener.and_then(|listener| listener.finished.as_ref()).map(|(code, _)| *code);
        let result = listener.and_then(|listener| listener.result.as_ref()).map(|(result, _)| *result);
        let is_shutdown = listener.is_some_and(|listener| listener.shutdown.is_some());
        match (code, result) {
            (Some(100 | 101 | 104), _) => false,
            (Some(code), Some(Reported::Cancelled)) if !is_shutdown => {
                !matches!(exit_code::ending(code), Ending::Result(_))
            }
            (Some(_), _) => true,
            (None, _) => log.completed.is_none() || has_failed(&log),
        }
    }

    /// A runner's leases, and whether each one's Worker lives, as far as root or the runner's own user wrote them.
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

    /// The content of the end of a subject's Worker log by itself, and that end.
    ///
    /// # Errors
    /// The error of opening or reading it; `NotFound` when it has none.
    pub fn worker_end(&self, subject: &Subject) -> io::Result<(WorkerLog, diag_log::Tail)> {
        let pages = subject.log.as_ref().ok_or(io::ErrorKind::NotFound)?;
        logs::worker_end(&Dir::open(&self.runner(subject).root)?, pages)
    }

    fn worker(&self, subject: &Subject, raw: &mut Raw) -> io::Result<WorkerLog> {
        let pages = subject.log.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let root = Dir::open(&self.runner(subject).root)?;
        raw.worker_log = logs::worker_end(&root, pages)?.1.bytes;
        logs::worker_log(&root, pages)
    }

    /// The lines of the Listener's logs about a subject's job: by its id, or if no Worker's log has one, of the last job received before
    /// the Worker began.
    fn listener(&self, subject: &Subject, job: Option<&str>) -> Observed<ListenerLog> {
        let told = self.stories(subject.runner, subject.begun);
        match &*told {
            Ok(stories) => Observed::Known(match id(stories, subject, job) {
                Some(id) => stories.of(&id),
                None => stories.nothing(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Observed::missing("the Listener's log: there is none".to_owned(), KEEP_LOGS)
            }
            Err(error) => Observed::missing(format!("the Listener's log: {error}"), KEEP_LOGS),
        }
    }

    /// Reads every source about this death, and records evidence that may vanish.
    pub fn look(&self, subject: &Subject) -> (Facts, Raw) {
        let runner = self.runner(subject);
        let mut raw = Raw::default();
        let worker = match self.worker(subject, &mut raw) {
            Ok(log) => Observed::Known(log),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Observed::missing("the Worker's log: there is none", KEEP_LOGS)
            }
            Err(error) => Observed::missing(format!("the Worker's log: {error}"), KEEP_LOGS),
        };
        let job = worker.known().and_then(|log| log.job_id.clone());
        let listener = self.listener(subject, job.as_deref());
        if let Ok(stories) = &*self.stories(subject.runner, subject.begun)
            && let Some(id) = id(stories, subject, job.as_deref())
            && let Ok(root) = Dir::open(&runner.root)
        {
            raw.listener_log = stories.raw(&root, &id);
        }
        let mut death = death(runner, subject, worker.known());
        if let Some(log) = listener.known() {
            death.worker_pid = death.worker_pid.or(log.worker_pid);
            let ends =
                [log.finished.as_ref().map(|(_, line)| line), log.result.as_ref().map(|(_, line)| line)];
            death.ended = ends.into_iter().chain([log.closed.as_ref()]).flatten().find_map(|line| line.at);
        }
        let unit_name = units::name_in(&runner.root).ok();
        let own = self.host.processes.listeners.iter().filter(|listener| listener.runner == subject.runner);
        let listener_process = own.max_by_key(|listener| listener.started);
        let groups = |unit: &Observed<UnitRecord>| {
            let listener = listener_process.map(|listener| listener.process.pid);
            self.groups(listener, unit, unit_name.as_deref())
        };
        // A normal end needs no other explanation.
        let (unit, host) = if has_plain_end(&listener) {
            let missing = || ("not checked for a job that ended by itself", "");
            (Observed::missing(missing().0, missing().1), Observed::missing(missing().0, missing().1))
        } else {
            let unit = unit::look(self.programs, self.systemd(), runner, self.host.now);
            let host = self.host_log(runner, &death, &listener, (unit_name.as_deref(), &groups(&unit)));
            (unit, host)
        };
        let kernel = self.kernel(&death, &mut raw);
        let groups = groups(&unit);
        let hierarchies = self.hierarchies.get_or_init(|| Hierarchies::read(self.proc));
        let facts = Facts {
            now: self.host.now,
            worker_lives: subject.lives,
            listener_since: listener_process.map(|listener| listener.started),
            worker,
            listener,
            kernel,
            host,
            memory: cgroup::memory_events(hierarchies, &groups),
            tasks: cgroup::task_events(hierarchies, &groups),
            pressure: cgroup::pressure(self.proc),
            disk: self.disk(runner),
            guard: self.guard(runner, &death),
            clock: clock::look(self.proc, subject.lease.as_ref()),
            pids_are_the_kernels: subject
                .lease
                .as_ref()
                .is_none_or(|lease| self.proc.pid_namespace().is_ok_and(|own| own == lease.pid_namespace)),
            unit,
            unit_name,
            death,
        };
        (facts, raw)
    }

    /// The present or past groups of the runner's processes.
    fn groups(
        &self,
        listener: Option<Pid>,
        unit: &Observed<UnitRecord>,
        unit_name: Option<&str>,
    ) -> Vec<Group> {
        let mut groups = Vec::new();
        groups.extend(listener.and_then(|pid| Group::of(self.proc, pid)));
        let of_unit = unit.known().and_then(|unit| unit.group.clone());
        let usual = unit_name.map(|name| format!("/system.slice/{name}"));
        groups.extend([of_unit, usual].into_iter().flatten().map(|path| Group::named(&path)));
        groups
    }

    /// The host's services and people, around the end.
    fn host_log(
        &self,
        runner: &Runner,
        death: &Death,
        listener: &Observed<ListenerLog>,
        (unit, groups): (Option<&str>, &[Group]),
    ) -> Observed<HostLog> {
        let of_listener = listener.known().and_then(|log| log.last.as_ref()?.at);
        let last = death.last_sign.max(of_listener).or(death.started).unwrap_or(self.since);
        let to = death.ended.map_or((last + BEHIND_LAST_SIGN).min(self.host.now), |ended| ended + AROUND);
        let from =
            death.last_sign.or(death.started).unwrap_or(last).max(to.checked_sub(BEFORE_END).unwrap_or(last));
        let from = from.min(death.ended.unwrap_or(last)).checked_sub(AROUND).unwrap_or(UNIX_EPOCH);
        let groups = groups.iter().map(Group::path).collect();
        let whom = journal::Whom { worker: death.worker_pid, unit, groups, runner: runner.own_name() };
        match journal::read(self.programs, Window { from, to }, &whom) {
            Ok(log) => Observed::Known(log),
            Err(reason) => Observed::missing(
                format!(
                    "events of the host's services (systemd, out-of-memory daemons, container runtimes): {reason}"
                ),
                KEEP_JOURNAL,
            ),
        }
    }

    fn systemd(&self) -> &Result<Systemd<'a>, SystemdError> {
        self.systemd.get_or_init(|| Systemd::find(self.programs))
    }

    fn kernel(&self, death: &Death, raw: &mut Raw) -> Observed<KernelLog> {
        let from = death.started.unwrap_or(self.since);
        let read = || kernel::read(self.programs, Path::new(KMSG), self.since.min(from), self.host.now);
        match self.kernel.get_or_init(read) {
            Ok(messages) => {
                let to = death.ended.map_or(self.host.now, |ended| ended + AROUND);
                let window = Window { from: from.checked_sub(AROUND).unwrap_or(UNIX_EPOCH), to };
                let mut lines: Vec<_> =
                    messages.lines.iter().filter(|line| window.holds(line.at)).cloned().collect();
                let surplus = lines.len().saturating_sub(MAX_KERNEL_LINES);
                lines.drain(..surplus);
                let kept = lines.len().saturating_sub(MAX_KEPT_LINES);
                raw.kernel = lines[kept..].iter().map(|line| line.text.clone()).collect();
                let since = death.last_sign.or(death.started).unwrap_or(from);
                let is_complete =
                    surplus == 0 && messages.complete_since.is_some_and(|complete| complete <= since);
                Observed::Known(KernelLog { source: messages.source, is_complete, lines })
            }
            Err(reason) => Observed::missing(format!("the kernel's messages: {reason}"), KEEP_JOURNAL),
        }
    }

    fn filesystem(&self, runner: &Runner) -> Option<&Filesystem> {
        let work = runner.work_dir()?;
        self.host.filesystems.iter().find(|fs| fs.id == work.filesystem)
    }

    fn disk(&self, runner: &Runner) -> Observed<DiskNow> {
        let now = |mount: &Path, usage: &Usage| DiskNow {
            mount: mount.to_owned(),
            used_percent: usage.used_percent(),
            available_bytes: usage.available_bytes,
            inodes_free: (usage.inodes_total > 0).then_some(usage.inodes_free),
        };
        // `_diag` may be on another disk than `_work`.
        let of_logs = Dir::open(&runner.root).and_then(|root| root.usage()).ok();
        let of_logs = of_logs.map(|usage| now(&runner.root, &usage)).filter(DiskNow::is_full);
        match (self.filesystem(runner), of_logs) {
            (Some(fs), of_logs) => {
                let work = now(&fs.mount, &fs.usage);
                Observed::Known(of_logs.filter(|_| !work.is_full()).unwrap_or(work))
            }
            (None, Some(of_logs)) => Observed::Known(of_logs),
            (None, None) => Observed::missing(
                "the disk of the work directory: it cannot be examined",
                "see `disk-guard doctor`",
            ),
        }
    }

    fn guard(&self, runner: &Runner, death: &Death) -> Observed<crate::model::postmortem::GuardDeeds> {
        let from = death.started.unwrap_or(self.since);
        let window = Window {
            from: from.checked_sub(AROUND).unwrap_or(UNIX_EPOCH),
            to: death.ended.map_or(self.host.now, |ended| ended + AROUND),
        };
        match self.ledger {
            Some(ledger) => {
                let disk = self.filesystem(runner);
                Observed::Known(guard::deeds(ledger, runner, disk.map(|disk| disk.mount.as_path()), window))
            }
            None => Observed::missing("disk-guard's own ledger", "let tmpfiles.d create the state directory"),
        }
    }
}

/// The id of a subject's job.
fn id(stories: &LoggedJobs, subject: &Subject, job: Option<&str>) -> Option<String> {
    job.or(subject.job.as_deref()).or_else(|| stories.before(subject.begun)).map(str::to_owned)
}

/// Whether the Listener logged a result of the Worker itself: it was not stopped.
fn has_plain_end(listener: &Observed<ListenerLog>) -> bool {
    let Some(log) = listener.known() else { return false };
    let is_result =
        log.finished.as_ref().is_some_and(|(code, _)| matches!(exit_code::ending(*code), Ending::Result(_)));
    let is_stopped = log.shutdown.is_some()
        || log.stopped.is_some()
        || log.lost_contact.is_some()
        || matches!(log.result, Some((Reported::Cancelled | Reported::Abandoned, _)));
    is_result && log.result.is_some() && !is_stopped
}

/// Whether the Worker logged that its job failed, or logged no result.
fn has_failed(log: &WorkerLog) -> bool {
    !matches!(log.result, Some((Reported::Succeeded | Reported::SucceededWithIssues | Reported::Skipped, _)))
}

/// The identity of the dead job, as far as lease and log show.
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
        worker_log: subject.log.as_ref().and_then(|log| Some(log.0.first()?.to_string_lossy().into_owned())),
        started: Some(subject.begun),
        last_sign: log.and_then(|log| log.last.as_ref()?.at),
        ended: None,
    }
}
