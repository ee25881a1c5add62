//! How paths, times and names stand in JSON: the types that nouns name in `#[serde(with = ...)]`, which serde takes for functions
//! and schemars for the shape.
//!
//! Sizes are bytes, times RFC 3339 in UTC, durations seconds. Text is exact. A path that is not UTF-8 stands escaped under
//! its name and exact, in base64, under the same name with `_bytes`; that second field exists only then. In files of ours
//! times are seconds since 1970.

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
pub(crate) fn time(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The bytes of a path that is not UTF-8.
pub(crate) fn path_bytes(path: &Path) -> Option<String> {
    path.to_str().is_none().then(|| STANDARD.encode(path.as_os_str().as_encoded_bytes()))
}

/// The exact path again; `None` when what should be one is none.
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

/// A path's text: exact when it is UTF-8, else escaped.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_str().map_or_else(|| escape::path(path), str::to_owned)
}

/// A type of this module that has the shape of another one.
macro_rules! shaped_as {
    ($($name:ident: $shape:ty;)*) => {$(
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
    )*};
}
pub(crate) use shaped_as;

shaped_as! {
    Time: String;
    OptionalTime: Option<String>;
    UnixTime: String;
    Seconds: f64;
    WholeSeconds: u64;
    OptionalWholeSeconds: Option<u64>;
    PathText: String;
    OptionalPathText: Option<String>;
    PathTexts: Vec<String>;
    Paths: Vec<AtPath>;
    FileName: String;
    Bytes: Option<String>;
    TextOrNull: Option<String>;
}

/// A time.
pub(crate) struct Time;

impl Time {
    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        time(*at).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(SystemTime::from).map_err(serde::de::Error::custom)
    }
}

/// A time, or null.
pub(crate) struct OptionalTime;

impl OptionalTime {
    pub(crate) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| text.parse::<Timestamp>().map(SystemTime::from);
        text.map(parse).transpose().map_err(serde::de::Error::custom)
    }
}

/// A time that the noun holds as seconds since 1970.
pub(crate) struct UnixTime;

impl UnixTime {
    pub(crate) fn serialize<S: Serializer>(seconds: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        time(after_1970(*seconds)).serialize(serializer)
    }
}

/// A duration.
pub(crate) struct Seconds;

impl Seconds {
    pub(crate) fn serialize<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        took.as_secs_f64().serialize(serializer)
    }
}

/// A time in a file of ours.
pub(crate) struct WholeSeconds;

impl WholeSeconds {
    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        since_1970(*at).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        u64::deserialize(deserializer).map(after_1970)
    }
}

/// A time in a file of ours, or null.
pub(crate) struct OptionalWholeSeconds;

impl OptionalWholeSeconds {
    pub(crate) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(since_1970).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(after_1970))
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn after_1970(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// A path without its bytes.
pub(crate) struct PathText;

impl PathText {
    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path_text(path).serialize(serializer)
    }
}

/// A path without its bytes, or null.
pub(crate) struct OptionalPathText;

impl OptionalPathText {
    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(path_text).serialize(serializer)
    }
}

/// Paths without their bytes.
pub(crate) struct PathTexts;

impl PathTexts {
    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| path_text(path)))
    }
}

/// Paths, each an object.
pub(crate) struct Paths;

impl Paths {
    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| AtPath::of(path)))
    }
}

/// The name of a file.
pub(crate) struct FileName;

impl FileName {
    pub(crate) fn serialize<S: Serializer>(name: &OsString, serializer: S) -> Result<S::Ok, S::Error> {
        path_text(Path::new(name)).serialize(serializer)
    }
}

/// Bytes of which nothing is known, escaped; or null.
pub(crate) struct Bytes;

impl Bytes {
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(escape::bytes).serialize(serializer)
    }
}

/// Text, of which the empty one is null.
pub(crate) struct TextOrNull;

impl TextOrNull {
    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        Some(text).filter(|text| !text.is_empty()).serialize(serializer)
    }
}

/// A path and its bytes, to be flattened: fields of one object under names of their own.
macro_rules! path_fields {
    ($($(#[$doc:meta])* $type:ident { $(#[$shown:meta])* $name:ident: $text:ty, $bytes:ident } of $path:ty, $of:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, JsonSchema)]
        pub(crate) struct $type {
            $(#[$shown])*
            $name: $text,
            #[serde(skip_serializing_if = "Option::is_none")]
            $bytes: Option<String>,
        }

        impl $type {
            pub(crate) fn of(path: &$path) -> Self {
                let ($name, $bytes) = $of(path);
                Self { $name, $bytes }
            }
        }
    )*};
}

path_fields! {
    /// `path`.
    AtPath { path: String, path_bytes } of Path, both;
    /// `path`, null where there is none.
    AtOptionalPath { path: Option<String>, path_bytes } of Option<PathBuf>, both_or_none;
    /// `path`, absent where there is none.
    AtAnyPath { #[serde(skip_serializing_if = "Option::is_none")] path: Option<String>, path_bytes } of Option<PathBuf>, both_or_none;
    /// `within`, absent where there is none.
    Within { #[serde(skip_serializing_if = "Option::is_none")] within: Option<String>, within_bytes } of Option<PathBuf>, both_or_none;
    /// `mount`.
    AtMount { mount: String, mount_bytes } of Path, both;
    /// `root`.
    AtRoot { root: String, root_bytes } of Path, both;
    /// `work`.
    AtWork { work: String, work_bytes } of Path, both;
}

/// For `#[serde(flatten, with = ...)]`.
macro_rules! of_field {
    ($($type:ident: $path:ty;)*) => {$(
        impl $type {
            pub(crate) fn serialize<S: Serializer>(path: &$path, serializer: S) -> Result<S::Ok, S::Error> {
                Serialize::serialize(&Self::of(path), serializer)
            }
        }
    )*};
}

of_field! {
    AtPath: Path;
    AtOptionalPath: Option<PathBuf>;
    AtAnyPath: Option<PathBuf>;
    Within: Option<PathBuf>;
}

fn both(path: &Path) -> (String, Option<String>) {
    (path_text(path), path_bytes(path))
}

fn both_or_none(path: &Option<PathBuf>) -> (Option<String>, Option<String>) {
    let path = path.as_deref();
    (path.map(path_text), path.and_then(path_bytes))
}

/// Enums that stand in JSON as their `as_str` says; what a variant holds stands elsewhere.
macro_rules! named {
    ($($name:ty),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                String::json_schema(generator)
            }
        }
    )+};
}
pub(crate) use named;

/// What became of something: to be flattened.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Outcome<'o> {
    pub(crate) outcome: &'static str,
    pub(crate) reason: Option<&'o str>,
}

/// Enums that stand in JSON as two fields: `outcome` is what their `as_str` says, `reason` what their `reason` says.
macro_rules! outcomes {
    ($($name:ident),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let outcome = crate::as_json::Outcome { outcome: self.as_str(), reason: self.reason() };
                serde::Serialize::serialize(&outcome, serializer)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <crate::as_json::Outcome as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <crate::as_json::Outcome as schemars::JsonSchema>::json_schema(generator)
            }
        }
    )+};
}
pub(crate) use outcomes;
