//! A real cargo project, its targets, and the ways of making room in them.

use disk_guard::lock::ExclusiveLock;
use disk_guard::model::{Cache, Part, TrimTier, Uid};
use disk_guard::observe::cargo_target::{self, reference};
use disk_guard::policy::trim;
use disk_guard::reclaim::claim::{Claim, claim};
use disk_guard::run_dir::RunDir;
use disk_guard::sys::dir::Dir;
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Which build directory layout cargo is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    First,
    Second,
}

/// What builds have taken and made.
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// The executables by their names, hashed.
    pub(crate) executables: BTreeMap<String, u64>,
}

pub(crate) struct Project {
    temp: tempfile::TempDir,
    layout: Layout,
}

/// Dependencies of this package, in the versions of its lock file: they are in cargo's cache when the bench runs.
const MANIFEST: &str = r#"[package]
name = "tool"
version = "0.1.0"
edition = "2021"

[features]
default = ["toml"]
toml = ["dep:toml"]

[dependencies]
clap = { version = "4.5", features = ["derive"] }
globset = "0.4"
jiff = "0.2"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
thiserror = "2"
toml = { version = "1", optional = true }
walkdir = "2"

[dev-dependencies]
tempfile = "3"

[workspace]
"#;

const MAIN: &str = r#"use clap::Parser;

#[derive(Parser)]
struct Cli {
    path: std::path::PathBuf,
    #[arg(long)]
    glob: Option<String>,
}

#[derive(serde::Serialize)]
struct Found {
    path: String,
    bytes: u64,
}

fn main() {
    let cli = Cli::parse();
    let glob = cli.glob.map(|glob| globset::Glob::new(&glob).unwrap().compile_matcher());
    for entry in walkdir::WalkDir::new(cli.path).into_iter().flatten() {
        if glob.as_ref().is_none_or(|glob| glob.is_match(entry.path())) {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            println!("{}", serde_json::to_string(&Found { path: entry.path().display().to_string(), bytes }).unwrap());
        }
    }
    #[cfg(feature = "toml")]
    eprintln!("{}", toml::to_string(&Found { path: jiff::Timestamp::now().to_string(), bytes: 0 }).unwrap());
}

#[test]
fn it_compiles() {
    assert!(tempfile::tempdir().is_ok());
}
"#;

