//! Which stores are collected, and how much is asked of each.
//!
//! Stores come after caches: removing a cache costs one job, emptying a store costs all. A store is asked for the shortfall of the disk,
//! or for what exceeds its own cap, and never for more than leaves it its floor. Stores that can free a given number of bytes come first,
//! in the order of the configuration; a store that can only be emptied follows when they do not suffice.

use super::pressure;
use crate::config::Watermarks;
use crate::model::stores::{HostState, Leaves, Portion, StoreFacts, StoreReason, StoreRule, StoreVerdict};
use crate::model::{FilesystemId, Need};
use std::collections::HashMap;

/// If only inodes are short, the number of bytes to free is unknown, so this share of a store is requested at a time.
const FOR_INODES: u64 = 10;

/// Decides about all stores: one verdict for each, in the same order.
pub fn decide(stores: &[(StoreRule, StoreFacts)], host: &HostState, marks: &Watermarks) -> Vec<StoreVerdict> {
    let mut open: HashMap<FilesystemId, Need> = HashMap::new();
    for (id, usage) in stores.iter().filter_map(|(_, facts)| facts.filesystem) {
        open.entry(id).or_insert_with(|| pressure::need(&usage, marks));
    }
    let mut verdicts = vec![StoreVerdict::Leave(Leaves::NotNeeded); stores.len()];
    let (bounded, whole): (Vec<usize>, Vec<usize>) =
        (0..stores.len()).partition(|index| stores[*index].0.kind.is_bounded());
    for index in bounded.into_iter().chain(whole) {
        let (rule, facts) = &stores[index];
        let need = facts.filesystem.and_then(|(id, _)| open.get_mut(&id));
        verdicts[index] = one(rule, facts, host, need);
    }
    verdicts
}

/// Whether a store's size has to be known for the decision.
pub fn asks_for_size(rule: &StoreRule, facts: &StoreFacts, marks: &Watermarks) -> bool {
    rule.max_size > 0 || facts.filesystem.is_some_and(|(_, usage)| !pressure::need(&usage, marks).is_met())
}

