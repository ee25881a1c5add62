//! The configuration. `raw` has the structure of the file, this module has the validated values that all other modules use.
//!
//! Everything is checked here, once: a [`Config`] that exists is valid. Every error names the key, the line, the found and the expected
//! value. Root reads the file and deletes according to it, so root refuses a file that anybody else can write.

pub mod cache;
mod declared;
mod notify;
mod programs;
mod raw;
mod reap;
mod salvage;
mod store;
pub mod units;

pub use crate::model::dedupe::DedupeRule;
pub use crate::model::reap::ReapRule;
pub use crate::model::stores::StoreRule;
pub use crate::model::{CacheRule, Retention};
use crate::model::{PathGlob, Remark};
use crate::sys::process::is_root;
use crate::sys::reach;
pub use notify::Notify;
pub use raw::{OnExhausted, OnShort, SiblingClaim};

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use units::Percent;

/// The default path of the configuration.
pub const DEFAULT_PATH: &str = "/etc/disk-guard/config.toml";

/// A file larger than this is no configuration of ours.
const MAX_BYTES: u64 = 1 << 20;

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// When to act and when to stop.
    pub watermarks: Watermarks,
    /// Where runners are.
    pub runners: Runners,
    /// How siblings are treated.
    pub siblings: Siblings,
    /// The cache rules: the default ones, then those of the file, in its order.
    pub caches: Vec<CacheRule>,
    /// The line of each `roots` entry and `owner` of a rule: rule, key, value.
    lines: Vec<(String, &'static str, String, usize)>,
    /// The names of the rules that the file switches off.
    pub switched_off: Vec<String>,
    /// How the hooks behave.
    pub hook: Hook,
    /// Where things are.
    pub paths: Paths,
    /// How much room is made before jobs need it.
    pub forecast: Forecast,
    /// Whether a sweep takes runners out of service while their disk is above critical.
    pub drain_auto: bool,
    /// Whether a sweep repairs owner and mode of foreign or locked entries in idle runners' work directories.
    pub hygiene_repair: bool,
    /// Which of the runners' own files are removed by age.
    pub retention: Retention,
    /// The age and size limits of all rules: `caches`, and those of `retention`.
    pub limits: Vec<CacheRule>,
    /// Where metrics are written, if anywhere.
    pub metrics_textfile: Option<PathBuf>,
    /// The program that receives incidents.
    pub notify: Notify,
    /// What is reaped, in the order of the file.
    pub reaps: Vec<ReapRule>,
    /// Whether equal files of several runners share their blocks.
    pub dedupe: DedupeRule,
    /// Stores that are collected, in the order of the file.
    pub stores: Vec<StoreRule>,
    /// As the file has it.
    file: raw::File,
}

/// `[pressure]`.
#[derive(Debug, Clone, Copy)]
pub struct Watermarks {
    /// Act at or above (df's Use%).
    pub high: Percent,
    /// Stop at or below.
    pub low: Percent,
    /// Refuse or alarm at or above.
    pub critical: Percent,
    /// Also act below this many available bytes; 0 = off.
    pub min_free: u64,
    /// Also act below this share of free inodes; 0 = off.
    pub min_free_inodes: Percent,
}

/// `[runners]`.
#[derive(Debug, Clone)]
pub struct Runners {
    /// Where runners are looked for.
    pub roots: Vec<PathGlob>,
    /// Whether `roots` are the built-in ones.
    pub are_built_in: bool,
    /// May caches of runners without our hook be claimed.
    pub allow_unguarded: bool,
    /// Directories that this host alone uses, on whatever filesystem.
    pub local: Vec<PathGlob>,
    /// Directories in which packages keep the runner's programs.
    pub programs: Vec<PathGlob>,
}

/// `[siblings]`.
#[derive(Debug, Clone, Copy)]
pub struct Siblings {
    /// Whether their caches may be claimed.
    pub claim: SiblingClaim,
    /// Newest content must be older than this.
    pub idle_floor: Duration,
}

