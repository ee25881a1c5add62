//! `simulate --json`.

use super::{Document, Layout};
use crate::simulate::{Builds, PastDisk, SimulationOutcome};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(super) struct SimulationDoc<'a> {
    seeds: u64,
    days: u32,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct Row<'a> {
    host: &'a str,
    case: &'a str,
    #[serde(flatten)]
    outcome: SimulationOutcome,
}

/// The document for `simulate`.
pub fn simulation(rows: &[(&str, &str, SimulationOutcome)], seeds: u64, days: u32) -> String {
    let rows = rows.iter().map(|(host, case, outcome)| Row { host, case, outcome: *outcome }).collect();
    Document::of(SimulationDoc { seeds, days, rows }, Layout::Pretty)
}

#[derive(Serialize, JsonSchema)]
pub(super) struct PastDoc<'a> {
    jobs: Builds,
    disks: &'a [PastDisk],
}

/// The document for `simulate --history`.
pub fn past(disks: &[PastDisk], jobs: &Builds) -> String {
    Document::of(PastDoc { jobs: *jobs, disks }, Layout::Pretty)
}
