//! The project whose targets are trimmed: its builds, its two targets, and what builds of it cost and make.

use crate::project::{Project, copy};
use disk_guard::observe::cargo_target::fingerprint::{FileKind, file_kind};
use disk_guard::sys::dir::Dir;
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than what is taken for the end of one job (`policy::trim`).
const BETWEEN_JOBS: Duration = Duration::from_millis(1100);

/// Dependencies of this package, in the versions of its lock file: they are in cargo's cache when the bench runs.
const MANIFEST: &str = r#"[package]
name = "tool"
version = "0.1.0"
edition = "2021"

[features]
default = ["json"]
json = ["dep:serde_json"]

[dependencies]
globset = "0.4"
serde = { version = "1", features = ["derive"] }
serde_json = { version = "1", optional = true }
thiserror = "2"
walkdir = "2"

[dev-dependencies]
tempfile = "3"

[workspace]
"#;

const MAIN: &str = r#"#[derive(serde::Serialize)]
struct Found {
    path: String,
    bytes: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is no pattern: {1}")]
struct NoPattern(String, globset::Error);

fn main() -> Result<(), NoPattern> {
    let pattern = std::env::args().nth(1).unwrap_or_else(|| "*".into());
    let glob = globset::Glob::new(&pattern).map_err(|error| NoPattern(pattern.clone(), error))?.compile_matcher();
    for entry in walkdir::WalkDir::new(".").into_iter().flatten().filter(|entry| glob.is_match(entry.path())) {
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        let found = Found { path: entry.path().display().to_string(), bytes };
        #[cfg(feature = "json")]
        println!("{}", serde_json::to_string(&found).unwrap());
        #[cfg(not(feature = "json"))]
        println!("{} {}", found.path, found.bytes);
    }
    Ok(())
}

#[test]
fn it_compiles() {
    assert!(tempfile::tempdir().is_ok());
}
"#;

/// What builds have taken and made.
pub(crate) struct Built {
    /// Seconds of processors' time.
    pub(crate) seconds: f64,
    /// How many units were compiled.
    pub(crate) compiled: usize,
    /// Every executable, those of tests among them, by its path; hashed.
    pub(crate) executables: BTreeMap<PathBuf, u64>,
}

/// The project as it was.
pub(crate) struct Kept {
    place: PathBuf,
    armed: Vec<(Duration, PathBuf)>,
}

/// What cargo said of a day's builds.
struct Said {
    compiled: usize,
    tests: Vec<PathBuf>,
}

/// See the module.
pub(crate) struct Subject {
    pub(crate) project: Project,
    /// What a commit changes.
    edited: PathBuf,
}

impl Subject {
    /// A project of our own; or the one at `--project`, of which a commit changes the file `--edit`.
    pub(crate) fn of(project: Project, arguments: &[String]) -> Self {
        let value =
            |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        if let Some(place) = value("--project") {
            let edited = value("--edit").expect("--edit says which file a commit changes");
            copy(&Path::new(place).join("."), project.source());
            let _ = fs::remove_dir_all(project.target());
            return Self { edited: project.source().join(edited), project };
        }
        let project = project.with(&[("Cargo.toml", MANIFEST), ("src/main.rs", MAIN)]);
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        fs::copy(lock, project.source().join("Cargo.lock")).expect("the lock file of this package");
        Self { edited: project.source().join("src/main.rs"), project }
    }

    fn build(&self, arguments: &[&str], flags: &str) -> String {
        self.project.cargo(&[arguments, &["--offline"]].concat(), flags)
    }

    /// What a job of today builds: debug, tests, release.
    fn today(&self, flags: &str) -> Said {
        let commands: [&[&str]; 3] = [&["build"], &["test", "--no-run"], &["build", "--release"]];
        let said = commands.map(|command| self.build(command, flags)).concat();
        let lines = || said.lines().map(str::trim);
        let named = lines().filter(|line| line.starts_with("Executable"));
        let named = named.filter_map(|line| line.strip_suffix(')')?.rsplit_once('('));
        Said {
            compiled: lines().filter(|line| line.starts_with("Compiling ")).count(),
            tests: named.map(|(_, path)| self.project.source().join(path)).collect(),
        }
    }

    fn edit(&self, number: usize) {
        let text = fs::read_to_string(&self.edited).expect("a file of ours");
        fs::write(
            &self.edited,
            format!("{text}\n#[allow(dead_code)]\nconst EDIT_{number}: usize = {number};\n"),
        )
        .expect("a file of ours");
    }

