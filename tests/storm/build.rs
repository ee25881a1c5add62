//! One runner's project: a small crate, built, run, changed and built again.

use super::kit::{Host, Runner};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// Something that it had made, or was about to use, was gone.
    Broken,
    /// The disk was full: no fault of who frees it.
    NoSpace,
}

/// What is left of a build when its job has gone: the log, and the last line of a whole one.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) warm: bool,
    pub(crate) log: String,
    /// Whose it was, and when what happened.
    pub(crate) circumstances: (String, String),
}

pub(crate) struct Build {
    pub(crate) runner: String,
    checkout: PathBuf,
    home: PathBuf,
    log: PathBuf,
}

impl Build {
    /// Checks the crate out.
    pub(crate) fn of(runner: &Runner, host: &Host) -> Self {
        let checkout = runner.checkout("acme/app");
        write(
            &checkout.join("Cargo.toml"),
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        );
        let mut modules = String::new();
        for n in 1..=6 {
            writeln!(modules, "pub mod part{n};").expect("writing to a string");
            write(&checkout.join(format!("src/part{n}.rs")), &PART.replace("NUMBER", &n.to_string()));
        }
        write(&checkout.join("src/lib.rs"), &modules);
        write(&checkout.join("src/main.rs"), MAIN);
        let home = host.base.join("cargo-home");
        std::fs::create_dir_all(&home).expect("a directory of our own");
        let runner = runner.name.clone();
        Self { checkout, home, log: host.base.join(format!("{runner}.log")), runner }
    }

    /// The job's steps. They write their own log, which outlives a killed Worker.
    pub(crate) fn script(&self) -> String {
        let _ = std::fs::remove_file(&self.log);
        let cargo = Path::new(env!("CARGO"));
        SCRIPT
            .replace("LOG", &self.log.display().to_string())
            .replace("CHECKOUT", &self.checkout.display().to_string())
            .replace("HOME_OF_CARGO", &self.home.display().to_string())
            .replace("TOOLS", &cargo.parent().expect("cargo is in a directory").display().to_string())
            .replace("BUILD", &format!("{} build --offline --quiet", cargo.display()))
    }

    /// How the last one ended.
    pub(crate) fn end(&self) -> Ended {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let end = if log.ends_with("whole\n") {
            End::Whole
        } else if log.contains("No space left on device") || log.contains("os error 28") {
            End::NoSpace
        } else {
            End::Broken
        };
        Ended { end, warm: log.starts_with("warm"), log, circumstances: Default::default() }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file of the checkout");
}

/// The target directory is the same one at the end as at the beginning: nobody has moved it away and back.
const SCRIPT: &str = r#"exec >LOG 2>&1
export PATH=TOOLS:$PATH CARGO_HOME=HOME_OF_CARGO CARGO_TERM_COLOR=never
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR
cd CHECKOUT
if test -e target; then echo warm; else echo cold; fi
BUILD
before=$(stat -c %i target)
target/debug/app | grep -qx '8 7'
for n in 2 5; do
  echo "// $RANDOM" >>src/part$n.rs
  BUILD
  target/debug/app | grep -qx '8 7'
done
test -f target/CACHEDIR.TAG
test "$(stat -c %i target)" = "$before"
echo whole
"#;

const PART: &str = "use std::collections::BTreeMap;
pub fn count(text: &str) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for word in text.split_whitespace() {
        *words.entry(format!(\"NUMBER-{word}\")).or_insert(0) += 1;
    }
    words
}
";

/// A mebibyte of its own, so that a target weighs about fifteen.
const MAIN: &str = "static PAD: [u8; 1 << 20] = [7; 1 << 20];
fn main() {
    let words = app::part1::count(\"a b c d e\").len() + app::part6::count(\"x y z\").len();
    println!(\"{} {}\", words, PAD[std::env::args().count()]);
}
";
