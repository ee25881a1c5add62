//! `trim --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::{ReferenceBits, TrimOffer, TrimTier};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime};

#[derive(Serialize, JsonSchema)]
pub(super) struct TrimDoc<'a> {
    #[serde(flatten, with = "as_json::AtPath")]
    path: &'a Path,
    bytes: u64,
    /// Whether it is known which units builds have used, and if not, why.
    reference_bits: bool,
    reference_bits_reason: Option<&'a str>,
    tiers: Vec<TierDoc>,
    first: FirstDoc,
}

#[derive(Serialize, JsonSchema)]
struct TierDoc {
    tier: &'static str,
    bytes: u64,
    units: usize,
    rebuild_seconds: f64,
    #[serde(with = "as_json::OptionalTime")]
    last_used: Option<SystemTime>,
}

/// What would be removed first.
#[derive(Serialize, JsonSchema)]
struct FirstDoc {
    bytes: u64,
    units: usize,
    dearest: &'static str,
    rebuild_seconds: f64,
}

/// The document for `trim`.
pub fn trim(path: &Path, offer: &TrimOffer, steps: usize) -> String {
    let tiers = TrimTier::ALL.iter().map(|&tier| {
        let of = || offer.steps.iter().filter(move |step| step.tier == tier);
        TierDoc {
            tier: tier.as_str(),
            bytes: offer.bytes_in(tier),
            units: of().map(|step| step.units).sum(),
            rebuild_seconds: of().map(|step| step.cost).sum::<Duration>().as_secs_f64(),
            last_used: of().map(|step| step.last_used).max(),
        }
    });
    let first = offer.first(steps);
    let reason = match &offer.bits {
        ReferenceBits::Trusted => None,
        ReferenceBits::Untrusted(reason) => Some(reason.as_str()),
    };
    let taken = offer.steps.iter().take(steps);
    Document::of(
        TrimDoc {
            path,
            bytes: offer.bytes,
            reference_bits: reason.is_none(),
            reference_bits_reason: reason,
            tiers: tiers.collect(),
            first: FirstDoc {
                bytes: first.bytes,
                units: first.units,
                dearest: first.dearest.as_str(),
                rebuild_seconds: taken.map(|step| step.cost).sum::<Duration>().as_secs_f64(),
            },
        },
        Layout::Pretty,
    )
}
