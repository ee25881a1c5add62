//! One walk over all processes: which files they hold, where the mounts are, what is hidden.
//!
//! A process that ends while it is read holds nothing any more. A process that exists and cannot be read is counted as hidden, which makes
//! the whole view partial. Nothing is allocated for an irrelevant process.
//!
//! The leader of a thread group can be a zombie while its threads run, and a thread can leave its process's directories and
//! files (unshare(2)): such threads are examined by themselves.

use super::environment;
use super::executable::{self, LISTENER, WORKER};
use super::held::note;
use super::mapped::Mappings;
use super::mount_names::MountNames;
use super::mountinfo;
use super::prefixes::Prefixes;
use super::visibility::Hidden;
use crate::actions_runner::layout;
use crate::model::{FileId, FilesystemId, HeldBy, Holder, Pid, ProcessId};
use crate::sys::mappings::{self, MappedFile, Scratch};
use crate::sys::portions::{Division, Portions, share};
use crate::sys::process::LookError;
use crate::sys::process_dir::{LinkBuffer, ProcessDir, Processes, link_buffer, share_files_and_directories};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Some processes are read in 10 us, others in milliseconds.
const DIVISION: Division = Division { portion: 32, worth_a_thread: 256 };
/// Open files up to this number are tried by number, without listing the directory.
const TRIED_BY_NUMBER: u64 = 16;
const MOUNTINFO_LIMIT: u64 = 64 << 20;

/// The result of a walk.
#[derive(Debug, Default)]
pub(super) struct ProcessScan {
    /// Processes by the name or executable of a Worker.
    pub(super) workers: Vec<Pid>,
    /// Processes by the name of a Listener.
    pub(super) listeners: Vec<Pid>,
    pub(super) holders: Vec<Holder>,
    pub(super) hidden: Hidden,
}

impl ProcessScan {
    fn merge(&mut self, other: ProcessScan) {
        self.workers.extend(other.workers);
        self.listeners.extend(other.listeners);
        self.holders.extend(other.holders);
        self.hidden.merge(other.hidden);
    }
}

/// Walks over `pids`. `own` is this process: its handles are no evidence, its mount namespace is.
pub(super) fn walk(
    processes: &Processes,
    mount_names: &Mutex<MountNames>,
    pids: &[Pid],
    own: Option<Pid>,
) -> ProcessScan {
    let shared = lock(mount_names).shared.clone();
    let mut found = ProcessScan::default();
    let scan = |portions: Portions<'_, Pid>| Scanner::new(processes, mount_names, &shared, own).run(portions);
    for part in share(pids, DIVISION, scan) {
        found.merge(part);
    }
    found
}

/// The processes with a Worker's name; those with an unreadable name are counted as hidden.
pub(super) fn workers(processes: &Processes, pids: &[Pid]) -> (Vec<Pid>, Hidden) {
    let read = |portions: Portions<'_, Pid>| {
        let (mut workers, mut hidden) = (Vec::new(), Hidden::default());
        for &pid in portions.flatten() {
            let mut buffer = [0; 64];
            match processes.comm(pid, &mut buffer) {
                Ok(comm) => {
                    if executable::named(comm, || environment::assembly(&processes.process(pid).ok()?))
                        == Some(WORKER)
                    {
                        workers.push(pid);
                    }
                }
                Err(LookError::Gone(_)) => {}
                Err(error) => hidden.add_unopened(pid, &error),
            }
        }
        (workers, hidden)
    };
    let (mut workers, mut hidden) = (Vec::new(), Hidden::default());
    for (of_part, hidden_of_part) in share(pids, DIVISION, read) {
        workers.extend(of_part);
        hidden.merge(hidden_of_part);
    }
    (workers, hidden)
}

fn lock(mount_names: &Mutex<MountNames>) -> MutexGuard<'_, MountNames> {
    mount_names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A root directory that processes share: most of a host's have the same one.
#[derive(Debug, Clone)]
struct SharedRoot {
    /// Names of work directories that hold in its mount namespace only.
    local: Arc<Prefixes>,
    /// The runners whose work directories contain the root, and its path.
    inside: Vec<(usize, PathBuf)>,
}

struct Scanner<'a> {
    processes: &'a Processes,
    mount_names: &'a Mutex<MountNames>,
    shared: &'a Prefixes,
    devices: Vec<FilesystemId>,
    own: Option<Pid>,
    /// Whether the kernel reports how many files a process has open.
    counts_files: bool,
    /// By mount and directory. A mount belongs to one namespace, so the same root means the same namespace.
    shared_roots: HashMap<(u64, FileId), SharedRoot>,
    links: Box<LinkBuffer>,
    scratch: Scratch,
    /// Whether a mapped file has one name, outside of every work directory, as far as that has been determined.
    outside: HashMap<MappedFile, bool>,
    /// What the current process holds: at most one example of a kind for each runner.
    held: Vec<(usize, HeldBy, PathBuf)>,
    found: ProcessScan,
}

