//! One hostile action, over and over, until standard input ends: `attack VERB ARGUMENTS`.
//!
//! | verb | does |
//! |---|---|
//! | `swap A B` | exchanges two names, so that each is now the one and now the other |
//! | `storm DIR` | moves what is in a directory about, into one another and under each other's names, and adds to it |
//! | `refill DIR` | makes directories and files in a directory, and the directory itself when it is gone |
//! | `flood DIR PREFIX` | makes directories of ever new names |
//! | `mount SOURCE DIR` | mounts one directory over those in another, and takes it away again (root) |
//! | `mount-privately SOURCE PLACE` | the same in a mount namespace of its own, as any user may |
//!
//! It counts what succeeded, and answers every line on its standard input with that number. Paths are used afresh each
//! time: nothing is held open, for what a process holds open is left alone.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

static SUCCEEDED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let act: Box<dyn FnMut(u64) -> bool + Send> = match words.as_slice() {
        ["swap", one, other] => {
            let (one, other) = (PathBuf::from(one), PathBuf::from(other));
            Box::new(move |_| swap(&one, &other))
        }
        ["storm", dir] => {
            let dir = PathBuf::from(dir);
            Box::new(move |turn| storm(&dir, turn))
        }
        ["refill", dir] => {
            let dir = PathBuf::from(dir);
            Box::new(move |turn| refill(&dir, turn))
        }
        ["flood", dir, prefix] => {
            let (dir, prefix) = (PathBuf::from(dir), (*prefix).to_owned());
            Box::new(move |turn| {
                // A few thousand a second: faster, and what is flooded is the test's own filesystem.
                std::thread::sleep(std::time::Duration::from_micros(300));
                fs::create_dir(dir.join(format!("{prefix}{turn}"))).is_ok()
            })
        }
        ["mount", source, dir] => {
            let (source, dir) = (PathBuf::from(source), PathBuf::from(dir));
            Box::new(move |turn| mount_over(&source, &dir.join(format!("d{}", turn % DIRECTORIES))))
        }
        ["mount-privately", source, place] => {
            let (source, place) = (PathBuf::from(source), PathBuf::from(place));
            if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS) {
                println!("no namespaces: {error}");
                return ExitCode::FAILURE;
            }
            Box::new(move |_| mount_over(&source, &place))
        }
        _ => {
            eprintln!(
                "usage: runner-standin attack swap|storm|refill|flood|mount|mount-privately PATH [PATH]"
            );
            return ExitCode::FAILURE;
        }
    };
    // Namespaces belong to a thread: the one that has just made them goes on, another one answers.
    println!("racing");
    std::thread::spawn(answer);
    race(act)
}

fn race(mut act: Box<dyn FnMut(u64) -> bool + Send>) -> ExitCode {
    for turn in 0.. {
        if act(turn) {
            SUCCEEDED.fetch_add(1, Ordering::Relaxed);
        }
    }
    ExitCode::SUCCESS
}

/// Ends the process when nobody asks any more.
fn answer() {
    for _ in std::io::stdin().lock().lines() {
        println!("{}", SUCCEEDED.load(Ordering::Relaxed));
        let _ = std::io::stdout().flush();
    }
    std::process::exit(0);
}

/// How many names a storm and a mount use.
const DIRECTORIES: u64 = 16;

fn swap(one: &Path, other: &Path) -> bool {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

fn storm(dir: &Path, turn: u64) -> bool {
    // A walk over all pairs of names in no order that a reader would follow.
    let name = |number: u64| dir.join(format!("d{}", number % DIRECTORIES));
    let (one, other) = (name(turn.wrapping_mul(7)), name(turn.wrapping_mul(11) / 3));
    match turn % 5 {
        0 => fs::rename(&one, other.join("inside")).is_ok(),
        1 => fs::rename(other.join("inside"), &one).is_ok(),
        2 => fs::create_dir(&one).is_ok() && fs::write(one.join("file"), "x").is_ok(),
        _ => swap(&one, &other),
    }
}

fn refill(dir: &Path, turn: u64) -> bool {
    let inner = dir.join(format!("d{}", turn % DIRECTORIES));
    let _ = fs::create_dir_all(&inner);
    fs::write(inner.join(format!("f{turn}")), "x").is_ok()
}

fn mount_over(source: &Path, place: &Path) -> bool {
    let mounted = mount(Some(source), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).is_ok();
    if mounted {
        std::thread::yield_now();
        // By its path: where the place has been removed or renamed, the mount has gone with it or is found by the test's end.
        let _ = umount2(place, MntFlags::MNT_DETACH);
    }
    mounted
}