fn one(rule: &StoreRule, facts: &StoreFacts, host: &HostState, need: Option<&mut Need>) -> StoreVerdict {
    if let Some(problem) = &facts.problem {
        return StoreVerdict::Leave(Leaves::Unusable(problem.clone()));
    }
    let above_cap = match rule.max_size {
        0 => 0,
        cap => facts.bytes.unwrap_or(0).saturating_sub(cap),
    };
    let lacking = need.as_ref().map_or(0, |need| match need.bytes {
        0 if need.inodes > 0 => facts.bytes.unwrap_or(0).div_ceil(FOR_INODES),
        bytes => bytes,
    });
    let (reason, wanted) = match lacking {
        0 => (StoreReason::Size, above_cap),
        lacking => (StoreReason::Pressure, lacking.max(above_cap)),
    };
    if wanted == 0 {
        return StoreVerdict::Leave(Leaves::NotNeeded);
    }
    let give = match facts.bytes {
        _ if !rule.kind.is_bounded() => facts.bytes.unwrap_or(wanted),
        Some(bytes) => wanted.min(bytes.saturating_sub(rule.keep)),
        None if rule.keep > 0 => {
            let why = "its size is unknown, and `keep` is set".to_owned();
            return StoreVerdict::Leave(Leaves::Unusable(why));
        }
        None => wanted,
    };
    if give == 0 {
        return StoreVerdict::Leave(Leaves::AtItsFloor);
    }
    if facts.rests {
        return StoreVerdict::Leave(Leaves::Rests);
    }
    if let (HostState::InUse(who), false) = (host, rule.beside_jobs) {
        return StoreVerdict::Leave(Leaves::InUse(who.clone()));
    }
    if let Some(need) = need {
        need.bytes = need.bytes.saturating_sub(give);
        if need.bytes == 0 {
            need.inodes = 0;
        }
    }
    StoreVerdict::Collect(reason, Portion { bytes: give, keep: facts.bytes.map(|bytes| bytes - give) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Percent;
    use crate::model::Usage;
    use crate::model::stores::StoreKind;
    use std::time::Duration;

    const GIB: u64 = 1 << 30;
    const IDLE: HostState = HostState::Idle;

    fn marks() -> Watermarks {
        let [high, low, critical, min_free_inodes] = [85, 75, 95, 5].map(Percent::new);
        Watermarks { high, low, critical, min_free: 0, min_free_inodes }
    }

    /// A store of this many GiB on a disk of 100 GiB with this much in use.
    fn store(kind: StoreKind, gib: u64, percent: u64) -> (StoreRule, StoreFacts) {
        let rule = StoreRule {
            name: kind.as_str().into(),
            kind,
            command: vec!["tool".into()],
            path: None,
            max_size: 0,
            keep: 0,
            timeout: Duration::from_secs(1),
            beside_jobs: false,
        };
        let usage = Usage {
            total_bytes: 100 * GIB,
            used_bytes: percent * GIB,
            available_bytes: (100 - percent) * GIB,
            inodes_total: 1000,
            inodes_free: 500,
        };
        let filesystem = Some((FilesystemId { major: 1, minor: 1 }, usage));
        (rule, StoreFacts { filesystem, bytes: Some(gib * GIB), ..StoreFacts::default() })
    }

    /// Each verdict as `reason GiB/GiB kept`.
    fn decided(stores: &[(StoreRule, StoreFacts)], host: &HostState) -> Vec<String> {
        let in_words = |verdict: &StoreVerdict| match verdict {
            StoreVerdict::Leave(why) => why.as_str().to_owned(),
            StoreVerdict::Collect(reason, portion) => {
                let keep = portion.keep.map_or("?".to_owned(), |keep| (keep / GIB).to_string());
                format!("{} {}/{keep}", reason.as_str(), portion.bytes / GIB)
            }
        };
        decide(stores, host, &marks()).iter().map(in_words).collect()
    }

    #[test]
    fn the_missing_bytes_are_requested_once_in_the_order_of_the_file() {
        use StoreKind::{Buildkit, Ccache, Go};
        let three =
            |percent| [store(Go, 9, percent), store(Buildkit, 12, percent), store(Ccache, 30, percent)];
        assert_eq!(decided(&three(80), &IDLE), ["not-needed"; 3], "between low and high it rests");
        assert_eq!(decided(&three(90), &IDLE), ["not-needed", "pressure 12/0", "pressure 3/27"]);
        let few = [store(Go, 9, 95), store(Buildkit, 12, 95)];
        assert_eq!(decided(&few, &IDLE), ["pressure 9/0", "pressure 12/0"]);
    }

    #[test]
    fn a_cap_holds_without_pressure_and_a_floor_always() {
        let mut capped = [store(StoreKind::Ccache, 30, 10)];
        capped[0].0.max_size = 20 * GIB;
        assert_eq!(decided(&capped, &IDLE), ["size 10/20"]);
        capped[0].1.bytes = Some(20 * GIB);
        assert_eq!(decided(&capped, &IDLE), ["not-needed"]);
        let mut floored = [store(StoreKind::Ccache, 30, 95)];
        floored[0].0.keep = 25 * GIB;
        assert_eq!(decided(&floored, &IDLE), ["pressure 5/25"]);
        floored[0].1.bytes = Some(25 * GIB);
        assert_eq!(decided(&floored, &IDLE), ["at-its-floor"]);
        floored[0].1.bytes = None;
        assert_eq!(decided(&floored, &IDLE), ["unusable"], "a floor under what is not known");
        floored[0].0.keep = 0;
        assert_eq!(decided(&floored, &IDLE), ["pressure 20/?"]);
    }

    #[test]
    fn an_obstacle_is_reported_and_other_stores_provide_the_bytes() {
        let busy = HostState::InUse("runner-1 is busy".into());
        let mut two = [store(StoreKind::Nix, 30, 95), store(StoreKind::Buildkit, 30, 95)];
        assert_eq!(decided(&two, &busy), ["in-use", "in-use"]);
        two[0].0.beside_jobs = true;
        assert_eq!(decided(&two, &busy), ["pressure 20/10", "not-needed"]);
        two[0].1.rests = true;
        assert_eq!(decided(&two, &IDLE), ["rests", "pressure 20/10"]);
        two[0].1.problem = Some("nix is not there".into());
        assert_eq!(decided(&two, &IDLE), ["unusable", "pressure 20/10"]);
    }

    #[test]
    fn inodes_alone_take_a_part_and_another_disk_nothing() {
        let mut stores = [store(StoreKind::Ccache, 30, 10), store(StoreKind::Buildkit, 30, 10)];
        if let Some((_, usage)) = &mut stores[0].1.filesystem {
            usage.inodes_free = 1;
        }
        if let Some((id, _)) = &mut stores[1].1.filesystem {
            id.minor = 2;
        }
        assert_eq!(decided(&stores, &IDLE), ["pressure 3/27", "not-needed"]);
        stores[1].1.filesystem = None;
        assert_eq!(decided(&stores, &IDLE)[1], "not-needed", "a disk that is not known");
    }
}
