//! Which units a build has used: a reference bit that needs no state of the guard.
//!
//! cargo reads `KIND` in the fingerprint directory of every unit of a build, whether it is fresh or not, and of no other. Under relatime
//! the kernel updates a file's access time at the first read after `atime <= ctime` (fs/inode.c, `relatime_need_update`). [`arm`] sets the
//! access time of a fingerprint that has been read to its present value: only its change time moves, and the next read shows again. So the
//! access time records when it was read, and the change time after which job. Content and modification time do not change, so cargo
//! notices nothing. Measured on ext4, xfs, btrfs, tmpfs, overlayfs and bind mounts, also with lazytime; under noatime it does not work,
//! which [`access_times`] detects by trying.

use super::fingerprint::{self, FileKind};
use crate::model::AccessTimes;
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A fingerprint whose change time is this close to its modification time has never been armed.
pub const NEVER_ARMED: Duration = Duration::from_secs(1);

/// The maximum depth of a target below the directory of its repository (`_work/<repository>`) for arming: in the checkout or one level
/// below it. A deeper one is judged by age.
const MAX_DEPTH_IN_CHECKOUT: usize = 4;

/// Arms the fingerprints below `target` that have been read or written since they were last armed. Returns how many those were.
///
/// # Errors
/// When the directory cannot be read. A fingerprint that cannot be armed is skipped.
pub fn arm(target: &Dir, deadline: Instant) -> io::Result<usize> {
    let mut armed = 0;
    for directory in fingerprint_directories(target, deadline)? {
        if Instant::now() > deadline {
            break;
        }
        let Ok(dir) = target.descend(&directory) else { continue };
        for name in kinds(&dir)? {
            let Ok(times) = dir.times_of(&*name) else { continue };
            let is_used = times.accessed > times.changed;
            let is_new = times.changed.duration_since(times.modified).unwrap_or_default() < NEVER_ARMED;
            if (is_used || is_new) && dir.touch_change_time(&*name).is_ok() {
                armed += 1;
            }
        }
    }
    Ok(armed)
}

/// The maximum of directories of one checkout that are searched for targets.
const MAX_LOOKED_INTO: usize = 10_000;

/// Arms every target directory in `checkout`, whatever its name, that has cargo's tag. Returns how many of their fingerprints were read or
/// written since they were last armed.
pub fn arm_below(checkout: &Dir, deadline: Instant) -> usize {
    let mut armed = 0;
    let mut waiting = vec![(PathBuf::from("."), 0)];
    let mut looked_into = 0;
    while let Some((below, depth)) = waiting.pop() {
        looked_into += 1;
        if Instant::now() > deadline || looked_into > MAX_LOOKED_INTO {
            break;
        }
        let Ok(dir) = checkout.descend(&below) else { continue };
        if dir.status_of("CACHEDIR.TAG").is_ok_and(|status| status.is_file()) {
            armed += arm(&dir, deadline).unwrap_or(0);
        } else if depth < MAX_DEPTH_IN_CHECKOUT {
            let inner = subdirectories(&dir).unwrap_or_default().into_iter();
            let inner = inner.filter(|name| !name.as_os_str().as_encoded_bytes().starts_with(b"."));
            waiting.extend(inner.map(|name| (below.join(name), depth + 1)));
        }
    }
    armed
}

/// The files whose content is a fingerprint.
fn kinds(dir: &Dir) -> io::Result<Vec<CString>> {
    let mut kinds = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BUFFER];
    dir.for_each_entry(&mut buffer, |entry| {
        let is_fingerprint = fingerprint::file_kind(entry.name.to_bytes()) == FileKind::Fingerprint;
        if is_fingerprint && kinds.len() < 16 {
            kinds.push(entry.name.to_owned());
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(kinds)
}

/// Every fingerprint directory of both layouts, as [`super::read`] finds profiles.
fn fingerprint_directories(target: &Dir, deadline: Instant) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![(PathBuf::from("."), 0)];
    while let Some((below, depth)) = waiting.pop() {
        if Instant::now() > deadline || found.len() > super::MAX_UNITS {
            break;
        }
        let Ok(dir) = target.descend(&below) else { continue };
        for name in subdirectories(&dir)? {
            let inner = below.join(&name);
            let parent = below.file_name();
            match name.to_str() {
                Some(".fingerprint") => {
                    let Ok(units) = dir.descend(&name) else { continue };
                    found.extend(subdirectories(&units)?.into_iter().map(|unit| inner.join(unit)));
                }
                Some("build") => {
                    let Ok(build) = dir.descend(&name) else { continue };
                    for package in subdirectories(&build)? {
                        use std::os::unix::ffi::OsStrExt as _;
                        if fingerprint::suffix(package.as_os_str().as_bytes()).is_some() {
                            continue;
                        }
                        let Ok(units) = build.descend(&package) else { continue };
                        let units = subdirectories(&units)?.into_iter();
                        found.extend(units.map(|unit| inner.join(&package).join(unit).join("fingerprint")));
                    }
                }
                Some("deps" | "incremental" | "examples" | "doc" | "tmp" | "package")
                    if parent.is_some() || depth == 0 => {}
                _ if depth < super::MAX_PROFILE_DEPTH => waiting.push((inner, depth + 1)),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn subdirectories(dir: &Dir) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BUFFER];
    dir.for_each_entry(&mut buffer, |entry| {
        if super::is_directory(dir, entry.name, entry.kind) && names.len() <= super::MAX_UNITS {
            names.push(super::profile::path(entry.name).to_owned());
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(names)
}

/// Whether reads update access times here, tested by reading the directory `own`, which is the guard's and on the same mount.
pub fn access_times(own: &Dir) -> AccessTimes {
    match moves_access_times(own) {
        Ok(true) => AccessTimes::Move,
        Ok(false) => AccessTimes::Stay,
        Err(error) => {
            AccessTimes::Unknown(format!("it cannot be tried whether reads move access times: {error}"))
        }
    }
}

fn moves_access_times(own: &Dir) -> io::Result<bool> {
    let name = Path::new(".");
    own.touch_change_time(name)?;
    let before = own.times_of(name)?;
    // A handle of its own: the access time of a directory is updated when it is read, not when it is opened.
    let again = own.descend(".")?;
    std::thread::sleep(Duration::from_millis(10));
    again.names(1)?;
    Ok(own.times_of(name)?.accessed > before.accessed)
}
