//! Text for people, who often read it over SSH on a host in trouble: the answer first, ASCII drawing, 80 columns when
//! nothing better is known, colour as an addition and never as the only sign.

mod check;
mod config;
mod dedupe;
mod doctor;
mod forecast;
mod hygiene;
mod ledger;
mod postmortem;
mod reap;
mod run;
mod screen;
mod setup;
mod simulation;
mod status;
mod stores;
mod table;
mod trim;
mod watch;

pub use check::check;
pub use config::{ConfigOrigin, config};
pub use dedupe::dedupe_record;
pub use doctor::doctor;
pub use forecast::forecast;
pub use hygiene::{audit, repair};
pub use ledger::{blame, history, why, why_environment};
pub use postmortem::postmortem;
pub use reap::{reap, reap_record};
pub use run::run;
pub use screen::{ColorWhen, Screen, Surroundings};
pub use setup::setup;
pub(super) use simulation::by_hooks;
pub use simulation::{past, simulation};
pub use status::status;
pub use stores::{stores, stores_record};
pub use trim::trim;
pub use watch::{Scroll, WatchScreen};

pub(super) use screen::fit;
pub(super) use status::{cause, reason, standings};

use super::words;
use crate::model::SpaceHolder;
use screen::Tone;
use std::fmt::Write as _;

/// Notes, one paragraph each.
fn notes(out: &mut String, screen: &Screen, notes: &[String]) {
    for note in notes {
        screen.paragraph(out, Tone::Warn, "note: ", &super::escape::text(note));
    }
}

/// What holds a disk that has missed its goal. The path is whole, whatever the width, so that it can be copied.
fn holding(out: &mut String, screen: &Screen, holders: &[SpaceHolder]) {
    let _ = writeln!(out, "{}", screen.paint(Tone::Warn, "What holds the disk"));
    for holder in holders {
        let _ = writeln!(out, "  {:>11}  {}", words::held(holder), super::escape::path(&holder.path));
        let what = format!("{}: {}", holder.class.in_words(), super::escape::text(&holder.remedy));
        screen.paragraph(out, Tone::Plain, &" ".repeat(15), &what);
    }
}

/// The tone of a filesystem's level.
fn level_tone(level: crate::model::Level) -> Tone {
    match level {
        crate::model::Level::Ok => Tone::Good,
        crate::model::Level::High => Tone::Warn,
        crate::model::Level::Critical => Tone::Bad,
    }
}

/// The tone of a runner's state.
fn standing_tone(standing: crate::model::Standing) -> Tone {
    match standing {
        crate::model::Standing::Idle => Tone::Good,
        crate::model::Standing::Busy => Tone::Busy,
        crate::model::Standing::Unknown
        | crate::model::Standing::Draining
        | crate::model::Standing::Drained => Tone::Warn,
    }
}

/// The tone of a state.
fn state_tone(state: crate::model::Liveness) -> Tone {
    match state {
        crate::model::Liveness::Idle => Tone::Good,
        crate::model::Liveness::Busy => Tone::Busy,
        crate::model::Liveness::Unknown => Tone::Warn,
    }
}

/// The maximum of named items with the same finding.
const NAMED: usize = 6;

/// The first few by name.
fn few(subjects: &[&str]) -> String {
    match subjects.len().checked_sub(NAMED) {
        Some(more) if more > 1 => format!("{} and {more} more", subjects[..NAMED].join(", ")),
        _ => subjects.join(", "),
    }
}
