//! Shared blocks, for people.

use super::screen::{Screen, Tone};
use crate::model::dedupe::DedupeRecord;
use crate::report::escape;
use crate::text::words;
use std::fmt::Write as _;
use std::time::SystemTime;

/// What `status` says of the last sweep that shared blocks.
pub fn dedupe_record(record: Option<&DedupeRecord>, now: SystemTime, screen: &Screen, out: &mut String) {
    let Some(record) = record else { return };
    let mut text = format!(
        "{} of {} in second copies are stored once; the last sweep, {} ago, shared {} and freed {}",
        words::size(record.sharing_bytes),
        words::size(record.pair_bytes),
        words::elapsed(record.time, now),
        words::size(record.shared_bytes),
        words::size(record.freed_bytes)
    );
    if let Some(ended) = &record.ended {
        let _ = write!(text, "; {ended}");
    }
    screen.paragraph(out, Tone::Plain, "Shared blocks    ", &escape::text(&text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_line_of_status() {
        let record = DedupeRecord {
            time: samples::now() - std::time::Duration::from_secs(600),
            pair_bytes: 10 << 30,
            sharing_bytes: 6 << 30,
            shared_bytes: 1 << 30,
            freed_bytes: 1 << 30,
            ended: Some("`dedupe.max_bytes` is spent; the rest is for the next sweep".into()),
        };
        let mut out = String::new();
        dedupe_record(Some(&record), samples::now(), &Screen::plain(80), &mut out);
        insta::assert_snapshot!(out, @r"
        Shared blocks    6.00 GiB of 10.0 GiB in second copies are stored once; the last
                         sweep, 10 min ago, shared 1.00 GiB and freed 1.00 GiB;
                         `dedupe.max_bytes` is spent; the rest is for the next sweep
        ");
        let mut none = String::new();
        dedupe_record(None, samples::now(), &Screen::plain(80), &mut none);
        assert_eq!(none, "");
    }
}