    /// Builds of other days, then jobs of today with edits between them.
    pub(crate) fn make_history(&self) {
        self.build(&["check", "--all-targets"], "");
        self.today("-C target-cpu=x86-64-v2");
        self.build(&["build"], "-C debug-assertions=off");
        self.build(&["test", "--no-run"], "-C debug-assertions=off");
        self.build(&["build", "--no-default-features"], "");
        self.project.end_of_job();
        for number in 0..2 {
            self.edit(number);
            self.today("");
            self.project.end_of_job();
        }
        // The last job finds everything as it is.
        self.today("");
        self.project.end_of_job();
    }

    /// Builds a target of which builds of today use everything.
    pub(crate) fn make_all_in_use(&self) {
        let _ = fs::remove_dir_all(self.project.target());
        self.today("");
        self.project.end_of_job();
        self.today("");
        self.project.end_of_job();
    }

    /// Builds, after a commit or without one.
    pub(crate) fn builds_of_today(&self, commit: bool) -> Built {
        if commit {
            self.edit(77);
        }
        let before = cpu_seconds();
        let Said { compiled, tests: mut executables } = self.today("");
        let seconds = cpu_seconds() - before;
        for profile in ["debug", "release"] {
            let entries = fs::read_dir(self.project.target().join(profile)).expect("it was built").flatten();
            let files = entries.filter(|entry| {
                entry
                    .metadata()
                    .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
            });
            executables.extend(files.map(|entry| entry.path()));
        }
        let hashed = |path: &Path| {
            let mut hasher = DefaultHasher::new();
            fs::read(path).expect("it was built").hash(&mut hasher);
            hasher.finish()
        };
        let executables = executables.into_iter().map(|path| (path.clone(), hashed(&path))).collect();
        Built { seconds, compiled, executables }
    }

    /// Keeps the project as it is, under a name.
    pub(crate) fn keep(&self, name: &str) -> Kept {
        let place = self.project.beside(name);
        let armed = armed(&self.project.target());
        copy(self.project.source(), &place);
        Kept { place, armed }
    }

    /// Puts it back as it was when it was kept.
    pub(crate) fn restore(&self, kept: &Kept) {
        fs::remove_dir_all(self.project.source()).expect("it is ours");
        copy(&kept.place, self.project.source());
        // A copy has new change times, which tell after which job a unit was armed: they get the order that they had.
        let target = Dir::resolve(&self.project.target()).expect("it was copied").0;
        let mut last = None;
        for (changed, below) in &kept.armed {
            if last.is_some_and(|last| *changed > last + BETWEEN_JOBS) {
                std::thread::sleep(BETWEEN_JOBS);
            }
            last = Some(*changed);
            let parent = target.descend(below.parent().expect("it has one")).expect("it was copied");
            parent.touch_change_time(Path::new(below.file_name().expect("it has one"))).expect("it is ours");
        }
        std::thread::sleep(BETWEEN_JOBS);
    }

    /// Allocated bytes of the target's files.
    pub(crate) fn bytes(&self) -> u64 {
        let entries = walkdir::WalkDir::new(self.project.target()).into_iter().flatten();
        let files = entries.filter(|entry| !entry.file_type().is_dir());
        let metadata = files.map(|entry| entry.metadata().expect("it is ours"));
        let by_inode: BTreeMap<_, _> = metadata.map(|found| (found.ino(), found.blocks() * 512)).collect();
        by_inode.values().sum()
    }
}

/// Every file of the target that holds a fingerprint, relative to the target, with its change time since the epoch; in its order.
fn armed(target: &Path) -> Vec<(Duration, PathBuf)> {
    let is_fingerprint = |path: &Path| {
        let parent = path.parent();
        let name = |of: Option<&Path>| of.and_then(Path::file_name).map(|name| name.as_bytes().to_owned());
        let is_of_unit = name(parent).is_some_and(|name| name == b"fingerprint")
            || name(parent.and_then(Path::parent)).is_some_and(|name| name == b".fingerprint");
        is_of_unit && name(Some(path)).is_some_and(|name| file_kind(&name) == FileKind::Fingerprint)
    };
    let entries = walkdir::WalkDir::new(target).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file() && is_fingerprint(entry.path()));
    let with_time = files.map(|entry| {
        let found = entry.metadata().expect("it is ours");
        let changed = Duration::new(found.ctime().cast_unsigned(), found.ctime_nsec() as u32);
        (changed, entry.path().strip_prefix(target).expect("it lies there").to_owned())
    });
    let mut all: Vec<_> = with_time.collect();
    all.sort();
    all
}

/// What ended child processes have taken of processors, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it cannot fail");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
