//! Trees shaped like a cargo target directory, as old as a test wants them.

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// The first line of a real tag (bford.info/cachedir).
pub(crate) const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// How long ago a tree was last written.
pub(crate) type Age = Duration;

/// Makes a target directory at `target` that holds about `bytes`, last written `age` ago.
pub(crate) fn plant_cache(target: &Path, bytes: u64, age: Age) {
    let profile = target.join("debug");
    let unit = "widget-4f1a9c2b7de03a55";
    for directory in [
        format!(".fingerprint/{unit}"),
        "build/widget-90aa1b2c3d4e5f60/out".into(),
        "deps".into(),
        "examples".into(),
        "incremental/widget-1x2y3z/s-h0aaaa-0bbbb-cccc".into(),
    ] {
        std::fs::create_dir_all(profile.join(directory)).expect("a directory of the cache");
    }
    let tag = format!(
        "{SIGNATURE}\n# This file is a cache directory tag created by cargo.\n# For information about cache directory tags see https://bford.info/cachedir/\n"
    );
    let small = [
        ("CACHEDIR.TAG".to_owned(), tag),
        (".rustc_info.json".into(), "{\"rustc_fingerprint\":1,\"outputs\":{}}".into()),
        ("debug/.cargo-lock".into(), String::new()),
        (
            format!("debug/.fingerprint/{unit}/invoked.timestamp"),
            "This file has an mtime of when this was started.".into(),
        ),
        (format!("debug/.fingerprint/{unit}/lib-widget"), "0123456789abcdef".into()),
        (format!("debug/deps/{unit}.d"), "widget.rlib: src/lib.rs\n".into()),
        ("debug/build/widget-90aa1b2c3d4e5f60/output".into(), "cargo:rerun-if-changed=build.rs\n".into()),
    ];
    for (name, text) in small {
        std::fs::write(target.join(name), text).expect("a small file of the cache");
    }
    // Three quarters in libraries, the rest in incremental state, in files of at most 4 MiB.
    write_files(&profile.join("deps"), "libwidget", "rlib", bytes / 4 * 3);
    write_files(&profile.join("incremental/widget-1x2y3z/s-h0aaaa-0bbbb-cccc"), "query", "o", bytes / 4);
    grow_old(target, age);
}

fn write_files(directory: &Path, stem: &str, suffix: &str, bytes: u64) {
    const FILE: u64 = 4 << 20;
    let mut left = bytes;
    let mut number = 0_u64;
    while left > 0 {
        let size = left.min(FILE);
        let mut file = File::create(directory.join(format!("{stem}-{number:04}.{suffix}")))
            .expect("a file of the cache");
        // Not all zeros, so that nothing stores it as a hole, and different for every file.
        let block = vec![(number % 251) as u8 + 1; size as usize];
        file.write_all(&block).expect("the disk has room for the cache");
        left -= size;
        number += 1;
    }
}

/// Makes everything in `tree` look last written `age` ago: files, directories and links alike.
pub(crate) fn grow_old(tree: &Path, age: Age) {
    let metadata = std::fs::symlink_metadata(tree).expect("it is there");
    if metadata.is_dir() {
        for entry in std::fs::read_dir(tree).expect("it can be read") {
            grow_old(&entry.expect("an entry").path(), age);
        }
    }
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).expect("there is a clock");
    let then = TimeSpec::new(now.tv_sec() - age.as_secs() as i64, 0);
    utimensat(AT_FDCWD, tree, &then, &then, UtimensatFlags::NoFollowSymlink).expect("the owner sets times");
}

/// Gives `tree` to `owner`.
pub(crate) fn give_to(tree: &Path, owner: u32, group: u32) {
    let metadata = std::fs::symlink_metadata(tree).expect("it is there");
    if (metadata.uid(), metadata.gid()) != (owner, group) {
        std::os::unix::fs::lchown(tree, Some(owner), Some(group)).expect("root gives things away");
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(tree).expect("it can be read") {
            give_to(&entry.expect("an entry").path(), owner, group);
        }
    }
}
