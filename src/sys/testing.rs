//! Helpers for tests of hostile trees: private mounts, other users, processes with limits of their own, endless nesting.

use super::dir::Dir;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::geteuid;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::TempDir;

/// The message of a test that needs root and is skipped.
pub(crate) fn skipped(why: &str) {
    // Bypasses the test harness, which captures the output of a passing test.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {why}\n").as_bytes());
}

/// Whether the test may mount and become others.
pub(crate) fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// A directory in memory where there is one: nests of 100,000 directories are fast to make there.
pub(crate) fn fast_temp_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

/// A handle of a temporary directory.
pub(crate) fn handle(path: &Path) -> Dir {
    Dir::resolve(path).expect("a temporary directory opens").0
}

/// A child of fork(2) without exec keeps every file that any test has open, and with it mounts, leases and locks.
static FORKS: RwLock<()> = RwLock::new(());

/// For a test that forks so: none of those runs beside it that [`without_forks`] is for.
pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that unmounts, asks who has a file open, or expects that a lock is free once its file is closed.
pub(crate) fn without_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether it becomes true in time: a program that another test starts keeps every open file from its fork to its exec.
pub(crate) fn in_time(is_so: impl Fn() -> bool) -> bool {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_so() {
        if std::time::Instant::now() > until {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    true
}

/// Runs `body` in a thread with a mount namespace of its own: its mounts end with the thread, also on failure.
pub(crate) fn in_private_mounts(body: impl FnOnce() + Send) {
    let _mounts = without_forks();
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may unshare");
        assert!(run("mount", &["--make-rprivate".as_ref(), "/".as_ref()]));
        body();
    });
}

/// Runs `body` as the user nobody: on Linux a thread's identity is its own, and the threads it starts inherit it.
pub(crate) fn as_nobody(body: impl FnOnce() + Send) {
    on_a_thread(|| {
        let (uid, gid) = (rustix::process::Uid::from_raw(NOBODY), rustix::process::Gid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[]).expect("root may change groups");
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root may change its group");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may change its user");
        body();
    });
}

/// The user of [`as_nobody`].
pub(crate) const NOBODY: u32 = 65534;

fn on_a_thread(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(body).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `body` in a process of its own, so that its limits and its peak memory are its own: the test's binary is started again for this
/// one test, whose full name is `test`.
pub(crate) fn in_own_process(test: &str, body: impl FnOnce()) {
    const MARK: &str = "DISK_GUARD_TEST_IN_OWN_PROCESS";
    if std::env::var_os(MARK).is_some_and(|marked| marked == test) {
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("a test has a binary"))
        .args(["--exact", test, "--nocapture"])
        .env(MARK, test)
        .output()
        .expect("the test's binary starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{test}\n{out}\n{err}");
}

/// Lowers what this process may open.
pub(crate) fn limit_open_files(most: u64) {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a limit can be lowered");
}

/// The most memory this process has had resident so far.
pub(crate) fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM is there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}

/// Nests `depth` directories `d` in one another beneath `root` and puts `teeth` further directories and a file into each.
pub(crate) fn nest(root: &Path, depth: usize, teeth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, root, flags, Mode::empty()).expect("the root opens");
    let add = |dir: &OwnedFd, name: &str| mkdirat(dir, name, Mode::RWXU).expect("a directory is made");
    for level in 0..depth {
        // Listings come in the order of creation, in its reverse or in none: half of the teeth come first either way.
        if level % 2 == 0 {
            add(&dir, "d");
        }
        (0..teeth).for_each(|tooth| add(&dir, &format!("tooth{tooth}")));
        if level % 2 == 1 {
            add(&dir, "d");
        }
        let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&dir, "file", file, Mode::RWXU).expect("a file is made");
        dir = openat(&dir, "d", flags, Mode::empty()).expect("the next level opens");
    }
}

/// A file with every byte a name can hold, spread over several names.
pub(crate) fn odd_names() -> Vec<CString> {
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let mut names: Vec<_> = bytes.chunks(100).map(|chunk| CString::new(chunk).unwrap()).collect();
    names.extend([c"...", c"-rf", c" ", c"*", c"\n", c"\xff\xfe", c"$(reboot)"].map(CString::from));
    names.push(CString::new([b'x'; 255]).unwrap());
    names
}

/// Puts a filesystem of `megabytes` onto `at`. False when its mkfs is not installed.
pub(crate) fn mount_image(kind: &str, megabytes: u64, image: &Path, at: &Path) -> bool {
    std::fs::File::create(image).and_then(|file| file.set_len(megabytes << 20)).expect("an image is made");
    let made = run(&format!("mkfs.{kind}"), &["-q".as_ref(), image.as_os_str()]);
    made && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()])
}

/// Runs `body` on a new filesystem of each kind whose files can share blocks. As root only.
pub(crate) fn on_filesystems_that_share(body: impl Fn(&Path) + Sync) {
    if !is_root() {
        return;
    }
    for kind in ["xfs", "btrfs"] {
        let temp = tempfile::tempdir().expect("a temporary directory");
        in_private_mounts(|| {
            let at = temp.path().join(kind);
            std::fs::create_dir(&at).expect("a directory is made");
            assert!(mount_image(kind, 320, &temp.path().join("image"), &at), "{kind}");
            body(&at);
        });
    }
}

/// Puts a filesystem of few inodes onto `at`.
pub(crate) fn mount_small(at: &Path) {
    let options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=64,mode=0755", "small"].map(OsStr::new);
    assert!(run("mount", &[&options[..], &[at.as_os_str()]].concat()));
}

/// Makes empty files until there is no inode left.
pub(crate) fn take_all_inodes(at: &Path) {
    let made = (0..1000).map(|number| File::create(at.join(format!("filler-{number}"))));
    let full = made.map(Result::err).find_map(|error| error).expect("there are fewer than a thousand");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}

/// Runs a command and returns whether it succeeded.
pub(crate) fn run(command: &str, arguments: &[&std::ffi::OsStr]) -> bool {
    let output = Command::new(command).args(arguments).output();
    output.is_ok_and(|output| {
        let failed = !output.status.success();
        if failed {
            eprintln!("{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
        !failed
    })
}

/// The path of an entry whose name may be any bytes.
pub(crate) fn joined(path: &Path, name: &std::ffi::CStr) -> std::path::PathBuf {
    path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
