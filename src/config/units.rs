//! Sizes, percents and durations as people write them: `15GiB`, `85%`, `10min`.
//!
//! The notations are those of the `bytesize` and `jiff` crates; the types here add what an error must say.

use crate::lengths;
use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr, time::Duration};

/// A whole percentage, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// # Panics
    /// When `percent` is above 100.
    pub const fn new(percent: u8) -> Self {
        assert!(percent <= 100, "a percentage is 0 to 100");
        Self(percent)
    }

    /// 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }

    /// 0.0 to 1.0.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim()
            .strip_suffix('%')
            .and_then(|digits| digits.trim_end().parse::<u8>().ok())
            .filter(|percent| *percent <= 100)
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "found `{text}`, expected a whole percentage such as \"85%\", from \"0%\" to \"100%\""
                )
            })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // bytesize saturates and takes "1.5.2GiB" for a number it cannot name; the message is ours either way.
        text.trim().parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| {
            format!(
                "found `{text}`, expected a size such as \"512MiB\", \"15GiB\", \"1TB\" or a number of bytes"
            )
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "0" {
            return Ok(Self(Duration::ZERO));
        }
        lengths::parse(text).map(Self).map_err(|_| {
            format!("found `{text}`, expected a duration such as \"10s\", \"10min\", \"2h\" or \"7d\"")
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lengths::format(self.0))
    }
}

/// (De)serialised through their text.
macro_rules! as_text {
    ($($unit:ty),*) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // A bare number is a natural slip for `min_free = 0`: it deserves the message that names the notation.
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum GivenValue { Text(String), Whole(i64), Other(toml::Value) }
                let text = match GivenValue::deserialize(deserializer)? {
                    GivenValue::Text(text) => text,
                    GivenValue::Whole(number) => number.to_string(),
                    GivenValue::Other(value) => value.to_string(),
                };
                text.parse().map_err(D::Error::custom)
            }
        }
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
as_text!(Percent, Size, Span);

/// For editors: how each is written. What a size or a length is exactly, only the parser knows.
macro_rules! written_as {
    ($($unit:ident: $schema:tt),*) => {$(
        impl schemars::JsonSchema for $unit {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}
written_as! {
    Percent: {"type": "string", "pattern": "^\\s*[0-9]{1,3}\\s*%\\s*$", "examples": ["85%"]},
    Size: {"type": ["string", "integer"], "minimum": 0, "pattern": "^\\s*[0-9]", "examples": ["512MiB", "15GiB", "0"]},
    Span: {"type": ["string", "integer"], "minimum": 0, "pattern": "[0-9]", "examples": ["10s", "10min", "2h", "7d", "0"]}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them_and_print_back() {
        for (text, bytes, printed) in [
            ("15GiB", 15 << 30, "15GiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("1TB", 1_000_000_000_000, "976562500KiB"),
            ("4096", 4096, "4KiB"),
            ("0", 0, "0"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<Size>().unwrap(), size, "{text}");
        }
        for bad in ["", "GiB", "-1", "15 potatoes", "1.2.3GiB"] {
            assert!(bad.parse::<Size>().unwrap_err().contains("15GiB"), "{bad}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them_and_print_back() {
        for (text, seconds, printed) in [
            ("10s", 10, "10s"),
            ("10min", 600, "10min"),
            ("2h", 7200, "2h"),
            ("7d", 604_800, "7d"),
            ("0", 0, "0"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_secs(), seconds, "{text}");
            assert_eq!(span.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<Span>().unwrap(), span, "{text}");
        }
        assert!("soon".parse::<Span>().unwrap_err().contains("10min"));
    }

    #[test]
    fn percents_are_whole_and_bounded() {
        assert_eq!("85%".parse::<Percent>().unwrap().get(), 85);
        for bad in ["85", "101%", "-1%", "8.5%", "%", ""] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }
}
