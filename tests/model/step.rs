//! The transitions, each with the code that it stands for.

/// One indivisible step of one process. Between any two of them every other process may take as many as it likes, or none for
/// ever: a suspended process is one that is not picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A runner's Listener starts a Worker: `Runner.Worker` is in the process table. A guarded runner's started-hook begins with
    /// it (`hook::run`), an unguarded runner's steps are free to.
    StartWorker(usize),
    /// `lock::SharedLock::acquire`, `lease::write`, and the release: nobody can claim in between.
    LeaveLease(usize),
    /// `lock::LockError::TimedOut`: the hook gives up waiting, and goes the way out (`hook::way_out`).
    TimeOut(usize),
    /// Whatever else ends the hook's worker: an error, as of an invalid configuration, a panic, a signal, its time
    /// (`sys::supervise::WorkerEnd`). Its supervisor goes the way out.
    Fail(usize),
    /// SIGKILL to a hook's supervisor, with which its worker dies. The script that runs them fences (`hooks/job-started.sh`), and
    /// leaves no lease, but a sign that a job begins.
    LoseSupervisor(usize),
    /// `lease::write` on the way out (`hook::protect`).
    LeaveLateLease(usize),
    /// `reclaim::trash::Trash::fence`, before anything that can fail or on the way out: the names are read.
    FenceLists(usize),
    /// `reclaim::trash::Trash::fence`: the empty slots among them are removed.
    FenceRemoves(usize),
    /// `reclaim::trash::Trash::fence`: trees in the others are taken out of them, and those are removed.
    FenceTakes(usize),
    /// `hook::started::Started::relieve`: a hook under pressure becomes a guard.
    Relieve(usize),
    /// The started-hook returns; the job's steps begin.
    Return(usize),
    /// The job's steps build what is not there.
    Build(usize),
    /// The completed-hook: `lease::end`. The Worker still lives.
    EndLease(usize),
    /// The Worker has ended by itself.
    EndWorker(usize),
    /// SIGKILL to the Worker and what it runs, but for a hook that is at work as a guard: that lives on, an orphan. So does a build,
    /// where builds do.
    KillWorker(usize),
    /// A build that has outlived its Worker ends.
    EndBuild(usize),
    /// Somebody who is no job puts another directory in a cache's place.
    Swap(usize),

    /// `cycle::Cycle::empty_trash`: under the lock, SHARED, the names in trash are read.
    EmptyTrash(usize),
    /// `cycle::Cycle::delete_trash`, without the lock.
    DeleteTrash(usize),
    /// `observe::host::HostObserver::at` and `policy::plan::make`: this guard means to claim this runner's cache.
    Look(usize, usize),
    /// The same, and this other one's as well: a batch (`cycle::batch`), whose further looks are shared.
    LookForBoth(usize, usize, usize),
    /// Nothing is left that may go, or a limit is reached: the run ends.
    End(usize),
    /// `lock::ExclusiveLock::acquire`, `cycle::Cycle::newly_claimed`: trash that has come meanwhile begins a new round; and
    /// `observe::host::HostObserver::is_still`. To release the lock and to look again before it is as if it had not been taken.
    AcquireExclusive(usize),
    /// The lock was not obtained in time: the run ends.
    GiveUp(usize),
    /// `reclaim::claim::Reserved::new`, without the lock.
    MakeSlot(usize),
    /// `observe::host::HostObserver::refresh`, without the lock. Of processes it sees Workers, and the others only when a lease has come or gone
    /// since [`Self::Look`].
    LookBefore(usize),
    /// The same under the lock, when a lease has come or gone since.
    LookUnderLock(usize),
    /// `renameat2` in `reclaim::claim::CacheEntry::take`.
    Rename(usize),
    /// `reclaim::claim::compare` and `reclaim::claim::Phase::After`.
    LookAfter(usize),
    /// `reclaim::claim::CacheEntry::put_back`.
    PutBack(usize),
    /// `lock::ExclusiveLock` is dropped.
    Release(usize),
    /// `reclaim::remove_tree` and `reclaim::trash::Trash::discard`.
    Delete(usize),
    /// SIGKILL to the guard; to a whole hook, whose job is failed by that.
    Kill(usize),
}

impl Step {
    /// The guard that takes it, if a guard does.
    pub(crate) fn guard(self) -> Option<usize> {
        match self {
            Self::EmptyTrash(guard)
            | Self::DeleteTrash(guard)
            | Self::Look(guard, _)
            | Self::LookForBoth(guard, ..)
            | Self::End(guard)
            | Self::AcquireExclusive(guard)
            | Self::GiveUp(guard)
            | Self::MakeSlot(guard)
            | Self::LookBefore(guard)
            | Self::LookUnderLock(guard)
            | Self::Rename(guard)
            | Self::LookAfter(guard)
            | Self::PutBack(guard)
            | Self::Release(guard)
            | Self::Delete(guard) => Some(guard),
            _ => None,
        }
    }

    /// The runner whose started-hook takes it, on the way to its return.
    pub(crate) fn hook(self) -> Option<usize> {
        match self {
            Self::LeaveLease(runner)
            | Self::TimeOut(runner)
            | Self::Fail(runner)
            | Self::LoseSupervisor(runner)
            | Self::LeaveLateLease(runner)
            | Self::FenceLists(runner)
            | Self::FenceRemoves(runner)
            | Self::FenceTakes(runner)
            | Self::Relieve(runner)
            | Self::Return(runner) => Some(runner),
            _ => None,
        }
    }
}