/// `[hook]`.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// How long to wait for the host lock.
    pub lock_wait: Duration,
    /// How long a hook may take in all.
    pub time_limit: Duration,
    /// What to do when the disk stays above critical.
    pub on_exhausted: OnExhausted,
}

/// `[forecast]`.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// Whether it is on.
    pub enabled: bool,
    /// The estimate for a job without history, in bytes.
    pub unknown: u64,
    /// What a hook does when there is too little room.
    pub on_short: OnShort,
    /// How long it waits for room at most.
    pub wait: Duration,
}

/// `[paths]`.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Lock, leases, tickets, requests; on tmpfs.
    pub run_dir: PathBuf,
    /// The directory of files that are kept across boots.
    pub state_dir: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// Directories in which the system's programs are looked up.
    pub programs: Vec<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there (or was named) and cannot be read.
    #[error("cannot read the configuration {path}: {source}{}", advice(source))]
    Read {
        /// Which file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is invalid.
    #[error("the configuration {path} is not valid:\n{problems}")]
    Invalid {
        /// Which file.
        path: String,
        /// One or more problems, each with its line.
        problems: String,
    },
    /// Root reads it and others can write it.
    #[error(
        "the configuration {path} decides what root deletes, but {why}; run `chown root {path} && chmod go-w {path}`"
    )]
    Untrusted {
        /// Which file.
        path: String,
        /// The users who can write it.
        why: String,
    },
}

/// The parser's message, without the library's names for kinds of values.
fn in_plain_words(message: &str) -> String {
    let words = [
        ("expected a sequence", "expected a list in brackets"),
        ("expected a boolean", "expected true or false"),
    ];
    words.iter().fold(message.trim_end().to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// What to do about a configuration that cannot be read.
fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "; check the path",
        std::io::ErrorKind::PermissionDenied => "; run as root, or make it readable",
        _ => "",
    }
}

/// Whether the file was named on the command line, and so must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `--config PATH`: a missing file is an error.
    ByHand,
    /// The default path: a missing file means the defaults.
    ByDefault,
}

/// All problems of a configuration, as text for people, each with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl Config {
    /// Reads and validates `path`.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing is ever guessed from a broken file.
    pub fn load(path: &Path, named: Named) -> Result<Self, ConfigError> {
        let display = path.display().to_string();
        let read_error = |source| ConfigError::Read { path: display.clone(), source };
        reach::check_way(path).map_err(read_error)?;
        // A FIFO or a device would block opening or reading it.
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named == Named::ByDefault => {
                return Ok(Self::default());
            }
            Err(source) => return Err(read_error(source)),
        };
        // The opened handle is examined, not the path, so that the checked file is the one that is read.
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            let found = format!("it is {}, expected a regular file", kind_of(metadata.file_type()));
            return Err(read_error(std::io::Error::new(std::io::ErrorKind::InvalidInput, found)));
        }
        if is_root() {
            check_ownership(&display, metadata.uid(), metadata.mode())?;
        }
        let mut text = Vec::with_capacity(4096);
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(read_error)?;
        let text = match String::from_utf8(text) {
            Ok(text) if text.len() as u64 <= MAX_BYTES => Ok(text),
            Ok(_) => {
                Err(InvalidConfig(format!("it is larger than {} KiB, expected a few lines", MAX_BYTES >> 10)))
            }
            Err(error) => {
                Err(InvalidConfig(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))
            }
        };
        text.and_then(|text| Self::parse(&text))
            .map_err(|InvalidConfig(problems)| ConfigError::Invalid { path: display, problems })
    }

    /// Validates the text of a configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`].
    pub fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let raw: raw::File =
            toml::from_str(text).map_err(|error| InvalidConfig(in_plain_words(&error.to_string())))?;
        validate(raw, text)
    }

    /// The line of a rule's `roots` entry or `owner`.
    pub fn line_of(&self, rule: &str, key: &str, value: &str) -> Option<usize> {
        let is_it = |(of, what, found, _): &&(String, &str, String, usize)| {
            of == rule && *what == key && found == value
        };
        self.lines.iter().find(is_it).map(|(.., line)| *line)
    }

    /// Settings that may surprise people.
    pub fn remarks(&self) -> impl Iterator<Item = Remark> {
        self.switched_off.iter().map(|rule| Remark {
            id: format!("rule-off:{rule}"),
            is_fault: false,
            said: format!("the cache rule {rule} is switched off: what it would match is left alone"),
            fix: "take `enabled = false` out of the configuration to have it back".into(),
        })
    }

    /// The effective configuration as a file that would give the same one.
    pub fn effective(&self) -> String {
        toml::to_string(&self.file).expect("what was read from TOML can be written as TOML")
    }
}

