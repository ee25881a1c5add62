//! A cargo project in a work directory, built by the toolchain at hand, and trimmed by the product's own claims.
//!
//! The tests' own project is small: an executable with a build script, a feature, and a library that warns. `benches/warm` builds others.

use disk_guard::lock::ExclusiveLock;
use disk_guard::model::{Cache, Part, TrimOffer, TrimPart, Uid};
use disk_guard::observe::cargo_target::{self, reference};
use disk_guard::observe::sharing::Counted;
use disk_guard::policy::trim;
use disk_guard::reclaim::claim::{Claim, claim};
use disk_guard::run_dir::RunDir;
use disk_guard::sys::dir::Dir;
use disk_guard::sys::flock::{Probe, probe};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Which build directory layout cargo is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `.fingerprint`, `deps`, `build`.
    First,
    /// `build/PKG/HASH`.
    Second,
}

/// What a build has done.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) compiled: Vec<String>,
    pub(crate) warnings: usize,
}

pub(crate) struct Project {
    temp: tempfile::TempDir,
    source: PathBuf,
    layout: Layout,
}

const FILES: [(&str, &str); 7] = [
    (
        "Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[features]\nextra = []\n\
         [dependencies]\nwarns = { path = \"warns\" }\nmacros = { path = \"macros\" }\n[workspace]\n",
    ),
    (
        "src/main.rs",
        "include!(concat!(env!(\"OUT_DIR\"), \"/g.rs\"));\nfn main() { println!(\"{}\", X + warns::f() + macros::seven!()); }\n",
    ),
    (
        "build.rs",
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\");\n\
         std::fs::write(format!(\"{}/g.rs\", std::env::var(\"OUT_DIR\").unwrap()), \"pub const X: u32 = 7;\").unwrap(); }\n",
    ),
    ("warns/Cargo.toml", "[package]\nname = \"warns\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("warns/src/lib.rs", "pub fn f() -> u32 { let unused = 3; 5 }\n"),
    (
        "macros/Cargo.toml",
        "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "macros/src/lib.rs",
        "#[proc_macro]\npub fn seven(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"7\".parse().unwrap() }\n",
    ),
];

impl Project {
    /// The tests' own project.
    pub(crate) fn new(layout: Layout) -> Self {
        Self::empty(layout).with(&FILES)
    }

    /// The same in a checkout.
    pub(crate) fn in_checkout(checkout: &Path, layout: Layout) -> Self {
        Self::empty_in(checkout, layout).with(&FILES)
    }

    /// A directory for a project.
    pub(crate) fn empty(layout: Layout) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("work/app/app");
        fs::create_dir_all(&source).unwrap();
        Self { temp, source, layout }
    }

    /// The same for a checkout.
    pub(crate) fn empty_in(checkout: &Path, layout: Layout) -> Self {
        Self { source: checkout.to_owned(), ..Self::empty(layout) }
    }

    /// With these files in it.
    pub(crate) fn with(self, files: &[(&str, &str)]) -> Self {
        for (file, content) in files {
            let path = self.source.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self
    }

    fn work(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join("work")
    }

    /// Where its sources lie.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// A directory for what belongs to the project and is no part of it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.source().join("target")
    }

    fn target_dir(&self) -> Dir {
        Dir::resolve(&self.target()).unwrap().0
    }

    /// Runs cargo; returns what it said to people.
    pub(crate) fn cargo(&self, arguments: &[&str], flags: &str) -> String {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).current_dir(self.source()).env("RUSTFLAGS", flags);
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_BUILD_BUILD_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "LLVM_PROFILE_FILE",
        ] {
            cargo.env_remove(name);
        }
        cargo.env("CARGO_TERM_COLOR", "never").env("CARGO_INCREMENTAL", "1").stdin(Stdio::null());
        if self.layout == Layout::Second {
            cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_UNSTABLE_BUILD_DIR_NEW_LAYOUT", "true");
        }
        let output = cargo.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "cargo {arguments:?} failed:\n{text}");
        text
    }

    fn built(&self, arguments: &[&str], flags: &str) -> Built {
        let text = self.cargo(&[&["build"], arguments].concat(), flags);
        let compiled = text.lines().filter_map(|line| line.trim().strip_prefix("Compiling "));
        Built {
            compiled: compiled.filter_map(|rest| rest.split(' ').next().map(str::to_owned)).collect(),
            warnings: text.matches("unused variable").count(),
        }
    }

    pub(crate) fn build(&self, arguments: &[&str]) -> Built {
        self.built(arguments, "")
    }

    pub(crate) fn build_with_flags(&self, flags: &str) {
        self.built(&[], flags);
    }

    pub(crate) fn executable(&self) -> Vec<u8> {
        fs::read(self.target().join("debug/app")).unwrap()
    }

    /// What the completed-hook does. Ends of jobs that are to be told apart lie seconds apart.
    pub(crate) fn end_of_job(&self) {
        std::thread::sleep(Duration::from_millis(1100));
        reference::arm(&self.target_dir(), Instant::now() + Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
    }

    pub(crate) fn offer(&self) -> TrimOffer {
        let dir = self.target_dir();
        let target =
            cargo_target::read(&dir, Counted::All, Instant::now() + Duration::from_secs(60)).unwrap();
        trim::offer(&target, reference::access_times(&dir))
    }

    pub(crate) fn claim(&self, offer: &TrimOffer, steps: usize) -> Claim {
        self.claim_part(offer.first(steps))
    }

    fn claim_part(&self, part: TrimPart) -> Claim {
        let work = Dir::open(&self.work()).unwrap();
        let status = self.target_dir().status().unwrap();
        let run = RunDir::open(&self.temp.path().join("run")).unwrap();
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(5)).unwrap();
        let cache = Cache {
            path: self.work().join("app/app/target"),
            below_work: "app/app/target".into(),
            base: None,
            part: Part::Units(part.into()),
            rule: "cargo-target".into(),
            id: status.id,
            owner: status.owner,
            measure: None,
            used: None,
            largest: Default::default(),
        };
        claim(&lock, &work, Uid(nix::unistd::geteuid().as_raw()), &cache, &mut |_| Vec::new())
    }

    pub(crate) fn trim(&self, offer: &TrimOffer, steps: usize) {
        let claimed = self.claim(offer, steps);
        assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
    }

    /// The state in which a run leaves the target that ends after so many renames.
    pub(crate) fn trim_members(&self, offer: &TrimOffer, count: usize) {
        let all = offer.first(offer.steps.len());
        let claimed = self.claim_part(TrimPart { members: all.members[..count].into(), ..all });
        assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
    }

    pub(crate) fn hold_build_lock(&self) -> File {
        match probe(File::open(self.target().join("debug/.cargo-lock")).unwrap()).unwrap() {
            Probe::Taken(file) => file,
            Probe::Held => panic!("somebody else holds it"),
        }
    }

    /// Does something to the target, and puts it back as it was, times included.
    pub(crate) fn restored(&self, what: impl FnOnce(&Self)) {
        let kept = self.temp.path().join("kept");
        copy(&self.target(), &kept);
        what(self);
        fs::remove_dir_all(self.target()).unwrap();
        copy(&kept, &self.target());
        fs::remove_dir_all(&kept).unwrap();
    }
}

/// Copies a tree with all its times.
pub(crate) fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}