impl<'a> Scanner<'a> {
    fn new(
        processes: &'a Processes,
        mount_names: &'a Mutex<MountNames>,
        shared: &'a Prefixes,
        own: Option<Pid>,
    ) -> Self {
        let mut devices: Vec<FilesystemId> =
            lock(mount_names).places.iter().map(|place| place.device).collect();
        devices.sort();
        devices.dedup();
        let counts_files = own
            .and_then(|own| processes.process(own).ok())
            .and_then(|own| own.open_count().ok())
            .is_some_and(|count| count > 0);
        Self {
            processes,
            mount_names,
            shared,
            devices,
            own,
            counts_files,
            shared_roots: HashMap::new(),
            links: Box::new(link_buffer()),
            scratch: Scratch::default(),
            outside: HashMap::new(),
            held: Vec::new(),
            found: ProcessScan::default(),
        }
    }

    fn run(mut self, portions: Portions<'_, Pid>) -> ProcessScan {
        for &pid in portions.flatten() {
            self.held.clear();
            match self.processes.process(pid) {
                Ok(dir) => {
                    if let Err(error) = self.process(&dir) {
                        self.found.hidden.add(&dir, &error);
                    }
                    self.keep(&dir);
                }
                Err(LookError::Gone(_)) => {}
                Err(error) => self.found.hidden.add_unopened(pid, &error),
            }
        }
        self.found
    }

    /// Adds the name to what was found; a process that is gone meanwhile holds nothing.
    fn keep(&mut self, dir: &ProcessDir) {
        if self.held.is_empty() {
            return;
        }
        let (process, comm) = match dir.identify() {
            Ok(identity) => (identity.id, identity.comm),
            Err(LookError::Gone(_)) => return,
            Err(_) => (ProcessId { pid: dir.pid(), start: crate::model::StartTime(0) }, String::new()),
        };
        for (runner, how, path) in self.held.drain(..) {
            self.found.holders.push(Holder { runner, process, under: None, comm: comm.clone(), how, path });
        }
    }