fn kind_of(kind: std::fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "no file",
    }
}

/// The JSON Schema of the file, for editors. A file that it accepts may still be refused when it is read.
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<raw::File>()
}

impl Default for Config {
    fn default() -> Self {
        Self::parse("").expect("the defaults are valid: a test says so")
    }
}

fn check_ownership(path: &str, owner: u32, mode: u32) -> Result<(), ConfigError> {
    let why = if owner != 0 {
        format!("it is owned by uid {owner}")
    } else if mode & 0o022 != 0 {
        format!("its mode {:04o} lets others write it", mode & 0o7777)
    } else {
        return Ok(());
    };
    Err(ConfigError::Untrusted { path: path.to_owned(), why })
}

/// Collects problems, each with its line.
struct Problems<'a> {
    text: &'a str,
    list: String,
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|b| *b == b'\n').count() + 1
}

impl Problems<'_> {
    fn add<T>(&mut self, at: &Spanned<T>, message: impl std::fmt::Display) {
        let span = at.span();
        if span.is_empty() {
            let _ = writeln!(self.list, "  {message}");
        } else {
            let line = line_at(self.text, span.start);
            let _ = writeln!(self.list, "  line {line}: {message}");
        }
    }

    /// The globs in a list, without those that are wrong.
    fn globs(&mut self, key: &str, list: &[Spanned<String>]) -> Vec<PathGlob> {
        let mut globs = Vec::new();
        for glob in list {
            let text = glob.get_ref();
            if !text.starts_with('/') || text.contains("/../") || text.ends_with("/..") {
                self.add(glob, format_args!("{key}: found `{text}`, expected an absolute glob without `..`"));
                continue;
            }
            match PathGlob::parse(text) {
                Ok(parsed) => globs.push(parsed),
                Err(error) => self.add(glob, format_args!("{key}: `{text}` is not a glob: {error}")),
            }
        }
        globs
    }

    fn absolute(&mut self, key: &str, path: &Spanned<PathBuf>) {
        if !path.get_ref().is_absolute() {
            self.add(
                path,
                format_args!("{key}: found `{}`, expected an absolute path", path.get_ref().display()),
            );
        }
    }
}

