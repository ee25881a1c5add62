//! `simulate --json`.

use super::{Layout, SCHEMA, document};
use crate::simulate::Outcome;
use serde::Serialize;

#[derive(Serialize)]
struct Doc<'a> {
    schema: u32,
    seeds: u64,
    days: u32,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    host: &'a str,
    case: &'a str,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The document for `simulate`.
pub fn simulation(rows: &[(&str, &str, Outcome)], seeds: u64, days: u32) -> String {
    let rows = rows.iter().map(|(host, case, outcome)| Row { host, case, outcome: *outcome }).collect();
    document(&Doc { schema: SCHEMA, seeds, days, rows }, Layout::Pretty)
}