    /// # Errors
    /// `Hidden` when something of a living process could not be read.
    fn process(&mut self, dir: &ProcessDir) -> Result<(), LookError> {
        let mut buffer = [0; 64];
        let comm = match dir.comm(&mut buffer) {
            Ok(comm) => comm,
            Err(LookError::Gone(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let program = executable::named(comm, || environment::assembly(dir));
        let is_worker = program == Some(WORKER);
        if is_worker {
            self.found.workers.push(dir.pid());
        } else if program == Some(LISTENER) {
            self.found.listeners.push(dir.pid());
        }
        if self.own == Some(dir.pid()) {
            return self.shared_root(dir, None).map(drop);
        }
        let looked = self.directories_and_files(dir).and_then(|local| self.image(dir, is_worker, &local));
        match looked {
            Ok(()) => self.own_ways_of_threads(dir),
            Err(error) => self.without_image(dir, error),
        }
    }

    /// The root, working directory and open files: these can differ between the threads of a process.
    fn directories_and_files(&mut self, dir: &ProcessDir) -> Result<Arc<Prefixes>, LookError> {
        let shared_root = self.shared_root(dir, Some(HeldBy::Root))?;
        let cwd = dir.link(c"cwd", &mut self.links)?;
        note(&mut self.held, self.shared, &shared_root, HeldBy::Cwd, cwd);
        self.open_files(dir, &shared_root)?;
        Ok(shared_root)
    }

    /// The executable and the mappings: these are the same for all threads.
    fn image(&mut self, dir: &ProcessDir, is_worker: bool, local: &Prefixes) -> Result<(), LookError> {
        let exe = dir.link(c"exe", &mut self.links)?;
        note(&mut self.held, self.shared, local, HeldBy::Executable, exe);
        let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
        if !is_worker && layout::is_worker(exe) {
            // It may have changed its name (prctl(2)); its executable is unchanged.
            self.found.workers.push(dir.pid());
        }
        if self.devices.is_empty() {
            return Ok(());
        }
        let Self { held, shared, devices, scratch, outside, .. } = self;
        mappings::for_each_mapped_file(dir, scratch, &mut Mappings { held, shared, local, devices, outside })
    }

    /// Classifies a process without an executable, or with a hidden one.
    fn without_image(&mut self, dir: &ProcessDir, error: LookError) -> Result<(), LookError> {
        match dir.identify() {
            // Has no memory, files or directories of its own.
            Ok(identity) if identity.is_kernel_thread => Ok(()),
            Ok(identity) if identity.is_zombie || matches!(error, LookError::Gone(_)) => {
                self.living_threads(dir)
            }
            Ok(_) => Err(error),
            Err(LookError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Of a leader that has ended, or is about to: its threads may continue, with everything the process had.
    fn living_threads(&mut self, dir: &ProcessDir) -> Result<(), LookError> {
        for tid in threads_of(dir)? {
            let looked = dir.thread(tid).and_then(|thread| {
                let local = self.directories_and_files(&thread)?;
                self.image(&thread, false, &local)
            });
            gone_is_fine(looked)?;
        }
        Ok(())
    }

    /// Threads that have left the directories or files of their process.
    fn own_ways_of_threads(&mut self, dir: &ProcessDir) -> Result<(), LookError> {
        // Two links of the directory itself and one for the only thread.
        match dir.links(c"task") {
            Ok(links) if links <= 3 => return Ok(()),
            Err(LookError::Gone(_)) => return Ok(()),
            other => other?,
        };
        for tid in threads_of(dir)? {
            if tid == dir.pid() || share_files_and_directories(dir.pid(), tid) == Some(true) {
                continue;
            }
            let looked = dir.thread(tid).and_then(|thread| self.directories_and_files(&thread).map(drop));
            gone_is_fine(looked)?;
        }
        Ok(())
    }

    fn open_files(&mut self, dir: &ProcessDir, local: &Prefixes) -> Result<(), LookError> {
        // Most processes have few files and no gap between their numbers: if there are as many links as files, those are all of them.
        let mut tried = 0;
        if self.counts_files {
            let count = dir.open_count()?;
            if count <= TRIED_BY_NUMBER {
                let count = count as i32;
                while tried < count && self.open_file(dir, local, tried)? {
                    tried += 1;
                }
                if tried == count {
                    return Ok(());
                }
            }
        }
        for fd in dir.numbers(c"fd")? {
            if fd.0 >= tried {
                self.open_file(dir, local, fd.0)?;
            }
        }
        Ok(())
    }

    /// Looks at one open file; false when it is not open (any more).
    fn open_file(&mut self, dir: &ProcessDir, local: &Prefixes, fd: i32) -> Result<bool, LookError> {
        match dir.open_file(fd, &mut self.links) {
            Ok(text) => {
                note(&mut self.held, self.shared, local, HeldBy::OpenFile, text);
                Ok(true)
            }
            Err(LookError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The names that hold in the process's namespace, and whether its root is inside a work directory.
    fn shared_root(&mut self, dir: &ProcessDir, how: Option<HeldBy>) -> Result<Arc<Prefixes>, LookError> {
        let (directory, mount) = dir.follow(c"root")?;
        let key = (mount, directory);
        let shared_root = match self.shared_roots.get(&key) {
            // Mount ids come with Linux 5.8.
            Some(shared_root) if mount != 0 => shared_root,
            _ => {
                let shared_root = self.enter_root(dir)?;
                self.shared_roots.insert(key, shared_root);
                &self.shared_roots[&key]
            }
        };
        if let Some(how) = how {
            self.held.extend(shared_root.inside.iter().map(|(runner, path)| (*runner, how, path.clone())));
        }
        Ok(Arc::clone(&shared_root.local))
    }

    fn enter_root(&mut self, dir: &ProcessDir) -> Result<SharedRoot, LookError> {
        let namespace = dir.link(c"ns/mnt", &mut self.links)?.to_vec();
        let root = dir.link(c"root", &mut self.links)?.to_vec();
        let mut mount_names = lock(self.mount_names);
        let local = match mount_names.known(&namespace, &root) {
            Some(local) => local,
            None => {
                let mut text = Vec::new();
                dir.read(c"mountinfo", MOUNTINFO_LIMIT, &mut text)?;
                let mounts = mountinfo::parse(&text).ok_or_else(|| LookError::Hidden {
                    pid: dir.pid(),
                    source: std::io::Error::other("its mountinfo cannot be parsed"),
                })?;
                let identity = dir.identify()?;
                mount_names.learn(&namespace, &root, &mounts, identity.id, &identity.comm)
            }
        };
        drop(mount_names);
        let mut held = Vec::new();
        note(&mut held, self.shared, &local, HeldBy::Root, &root);
        Ok(SharedRoot { local, inside: held.into_iter().map(|(runner, _, path)| (runner, path)).collect() })
    }
}

fn threads_of(dir: &ProcessDir) -> Result<Vec<Pid>, LookError> {
    match dir.numbers(c"task") {
        Err(LookError::Gone(_)) => Ok(Vec::new()),
        other => other,
    }
}

fn gone_is_fine(looked: Result<(), LookError>) -> Result<(), LookError> {
    match looked {
        Err(LookError::Gone(_)) => Ok(()),
        other => other,
    }
}