fn validate(mut file: raw::File, text: &str) -> Result<Config, InvalidConfig> {
    let caches = cache::with_defaults(file.caches.take().unwrap_or_default());
    file.caches = Some(caches.clone());
    let mut problems = Problems { text, list: String::new() };

    let pressure = &file.pressure;
    if pressure.low.get_ref() >= pressure.high.get_ref() {
        problems.add(
            &pressure.low,
            format_args!(
                "pressure.low: found {}, expected less than pressure.high ({})",
                pressure.low.get_ref(),
                pressure.high.get_ref()
            ),
        );
    }
    if pressure.critical.get_ref() < pressure.high.get_ref() {
        problems.add(
            &pressure.critical,
            format_args!(
                "pressure.critical: found {}, expected at least pressure.high ({})",
                pressure.critical.get_ref(),
                pressure.high.get_ref()
            ),
        );
    }
    if file.runners.roots.get_ref().is_empty() {
        problems.add(
            &file.runners.roots,
            "runners.roots: found an empty list, expected at least one absolute glob",
        );
    }
    let roots = problems.globs("runners.roots", file.runners.roots.get_ref());
    let local = problems.globs("runners.local", &file.runners.local);
    let programs = programs::read(&file.runners.programs, &mut problems);
    for (key, span) in [("hook.lock_wait", &file.hook.lock_wait), ("hook.time_limit", &file.hook.time_limit)]
    {
        if span.get_ref().0.is_zero() {
            problems.add(
                span,
                format_args!("{key}: found 0, expected a duration above 0: every wait is bounded"),
            );
        }
    }
    problems.absolute("paths.run_dir", &file.paths.run_dir);
    problems.absolute("paths.state_dir", &file.paths.state_dir);
    problems.absolute("paths.proc", &file.paths.proc);
    for program in file.paths.programs.get_ref() {
        problems.absolute("paths.programs", program);
    }
    let textfile = &file.metrics.textfile;
    if !textfile.get_ref().as_os_str().is_empty() {
        problems.absolute("metrics.textfile", textfile);
    }
    cache::check(&caches, &mut problems);
    reap::check(&file.reaps, &mut problems);
    store::check(&file.stores, &mut problems);
    if file.dedupe.max_bytes.get_ref().0 == 0 {
        problems.add(
            &file.dedupe.max_bytes,
            "dedupe.max_bytes: found 0, expected a size above 0 (`enabled = false` switches it off)",
        );
    }
    if file.dedupe.time_limit.get_ref().0.is_zero() {
        problems.add(&file.dedupe.time_limit, "dedupe.time_limit: found 0, expected a duration above 0");
    }
    notify::check(&file.notify, &mut problems);
    if !problems.list.is_empty() {
        return Err(InvalidConfig(problems.list.trim_end().to_owned()));
    }

    let raw::File {
        pressure,
        runners,
        siblings,
        hook,
        paths,
        metrics,
        drain,
        notify,
        forecast,
        hygiene,
        retention,
        reaps,
        stores,
        dedupe,
        ..
    } = file.clone();
    let lines = declared::lines(&caches, text);
    let (caches, off): (Vec<_>, Vec<_>) =
        caches.into_iter().map(Spanned::into_inner).partition(|cache| cache.enabled);
    let caches: Vec<CacheRule> = caches.into_iter().map(CacheRule::from).collect();
    let retention = Retention::from(retention);
    let textfile = metrics.textfile.into_inner();
    Ok(Config {
        watermarks: Watermarks {
            high: pressure.high.into_inner(),
            low: pressure.low.into_inner(),
            critical: pressure.critical.into_inner(),
            min_free: pressure.min_free.0,
            min_free_inodes: pressure.min_free_inodes,
        },
        runners: Runners {
            are_built_in: runners.roots() == raw::Runners::default().roots(),
            roots,
            allow_unguarded: runners.allow_unguarded,
            local,
            programs,
        },
        siblings: Siblings { claim: siblings.claim, idle_floor: siblings.idle_floor.0 },
        limits: caches.iter().cloned().chain(retention.in_force().map(limit)).collect(),
        retention,
        hygiene_repair: hygiene.repair,
        caches,
        lines,
        switched_off: off.into_iter().map(|cache| cache.name).collect(),
        hook: Hook {
            lock_wait: hook.lock_wait.into_inner().0,
            time_limit: hook.time_limit.into_inner().0,
            on_exhausted: hook.on_exhausted,
        },
        paths: Paths {
            run_dir: paths.run_dir.into_inner(),
            state_dir: paths.state_dir.into_inner(),
            proc: paths.proc.into_inner(),
            programs: paths.programs.into_inner().into_iter().map(Spanned::into_inner).collect(),
        },
        forecast: Forecast {
            enabled: forecast.enabled,
            unknown: forecast.unknown.0,
            on_short: forecast.on_short,
            wait: forecast.wait.0,
        },
        drain_auto: drain.auto,
        notify: Notify::from(notify),
        dedupe: DedupeRule {
            enabled: dedupe.enabled,
            max_bytes: dedupe.max_bytes.into_inner().0,
            time_limit: dedupe.time_limit.into_inner().0,
        },
        reaps: reaps.into_iter().map(|entry| reap::rule(entry.into_inner())).collect(),
        stores: stores.into_iter().map(|entry| store::rule(entry.into_inner())).collect(),
        metrics_textfile: (!textfile.as_os_str().is_empty()).then_some(textfile),
        file,
    })
}

