//! One run's record: a line of JSON. A line without its end is still being written.

use crate::model::metrics::{Counter, SweepEnd, Tally, Timing};
use serde::{Deserialize, Serialize};

/// The version of the format. Records of another one are not understood.
const VERSION: u32 = 1;

/// The maximum length of a label, in characters; longer ones are cut.
const MAX_LABEL: usize = 128;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordShape {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    counts: Vec<(String, Vec<String>, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timings: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep: Option<SweepEnd>,
}

/// The result of parsing a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A record.
    Tally(Tally),
    /// It has no end yet.
    Unfinished,
    /// Nothing of ours.
    Junk,
}

/// The counter of this name in records.
pub(super) fn counter(name: &str) -> Option<Counter> {
    name.parse().ok()
}

/// The timing of this name in records.
pub(super) fn timing(name: &str) -> Option<Timing> {
    name.parse().ok()
}

fn label(text: &str) -> String {
    text.chars().take(MAX_LABEL).collect()
}

/// The line.
pub(crate) fn write(tally: &Tally) -> Vec<u8> {
    let counts = tally.counts.iter().map(|((counter, labels), count)| {
        (counter.as_str().to_owned(), labels.iter().map(|text| label(text)).collect(), *count)
    });
    let shape = RecordShape {
        version: VERSION,
        counts: counts.collect(),
        timings: tally.timings.iter().map(|(timing, took)| (timing.as_str().to_owned(), *took)).collect(),
        sweep: tally.sweep,
    };
    let mut line = serde_json::to_vec(&shape).expect("our records have string keys");
    line.push(b'\n');
    line
}

/// The content of a record. Counters and timings of another version of the program are left out.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let Some(line) = bytes.strip_suffix(b"\n") else { return Parsed::Unfinished };
    let Ok(shape) = serde_json::from_slice::<RecordShape>(line) else { return Parsed::Junk };
    if shape.version != VERSION {
        return Parsed::Junk;
    }
    let mut tally = Tally { sweep: shape.sweep, ..Tally::default() };
    for (name, labels, count) in shape.counts {
        let Some(counter) = counter(&name) else { continue };
        if labels.len() == counter.labels().len() {
            let labels: Vec<String> = labels.iter().map(|text| label(text)).collect();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            tally.count(counter, &labels, count);
        }
    }
    tally.timings =
        shape.timings.into_iter().filter_map(|(name, took)| Some((timing(&name)?, took))).collect();
    Parsed::Tally(tally)
}

/// The tally in parts of at most `most` series; at least one.
pub(super) fn parts(tally: &Tally, most: usize) -> Vec<Tally> {
    let mut parts = vec![Tally { counts: Default::default(), ..tally.clone() }];
    for (series, count) in &tally.counts {
        if parts.last().is_none_or(|part| part.counts.len() == most) {
            parts.push(Tally::default());
        }
        parts.last_mut().expect("there is one").counts.insert(series.clone(), *count);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tally {
        let mut tally = Tally {
            timings: vec![(Timing::HookStarted, 1234), (Timing::LockShared, 0)],
            sweep: Some(SweepEnd {
                at: 5,
                took: 6,
                success: true,
                goal_met: false,
                wider_contamination: true,
            }),
            ..Tally::default()
        };
        tally.count(Counter::Reclaimed, &["a \"runner\"\n", "cargo-target", "pressure"], 77);
        tally.count(Counter::Errors, &[], 1);
        tally
    }

    #[test]
    fn a_written_record_is_read_back() {
        let line = write(&sample());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(parse(&line), Parsed::Tally(sample()));
        assert_eq!(parse(&line[..line.len() - 1]), Parsed::Unfinished);
    }

    #[test]
    fn foreign_records_are_rejected_and_unknown_fields_left_out() {
        for junk in
            ["\n", "[]\n", "{}\n", "{\"version\":2}\n", "{\"version\":1,\"x\":1}\n", "{\"version\":1}x\n"]
        {
            assert_eq!(parse(junk.as_bytes()), Parsed::Junk, "{junk}");
        }
        let strange = "{\"version\":1,\"counts\":[[\"moods\",[],1],[\"errors\",[\"x\"],1]],\"timings\":[[\"tea\",1]]}\n";
        assert_eq!(parse(strange.as_bytes()), Parsed::Tally(Tally::default()));
    }

    #[test]
    fn parts_are_short_enough_and_hold_everything_once() {
        let mut tally = sample();
        for number in 0..100 {
            let name = format!("{number}{}", "\u{1f600}".repeat(300));
            tally.count(Counter::Reclaimed, &[&name, &name, &name], 1);
        }
        let parts = parts(&tally, super::super::PER_RECORD);
        assert!(parts.iter().all(|part| write(part).len() as u64 <= crate::run_dir::MAX_RECORD_BYTES));
        assert_eq!(parts.iter().map(|part| part.counts.len()).sum::<usize>(), tally.counts.len());
        assert_eq!(parts.iter().map(|part| part.timings.len()).sum::<usize>(), 2);
        assert_eq!(parts.iter().filter(|part| part.sweep.is_some()).count(), 1);
    }
}
