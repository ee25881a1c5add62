//! The shapes of the file, with every default. Nothing here decides whether values make sense together.

use super::units::{Percent, Size, Span};
use crate::model::incident::IncidentKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// The name of the rule that holds by default.
pub(super) const CARGO: &str = "cargo-target";

const fn minutes(n: u64) -> Span {
    Span(Duration::from_secs(60 * n))
}

fn spanless<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) pressure: Pressure,
    pub(super) runners: Runners,
    pub(super) siblings: Siblings,
    #[serde(rename = "cache")]
    #[schemars(with = "Option<Vec<Cache>>")]
    pub(super) caches: Option<Vec<Spanned<Cache>>>,
    pub(super) hook: Hook,
    pub(super) paths: Paths,
    pub(super) metrics: Metrics,
    pub(super) drain: Drain,
    pub(super) notify: Notify,
    pub(super) forecast: Forecast,
    pub(super) dedupe: Dedupe,
    pub(super) hygiene: Hygiene,
    pub(super) retention: Retention,
    #[serde(rename = "reap", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Reap>")]
    pub(super) reaps: Vec<Spanned<Reap>>,
    #[serde(rename = "store", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Store>")]
    pub(super) stores: Vec<Spanned<Store>>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Pressure {
    #[schemars(with = "Percent")]
    pub(super) high: Spanned<Percent>,
    #[schemars(with = "Percent")]
    pub(super) low: Spanned<Percent>,
    #[schemars(with = "Percent")]
    pub(super) critical: Spanned<Percent>,
    pub(super) min_free: Size,
    pub(super) min_free_inodes: Percent,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            high: spanless(Percent::new(85)),
            low: spanless(Percent::new(75)),
            critical: spanless(Percent::new(95)),
            min_free: Size(15 << 30),
            min_free_inodes: Percent::new(5),
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Runners {
    #[schemars(with = "Vec<String>")]
    pub(super) roots: Spanned<Vec<Spanned<String>>>,
    pub(super) allow_unguarded: bool,
    /// Globs of directories on filesystems that hosts share which this host alone uses.
    #[schemars(with = "Vec<String>")]
    pub(super) local: Vec<Spanned<String>>,
    /// Globs of directories in which packages keep the runner's programs, apart from the runners' roots.
    #[schemars(with = "Vec<String>")]
    pub(super) programs: Vec<Spanned<String>>,
}

impl Default for Runners {
    fn default() -> Self {
        let roots = [
            "/home/*/actions-runner*",
            "/home/*/*/actions-runner*",
            "/home/*/actions-runners/*",
            "/home/*/github-runner*",
            "/home/*/github-runners/*",
            "/home/*/gha-runner*",
            "/home/*/gha-runner*/_layout",
            "/home/*/runner*",
            "/home/actions-runner*",
            "/home/github-runner*",
            "/home/runner*",
            "/root/actions-runner*",
            "/opt/actions-runner*",
            "/opt/github-runner*",
            "/opt/github-runner*/*",
            "/opt/runner*",
            "/opt/*/actions-runner*",
            "/srv/actions-runner*",
            "/srv/actions-runner*/*",
            "/srv/*/actions-runner*",
            "/srv/*/runner*",
            "/mnt/*/actions-runner*",
            "/data/actions-runner*",
            "/actions-runner*",
            "/var/lib/actions-runner*",
            "/var/lib/github-runner*/*",
        ];
        Self {
            roots: spanless(roots.map(|r| spanless(r.to_owned())).to_vec()),
            allow_unguarded: false,
            local: Vec::new(),
            programs: Vec::new(),
        }
    }
}

impl Runners {
    pub(super) fn roots(&self) -> Vec<String> {
        self.roots.get_ref().iter().map(|root| root.get_ref().clone()).collect()
    }
}

/// May a hook or sweep claim a sibling's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SiblingClaim {
    /// With proof of idleness.
    Idle,
    /// Not at all.
    Never,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Siblings {
    pub(super) claim: SiblingClaim,
    pub(super) idle_floor: Span,
}

impl Default for Siblings {
    fn default() -> Self {
        Self { claim: SiblingClaim::Idle, idle_floor: minutes(10) }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cache {
    pub(super) name: String,
    pub(super) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dirs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) roots: Option<Vec<Spanned<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) owner: Option<Spanned<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runners: Option<Vec<String>>,
    pub(super) depth: usize,
    #[schemars(with = "Markers")]
    pub(super) marker: Spanned<Markers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tagged_by: Option<String>,
    pub(super) max_age: Span,
    pub(super) max_size: Size,
    /// Whether parts that no build uses are removed before the whole cache. Unless it is set, only the default rule does that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trim: Option<Trim>,
    pub(super) stale: Span,
}

/// Whether parts of a cache can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Trim {
    /// As cargo lays out a target directory.
    Cargo,
    /// Not at all: it is removed as a whole.
    Never,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            name: CARGO.into(),
            enabled: true,
            dirs: None,
            roots: None,
            owner: None,
            runners: None,
            depth: 8,
            marker: spanless(Markers(vec!["CACHEDIR.TAG".into()])),
            tagged_by: None,
            max_age: minutes(7 * 24 * 60),
            max_size: Size(0),
            trim: Some(Trim::Cargo),
            stale: minutes(3 * 24 * 60),
        }
    }
}

