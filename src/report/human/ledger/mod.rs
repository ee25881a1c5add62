//! `why`, `blame` and `history` for people: the answer first, then its basis, then how far the ledger reaches.
//!
//! Everything in an entry may have been written by anybody: all of it is escaped here, whatever its writer did.

mod blame;
mod entry;
mod history;
mod runs;
mod why;

pub use blame::blame;
pub use history::history;
use runs::runs;
pub use why::{why, why_environment};

use super::screen::{Screen, Tone};
use super::words;
use crate::model::ledger::{Extent, UserSpan, Window};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;

/// How far the ledger reaches, place by place.
fn extent(extent: &Extent, now: SystemTime, screen: &Screen, out: &mut String) {
    let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "The ledger"));
    for place in &extent.places {
        let since = match place.since {
            Some(since) => format!("since {}", moment(since, now)),
            None => "holds nothing".to_owned(),
        };
        let whose = match (place.span, place.since) {
            (UserSpan::Part, Some(_)) => ", not of everybody",
            (UserSpan::Everybody, _) | (UserSpan::Part, None) => "",
        };
        let mut text = format!("{since}{whose}");
        for gap in &place.gaps {
            let _ = write!(text, "; {}", escape::text(gap));
        }
        screen.paragraph(out, Tone::Plain, &format!("  {}: ", place.source.as_str()), &text);
    }
}

/// Date and time, whole seconds, UTC.
fn stamp(time: SystemTime) -> String {
    words::timestamp(time).strftime("%F %T").to_string()
}

/// The same for a sentence, with how long ago that was.
fn moment(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(age) => format!("{} UTC ({} ago)", stamp(time), words::span(age)),
        Err(_) => format!("{} UTC", stamp(time)),
    }
}

fn span(window: &Window) -> String {
    format!("between {} and {} UTC", stamp(window.from), stamp(window.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    pub(super) fn screen() -> Screen {
        Screen::plain(100)
    }

    #[test]
    fn nothing_of_an_entry_reaches_the_screen_as_it_is() {
        for text in [
            why(&samples::why_innocent(), samples::now(), &screen()),
            blame(&samples::blame(), samples::now(), &screen()),
            history(&samples::history(), samples::now(), &screen()),
        ] {
            assert!(!text.chars().any(|c| c != '\n' && crate::report::escape::is_deceptive(c)), "{text:?}");
        }
    }
}
