//! The ways of making room in a target.

use crate::subject::Subject;
use disk_guard::model::TrimTier;
use std::fs;
use std::process::{Command, Stdio};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Nothing,
    DiskGuard,
    /// As scripts do with `find -mtime`.
    OldestFiles,
    CargoSweep,
    Whole,
}

/// Those that are compared; `cargo-sweep` only where it is installed.
pub(crate) fn compared() -> Vec<Way> {
    let mut version = Command::new("cargo-sweep");
    let version = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let has_cargo_sweep = version.is_ok_and(|status| status.success());
    let all = [Way::DiskGuard, Way::OldestFiles, Way::CargoSweep];
    all.into_iter().filter(|way| *way != Way::CargoSweep || has_cargo_sweep).collect()
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::DiskGuard => "disk-guard",
            Self::OldestFiles => "oldest files",
            Self::CargoSweep => "cargo-sweep",
            Self::Whole => "whole target",
        }
    }

    /// Frees `goal` bytes; returns how many it has freed.
    pub(crate) fn make_room(self, subject: &Subject, goal: u64) -> u64 {
        let before = subject.bytes();
        match self {
            Self::Nothing => {}
            Self::DiskGuard => trim(subject, goal),
            Self::OldestFiles => remove_oldest_files(subject, goal),
            Self::CargoSweep => cargo_sweep(subject, before.saturating_sub(goal)),
            Self::Whole => {
                fs::remove_dir_all(subject.project.target()).expect("it is ours");
                fs::create_dir(subject.project.target()).expect("it is ours");
            }
        }
        before - subject.bytes()
    }
}

/// What disk-guard does under pressure.
fn trim(subject: &Subject, goal: u64) {
    let offer = subject.project.offer();
    subject.project.trim(&offer, offer.steps_for(goal, TrimTier::Live));
    fs::remove_dir_all(subject.project.beside("work/.disk-guard")).expect("what was claimed lies there");
}

fn remove_oldest_files(subject: &Subject, goal: u64) {
    let entries = walkdir::WalkDir::new(subject.project.target()).into_iter().flatten();
    let kept = [".cargo-lock", ".cargo-build-lock", "CACHEDIR.TAG"];
    let mut files: Vec<_> = entries
        .filter(|entry| !entry.file_type().is_dir() && !kept.iter().any(|kept| entry.file_name() == *kept))
        .map(|entry| (entry.metadata().expect("it is ours").modified().expect("a time"), entry.into_path()))
        .collect();
    files.sort();
    let before = subject.bytes();
    // Sizes count once a file has lost all its names: looked at anew every hundred files.
    for some in files.chunks(100) {
        if before - subject.bytes() >= goal {
            return;
        }
        some.iter().for_each(|(_, path)| fs::remove_file(path).expect("it is ours"));
    }
}

fn cargo_sweep(subject: &Subject, most: u64) {
    let done = Command::new("cargo-sweep")
        .args(["sweep", "--maxsize", &format!("{}MB", most / 1_000_000)])
        .current_dir(subject.project.source())
        .stdout(Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "cargo sweep failed");
}