impl Cache {
    /// Whether it is about directories outside of work directories.
    pub(super) fn is_declared(&self) -> bool {
        self.roots.is_some()
    }

    /// Directory names, as globs.
    pub(super) fn dirs(&self) -> Vec<String> {
        match &self.dirs {
            Some(dirs) => dirs.clone(),
            None if self.is_declared() => Vec::new(),
            None => vec!["target".into(), "target-*".into()],
        }
    }

    /// Directories outside of work directories, as globs.
    pub(super) fn roots(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().flatten().map(|root| root.get_ref().as_str())
    }

    /// Whether cargo's own tag declares a directory under any name. Unless it is set, only the default rule has it.
    pub(super) fn by_cargos_tag(&self) -> bool {
        match &self.tagged_by {
            Some(by) => by == "cargo",
            None => !self.is_declared() && self.name == CARGO && self.dirs.is_none(),
        }
    }
}

/// One name or several, of which one has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markers(pub(super) Vec<String>);

impl JsonSchema for Markers {
    fn schema_name() -> Cow<'static, str> {
        "Markers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

impl<'de> Deserialize<'de> for Markers {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> serde::de::Visitor<'de> for NamesVisitor {
            type Value = Markers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("marker: a name, or a list of names")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Markers, E> {
                Ok(Markers(vec![name.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Markers, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Markers(names))
            }
        }
        from.deserialize_any(NamesVisitor)
    }
}

impl Serialize for Markers {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(to),
            several => several.serialize(to),
        }
    }
}

/// What a hook does when the disk stays above critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExhausted {
    /// Warn, and let the job run.
    Warn,
    /// Fail the job before it starts, naming the host's disk as the cause.
    Refuse,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hook {
    #[schemars(with = "Span")]
    pub(super) lock_wait: Spanned<Span>,
    #[schemars(with = "Span")]
    pub(super) time_limit: Spanned<Span>,
    pub(super) on_exhausted: OnExhausted,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            lock_wait: spanless(Span(Duration::from_secs(10))),
            time_limit: spanless(minutes(5)),
            on_exhausted: OnExhausted::Warn,
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Paths {
    #[schemars(with = "PathBuf")]
    pub(super) run_dir: Spanned<PathBuf>,
    #[schemars(with = "PathBuf")]
    pub(super) state_dir: Spanned<PathBuf>,
    #[schemars(with = "PathBuf")]
    pub(super) proc: Spanned<PathBuf>,
    #[schemars(with = "Vec<PathBuf>")]
    pub(super) programs: Spanned<Vec<Spanned<PathBuf>>>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            run_dir: spanless("/run/disk-guard".into()),
            state_dir: spanless("/var/lib/disk-guard".into()),
            proc: spanless("/proc".into()),
            programs: spanless(
                ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|path| spanless(path.into())).to_vec(),
            ),
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    #[schemars(with = "PathBuf")]
    pub(super) textfile: Spanned<PathBuf>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { textfile: spanless(PathBuf::new()) }
    }
}

#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drain {
    pub(super) auto: bool,
}

/// The program that receives incidents.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notify {
    #[schemars(with = "Vec<String>")]
    pub(super) command: Spanned<Vec<String>>,
    #[schemars(with = "Span")]
    pub(super) timeout: Spanned<Span>,
    pub(super) interval: Span,
    pub(super) repeat: Span,
    pub(super) on: Vec<IncidentKind>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            command: no_words(),
            timeout: spanless(Span(Duration::from_secs(30))),
            interval: minutes(5),
            repeat: minutes(24 * 60),
            on: IncidentKind::ALL.to_vec(),
        }
    }
}

/// What a hook does if there is less room than live jobs may need and nothing more can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnShort {
    /// Warn, and let the job run.
    Warn,
    /// Wait, as long as a live sibling's end can help, and within bounds; then as `Warn`.
    Wait,
    /// Fail the job before it starts if not even all caches together would give enough room. Otherwise as `Warn`.
    Refuse,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forecast {
    pub(super) enabled: bool,
    pub(super) unknown: Size,
    pub(super) on_short: OnShort,
    pub(super) wait: Span,
}

