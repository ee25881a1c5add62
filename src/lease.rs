//! Leases: the file of a live job by which others know that its runner is in use.
//!
//! A lease is valid exactly as long as its Worker lives: pid and start time, in this boot, in this pid namespace. It only ever adds
//! protection. Forging one keeps disk space and never frees any; removing one leaves the Worker in the process table. A lease that cannot
//! be read or judged protects as well, until it is older than any job can be, or the Worker in its name is certainly gone: leases are
//! published whole, so a broken one is not being written. The format is read by older and newer guards on the same
//! host: unknown fields are ignored, missing ones make the lease unreadable, which protects.

mod elsewhere;

use crate::lock::SharedLock;
use crate::model::{
    Basis, FileId, Job, Lease, LeaseSeen, LeaseState, Pid, ProcessId, Reservation, StartTime,
    is_repository_dir,
};
use crate::run_dir::{Records, RunDir, RunDirError, RunRecord};
use crate::sys::process::Proc;
use elsewhere::Census;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file's format: flat. Fields that form one part of a [`Lease`] may be missing separately here.
#[derive(Debug, Serialize, Deserialize)]
struct LeaseFile {
    worker_pid: i32,
    worker_start: u64,
    boot_id: String,
    pid_namespace: u64,
    root: String,
    root_dev: u64,
    root_ino: u64,
    work: Option<(u64, u64)>,
    repository: String,
    run_id: String,
    job: String,
    since_unix: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserved_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserved_deviation_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserved_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
}

/// The name of a Worker's lease: the runner's root, then the Worker.
pub(crate) fn file_name(root: FileId, worker: ProcessId) -> String {
    format!("{:x}-{:x}-{}-{}", root.dev, root.ino, worker.pid, worker.start.0)
}

/// The root in a lease's name, for a lease whose content cannot be read.
pub(crate) fn root_of_name(name: &str) -> Option<FileId> {
    let mut parts = name.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    Some(FileId { dev: parts.next()??, ino: parts.next()?? })
}

/// The Worker in a lease's name, for a lease whose content cannot be read; none in a name that no guard writes.
fn worker_of_name(name: &str) -> Option<ProcessId> {
    let mut parts = name.split('-').skip(2);
    let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let worker = ProcessId { pid: Pid(pid), start: StartTime(start) };
    (file_name(root_of_name(name)?, worker) == name).then_some(worker)
}

/// Writes a lease. The caller holds the host lock SHARED, or has waited for it in vain and fences its runner next: a claim whose slot was
/// made after the fence sees the lease. If no lease can be written, claims still see that a job has begun: once its Worker is gone, they
/// look at all processes.
///
/// # Errors
/// [`RunDirError`].
pub fn write(run: &RunDir, lease: &Lease) -> Result<(), RunDirError> {
    let name = file_name(lease.root_id, lease.worker);
    run.publish(Records::Leases, &name, &text(lease)).inspect_err(|_| run.mark_attempt(Records::Leases))
}

/// The lease as it is written.
pub(crate) fn text(lease: &Lease) -> Vec<u8> {
    let written = LeaseFile {
        worker_pid: lease.worker.pid.0,
        worker_start: lease.worker.start.0,
        boot_id: lease.boot_id.clone(),
        pid_namespace: lease.pid_namespace,
        root: lease.root.to_string_lossy().into_owned(),
        root_dev: lease.root_id.dev,
        root_ino: lease.root_id.ino,
        work: lease.work_id.map(|id| (id.dev, id.ino)),
        repository: lease.job.repository.clone(),
        run_id: lease.job.run_id.clone(),
        job: lease.job.job.clone(),
        since_unix: lease.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        reserved_bytes: lease.reserved.as_ref().map(|reserved| reserved.bytes),
        reserved_deviation_bytes: lease.reserved.as_ref().map(|reserved| reserved.deviation),
        reserved_by: lease.reserved.as_ref().map(|reserved| reserved.basis.as_str().to_owned()),
        directory: lease
            .reserved
            .as_ref()
            .and_then(|reserved| Some(reserved.directory.as_ref()?.to_str()?.to_owned())),
    };
    serde_json::to_vec(&written).expect("numbers and strings serialise")
}

/// Notes in a job's lease that its log has an annotation of ours: there is at most one for each job. If the note cannot be written, or the
/// lease does not exist, the cost is a second annotation at most.
pub fn note_annotation(run: &RunDir, root: FileId, worker: ProcessId) {
    note(run, root, worker, ANNOTATED);
}

/// Whether the job's log has an annotation of ours.
pub fn has_annotation(run: &RunDir, root: FileId, worker: ProcessId) -> bool {
    has_note(run, root, worker, ANNOTATED)
}

