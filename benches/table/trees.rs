//! Trees, the places where they lie, and peers.

use super::figures::setting;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a tree looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A cargo target with much incremental state: nearly all files are small.
    Small,
    /// 6,386 files in 898 directories; `deps/` is flat, with 1,584 files and 70 % of the bytes. Half of all bytes lie in
    /// 0.8 % of the files, 90 % in 9.5 %, 99 % in 29 %: the figures of a debug and test target of cargo-nextest.
    Real,
}

impl Shape {
    pub(crate) const ALL: [Shape; 2] = [Shape::Small, Shape::Real];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Shape::Small => "small files",
            Shape::Real => "real target",
        }
    }

    /// Makes the tree and writes it back, so that what is measured is not the making.
    pub(crate) fn make(self, root: &Path) -> io::Result<()> {
        fs::create_dir(root)?;
        match self {
            Shape::Small => make_small(root, setting("ENTRIES", 100_000))?,
            Shape::Real => make_real(root, setting("MIB", 1024) as u64 * 1024 * 1024)?,
        }
        Ok(rustix::fs::syncfs(File::open(root)?)?)
    }
}

fn write(path: &Path, bytes: u64) -> io::Result<()> {
    static BLOCK: [u8; 1 << 18] = [7; 1 << 18];
    let mut file = File::create(path)?;
    let mut left = bytes as usize;
    while left > 0 {
        left -= file.write(&BLOCK[..left.min(BLOCK.len())])?;
    }
    Ok(())
}

/// Per thousand entries: 600 in incremental directories of 100, 300 in fingerprint directories of 4 (and these), 85 in
/// `deps`, of which one holds 2 MiB.
fn make_small(root: &Path, entries: usize) -> io::Result<()> {
    let profile = root.join("debug");
    for directory in ["incremental", ".fingerprint", "deps"] {
        fs::create_dir_all(profile.join(directory))?;
    }
    let thousands = entries / 1000;
    for unit in 0..thousands {
        for session in 0..6 {
            let dir = profile.join(format!("incremental/crate_name-{unit:013x}{session}"));
            fs::create_dir(&dir)?;
            for object in 0..100 {
                write(&dir.join(format!("{object:020x}.o")), 512 + object * 160)?;
            }
        }
        for print in 0..60 {
            let dir = profile.join(format!(".fingerprint/some-crate-{unit:08x}{print:08x}"));
            fs::create_dir(&dir)?;
            for name in ["invoked.timestamp", "lib-some_crate", "lib-some_crate.json", "dep-lib-some_crate"] {
                write(&dir.join(name), 48 + print)?;
            }
        }
        for file in 0..85 {
            let bytes = if file == 0 { 2 << 20 } else { 2048 + file * 64 };
            write(&profile.join(format!("deps/libsome_crate-{unit:08x}{file:08x}.rmeta")), bytes)?;
        }
    }
    Ok(())
}

/// Makes a tree of the real target's shape.
pub(crate) fn make_real(root: &Path, bytes: u64) -> io::Result<()> {
    const FILES: usize = 6386;
    const DEPS: usize = 1584;
    let deps = root.join("debug/deps");
    fs::create_dir_all(&deps)?;
    let others: Vec<PathBuf> = (0..898 - 3)
        .map(|dir| match dir % 3 {
            0 => root.join(format!("debug/build/crate-{dir:016x}")),
            1 => root.join(format!("debug/.fingerprint/crate-{dir:016x}")),
            _ => root.join(format!("debug/incremental/crate-{dir:016x}")),
        })
        .collect();
    others.iter().try_for_each(fs::create_dir_all)?;
    // (files, share of the bytes in thousandths), the largest first.
    let classes = [(51, 500), (556, 400), (1245, 90), (FILES - 51 - 556 - 1245, 10)];
    let (mut rank, mut in_deps) = (0, 0);
    for (files, share) in classes {
        for _ in 0..files {
            // The larger files lie in deps, of which every seventh goes elsewhere.
            let all_that_is_left = FILES - rank <= DEPS - in_deps;
            let to_deps = all_that_is_left || in_deps < DEPS && rank % 7 != 6 && share > 10;
            let size = bytes / 1000 * share / files as u64;
            let path = if to_deps {
                in_deps += 1;
                deps.join(format!("libcrate_name_{rank}-{:016x}.rlib", rank * 7919))
            } else {
                others[rank % others.len()].join(format!("{rank:016x}.o"))
            };
            write(&path, size)?;
            rank += 1;
        }
    }
    Ok(())
}

/// A directory on some filesystem.
pub(crate) struct TestDisk {
    pub(crate) label: &'static str,
    pub(crate) path: PathBuf,
    _temporary: Vec<TempDir>,
}

/// The filesystems that `PLACES` names: ext4 on a loop device of its own, whose mount is private to this process and ends with it
/// (the current directory for who is not root), and tmpfs.
pub(crate) fn places() -> Vec<TestDisk> {
    let wanted = std::env::var("DISK_GUARD_BENCH_PLACES").unwrap_or_else(|_| "ext4".to_owned());
    let tmpfs = || {
        let temp = tempfile::tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
        TestDisk { label: "tmpfs", path: temp.path().to_owned(), _temporary: vec![temp] }
    };
    let here = || {
        let temp = tempfile::tempdir_in(".").expect("the current directory is writable");
        TestDisk { label: "here", path: temp.path().to_owned(), _temporary: vec![temp] }
    };
    let place = |name: &str| if name == "tmpfs" { tmpfs() } else { loop_mounted().unwrap_or_else(here) };
    wanted.split(',').map(place).collect()
}

fn loop_mounted() -> Option<TestDisk> {
    use nix::sched::{CloneFlags, unshare};
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    unshare(CloneFlags::CLONE_NEWNS).ok()?;
    let run = |command: &str, arguments: &[&OsStr]| {
        Command::new(command).args(arguments).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let temp = tempfile::tempdir().ok()?;
    let (image, at) = (temp.path().join("image"), temp.path().join("mount"));
    fs::create_dir(&at).ok()?;
    File::create(&image).and_then(|file| file.set_len(16 << 30)).ok()?;
    let mounted = run("mount", &["--make-rprivate".as_ref(), "/".as_ref()])
        && run("mkfs.ext4", &["-q".as_ref(), image.as_ref()])
        && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()]);
    mounted.then(|| TestDisk { label: "ext4", path: at, _temporary: vec![temp] })
}

impl Drop for TestDisk {
    fn drop(&mut self) {
        if self.label == "ext4" {
            let _ = Command::new("umount").arg(&self.path).status();
        }
    }
}

/// The program of that name, if it is installed.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let extra = std::env::var_os("DISK_GUARD_BENCH_PEERS").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&extra)
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