impl Default for Forecast {
    fn default() -> Self {
        Self { enabled: true, unknown: Size(20 << 30), on_short: OnShort::Warn, wait: minutes(10) }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dedupe {
    pub(super) enabled: bool,
    #[schemars(with = "Size")]
    pub(super) max_bytes: Spanned<Size>,
    #[schemars(with = "Span")]
    pub(super) time_limit: Spanned<Span>,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { enabled: false, max_bytes: spanless(Size(50 << 30)), time_limit: spanless(minutes(2)) }
    }
}

#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hygiene {
    pub(super) repair: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retention {
    pub(super) logs: Span,
    pub(super) temp: Span,
    pub(super) versions: Span,
    pub(super) checkout_max_age: Span,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| minutes(n * 24 * 60);
        Self { logs: days(14), temp: days(1), versions: days(14), checkout_max_age: days(0) }
    }
}

/// One `[[reap]]`. Nothing is reaped without one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reap {
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    #[schemars(with = "String")]
    pub(super) kind: Spanned<String>,
    #[serde(default = "no_words", skip_serializing_if = "is_without_words")]
    #[schemars(with = "Vec<String>")]
    pub(super) command: Spanned<Vec<String>>,
    #[schemars(with = "Vec<String>")]
    pub(super) r#match: Spanned<Vec<String>>,
    #[serde(default = "no_words")]
    #[schemars(with = "Vec<String>")]
    pub(super) keep: Spanned<Vec<String>>,
    #[serde(default = "two_hours")]
    #[schemars(with = "Span")]
    pub(super) max_age: Spanned<Span>,
    #[serde(default = "six_hours")]
    pub(super) never_started_grace: Span,
    #[serde(default = "five")]
    #[schemars(with = "usize")]
    pub(super) batch: Spanned<usize>,
    #[serde(default = "five_seconds")]
    pub(super) pause: Span,
    #[serde(default = "twenty")]
    #[schemars(with = "usize")]
    pub(super) max_per_run: Spanned<usize>,
    #[serde(default = "one_minute")]
    #[schemars(with = "Span")]
    pub(super) timeout: Spanned<Span>,
    #[serde(default = "no_path", skip_serializing_if = "is_without_path")]
    #[schemars(with = "PathBuf")]
    pub(super) busy_snapshot: Spanned<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Span>")]
    pub(super) min_age: Option<Spanned<Span>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<bool>")]
    pub(super) stale_generation: Option<Spanned<bool>>,
    #[serde(default = "no_words", skip_serializing_if = "is_without_words")]
    #[schemars(with = "Vec<String>")]
    pub(super) worker_check: Spanned<Vec<String>>,
}

/// One `[[store]]`. None is collected without one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    #[schemars(with = "String")]
    pub(super) kind: Spanned<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Spanned<String>>,
    #[serde(default = "no_words", skip_serializing_if = "is_without_words")]
    #[schemars(with = "Vec<String>")]
    pub(super) command: Spanned<Vec<String>>,
    #[serde(default = "no_path", skip_serializing_if = "is_without_path")]
    #[schemars(with = "PathBuf")]
    pub(super) path: Spanned<PathBuf>,
    #[serde(default = "no_size")]
    #[schemars(with = "Size")]
    pub(super) max_size: Spanned<Size>,
    #[serde(default = "no_size")]
    #[schemars(with = "Size")]
    pub(super) keep: Spanned<Size>,
    #[serde(default = "ten_minutes")]
    #[schemars(with = "Span")]
    pub(super) timeout: Spanned<Span>,
    #[serde(default = "no")]
    #[schemars(with = "bool")]
    pub(super) beside_jobs: Spanned<bool>,
}

fn no() -> Spanned<bool> {
    spanless(false)
}

fn no_size() -> Spanned<Size> {
    spanless(Size(0))
}

fn ten_minutes() -> Spanned<Span> {
    spanless(minutes(10))
}

fn no_words() -> Spanned<Vec<String>> {
    spanless(Vec::new())
}

fn is_without_words(words: &Spanned<Vec<String>>) -> bool {
    words.get_ref().is_empty()
}

fn no_path() -> Spanned<PathBuf> {
    spanless(PathBuf::new())
}

fn is_without_path(path: &Spanned<PathBuf>) -> bool {
    path.get_ref().as_os_str().is_empty()
}

fn two_hours() -> Spanned<Span> {
    spanless(minutes(120))
}

fn six_hours() -> Span {
    minutes(360)
}

fn one_minute() -> Spanned<Span> {
    spanless(minutes(1))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn five() -> Spanned<usize> {
    spanless(5)
}

fn twenty() -> Spanned<usize> {
    spanless(20)
}
