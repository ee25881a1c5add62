//! Why one cache must not be removed.

use crate::config::SiblingClaim;
use crate::model::{Cache, Coverage, Evidence, EvidenceKind, KeepReason, Runner, Uid, Weight};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The relation between a cache and the guard that would remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It belongs to the runner whose hook we are, and to no other: its job has not begun its steps.
    Own,
    /// It belongs to another runner, or to several.
    Sibling,
    /// It lies outside of work directories, where the administrator has declared it and its owner.
    Declared,
}

/// The rules by which caches are protected.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `siblings.claim`.
    pub claim: SiblingClaim,
    /// `siblings.idle_floor`.
    pub idle_floor: Duration,
    /// `runners.allow_unguarded`.
    pub allow_unguarded: bool,
    /// The user of this process: root removes what belongs to the work directory's owner or to root, others only their own.
    pub acting_as: Uid,
    /// The wall clock of the facts.
    pub now: SystemTime,
}

/// Why `cache` must be kept, if it must. `evidence` is its runner's.
pub fn against(
    cache: &Cache,
    runner: &Runner,
    evidence: &[Evidence],
    relation: Relation,
    rules: &Rules,
) -> Option<KeepReason> {
    if relation == Relation::Sibling && rules.claim == SiblingClaim::Never {
        return Some(KeepReason::SiblingsOff);
    }
    let counting: Vec<Evidence> = match relation {
        Relation::Own => evidence.iter().filter(|e| counts_for_own(e, cache, runner)).cloned().collect(),
        Relation::Sibling | Relation::Declared => {
            let recent = recent_content(cache, rules);
            evidence.iter().filter(|e| counts_for_sibling(e, cache, rules)).cloned().chain(recent).collect()
        }
    };
    if !counting.is_empty() {
        return Some(KeepReason::Protected(counting));
    }
    if relation == Relation::Declared && rules.acting_as == Uid::ROOT {
        return None;
    }
    let foreign = foreign_owner(cache, runner, rules.acting_as);
    let base =
        cache.base(runner).filter(|base| relation == Relation::Declared && base.owner != rules.acting_as);
    let held = base.map(|base| {
        format!(
            "{} belongs to uid {}: only the privileged sweep claims there",
            base.path.display(),
            base.owner
        )
    });
    foreign.or(held).map(KeepReason::ForeignOwner)
}

/// Whether evidence of a mount concerns a cache: its mount point lies in the cache, or around it.
fn concerns(evidence: &Evidence, cache: &Cache) -> bool {
    let meets = |place: &Path| place.starts_with(&cache.path) || cache.path.starts_with(place);
    evidence.within.as_deref().is_none_or(meets)
}

/// For a hook's own caches these count: other jobs of this runner or in its work directory, any process inside the cache itself, and a
/// foreign process in the same checkout, which may be between two builds.
pub(super) fn counts_for_own(evidence: &Evidence, cache: &Cache, runner: &Runner) -> bool {
    match evidence.kind {
        EvidenceKind::WorkerProcess | EvidenceKind::Lease | EvidenceKind::JobReceived => true,
        EvidenceKind::UnattributedWorker => evidence.within.is_some(),
        EvidenceKind::ProcessInside => {
            evidence.within.as_deref().is_none_or(|place| is_in_the_same_checkout(place, cache, runner))
        }
        // Before its steps a job has no container: a process that has the cache mounted in another mount namespace is foreign or left
        // over.
        EvidenceKind::MountInside => concerns(evidence, cache),
        EvidenceKind::BuildLock | EvidenceKind::DirectoryLock => {
            evidence.within.as_deref().is_none_or(|place| place.starts_with(&cache.path))
        }
        EvidenceKind::RecentContent | EvidenceKind::Unguarded | EvidenceKind::Visibility => false,
    }
}

/// Whether a place lies in the same directory directly below `_work` as the cache (a repository's directory), or is `_work` itself.
fn is_in_the_same_checkout(place: &Path, cache: &Cache, runner: &Runner) -> bool {
    let Ok(below) = place.strip_prefix(runner.work_path()) else { return place.starts_with(&cache.path) };
    let first = |path: &Path| path.components().next().map(|name| name.as_os_str().to_owned());
    first(below).is_none_or(|name| first(&cache.below_work).is_none_or(|of| of == name))
}

/// For a sibling's caches everything counts, except the host's own mounts elsewhere.
fn counts_for_sibling(evidence: &Evidence, cache: &Cache, rules: &Rules) -> bool {
    match (evidence.kind, evidence.weight) {
        (EvidenceKind::Unguarded, _) => !rules.allow_unguarded,
        (EvidenceKind::MountInside, Weight::Forbids) => concerns(evidence, cache),
        _ => true,
    }
}

/// The newest content decides, never a directory's own time: that stays old while files deep below change. A modification time in the
/// future counts as recent.
pub fn recent_content(cache: &Cache, rules: &Rules) -> Option<Evidence> {
    let measure = match &cache.measure {
        // A run that acts has no remembered measure.
        Some(measure) if measure.coverage != Coverage::Part => measure,
        _ => {
            let detail = "its content could not be examined whole, so its age is not known";
            return Some(Evidence::within(
                EvidenceKind::RecentContent,
                Weight::CannotTell,
                cache.path.clone(),
                detail,
            ));
        }
    };
    // A modification time in the future counts as recent, whatever the floor.
    let age = rules.now.duration_since(measure.newest?).ok();
    age.is_none_or(|age| age < rules.idle_floor).then(|| {
        let detail = format!(
            "content written {} s ago, the idle floor is {} s",
            age.unwrap_or_default().as_secs(),
            rules.idle_floor.as_secs()
        );
        Evidence::within(EvidenceKind::RecentContent, Weight::Forbids, cache.path.clone(), detail)
    })
}

fn foreign_owner(cache: &Cache, runner: &Runner, acting_as: Uid) -> Option<String> {
    let work_owner = cache.base(runner).map(|base| base.owner);
    let may = if acting_as == Uid::ROOT {
        Some(cache.owner) == work_owner || cache.owner == Uid::ROOT
    } else {
        cache.owner == acting_as
    };
    (!may).then(|| {
        let owner = cache.owner;
        match acting_as {
            Uid::ROOT => format!("it belongs to uid {owner}, which is neither the runner's user nor root"),
            user => format!(
                "it belongs to uid {owner}, and we are uid {user}: only the privileged sweep may remove it"
            ),
        }
    })
}
