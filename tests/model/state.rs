//! What is true of a host at one instant, as far as the protocol goes.

/// Runners of the model's host.
pub(crate) const RUNNERS: usize = 3;
/// Guards of it.
pub(crate) const GUARDS: usize = 2;
/// Claims of one hold of the lock at most.
pub(crate) const BATCH: usize = 2;

/// The host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) runners: [Runner; RUNNERS],
    pub(crate) guards: [Guard; GUARDS],
    /// SIGKILLs that may still happen.
    pub(crate) kills: u8,
    /// Hooks that may still fail.
    pub(crate) fails: u8,
    /// Swaps that may still happen.
    pub(crate) swaps: u8,
    /// What must never become true.
    pub(crate) broken: Broken,
}

/// A runner, its job and its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Runner {
    pub(crate) job: Job,
    /// Jobs that may still come.
    pub(crate) jobs: u8,
    /// A lease of the Worker that lives now. One of a dead Worker is none.
    pub(crate) lease: bool,
    /// Whether a build goes on whose Worker is dead. Its processes alone tell of it.
    pub(crate) build: bool,
    /// The tree in the cache's place, by its number.
    pub(crate) place: Option<u8>,
    /// Trees in trash that no living guard calls its own: fenced, or left by the dead.
    pub(crate) trash: u8,
    /// Trees that were put back under another name.
    pub(crate) aside: u8,
    /// Trees that were deleted.
    pub(crate) removed: u8,
    /// Trees that were ever made.
    pub(crate) made: u8,
}

/// How far a job is. A later one is never followed by an earlier one of the same job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Job {
    /// No Worker.
    None,
    /// The started-hook begins: it is about to fence.
    Beginning,
    /// It has read which guards' slots there are, one bit each.
    FirstListed(u8),
    /// It has removed those of them that were empty; these were not.
    FirstRemoved(u8),
    /// It has fenced, and waits for the lock.
    Waiting,
    /// It has had it, and has left its lease.
    Leased,
    /// It is at work as a guard.
    Relieving,
    /// It has not come to its end, and is on the way out: it is about to leave its lease.
    Late,
    /// It is about to fence.
    Unfenced,
    /// As the first time.
    FenceListed(u8),
    /// As the first time.
    FenceRemoved(u8),
    /// It has fenced.
    Fenced,
    /// It has returned: the job runs.
    Running,
    /// The lease has been ended, the Worker lives.
    Ending,
}

impl Job {
    /// Whether there is a Worker.
    pub(crate) fn has_worker(self) -> bool {
        self != Self::None
    }

    /// Whether the started-hook is under way.
    pub(crate) fn is_in_hook(self) -> bool {
        !matches!(self, Self::None | Self::Running | Self::Ending)
    }
}

/// A process that runs `cycle::Cycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Guard {
    pub(crate) at: At,
    /// A hook whose Worker has died.
    pub(crate) is_orphan: bool,
    /// Rounds that it may still begin.
    pub(crate) rounds: u8,
    /// Whether a lease has come or gone since it has last looked.
    pub(crate) turned: bool,
    /// What it means to claim under one hold of the lock, in the order in which it does,
    pub(crate) claims: [Claim; BATCH],
    /// how many of them there are,
    pub(crate) many: u8,
    /// and which of them is about to take the next step.
    pub(crate) next: u8,
    /// Runners in whose trash it has seen something, one bit each.
    pub(crate) listed: u8,
    /// Which of the other guard's slots it has seen with a tree in them, one bit each.
    pub(crate) listed_slots: u8,
}

/// A claim of one cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// Whose cache it is.
    pub(crate) target: u8,
    /// The tree that was seen there.
    pub(crate) planned: u8,
    pub(crate) slot: Slot,
    /// It came to nothing, and takes no more steps.
    pub(crate) is_over: bool,
    /// The look after the rename speaks against it.
    pub(crate) is_doubted: bool,
}

impl Claim {
    /// Whether its tree lies in its slot.
    pub(crate) fn has_tree(&self) -> bool {
        matches!(self.slot, Slot::Tree(_))
    }
}

impl Guard {
    /// Its claims, those that came to nothing among them.
    pub(crate) fn claims(&self) -> &[Claim] {
        &self.claims[..usize::from(self.many)]
    }
}

/// How far a guard is in its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum At {
    /// Not begun.
    Off,
    /// A round begins.
    Begin,
    /// Names in trash are read.
    Listed,
    /// They are deleted.
    Emptied,
    /// It has looked and planned.
    Planned,
    /// The slot is made.
    Slotted,
    /// The look before the lock has raised no doubt.
    Cleared,
    /// It holds the lock, and a job has begun or ended since that look.
    Holding,
    /// It holds the lock, and what was seen holds.
    Sure,
    /// Renamed.
    Renamed,
    /// Compared and looked again: it has to go back.
    Doubted,
    /// The claim is settled.
    Settled,
    /// The lock is released.
    Released,
    /// The run has ended.
    Done,
}

impl At {
    /// Whether the process lives.
    pub(crate) fn is_running(self) -> bool {
        !matches!(self, Self::Off | Self::Done)
    }

    /// Whether it holds the lock EXCLUSIVE.
    pub(crate) fn holds_lock(self) -> bool {
        matches!(self, Self::Holding | Self::Sure | Self::Renamed | Self::Doubted | Self::Settled)
    }

    /// Whether its claim is settled, which its hold of the slot shows (`reclaim::trash_claim::TrashClaim`).
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Settled | Self::Released)
    }

    /// Whether its trees may yet be put back. While it is about to rename one, another may be in its slot.
    pub(crate) fn may_put_back(self) -> bool {
        matches!(self, Self::Sure | Self::Renamed | Self::Doubted)
    }
}

/// A claim's slot in the trash of its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// There is none.
    #[default]
    None,
    /// Empty.
    Empty,
    /// A hook has removed it: nothing can be renamed into it.
    Gone,
    /// The tree of this number lies in it.
    Tree(u8),
}

/// What must never become true: each is noted the moment that it happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    /// A tree of a live job was moved away or put under its hands.
    pub(crate) live: bool,
    /// A cache was claimed of whose runner nothing certain is known.
    pub(crate) unknown: bool,
    /// Another tree was deleted than was planned.
    pub(crate) identity: bool,
    /// A tree was deleted while it might still have been put back.
    pub(crate) unsettled: bool,
}

impl State {
    /// Whether a guard holds the lock EXCLUSIVE.
    pub(crate) fn is_locked(&self) -> bool {
        self.guards.iter().any(|guard| guard.at.holds_lock())
    }
}
