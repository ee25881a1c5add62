//! Text for people, who often read it over SSH on a host in trouble: the answer first, ASCII drawing, 80 columns when
//! nothing better is known, colour as an addition and never as the only sign.

mod check;
mod config;
mod doctor;
mod hygiene;
mod ledger;
mod postmortem;
mod reap;
mod run;
mod screen;
mod setup;
mod simulation;
mod status;
mod table;
mod trim;

pub use check::check;
pub use config::{Origin, config};
pub use doctor::doctor;
pub use hygiene::{audit, repair};
pub use ledger::{blame, history, why, why_environment};
pub use postmortem::postmortem;
pub use reap::{reap, reap_record};
pub use run::run;
pub use screen::{ColorWhen, Screen, Surroundings};
pub use setup::setup;
pub use simulation::simulation;
pub use status::status;
pub use trim::trim;

pub(super) use screen::fit;

use super::words;
use screen::Tone;

/// Notes, one paragraph each.
fn notes(out: &mut String, screen: &Screen, notes: &[String]) {
    for note in notes {
        screen.paragraph(out, Tone::Warn, "note: ", &super::escape::text(note));
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

/// The tone of a state.
fn state_tone(state: crate::model::Liveness) -> Tone {
    match state {
        crate::model::Liveness::Idle => Tone::Good,
        crate::model::Liveness::Busy => Tone::Busy,
        crate::model::Liveness::Unknown => Tone::Warn,
    }
}
