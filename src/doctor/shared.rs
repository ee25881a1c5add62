//! The group, the shared directory and everything in it, the lock, the configuration's file.

use super::DoctorInput;
use crate::lock::{LockError, SharedLock};
use crate::model::Check;
use crate::run_dir::RunDir;
use crate::setup::group;
use crate::sys::reach;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How long the lock is tried for.
const WAIT: Duration = Duration::from_secs(1);

/// The entries that tmpfiles.d creates in the shared directory: name, required permission bits, forbidden ones.
const EXPECTED: [(&str, &str, u32, u32); 5] = [
    ("", "run-dir", 0o555, 0o022),
    ("host.lock", "lock-file", 0o660, 0o007),
    ("leases", "leases", 0o1770, 0o007),
    ("requests", "requests", 0o1770, 0o007),
    ("tickets", "tickets", 0o1770, 0o007),
];

pub(super) fn all(input: &DoctorInput<'_>) -> Vec<Check> {
    let run_dir = &input.config.paths.run_dir;
    let has_users = input.facts.runners.iter().any(|runner| runner.runner.owner != crate::model::Uid::ROOT);
    let gid = nix::unistd::Group::from_name(group::NAME).ok().flatten().map(|group| group.gid.as_raw());
    let mut checks = vec![the_group(gid, has_users)];
    let gid = gid.filter(|_| has_users);
    checks.extend(EXPECTED.iter().map(|(name, id, with, without)| {
        let path = if name.is_empty() { run_dir.clone() } else { run_dir.join(name) };
        place(id, &path, *with, *without, gid)
    }));
    checks.extend(apart(run_dir).filter(|_| has_users));
    checks.push(lock(run_dir));
    checks
}

/// Whether what members of the group put there can take room that the whole system needs.
fn apart(run_dir: &Path) -> Option<Check> {
    let above = Path::new("/run");
    let device = |path: &Path| reach::metadata(path).map(|status| status.dev());
    if !run_dir.starts_with(above) || device(run_dir).ok()? != device(above).ok()? {
        return None;
    }
    Some(Check::warn(
        "run-dir-apart",
        format!("{} has no filesystem of its own: its users could fill /run", run_dir.display()),
        r"systemctl enable 'run-disk\x2dguard.mount'; it is mounted at the next boot",
    ))
}

fn the_group(gid: Option<u32>, has_users: bool) -> Check {
    match gid {
        Some(gid) => Check::ok("group", format!("{} exists, gid {gid}", group::NAME)),
        None if has_users => Check::fail(
            "group",
            format!("there is no group {}: hooks cannot take the lock", group::NAME),
            "disk-guard install",
        ),
        None => Check::ok("group", "not needed: all runners belong to root"),
    }
}

/// The fix that creates all of them.
const MAKE_PLACES: &str = "systemd-tmpfiles --create, or see \"Other systems\" in docs/src/install.md";

fn place(id: &str, path: &Path, with: u32, without: u32, gid: Option<u32>) -> Check {
    let fix = MAKE_PLACES;
    let shown = path.display();
    let Ok(status) = reach::symlink_metadata(path) else {
        return Check::fail(id, format!("{shown} does not exist, or is not visible"), fix);
    };
    let mode = status.mode() & 0o7777;
    if mode & with != with || mode & without != 0 {
        return Check::fail(
            id,
            format!("{shown} has mode {mode:04o}, expected {with:04o} at least and nothing of {without:04o}"),
            fix,
        );
    }
    if status.uid() != 0 && gid.is_some() {
        return Check::fail(id, format!("{shown} belongs to uid {}, expected root", status.uid()), fix);
    }
    if let Some(gid) = gid.filter(|gid| *gid != status.gid()) {
        let found = status.gid();
        return Check::fail(
            id,
            format!("{shown} belongs to gid {found}, expected {gid} ({})", group::NAME),
            fix,
        );
    }
    Check::ok(id, format!("{shown}, mode {mode:04o}"))
}

fn lock(run_dir: &Path) -> Check {
    // Doctor makes nothing: where there is no shared directory there is no lock to try.
    let run = match RunDir::open_existing(run_dir) {
        Ok(Some(run)) if run.lock_id().is_ok() => run,
        Ok(_) => return Check::warn("lock", "the host lock does not exist yet", MAKE_PLACES),
        Err(error) => return Check::fail("lock", error.to_string(), MAKE_PLACES),
    };
    match SharedLock::acquire(&run, WAIT) {
        Ok(_) => Check::ok("lock", "the host lock can be taken"),
        Err(error @ LockError::TimedOut { .. }) => {
            Check::warn("lock", error.to_string(), "disk-guard status shows who holds it; run doctor again")
        }
        Err(error) => Check::fail("lock", error.to_string(), "join the group disk-guard, or run as root"),
    }
}
