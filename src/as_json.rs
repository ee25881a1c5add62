//! How paths, times and names are written in JSON: types for `#[serde(with = ...)]`. serde uses their functions, and schemars their schema.
//!
//! Sizes are bytes, times RFC 3339 in UTC, durations seconds. Text is exact. A path that is not UTF-8 is written twice: escaped under its
//! name, and exactly, in base64, under the same name with `_bytes`; other paths have no such second field. In the guard's own files times
//! are seconds since 1970.

use crate::escape;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as jiff knows it. A time outside the years 0 to 9999 (any job can set one) becomes the nearest one that can be written.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    /// 0000-01-01T00:00:00Z: RFC 3339 has no years before.
    const YEAR_ZERO: Timestamp = Timestamp::constant(-62_167_219_200, 0);
    let before_1970 = time < SystemTime::UNIX_EPOCH;
    let nearest = if before_1970 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(time).unwrap_or(nearest).max(YEAR_ZERO)
}

/// RFC 3339 in UTC, whole seconds.
fn time(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn parsed(text: String) -> Result<SystemTime, jiff::Error> {
    text.parse::<Timestamp>().map(SystemTime::from)
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn after_1970(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// A path's text: exact when it is UTF-8, else escaped.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_str().map_or_else(|| escape::path(path), str::to_owned)
}

/// The bytes of a path that is not UTF-8.
pub(crate) fn path_bytes(path: &Path) -> Option<String> {
    path.to_str().is_none().then(|| STANDARD.encode(path.as_os_str().as_encoded_bytes()))
}

/// The exact path; `None` if the bytes are invalid.
pub(crate) fn exact_path(text: Option<String>, bytes: Option<&str>) -> Option<Option<PathBuf>> {
    let path = match bytes {
        Some(bytes) => Some(PathBuf::from(OsString::from_vec(STANDARD.decode(bytes).ok()?))),
        None => text.map(PathBuf::from),
    };
    match path {
        Some(path) if !Path::is_absolute(&path) => None,
        path => Some(path),
    }
}

/// Implements a type's JSON schema.
macro_rules! shape {
    ($name:ty as $shape:ty) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                <$shape as schemars::JsonSchema>::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$shape as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$shape as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}
pub(crate) use shape;

/// Types for `#[serde(with = ...)]`, each with the noun's type, its shape in JSON, and the way there.
macro_rules! adapters {
    ($($(#[$doc:meta])* $vis:vis $name:ident: $of:ty => $shape:ty, $way:expr;)*) => {$(
        $(#[$doc])*
        $vis struct $name;

        impl $name {
            $vis fn serialize<S: serde::Serializer>(value: &$of, serializer: S) -> Result<S::Ok, S::Error> {
                let way: fn(&$of) -> $shape = $way;
                serde::Serialize::serialize(&way(value), serializer)
            }
        }

        crate::as_json::shape!($name as $shape);
    )*};
}
pub(crate) use adapters;

adapters! {
    /// A time.
    pub(crate) Time: SystemTime => String, |at| time(*at);
    /// A time, or null.
    pub(crate) OptionalTime: Option<SystemTime> => Option<String>, |at| at.map(time);
    /// A time that the noun holds as seconds since 1970.
    pub(crate) UnixTime: u64 => String, |seconds| time(after_1970(*seconds));
    /// A duration.
    pub(crate) Seconds: Duration => f64, Duration::as_secs_f64;
    /// A time in one of the guard's files.
    pub(crate) WholeSeconds: SystemTime => u64, |at| since_1970(*at);
    /// A time in one of the guard's files, or null.
    pub(crate) OptionalWholeSeconds: Option<SystemTime> => Option<u64>, |at| at.map(since_1970);
    /// A path without its bytes.
    pub(crate) PathText: Path => String, path_text;
    /// A path without its bytes, or null.
    pub(crate) OptionalPathText: Option<PathBuf> => Option<String>, |path| path.as_deref().map(path_text);
    /// Paths without their bytes.
    pub(crate) PathTexts: [PathBuf] => Vec<String>, |paths| paths.iter().map(|path| path_text(path)).collect();
    /// Paths, each an object.
    pub(crate) Paths: [PathBuf] => Vec<AtPath>, |paths| paths.iter().map(|path| AtPath::of(path)).collect();
    /// The name of a file.
    pub(crate) FileName: OsString => String, |name| path_text(name.as_ref());
    /// Unknown bytes, escaped; or null.
    pub(crate) Bytes: Option<Vec<u8>> => Option<String>, |bytes| bytes.as_deref().map(escape::bytes);
    /// Text; empty text is null.
    pub(crate) TextOrNull: String => Option<String>, |text| Some(text.clone()).filter(|text| !text.is_empty());
}

/// The way back for some of them.
macro_rules! and_back {
    ($($name:ident: $shape:ty => $of:ty, $way:expr;)*) => {$(
        impl $name {
            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$of, D::Error> {
                let way: fn($shape) -> Result<$of, jiff::Error> = $way;
                way(<$shape>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

and_back! {
    Time: String => SystemTime, parsed;
    OptionalTime: Option<String> => Option<SystemTime>, |text| text.map(parsed).transpose();
    WholeSeconds: u64 => SystemTime, |seconds| Ok(after_1970(seconds));
    OptionalWholeSeconds: Option<u64> => Option<SystemTime>, |seconds| Ok(seconds.map(after_1970));
}

/// A path and its bytes, to be flattened: fields of one object under names of their own.
macro_rules! path_fields {
    ($($type:ident: $path:ty, $way:expr => { $(#[$shown:meta])* $name:ident: $text:ty, $bytes:ident })*) => {$(
        #[derive(Serialize, JsonSchema)]
        pub(crate) struct $type {
            $(#[$shown])*
            $name: $text,
            #[serde(skip_serializing_if = "Option::is_none")]
            $bytes: Option<String>,
        }

        impl $type {
            fn of(path: &$path) -> Self {
                let ($name, $bytes) = $way(path);
                Self { $name, $bytes }
            }

            pub(crate) fn serialize<S: Serializer>(path: &$path, serializer: S) -> Result<S::Ok, S::Error> {
                Serialize::serialize(&Self::of(path), serializer)
            }
        }
    )*};
}

path_fields! {
    AtPath: Path, both => { path: String, path_bytes }
    AtMount: Path, both => { mount: String, mount_bytes }
    AtRoot: Path, both => { root: String, root_bytes }
    AtWork: Path, both => { work: String, work_bytes }
    AtOptionalPath: Option<PathBuf>, both_or_none => { path: Option<String>, path_bytes }
    AtAnyPath: Option<PathBuf>, both_or_none => {
        #[serde(skip_serializing_if = "Option::is_none")] path: Option<String>, path_bytes
    }
    Within: Option<PathBuf>, both_or_none => {
        #[serde(skip_serializing_if = "Option::is_none")] within: Option<String>, within_bytes
    }
}

fn both(path: &Path) -> (String, Option<String>) {
    (path_text(path), path_bytes(path))
}

fn both_or_none(path: &Option<PathBuf>) -> (Option<String>, Option<String>) {
    let path = path.as_deref();
    (path.map(path_text), path.and_then(path_bytes))
}

/// Enums that are written as their `as_str`; the fields of a variant are written elsewhere.
macro_rules! named {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        crate::as_json::shape!($name as String);
    )+};
}
pub(crate) use named;

/// The outcome of an action, to be flattened.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OutcomeFields<'o> {
    pub(crate) outcome: &'static str,
    pub(crate) reason: Option<&'o str>,
}

/// Enums that are written as two fields: `outcome` is their `as_str`, `reason` their `reason`.
macro_rules! outcomes {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let outcome = crate::as_json::OutcomeFields { outcome: self.as_str(), reason: self.reason() };
                serde::Serialize::serialize(&outcome, serializer)
            }
        }

        crate::as_json::shape!($name as crate::as_json::OutcomeFields<'static>);
    )+};
}
pub(crate) use outcomes;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn times_are_utc_and_whole_seconds_and_come_back() {
        let at = UNIX_EPOCH + Duration::from_millis(1_772_634_310_700);
        assert_eq!(time(at), "2026-03-04T14:25:10Z");
        assert_eq!(parsed(time(at)).unwrap(), UNIX_EPOCH + Duration::from_secs(1_772_634_310));
    }

    #[test]
    fn every_absolute_path_comes_back_and_nothing_else_is_one() {
        for path in [Path::new("/a b\n"), std::ffi::OsStr::from_bytes(b"/caf\xe9").as_ref()] {
            let bytes = path_bytes(path);
            assert_eq!(exact_path(Some(path_text(path)), bytes.as_deref()), Some(Some(path.to_owned())));
        }
        assert_eq!(exact_path(None, None), Some(None));
        for (text, bytes) in
            [(Some("relative"), None), (Some("/a"), Some("no base64!")), (None, Some("YQ=="))]
        {
            assert_eq!(exact_path(text.map(str::to_owned), bytes), None);
        }
    }
}