/// Notes in a job's lease that it began on a disk under pressure.
pub fn note_pressure(run: &RunDir, root: FileId, worker: ProcessId) {
    note(run, root, worker, PRESSED);
}

/// Whether the job began on a disk under pressure.
pub fn has_met_pressure(run: &RunDir, root: FileId, worker: ProcessId) -> bool {
    has_note(run, root, worker, PRESSED)
}

/// When the job of one Worker began, by its lease.
pub fn begun(run: &RunDir, root: FileId, worker: ProcessId) -> Option<SystemTime> {
    let lease = run.read(Records::Leases, &file_name(root, worker)).ok()?;
    let lease = serde_json::from_slice::<serde_json::Value>(&lease).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(lease["since_unix"].as_u64()?))
}

/// The additional fields beside those of [`LeaseFile`], which guards that do not know them ignore.
const ANNOTATED: &str = "annotated";
const PRESSED: &str = "pressed";

/// How long a note waits for a claim to end.
const NOTE_WAITS: Duration = Duration::from_secs(1);

/// Under the host lock: while one file replaces another, a listing of the directory may show neither, as on a tmpfs before Linux 6.6, and
/// a claim would miss the lease.
fn note(run: &RunDir, root: FileId, worker: ProcessId, field: &str) {
    let Ok(_lock) = SharedLock::acquire(run, NOTE_WAITS) else { return };
    let name = file_name(root, worker);
    let lease = run.read(Records::Leases, &name).ok();
    let lease = lease
        .and_then(|text| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text).ok());
    if let Some(mut lease) = lease {
        lease.insert(field.into(), true.into());
        let _ = run.publish(Records::Leases, &name, &serde_json::to_vec(&lease).unwrap_or_default());
    }
}

fn has_note(run: &RunDir, root: FileId, worker: ProcessId, field: &str) -> bool {
    let lease = run.read(Records::Leases, &file_name(root, worker)).ok();
    let lease = lease.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    lease.is_some_and(|lease| lease[field] == true)
}

/// Whether the lease of one Worker exists.
pub fn is_left(run: &RunDir, root: FileId, worker: ProcessId) -> bool {
    run.holds(Records::Leases, &file_name(root, worker))
}

/// Ends the lease of one Worker.
///
/// # Errors
/// [`RunDirError`].
pub fn end(run: &RunDir, root: FileId, worker: ProcessId) -> Result<(), RunDirError> {
    run.remove(Records::Leases, OsStr::new(&file_name(root, worker)))
}

/// How leases are looked at.
#[derive(Debug, Clone, Copy)]
pub struct LeaseView<'a> {
    /// The process table.
    pub proc: &'a Proc,
    /// Whether it contains every process of the host; asked only if a lease counts pids in another namespace or cannot be
    /// understood, which is rare.
    pub sees_all: fn(&Proc) -> bool,
    /// The wall clock now.
    pub now: SystemTime,
}

/// No job takes longer, and nothing that is judged by this is younger: a self-hosted runner's job may take five days.
const LONGEST_JOB: Duration = Duration::from_secs(6 * 86_400);

/// Reads and judges all leases.
///
/// # Errors
/// [`RunDirError`] when the directory cannot be read: then no lease is known.
pub fn read_all(run: &RunDir, view: LeaseView<'_>) -> Result<Vec<LeaseSeen>, RunDirError> {
    let records = run.read_all(Records::Leases)?;
    let here = Here::at(view);
    Ok(records.into_iter().map(|record| judge(record, &here)).collect())
}

/// Removes the leases of dead Workers. Those of owners whose files this process may not remove are kept and have no effect. Returns how
/// many were removed.
///
/// # Errors
/// [`RunDirError`] when the directory cannot be read.
pub fn remove_dead(run: &RunDir, view: LeaseView<'_>) -> Result<usize, RunDirError> {
    let dead = read_all(run, view)?.into_iter().filter(|seen| seen.state == LeaseState::Dead);
    Ok(dead.filter(|seen| run.remove(Records::Leases, OsStr::new(&seen.file)).is_ok()).count())
}

/// Whether the file of this name is the lease of a Worker that lives, or may live elsewhere; each Worker has one. `seen` are the Workers
/// of the leases judged so before.
pub fn is_live(run: &RunDir, view: LeaseView<'_>, name: &OsStr, seen: &mut HashSet<ProcessId>) -> bool {
    let read = name.to_str().and_then(|name| run.read(Records::Leases, name).ok());
    let Some(lease) = read.and_then(|content| understand(&content).ok()) else { return false };
    name == OsStr::new(&file_name(lease.root_id, lease.worker))
        && state_of(&lease, &Here::at(view)) != LeaseState::Dead
        && seen.insert(lease.worker)
}

