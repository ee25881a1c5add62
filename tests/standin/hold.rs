//! Holding one thing, in one way, until standard input ends: `hold cwd|deep|deep-open|deep-NUMBER|root|open|map|flock|nothing [PATH]`.
//! Prints `holding` once it does.

use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What has to stay alive while the thing is held.
enum Held {
    Nothing,
    File(#[expect(dead_code, reason = "held, not read")] File),
    Lock(#[expect(dead_code, reason = "held, not read")] nix::fcntl::Flock<File>),
    Many(#[expect(dead_code, reason = "held, not read")] Vec<OwnedFd>),
}

pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let (Some(verb), Some(what)) = (arguments.next(), arguments.next()) else { return usage() };
    if verb != "hold" {
        return usage();
    }
    let path = arguments.next().map(PathBuf::from).unwrap_or_default();
    let open = || File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let held = match what.to_str() {
        Some("nothing") => Held::Nothing,
        Some("cwd") => {
            std::env::set_current_dir(&path).expect("the directory can be entered");
            Held::Nothing
        }
        Some("deep") => {
            descend(&path);
            Held::Nothing
        }
        Some("deep-open") => {
            descend(&path);
            let directory = File::open(".").expect("our own directory can be opened");
            std::env::set_current_dir("/").expect("the root can be entered");
            Held::File(directory)
        }
        Some("root") => {
            // The working directory stays outside: the root alone holds.
            std::os::unix::fs::chroot(&path).expect("root may change its root");
            Held::Nothing
        }
        Some("open") => Held::File(open()),
        Some("map") => {
            map(&open());
            Held::Nothing
        }
        Some("flock") => Held::Lock(
            nix::fcntl::Flock::lock(open(), nix::fcntl::FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .expect("the lock is free"),
        ),
        Some(what) => match what.strip_prefix("deep-").and_then(|number| number.parse().ok()) {
            Some(number) => Held::Many(nest(&path, number)),
            None => return usage(),
        },
        None => return usage(),
    };
    println!("holding");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(held);
    ExitCode::SUCCESS
}

/// Goes so far down below `path` that the working directory's path is longer than any call returns.
fn descend(path: &Path) {
    std::env::set_current_dir(path).expect("the directory can be entered");
    let name = "d".repeat(250);
    for _ in 0..20 {
        match std::fs::create_dir(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{error}"),
            _ => std::env::set_current_dir(&name).expect("our own directory can be entered"),
        }
    }
}

/// Nests tens of thousands of directories below `path` and opens the innermost so many times.
fn nest(path: &Path, handles: usize) -> Vec<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, path, flags, Mode::empty()).expect("the directory opens");
    for _ in 0..30_000 {
        let made = mkdirat(&dir, "d", Mode::RWXU);
        assert!(matches!(made, Ok(()) | Err(Errno::EXIST)), "{made:?}");
        let below = openat(&dir, "d", flags, Mode::empty()).expect("the next level opens");
        dir = below;
    }
    (0..handles).map(|_| openat(&dir, ".", flags, Mode::empty()).expect("one more handle")).collect()
}

/// Maps one page of `file` for as long as the process lives; the descriptor may go.
#[allow(unsafe_code, reason = "mmap has no safe form")]
fn map(file: &File) {
    let page = NonZeroUsize::new(4096).expect("not zero");
    // SAFETY: a fresh private mapping at an address of the kernel's choice; nothing ever looks at its memory.
    unsafe { mmap(None, page, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0) }
        .expect("the file can be mapped");
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: runner-standin hold cwd|deep|deep-open|deep-NUMBER|root|open|map|flock|nothing [PATH]; or be named Runner.Listener or Runner.Worker"
    );
    ExitCode::FAILURE
}
