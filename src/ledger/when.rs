//! Points in time as people write them. All are UTC unless they say otherwise; the answers are in UTC, too.

use crate::lengths::{self, LengthError};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use std::time::{Duration, SystemTime};

/// The accepted forms, for error messages and help.
pub const FORMS: &str = "an RFC 3339 time, `2026-03-04 14:25[:10]`, `2026-03-04`, `14:25[:10]`, `yesterday` or `today`, also `yesterday 14:25` (all UTC), `30m`, `-2h` or `2h ago`, `now`";

/// Why a text is not a time.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// No point in time.
    #[error("`{0}` is not a time; expected {FORMS}")]
    Point(String),
    /// No length of time.
    #[error("`{text}` is not a duration{}; expected one like `10min` or `2h`", why(source))]
    Length {
        /// What was written.
        text: String,
        /// Why.
        source: LengthError,
    },
}

/// The library's own words describe its grammar, not the mistake.
fn why(source: &LengthError) -> &'static str {
    match source {
        LengthError::Unreadable(_) => "",
        LengthError::Negative => ": it is negative",
    }
}

/// The point in time that `text` names, relative to `now`. A time of the day is the most recent one in the past.
///
/// # Errors
/// [`TimeError`].
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime, TimeError> {
    let text = text.trim();
    let known = || {
        relative(text, now)
            .or_else(|| absolute(text))
            .or_else(|| time_of_day(text, now))
            .or_else(|| day(text, now))
            .or_else(|| (text == "now").then_some(now))
    };
    known().ok_or_else(|| TimeError::Point(text.to_owned()))
}

/// A length of time: `10min`, `2h`.
///
/// # Errors
/// [`TimeError`].
pub fn span(text: &str) -> Result<Duration, TimeError> {
    lengths::parse(text).map_err(|source| TimeError::Length { text: text.to_owned(), source })
}

fn relative(text: &str, now: SystemTime) -> Option<SystemTime> {
    let length = match text.strip_suffix("ago") {
        Some(length) if length.ends_with(' ') => length.trim(),
        Some(_) => return None,
        // A length without a sign means that long ago; with colons it is a time of the day.
        None if text.contains(':') => return None,
        None => text.strip_prefix('-').unwrap_or(text),
    };
    now.checked_sub(lengths::parse(length).ok()?).filter(|time| *time >= SystemTime::UNIX_EPOCH)
}

fn absolute(text: &str) -> Option<SystemTime> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(SystemTime::from(time));
    }
    let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
    let civil = match text.split_once([' ', 'T']) {
        Some((date, time)) => DateTime::from_parts(date.parse::<Date>().ok()?, clock(time)?),
        None => {
            DateTime::from_parts(text.parse::<Date>().ok().filter(|_| text.contains('-'))?, Time::midnight())
        }
    };
    utc(civil)
}

/// `14:25` is today's, or yesterday's when today's is still to come.
fn time_of_day(text: &str, now: SystemTime) -> Option<SystemTime> {
    let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
    let time = clock(text)?;
    let today = Timestamp::try_from(now).ok()?.to_zoned(TimeZone::UTC).date();
    let then = utc(DateTime::from_parts(today, time))?;
    if then <= now { Some(then) } else { utc(DateTime::from_parts(today.yesterday().ok()?, time)) }
}

/// `yesterday` is its beginning; `today 14:25` is that time, past or future.
fn day(text: &str, now: SystemTime) -> Option<SystemTime> {
    let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
    let (day, time) = match text.split_once(' ') {
        Some((day, time)) => (day, clock(time.trim())?),
        None => (text, Time::midnight()),
    };
    let today = Timestamp::try_from(now).ok()?.to_zoned(TimeZone::UTC).date();
    let date = match day {
        "today" => today,
        "yesterday" => today.yesterday().ok()?,
        _ => return None,
    };
    utc(DateTime::from_parts(date, time))
}

/// `HH:MM` or `HH:MM:SS`, nothing else.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut part = || -> Option<Option<i8>> {
        match parts.next() {
            None => Some(None),
            Some(digits) if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(Some(digits.parse().ok()?))
            }
            Some(_) => None,
        }
    };
    let (hour, minute, second) = (part()??, part()??, part()?.unwrap_or(0));
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn utc(civil: DateTime) -> Option<SystemTime> {
    Some(SystemTime::from(civil.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-04 14:25:10 UTC.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_634_310)
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, expected) in [
            ("2026-03-04T14:25:10Z", "2026-03-04T14:25:10Z"),
            ("2026-03-04T16:25:10+02:00", "2026-03-04T14:25:10Z"),
            ("2026-03-04T14:25:10.5Z", "2026-03-04T14:25:10.5Z"),
            ("2026-03-04 14:25", "2026-03-04T14:25:00Z"),
            ("2026-03-04 14:25:10", "2026-03-04T14:25:10Z"),
            ("2026-03-04T14:25:10", "2026-03-04T14:25:10Z"),
            ("2026-03-04 14:25 UTC", "2026-03-04T14:25:00Z"),
            ("  2026-03-04  ", "2026-03-04T00:00:00Z"),
            ("14:25", "2026-03-04T14:25:00Z"),
            ("14:25:10", "2026-03-04T14:25:10Z"),
            ("14:25:11", "2026-03-03T14:25:11Z"),
            ("23:59", "2026-03-03T23:59:00Z"),
            ("09:00 UTC", "2026-03-04T09:00:00Z"),
            ("-2h", "2026-03-04T12:25:10Z"),
            ("-1h30m", "2026-03-04T12:55:10Z"),
            ("2h ago", "2026-03-04T12:25:10Z"),
            ("10 min ago", "2026-03-04T14:15:10Z"),
            ("7d ago", "2026-02-25T14:25:10Z"),
            ("30m", "2026-03-04T13:55:10Z"),
            ("1d", "2026-03-03T14:25:10Z"),
            ("1.5h", "2026-03-04T12:55:10Z"),
            ("2 hours ago", "2026-03-04T12:25:10Z"),
            ("yesterday", "2026-03-03T00:00:00Z"),
            ("yesterday 14:00", "2026-03-03T14:00:00Z"),
            ("today", "2026-03-04T00:00:00Z"),
            ("today 14:00", "2026-03-04T14:00:00Z"),
            ("today 23:00 UTC", "2026-03-04T23:00:00Z"),
            ("now", "2026-03-04T14:25:10Z"),
        ] {
            let time = parse(text, now()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(Timestamp::try_from(time).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_time_is_refused_with_the_accepted_forms() {
        for text in [
            "",
            "tomorrow",
            "yesterday 25:00",
            "today 2pm",
            "2",
            "-2h ago",
            "1:30:00",
            "ago",
            "2hago",
            "- 2",
            "-",
            "25:00",
            "12:60",
            "1:2",
            "12:30:61",
            "12:30:10:1",
            "2026-13-01",
            "2026-02-30 10:00",
            "2026-03-04 1:00",
            "20260304",
            "-99999999999h",
            "\u{1b}[31m",
        ] {
            let error = parse(text, now()).expect_err(text);
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(span("10min").unwrap(), Duration::from_secs(600));
        assert!(span("ten").unwrap_err().to_string().contains("10min"));
    }
}
