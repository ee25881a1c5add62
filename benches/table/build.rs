//! What a sweep costs a build: `cargo build` of a workspace that keeps all cores busy, by itself, and while a sweep of the timer's unit
//! deletes a tree of many small files on the same disk, in turns. Of the unit's limits those that need no cgroup: `Nice` and the
//! idle class of IO.

use super::figures::{Goal, Row, setting, time};
use super::kit::{Fs, Host, Settings};
use super::stage::{self, arguments};
use super::trees::Shape;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const CRATES: usize = 8;

pub(crate) fn rows() -> Vec<Row> {
    let entries = setting("ENTRIES", 100_000);
    let mut host = Host::on(Fs::Ext4 { mib: 4096, inodes: 3 * entries as u64 + 100_000 });
    host.configure(Settings::want_everything);
    let root = stage::plant_runner(&host, 1);
    let project = host.runners().join("project");
    plant_project(&project);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..=setting("ROUNDS", 5) {
        plant_tree(&root);
        let took = build(prepare(&project));
        let again = prepare(&project);
        let mut sweep = as_the_unit(&host).spawn().expect("nice and ionice are installed");
        let took_beside = build(again);
        assert!(
            sweep
                .wait()
                .expect("a child can be waited for")
                .code()
                .is_some_and(|code| [0, 20].contains(&code))
        );
        assert!(!stage::target(&root, "widgets").exists(), "it has deleted");
        // The first round warms the cache.
        if round > 0 {
            alone.push(took);
            beside.push(took_beside);
        }
    }
    vec![Row::beside(
        format!("`cargo build` while the unit's sweep deletes {entries} small files"),
        "by itself",
        &alone,
        &beside,
        Goal::OfAnchor(1.05),
    )]
}

fn as_the_unit(host: &Host) -> Command {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/disk-guard-sweep.service");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    let nice = unit.lines().find_map(|line| line.strip_prefix("Nice=")).expect("the unit is nice");
    assert!(unit.contains("IOSchedulingClass=idle"));
    let mut command = Command::new("nice");
    command.args(["-n", nice, "ionice", "-c", "3"]).arg(host.program());
    command.args(arguments(&host.config(), &["sweep"]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn plant_tree(root: &Path) {
    let target = stage::target(root, "widgets");
    fs::create_dir_all(target.parent().expect("it has one")).expect("a directory of the stage");
    Shape::Small.make(&target).expect("the tree is made");
    // Not as cargo lays it out, so that it goes whole and not in parts.
    fs::rename(target.join("debug"), target.join("objects")).expect("it is ours");
    stage::make_cache_of(&target);
}

/// A cold build of the project. It pays for the writing back of nothing that was made or removed before it.
fn prepare(project: &Path) -> Command {
    let target = project.join("target");
    let _ = fs::remove_dir_all(&target);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--quiet", "--target-dir"]).arg(&target).current_dir(project);
    cargo.env_remove("CARGO_BUILD_BUILD_DIR").env_remove("CARGO_ENCODED_RUSTFLAGS").stdin(Stdio::null());
    nix::unistd::sync();
    cargo
}

fn build(mut cargo: Command) -> Duration {
    time(|| assert!(cargo.status().expect("cargo starts").success()))
}

/// Crates without dependencies, each some seconds of work for the compiler.
fn plant_project(project: &Path) {
    let members: Vec<String> = (0..CRATES).map(|number| format!("\"part{number}\"")).collect();
    let workspace = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    write(project.join("Cargo.toml"), &workspace);
    for number in 0..CRATES {
        let manifest =
            format!("[package]\nname = \"part{number}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(project.join(format!("part{number}/Cargo.toml")), &manifest);
        let mut code = String::new();
        for item in 0..setting("ITEMS", 250) {
            let _ = writeln!(
                code,
                "#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub struct S{item} {{ pub a: String, pub b: \
                 Vec<Option<u64>>, pub c: std::collections::BTreeMap<String, u32> }}\npub fn f{item}(s: &S{item}) -> String {{ \
                 format!(\"{{s:?}} {{}}\", s.b.iter().flatten().map(|n| n * {item}).sum::<u64>()) }}"
            );
        }
        write(project.join(format!("part{number}/src/lib.rs")), &code);
    }
}

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory of the stage");
    fs::write(path, text).expect("a file of the stage");
}
