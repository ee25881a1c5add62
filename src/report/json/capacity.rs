//! The part of `status --json` that tells what a host can run out of.

use crate::model::{Capacity, Holding, Limit, RunnerGroup, Share};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(super) struct CapacityDoc<'a> {
    verdict: &'a str,
    limits: Vec<LimitDoc<'a>>,
    holdings: Vec<HoldingDoc<'a>>,
    groups: Vec<GroupDoc<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct LimitDoc<'a> {
    resource: &'static str,
    subject: Option<&'a str>,
    used_ratio: f64,
    level: &'static str,
    said: &'a str,
    advice: &'static str,
}

#[derive(Serialize, JsonSchema)]
struct HoldingDoc<'a> {
    kind: &'static str,
    subject: &'a str,
    bytes: u64,
    reclaimable_bytes: Option<u64>,
    said: &'a str,
    advice: &'a str,
}

/// A limit that is null is none.
#[derive(Serialize, JsonSchema)]
struct GroupDoc<'a> {
    runner: &'a str,
    group: &'a str,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    oom_kills: Option<u64>,
    tasks: Option<u64>,
    tasks_limit: Option<u64>,
    forks_refused: Option<u64>,
}

impl<'a> CapacityDoc<'a> {
    pub(super) fn new(capacity: &'a Capacity) -> Self {
        Self {
            verdict: &capacity.verdict,
            limits: capacity.limits.iter().map(LimitDoc::new).collect(),
            holdings: capacity.holdings.iter().map(HoldingDoc::new).collect(),
            groups: capacity.groups.iter().map(GroupDoc::new).collect(),
        }
    }
}

impl<'a> LimitDoc<'a> {
    fn new(limit: &'a Limit) -> Self {
        Self {
            resource: limit.resource,
            subject: limit.subject.as_deref(),
            // Four digits: more would only differ from one look to the next.
            used_ratio: (limit.ratio * 1e4).round() / 1e4,
            level: limit.level.as_str(),
            said: &limit.said,
            advice: limit.advice,
        }
    }
}

impl<'a> HoldingDoc<'a> {
    fn new(held: &'a Holding) -> Self {
        let Holding { kind, subject, bytes, reclaimable, said, advice, .. } = held;
        Self { kind, subject, bytes: *bytes, reclaimable_bytes: *reclaimable, said, advice }
    }
}

impl<'a> GroupDoc<'a> {
    fn new(group: &'a RunnerGroup) -> Self {
        let limit = |share: Option<Share>| share.map(|share| share.of).filter(|of| *of > 0);
        Self {
            runner: &group.runner,
            group: &group.group,
            memory_bytes: group.memory.map(|share| share.used),
            memory_limit_bytes: limit(group.memory),
            memory_peak_bytes: group.memory_peak,
            oom_kills: group.oom_kills,
            tasks: group.tasks.map(|share| share.used),
            tasks_limit: limit(group.tasks),
            forks_refused: group.forks_refused,
        }
    }
}
