//! What the protocol would be without one of its parts.

use super::promises::{IDENTITY, LIVE, NO_HANG, NOTHING_LOST, UNKNOWN};
use super::protocol::{Host, Role};
use stateright::{Checker, HasDiscoveries, Model};

/// A part that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Nobody waits for the host lock.
    NoLock,
    /// Nobody looks again after the plan.
    NoRecheck,
    /// What was seen before the lock holds under it, whatever has begun since.
    NoLookUnderLock,
    /// After the plan Workers and leases are all that is looked at, whatever has begun since the first look.
    NoTurn,
    /// A hook that can leave no lease leaves no sign either that a job begins.
    NoAttempt,
    /// In a batch the slots of all claims but the first are made after the shared look.
    LaterSlotsAfterLook,
    /// The shared look before the renames of a batch is at the first claim's runner alone.
    LookAtFirstAlone,
    /// Hooks leave no lease.
    NoLease,
    /// What cannot be examined counts as idle.
    FailOpen,
    /// A hook that fails lets its job begin with a lease, and does not fence on the way out.
    NoFence,
    /// A hook that fails lets its job begin.
    NoWayOut,
    /// A hook does not fence before it does anything else.
    NoFirstFence,
    /// On the way out a hook fences first and leaves its lease then.
    FenceBeforeLease,
    /// A hook waits for the lock for as long as it takes.
    NoTimeOut,
    /// Runners without a started-hook are claimed like others.
    ClaimUnguarded,
    /// A hook takes whoever works in its own runner's directory for its own job.
    ExemptDirectory,
    /// A slot is made after the look, not before it.
    SlotAfterLook,
    /// A claim renames to a place that no fence reaches.
    NoSlot,
    /// Device, inode and owner are not compared.
    NoCompare,
    /// A tree that cannot go back is deleted, whether or not it is the one that was planned.
    NoAside,
    /// Names in trash are read without the lock.
    TrashWithoutLock,
    /// A run does not delete what earlier ones have left in trash.
    ForgetTrash,
    /// After the rename nobody looks again.
    NoLookAfter,
}

/// Looks for a counterexample to `promise` on `host`, and stops at the first.
fn breaks(host: Host, promise: &'static str) -> bool {
    let found = HasDiscoveries::AnyOf([promise].into());
    let checker = host.checker().threads(2).finish_when(found).spawn_bfs().join();
    let path = checker.discovery(promise);
    if let Some(path) = &path {
        eprintln!(
            "{:?}: {promise}, after {} states: {:?}",
            host.mutation,
            checker.unique_state_count(),
            path.clone().into_actions()
        );
    }
    path.is_some()
}

/// Without any one of its parts the protocol breaks, and in the way that the part is there to prevent; with it, on the same
/// host, it holds.
#[test]
fn every_part_is_needed() {
    let two = Host { jobs: [1, 1, 0], ..Host::plain() };
    let hidden = Host { hidden: [true, false, false], ..two };
    let opaque = Host { opaque: [true, false, false], ..two };
    let unseen = Host { hidden: [true, false, false], leaseless: [true, false, false], ..opaque };
    let unguarded = Host { guarded: [true, true, false], jobs: [1, 0, 1], ..two };
    let swaps = Host { swaps: 2, jobs: [1, 0, 0], ..two };
    let mortal = Host { kills: 1, ..two };
    let hook = Host { guards: [Role::Sweep, Role::Hook(0)], ..two };
    let fails = Host { fails: 1, ..two };
    let shared = Host { strangers: [true, false, false], ..hook };
    let outlived = Host { builds_outlive: true, ..mortal };
    let unwritten = Host { leaseless: [true, false, false], kills: 1, jobs: [1, 0, 0], ..outlived };
    let batch = Host { batches: true, ..two };
    let apart = Host { apart: [true, false, false], jobs: [1, 0, 0], ..two };
    let cases = [
        (Mutation::NoLock, hidden, LIVE),
        (Mutation::NoRecheck, two, LIVE),
        (Mutation::NoLookUnderLock, hidden, LIVE),
        (Mutation::NoTurn, outlived, LIVE),
        (Mutation::NoAttempt, unwritten, LIVE),
        (Mutation::NoRecheck, batch, LIVE),
        (Mutation::LaterSlotsAfterLook, batch, LIVE),
        (Mutation::LookAtFirstAlone, batch, LIVE),
        (Mutation::NoLease, hidden, LIVE),
        (Mutation::FailOpen, opaque, UNKNOWN),
        (Mutation::FailOpen, unseen, LIVE),
        (Mutation::NoFence, fails, LIVE),
        (Mutation::NoWayOut, fails, LIVE),
        (Mutation::NoFirstFence, apart, LIVE),
        (Mutation::FenceBeforeLease, hidden, LIVE),
        (Mutation::NoTimeOut, hook, NO_HANG),
        (Mutation::ClaimUnguarded, unguarded, LIVE),
        (Mutation::ExemptDirectory, shared, LIVE),
        (Mutation::SlotAfterLook, two, LIVE),
        (Mutation::NoSlot, two, LIVE),
        (Mutation::NoCompare, swaps, IDENTITY),
        (Mutation::NoAside, swaps, IDENTITY),
        (Mutation::TrashWithoutLock, two, NOTHING_LOST),
        (Mutation::ForgetTrash, mortal, NOTHING_LOST),
    ];
    for (mutation, host, promise) in cases {
        assert!(breaks(host.with(mutation), promise), "{mutation:?} breaks nothing: {promise}");
    }
    let all = [
        two, hidden, opaque, unseen, unguarded, swaps, mortal, hook, fails, apart, shared, outlived,
        unwritten, batch,
    ];
    for host in all {
        let checker = host.checker().threads(2).spawn_bfs().join();
        let found = checker.discoveries();
        assert!(super::promises::ALL.iter().all(|promise| !found.contains_key(promise)), "{found:#?}");
    }
}

/// The look after the rename keeps no promise: it is a courtesy to a job whose hook is waiting, which so gets its tree back.
#[test]
fn the_look_after_the_rename_is_a_courtesy() {
    let host = Host { jobs: [1, 1, 0], kills: 1, ..Host::plain() }.with(Mutation::NoLookAfter);
    let checker = host.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    assert!(super::promises::ALL.iter().all(|promise| !found.contains_key(promise)), "{found:#?}");
}