/// The age limit of a retention rule. Such a rule matches no directory by name: its files are found in another way.
fn limit((name, age): (&str, Duration)) -> CacheRule {
    CacheRule { name: name.to_owned(), max_age: Some(age), ..CacheRule::default() }
}

impl From<raw::Retention> for Retention {
    fn from(raw: raw::Retention) -> Self {
        let age = |span: units::Span| Some(span.0).filter(|age| !age.is_zero());
        Self {
            logs: age(raw.logs),
            temp: age(raw.temp),
            versions: age(raw.versions),
            checkouts: age(raw.checkout_max_age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_contracts() {
        let config = Config::default();
        assert_eq!((config.watermarks.high.get(), config.watermarks.low.get()), (85, 75));
        assert_eq!(config.watermarks.min_free, 15 << 30);
        assert_eq!(config.caches.len(), 1);
        assert_eq!(config.caches[0].max_age, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(config.caches[0].max_size, None);
        assert_eq!(config.hook.lock_wait, Duration::from_secs(10));
        assert_eq!(config.metrics_textfile, None);
    }

    #[test]
    fn the_effective_configuration_reads_back_as_itself() {
        let config =
            Config::parse("[pressure]\nhigh = \"90%\"\n[[cache]]\nname = \"x\"\nmax_age = \"0\"\n").unwrap();
        assert_eq!(Config::parse(&config.effective()).unwrap().effective(), config.effective());
        assert!(config.effective().contains("high = \"90%\""), "{}", config.effective());
    }

    #[test]
    fn every_bad_value_names_its_line_what_was_found_and_what_is_expected() {
        for (text, expected) in [
            ("[pressure]\nhigh = \"185%\"", vec!["line 2", "high", "185%", "expected a whole percentage"]),
            ("[pressure]\nhigh = 85", vec!["line 2", "found `85`", "expected a whole percentage"]),
            (
                "[pressure]\nlow = \"90%\"",
                vec!["line 2", "pressure.low", "found 90%", "less than pressure.high (85%)"],
            ),
            ("[pressure]\nmin_free = \"lots\"", vec!["line 2", "`lots`", "15GiB"]),
            ("[pressure]\ncritical = \"80%\"", vec!["line 2", "pressure.critical", "80%", "at least"]),
            ("[pressure]\nhihg = \"85%\"", vec!["line 2", "hihg", "expected one of"]),
            ("[runners]\nroots = [\"runner*\"]", vec!["line 2", "`runner*`", "absolute glob"]),
            ("[runners]\nroots = []", vec!["line 2", "empty list"]),
            ("[runners]\nroots = [\"/srv/[\"]", vec!["line 2", "not a glob"]),
            ("[runners]\nlocal = [\"nfs/*\"]", vec!["line 2", "runners.local", "`nfs/*`", "absolute glob"]),
            ("[runners]\nlocal = [\"/nfs/[\"]", vec!["line 2", "runners.local", "not a glob"]),
            ("[runners]\nlocal = \"/nfs\"", vec!["line 2"]),
            ("[hook]\nlock_wait = \"0\"", vec!["line 2", "hook.lock_wait", "bounded"]),
            ("[hook]\non_exhausted = \"explode\"", vec!["line 2", "explode", "warn"]),
            ("[paths]\nproc = \"proc\"", vec!["line 2", "paths.proc", "absolute path"]),
            ("\n[[cache]]\ndirs = [\"a/b\"]", vec!["line 2", "cache.dirs", "`a/b`"]),
            ("[[cache]]\ndirs = [\"*\"]", vec!["line 1", "cache.dirs", "checkout"]),
            ("[[cache]]\ndirs = [\"{a,?*}\"]", vec!["line 1", "cache.dirs", "checkout"]),
            ("[[cache]]\ndirs = [\"??\"]", vec!["line 1", "cache.dirs", "checkout"]),
            ("[[cache]]\n[[cache]]\n", vec!["line 2", "twice"]),
            ("[[cache]]\nname = \"runner-logs\"", vec!["line 1", "runner-logs", "[retention]"]),
            ("[retention]\nlogs = \"soon\"", vec!["line 2", "`soon`"]),
            ("[dedupe]\nenabled = \"yes\"", vec!["line 2", "enabled", "yes", "true or false"]),
            ("[dedupe]\nmax_bytes = \"0\"", vec!["line 2", "dedupe.max_bytes", "above 0", "enabled = false"]),
            ("[dedupe]\nmax_bytes = \"all\"", vec!["line 2", "max_bytes", "`all`", "15GiB"]),
            ("[dedupe]\nmax_bytes = -1", vec!["line 2", "max_bytes", "`-1`", "15GiB"]),
            ("[dedupe]\ntime_limit = \"0\"", vec!["line 2", "dedupe.time_limit", "above 0"]),
            ("[dedupe]\ntime_limit = \"soon\"", vec!["line 2", "time_limit", "`soon`", "10min"]),
            ("[dedupe]\nmax_files = 1", vec!["line 2", "max_files", "max_bytes", "time_limit"]),
            ("[forecast]\nenabled = 1", vec!["line 2", "enabled", "true or false"]),
            ("[forecast]\nunknown = \"much\"", vec!["line 2", "unknown", "`much`", "15GiB"]),
            ("[forecast]\nunknown = 2.5", vec!["line 2", "unknown", "`2.5`", "15GiB"]),
            ("[forecast]\non_short = \"fail\"", vec!["line 2", "on_short", "fail", "warn", "wait", "refuse"]),
            ("[forecast]\nwait = \"a while\"", vec!["line 2", "wait", "`a while`", "10min"]),
            ("[forecast]\nneed = \"1GiB\"", vec!["line 2", "need", "unknown", "on_short"]),
            ("[[cache]]\ndepth = 99", vec!["cache.depth", "99", "1 to 16"]),
            ("[[cache]]\nmarker = \"\"", vec!["line 2", "cache.marker"]),
            ("nonsense", vec!["line 1"]),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            for part in expected {
                assert!(error.contains(part), "{text}: `{part}` is missing in:\n{error}");
            }
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let error =
            Config::parse("[pressure]\nlow = \"90%\"\n[paths]\nproc = \"x\"").unwrap_err().to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
    }

    #[test]
    fn an_unreadable_configuration_is_refused_at_once_and_named() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::fs::write(at("binary"), b"\xff\xfe\0").unwrap();
        std::fs::write(at("huge"), vec![b'\n'; MAX_BYTES as usize + 1]).unwrap();
        std::fs::write(at("good"), "[pressure]\nhigh = \"90%\"\n").unwrap();
        std::os::unix::fs::symlink("good", at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, expected) in [
            (at("fifo"), "a FIFO"),
            (at("directory"), "a directory"),
            (at("binary"), "byte 0"),
            (at("huge"), "larger than"),
            (at("socket"), "cannot read"),
            ("/dev/zero".into(), "a device"),
            ("/dev/tty".into(), "cannot read"),
        ] {
            let error = Config::load(&path, Named::ByDefault).unwrap_err().to_string();
            assert!(
                error.contains(expected) || expected == "cannot read" && error.contains("a device"),
                "{error}"
            );
        }
        for good in ["good", "link"] {
            assert_eq!(Config::load(&at(good), Named::ByHand).unwrap().watermarks.high.get(), 90);
        }
    }

    #[test]
    fn root_refuses_a_configuration_that_others_can_write() {
        assert!(check_ownership("c", 0, 0o100_644).is_ok());
        assert!(check_ownership("c", 1000, 0o100_600).unwrap_err().to_string().contains("uid 1000"));
        assert!(check_ownership("c", 0, 0o100_664).unwrap_err().to_string().contains("0664"));
    }
}
