//! Each filesystem that holds work directories: can caches be claimed on it, and can its goals be reached.

#![expect(clippy::disallowed_methods, reason = "probes a rename of two empty directories of its own")]

use super::DoctorInput;
use crate::model::{Check, Filesystem, Runner, SpaceClass, WorkDir};
use crate::observe::caches::open_work;
use crate::observe::space::SpaceScan;
use crate::policy::pressure;
use crate::reclaim::trash::Trash;
use crate::text::words;
use rustix::fs::{AtFlags, Mode, RenameFlags, StatVfsMountFlags, mkdirat, renameat_with, statvfs, unlinkat};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long what holds a disk is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of users of a disk that are named.
const NAMED: usize = 3;

pub(super) fn all(input: &DoctorInput<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for filesystem in &input.facts.filesystems {
        let works = input.facts.runners.iter().filter_map(|runner| runner.runner.work_dir());
        if is_read_only(filesystem) {
            checks.push(read_only(filesystem));
        } else if let Some(work) = works.into_iter().find(|work| work.filesystem == filesystem.id) {
            checks.push(claims(filesystem, work));
        }
        checks.push(floor(input, filesystem));
        checks.extend(held(input, filesystem));
    }
    checks
}

/// A filesystem that met an error is remounted so (`errors=remount-ro`). The filesystems are those that have answered before.
fn is_read_only(filesystem: &Filesystem) -> bool {
    statvfs(&filesystem.mount).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read_only(filesystem: &Filesystem) -> Check {
    Check::fail(
        format!("filesystem:{}", filesystem.mount.display()),
        format!(
            "{} is mounted read-only: its runners cannot write their logs, and nothing on it can be freed",
            filesystem.fs_type
        ),
        "look for the disk's errors (`journalctl -k -p err`), check the filesystem, and mount it writable",
    )
}

fn claims(filesystem: &Filesystem, work: &WorkDir) -> Check {
    let id = format!("filesystem:{}", filesystem.mount.display());
    let kind = &filesystem.fs_type;
    match probe(work) {
        Ok(()) if kind == "overlay" => Check::warn(
            id,
            "overlay: files that jobs have created here can be claimed; files in the image's layers cannot be moved, and removing them would free nothing",
            "mount a volume for work directories",
        ),
        Ok(()) => Check::ok(id, format!("{kind}: openat2 and renameat2(NOREPLACE) work")),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Check::fail(
            id,
            format!("{kind} cannot rename without replacing: no cache on it can be claimed"),
            "keep work directories on ext4, xfs, btrfs or tmpfs",
        ),
        Err(error) => Check::warn(
            id,
            format!("{kind}: renames could not be tested in {}: {error}", work.path.display()),
            "run doctor as root; on a full disk, run `disk-guard sweep` first",
        ),
    }
}

/// What a claim does, with two directories of our own in the work directory's trash.
fn probe(work: &WorkDir) -> Result<(), Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let dir = open_work(work).map_err(errno)?;
    let trash = Trash::open_or_make(&dir, work.owner).map_err(errno)?;
    let trash = trash.dir();
    let [from, to] = ["from", "to"].map(|end| format!("probe-{}-{end}", std::process::id()));
    mkdirat(trash, from.as_str(), Mode::from_raw_mode(0o700))?;
    let renamed = renameat_with(trash, from.as_str(), trash, to.as_str(), RenameFlags::NOREPLACE);
    for name in [&from, &to] {
        // One of the two is not there.
        let _ = unlinkat(trash, name.as_str(), AtFlags::REMOVEDIR);
    }
    renamed
}

/// What holds a disk under pressure beside caches, which are not looked at here.
fn held(input: &DoctorInput<'_>, filesystem: &Filesystem) -> Option<Check> {
    if pressure::need(&filesystem.usage, &input.config.watermarks).is_met() {
        return None;
    }
    let runners: Vec<Runner> = input.facts.runners.iter().map(|facts| facts.runner.clone()).collect();
    let (disks, deadline) = (std::slice::from_ref(filesystem), Instant::now() + PATIENCE);
    let by_inodes = [filesystem.id];
    let lacks_inodes_alone = pressure::lacks_inodes_alone(&filesystem.usage, &input.config.watermarks);
    let by_inodes = if lacks_inodes_alone { &by_inodes[..] } else { &[] };
    let look = SpaceScan { runners: &runners, caches: &[], disks, by_inodes, now: input.now, deadline };
    let mut holders = look.holders();
    holders.retain(|held| !matches!(held.class, SpaceClass::Checkout | SpaceClass::OutsideOfWork));
    holders.truncate(NAMED);
    let first = holders.first()?;
    let named: Vec<String> = holders
        .iter()
        .map(|held| {
            let much = match held.by_inodes {
                true => format!("{} inodes", held.inodes),
                false => format!("{} MiB", held.bytes >> 20),
            };
            format!("{} holds {much} ({})", held.path.display(), held.class.in_words())
        })
        .collect();
    let fix = format!("{}; `disk-guard status` lists more", first.remedy);
    Some(Check::warn(format!("space:{}", filesystem.mount.display()), named.join("; "), fix))
}

fn floor(input: &DoctorInput<'_>, filesystem: &Filesystem) -> Check {
    let marks = &input.config.watermarks;
    let id = format!("min-free:{}", filesystem.mount.display());
    if marks.min_free > 0 && pressure::floor_is_out_of_reach(&filesystem.usage, marks) {
        return Check::warn(
            id,
            format!(
                "pressure.min_free is {}, this disk has {} in all: it is not applied to it",
                words::size(marks.min_free),
                words::size(filesystem.usage.total_bytes)
            ),
            "set pressure.min_free to less than the smallest disk has, or to \"0\"",
        );
    }
    let need = pressure::need(&filesystem.usage, marks);
    let used = filesystem.usage.used_percent();
    let inodes = match need.inodes {
        0 => String::new(),
        _ => format!(", {} inodes free", filesystem.usage.inodes_free),
    };
    match need.is_met() {
        true => Check::ok(id, format!("{used} % used, no pressure")),
        false => Check::warn(
            id,
            format!("{used} % used{inodes}, under pressure"),
            "disk-guard plan shows what would be removed",
        ),
    }
}