impl Project {
    pub(crate) fn new(layout: Layout) -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let project = Self { temp, layout };
        fs::create_dir_all(project.source().join("src")).expect("a directory of ours");
        fs::write(project.source().join("Cargo.toml"), MANIFEST).expect("a file of ours");
        fs::write(project.source().join("src/main.rs"), MAIN).expect("a file of ours");
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        fs::copy(lock, project.source().join("Cargo.lock")).expect("the lock file of this package");
        project
    }

    fn source(&self) -> PathBuf {
        self.temp.path().join("work/tool/tool")
    }

    fn target(&self) -> PathBuf {
        self.source().join("target")
    }

    fn cargo(&self, arguments: &[&str], flags: &str) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).arg("--offline").current_dir(self.source()).env("RUSTFLAGS", flags);
        for name in
            ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR", "CARGO_ENCODED_RUSTFLAGS"]
        {
            cargo.env_remove(name);
        }
        if self.layout == Layout::Second {
            cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_UNSTABLE_BUILD_DIR_NEW_LAYOUT", "true");
        }
        let output = cargo.stdin(Stdio::null()).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn today(&self) {
        self.cargo(&["build"], "");
        self.cargo(&["test", "--no-run"], "");
    }

    fn edit(&self, number: usize) {
        let file = self.source().join("src/main.rs");
        let text = fs::read_to_string(&file).expect("a file of ours");
        fs::write(file, format!("{text}\n#[allow(dead_code)] const EDIT_{number}: usize = {number};\n"))
            .expect("a file of ours");
    }

    /// What the completed-hook does; seconds lie between two jobs.
    fn end_of_job(&self) {
        std::thread::sleep(Duration::from_millis(1500));
        let target = Dir::resolve(&self.target()).expect("it was built").0;
        reference::arm(&target, Instant::now() + Duration::from_secs(60)).expect("it can be read");
        std::thread::sleep(Duration::from_millis(1500));
    }

    /// Builds of other days, then one job of today.
    pub(crate) fn make_history(&self) {
        self.cargo(&["check"], "");
        self.cargo(&["build"], "-C target-cpu=x86-64-v2");
        self.cargo(&["test", "--no-run"], "-C target-cpu=x86-64-v2");
        self.cargo(&["build", "--no-default-features"], "-C debug-assertions=off");
        self.today();
        self.end_of_job();
        for number in 0..2 {
            self.edit(number);
            self.today();
            self.end_of_job();
        }
        self.today();
        self.end_of_job();
    }

    /// Removes what no build of today uses.
    pub(crate) fn keep_only_what_is_used(&self) {
        fs::remove_dir_all(self.target()).expect("it was built");
        self.today();
        self.end_of_job();
    }

    pub(crate) fn builds_of_today(&self, edit: bool) -> Cost {
        if edit {
            self.edit(77);
        }
        let before = cpu_seconds();
        self.today();
        let seconds = cpu_seconds() - before;
        Cost { seconds, executables: self.executables() }
    }

    fn executables(&self) -> BTreeMap<String, u64> {
        let hash = |path: &Path| {
            let mut hasher = DefaultHasher::new();
            fs::read(path).expect("it was built").hash(&mut hasher);
            hasher.finish()
        };
        BTreeMap::from([("tool".to_owned(), hash(&self.target().join("debug/tool")))])
    }

    /// Keeps the project as it is, with all times, under a name.
    pub(crate) fn keep(&self, name: &str) {
        copy(&self.source(), &self.temp.path().join(name));
    }

    pub(crate) fn restore(&self, name: &str) {
        fs::remove_dir_all(self.source()).expect("it is ours");
        copy(&self.temp.path().join(name), &self.source());
        // A copy has new change times: as after the end of a job, all that the last job used has to be marked again.
        self.mark_as_in(&self.temp.path().join(name));
    }

    /// Gives the fingerprints of the copy the order of change times that those of the original have.
    fn mark_as_in(&self, original: &Path) {
        let mut by_job: BTreeMap<i64, Vec<PathBuf>> = BTreeMap::new();
        for (path, changed) in fingerprints(&original.join("target")) {
            by_job.entry(changed).or_default().push(path);
        }
        let target = Dir::resolve(&self.target()).expect("it was copied").0;
        let mut last = None;
        for (changed, paths) in by_job {
            if last.is_some_and(|last| changed > last + 1) {
                std::thread::sleep(Duration::from_millis(1100));
            }
            last = Some(changed);
            for path in paths {
                let below = path.strip_prefix(original.join("target")).expect("it lies there");
                let parent = target.descend(below.parent().expect("it has one")).expect("it was copied");
                parent
                    .touch_change_time(Path::new(below.file_name().expect("it has one")))
                    .expect("it is ours");
            }
        }
        std::thread::sleep(Duration::from_millis(1100));
    }

    pub(crate) fn bytes(&self) -> u64 {
        let mut seen: HashMap<(u64, u64), u64> = HashMap::new();
        for entry in walkdir::WalkDir::new(self.target()).into_iter().flatten() {
            let metadata = entry.metadata().expect("it is ours");
            if !metadata.is_dir() {
                seen.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            }
        }
        seen.values().sum()
    }

    /// What disk-guard does under pressure.
    pub(crate) fn trim(&self, goal: u64) {
        let work = self.temp.path().canonicalize().expect("it is ours").join("work");
        let target = Dir::resolve(&self.target()).expect("it was built").0;
        let read = cargo_target::read(&target, Instant::now() + Duration::from_secs(60)).expect("a target");
        let offer = trim::offer(&read, reference::works(&target).map_err(|error| error.to_string()));
        let part = offer.first(offer.steps_for(goal, TrimTier::Live));
        let status = target.status().expect("it is open");
        let cache = Cache {
            path: work.join("tool/tool/target"),
            below_work: "tool/tool/target".into(),
            base: None,
            part: Part::Units(part.into()),
            rule: "cargo-target".into(),
            id: status.id,
            owner: status.owner,
            measure: None,
            used: None,
            largest: Default::default(),
        };
        let run = RunDir::open(&self.temp.path().join("run")).expect("a directory of ours");
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(5)).expect("nobody else has it");
        let owner = Uid(nix::unistd::geteuid().as_raw());
        let work_dir = Dir::open(&work).expect("it is ours");
        let claimed = claim(&lock, &work_dir, owner, &cache, &mut |_| Vec::new());
        assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
        fs::remove_dir_all(work.join(".disk-guard")).expect("it is ours");
    }

    /// What `find -mtime` scripts do.
    pub(crate) fn remove_oldest_files(&self, goal: u64) {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(self.target()).into_iter().flatten() {
            let metadata = entry.metadata().expect("it is ours");
            if !metadata.is_dir() && entry.file_name() != ".cargo-lock" && entry.file_name() != "CACHEDIR.TAG"
            {
                files.push((
                    metadata.modified().expect("a time"),
                    metadata.blocks() * 512,
                    entry.into_path(),
                ));
            }
        }
        files.sort();
        let mut gone = 0;
        for (_, bytes, path) in files {
            if gone >= goal {
                break;
            }
            fs::remove_file(path).expect("it is ours");
            gone += bytes;
        }
    }

    pub(crate) fn cargo_sweep(&self, most: u64) {
        let done = Command::new("cargo-sweep")
            .args(["sweep", "--maxsize", &format!("{}MB", most / 1_000_000)])
            .current_dir(self.source())
            .stdout(Stdio::null())
            .status();
        assert!(done.is_ok_and(|status| status.success()), "cargo sweep failed");
    }

    pub(crate) fn remove_target(&self) {
        fs::remove_dir_all(self.target()).expect("it is ours");
        fs::create_dir(self.target()).expect("it is ours");
    }
}

pub(crate) fn has_cargo_sweep() -> bool {
    Command::new("cargo-sweep").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Every file that holds a fingerprint, with its change time in seconds.
fn fingerprints(target: &Path) -> Vec<(PathBuf, i64)> {
    let mut found = Vec::new();
    for entry in
        walkdir::WalkDir::new(target).into_iter().flatten().filter(|entry| entry.file_type().is_file())
    {
        let parent = entry.path().parent().expect("it has one");
        let is_first = parent.parent().and_then(Path::file_name).is_some_and(|name| name == ".fingerprint");
        let is_second = parent.file_name().is_some_and(|name| name == "fingerprint");
        let name = entry.file_name().to_string_lossy();
        let is_other = name.ends_with(".json")
            || name.starts_with("dep-")
            || name.starts_with("output-")
            || name == "invoked.timestamp";
        if (is_first || is_second) && !is_other {
            let changed = entry.metadata().expect("it is ours").ctime();
            found.push((entry.into_path(), changed));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "cp -a failed");
}

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it cannot fail");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
