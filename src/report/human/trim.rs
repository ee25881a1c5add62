//! `trim` for people.

use super::screen::{Screen, Tone};
use super::table::{Align, Cell, Table};
use crate::model::{ReferenceBits, TrimOffer, TrimTier};
use crate::report::{escape, words};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What the target holds by tier, and what the first `steps` steps would give and cost.
pub fn trim(path: &Path, offer: &TrimOffer, steps: usize, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", escape::path(path), summary(offer, now));
    if let ReferenceBits::Untrusted(reason) = &offer.bits {
        let _ = writeln!(out, "Use by builds is judged by age: {}.", escape::text(reason));
    }
    out.push('\n');
    let mut table = Table::new(
        [("TIER", Align::Left), ("SIZE", Align::Right), ("UNITS", Align::Right), ("BUILD", Align::Right)],
        "WHAT IT IS",
    );
    for &tier in TrimTier::ALL {
        let of = || offer.steps.iter().filter(|step| step.tier == tier);
        let cost: Duration = of().map(|step| step.cost).sum();
        table.row(
            [
                Cell::new(Tone::Plain, tier.as_str()),
                Cell::new(Tone::Plain, words::size(of().map(|step| step.bytes).sum())),
                Cell::new(Tone::Plain, of().map(|step| step.units).sum::<usize>().to_string()),
                Cell::new(Tone::Plain, format!("{} s", cost.as_secs())),
            ],
            meaning(tier).to_owned(),
        );
    }
    table.render(screen, &mut out);
    let taken = offer.first(steps);
    let cost: Duration = offer.steps[..steps].iter().map(|step| step.cost).sum();
    let compiles = match taken.dearest {
        TrimTier::Live => format!("a build after it compiles for about {} s", cost.as_secs()),
        TrimTier::Incremental => "a build after it compiles changed crates from their sources".to_owned(),
        TrimTier::Broken | TrimTier::Unused | TrimTier::Leftover => {
            "a build after it compiles nothing".to_owned()
        }
    };
    let _ = writeln!(
        out,
        "\n{} would be removed first, {} of them units; {compiles}.",
        words::size(taken.bytes),
        taken.units
    );
    out
}

/// How much of a target no build uses.
fn summary(offer: &TrimOffer, now: SystemTime) -> String {
    let idle = offer.bytes_in(TrimTier::Broken) + offer.bytes_in(TrimTier::Unused);
    let since =
        offer.steps.iter().filter(|step| step.tier == TrimTier::Unused).map(|step| step.last_used).max();
    let since =
        since.map(|time| format!(" (the last use of one is {})", words::old(time, now))).unwrap_or_default();
    format!("{} of {} is in unused units{since}", words::size(idle), words::size(offer.bytes))
}

fn meaning(tier: TrimTier) -> &'static str {
    match tier {
        TrimTier::Broken => "cannot be reused: a fingerprint or a dependency is gone",
        TrimTier::Unused => "not used by a build since others were",
        TrimTier::Leftover => "documentation, packages, scratch files, artefacts without a fingerprint",
        TrimTier::Incremental => "incremental state of the compiler",
        TrimTier::Live => "in use: the next build compiles it again",
    }
}