/// The present boot and namespace: a lease from elsewhere is judged by the processes that are visible here.
struct Here<'a> {
    view: LeaseView<'a>,
    boot_id: Option<String>,
    pid_namespace: Option<u64>,
    /// How long the host has been up: nothing in the shared directory is older, whatever the wall clock says.
    uptime: Duration,
    /// All processes of the host, listed on first use; none when they cannot be.
    census: OnceCell<Option<Census>>,
}

impl<'a> Here<'a> {
    fn at(view: LeaseView<'a>) -> Self {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self {
            view,
            boot_id: view.proc.boot_id().ok(),
            pid_namespace: view.proc.pid_namespace().ok(),
            uptime: Duration::from_secs(uptime.tv_sec.unsigned_abs()),
            census: OnceCell::new(),
        }
    }

    /// Whether a record that was last modified then belongs to a job that has certainly ended.
    fn is_over(&self, changed: Option<SystemTime>) -> bool {
        let age = changed.and_then(|changed| self.view.now.duration_since(changed).ok());
        age.is_some_and(|age| age.min(self.uptime) > LONGEST_JOB)
    }

    /// Whether no process of the host can be this Worker, in whatever namespace its pid was counted.
    fn is_gone(&self, worker: ProcessId) -> bool {
        let proc = self.view.proc;
        let census = || (self.view.sees_all)(proc).then(|| Census::take(proc).ok()).flatten();
        self.census.get_or_init(census).as_ref().is_some_and(|census| census.is_dead(proc, worker))
    }
}

fn judge(record: RunRecord, here: &Here<'_>) -> LeaseSeen {
    let file = record.name.to_string_lossy().into_owned();
    let is_over = here.is_over(record.changed);
    let or_over = |state: LeaseState| match state {
        LeaseState::CannotTell(_) if is_over => LeaseState::Dead,
        state => state,
    };
    let content = record.content.map_err(|error| format!("the lease cannot be read: {error}"));
    match content.and_then(|content| understand(&content).map_err(|error| error.to_string())) {
        Ok(lease) => {
            let state = or_over(state_of(&lease, here));
            LeaseSeen { file, owner: record.owner, root: Some(lease.root_id), lease: Some(lease), state }
        }
        Err(reason) => {
            let is_gone = worker_of_name(&file).is_some_and(|worker| here.is_gone(worker));
            let state = if is_gone { LeaseState::Dead } else { or_over(LeaseState::CannotTell(reason)) };
            LeaseSeen { root: root_of_name(&file), file, owner: record.owner, lease: None, state }
        }
    }
}

/// A text that is no lease.
#[derive(Debug, thiserror::Error)]
#[error("the lease cannot be understood: {0}")]
pub(crate) struct NoLease(#[from] serde_json::Error);

/// A lease from its text.
///
/// # Errors
/// The text is no lease.
pub(crate) fn understand(content: &[u8]) -> Result<Lease, NoLease> {
    let written: LeaseFile = serde_json::from_slice(content)?;
    Ok(Lease {
        worker: ProcessId { pid: Pid(written.worker_pid), start: StartTime(written.worker_start) },
        boot_id: written.boot_id,
        pid_namespace: written.pid_namespace,
        root: PathBuf::from(written.root),
        root_id: FileId { dev: written.root_dev, ino: written.root_ino },
        work_id: written.work.map(|(dev, ino)| FileId { dev, ino }),
        job: Job { repository: written.repository, run_id: written.run_id, job: written.job },
        since: UNIX_EPOCH
            .checked_add(Duration::from_secs(written.since_unix))
            .unwrap_or(SystemTime::UNIX_EPOCH),
        reserved: written.reserved_bytes.map(|bytes| Reservation {
            bytes,
            deviation: written.reserved_deviation_bytes.unwrap_or(bytes / 2),
            basis: written.reserved_by.and_then(|by| by.parse().ok()).unwrap_or(Basis::Unknown),
            directory: written
                .directory
                .map(PathBuf::from)
                .filter(|directory| is_repository_dir(directory.as_os_str())),
        }),
    })
}

fn state_of(lease: &Lease, here: &Here<'_>) -> LeaseState {
    match &here.boot_id {
        Some(boot_id) if *boot_id != lease.boot_id => return LeaseState::Dead,
        Some(_) => {}
        None => return LeaseState::CannotTell("this boot's id cannot be read".into()),
    }
    if here.pid_namespace != Some(lease.pid_namespace) {
        if here.is_gone(lease.worker) {
            return LeaseState::Dead;
        }
        return LeaseState::CannotTell(format!(
            "it counts pids in another namespace ({})",
            lease.pid_namespace
        ));
    }
    match here.view.proc.is_alive(lease.worker) {
        Ok(true) => LeaseState::Live,
        Ok(false) => LeaseState::Dead,
        Err(error) => LeaseState::CannotTell(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
