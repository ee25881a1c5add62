//! Lengths of time as people write them: `30m`, `10 min`, `1h30m`, `1.5h`, `7d`, `2 weeks`. A day has 24 hours.

use jiff::fmt::friendly::SpanParser;
use jiff::{SpanRelativeTo, civil};
use std::time::Duration;

/// Why a text is no length of time.
#[derive(Debug, thiserror::Error)]
pub enum LengthError {
    /// It is none, in the library's words.
    #[error(transparent)]
    Unreadable(#[from] jiff::Error),
    /// It lies in the past.
    #[error("it is negative")]
    Negative,
}

/// The length, never a negative one.
///
/// # Errors
/// [`LengthError`].
pub fn parse(text: &str) -> Result<Duration, LengthError> {
    let span = SpanParser::new().parse_span(text.trim())?;
    let in_days = span.to_duration(SpanRelativeTo::days_are_24_hours());
    // Months and years have a length only on a calendar.
    let length = in_days.or_else(|_| span.to_duration(civil::date(2001, 1, 1)));
    Duration::try_from(length?).map_err(|_| LengthError::Negative)
}

/// In the configuration's own spelling: `1d 12h`, `10min`. A minute is never taken for a month.
pub fn format(length: Duration) -> String {
    if length.is_zero() {
        return "0".to_owned();
    }
    let (mut seconds, mut nanos) = (length.as_secs(), length.subsec_nanos());
    let mut words = Vec::new();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")] {
        if seconds >= unit {
            words.push(format!("{}{name}", seconds / unit));
            seconds %= unit;
        }
    }
    for (unit, name) in [(1_000_000, "ms"), (1000, "us"), (1, "ns")] {
        if nanos >= unit {
            words.push(format!("{}{name}", nanos / unit));
            nanos %= unit;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_as_people_write_them_and_back() {
        let seconds = Duration::from_secs;
        for (text, length, printed) in [
            ("10s", seconds(10), "10s"),
            ("30m", seconds(1800), "30min"),
            ("10min", seconds(600), "10min"),
            ("10 minutes", seconds(600), "10min"),
            ("2h", seconds(7200), "2h"),
            ("1.5h", seconds(5400), "1h 30min"),
            ("1h30m", seconds(5400), "1h 30min"),
            ("1 hour 30 minutes", seconds(5400), "1h 30min"),
            ("1d", seconds(86_400), "1d"),
            ("1d 12h", seconds(129_600), "1d 12h"),
            ("2 weeks", seconds(1_209_600), "14d"),
            ("1 month", seconds(2_678_400), "31d"),
            ("250ms", Duration::from_millis(250), "250ms"),
            ("0s", Duration::ZERO, "0"),
        ] {
            assert_eq!(parse(text).unwrap(), length, "{text}");
            assert_eq!(format(length), printed, "{text}");
        }
        for text in ["", "10", "soon", "-2h", "2h ago", "2 potatoes", "1e9h", "99999999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_printed_duration_is_parsed_to_the_same_value(seconds in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000) {
            let length = Duration::new(seconds, nanos);
            let text = format(length);
            let again = if text == "0" { Duration::ZERO } else { parse(&text).unwrap() };
            proptest::prop_assert_eq!(again, length);
        }
    }
}
