//! The kernel, the clock, what can be seen, and our own program.

use super::DoctorInput;
use crate::model::{Check, Visibility};
use crate::observe::processes::hidepid;
use crate::reclaim::confinement::LEAST_ABI;
use crate::sys::ability;
use crate::sys::reach;
use rustix::io::Errno;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Where the hook scripts look for us first.
const PROGRAM: &str = "/usr/bin/disk-guard";

/// A clock before this (2024-01-01) has never been set.
const SANE: Duration = Duration::from_secs(1_704_067_200);

/// The message for a user who may not look.
const AS_ROOT: &str = "run it as root, to see everything: sudo disk-guard doctor";

pub(super) fn all(input: &DoctorInput<'_>) -> Vec<Check> {
    vec![
        kernel(input),
        landlock(),
        clock(input),
        visibility(input),
        visibility_of_hooks(input),
        program(Path::new(PROGRAM)),
        journal(),
    ]
}

fn kernel(input: &DoctorInput<'_>) -> Check {
    let release = std::fs::read_to_string(input.proc.root().join("sys/kernel/osrelease"));
    match release {
        Ok(release) => judge_kernel(release.trim()),
        Err(error) => Check::warn(
            "kernel",
            format!("the kernel's version cannot be read: {error}"),
            "mount /proc, or set paths.proc",
        ),
    }
}

fn judge_kernel(release: &str) -> Check {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Check::warn("kernel", format!("Linux `{release}` is not a known version"), "report it");
    };
    match (major, minor) {
        (5, 0..=5) | (0..=4, _) => Check::fail(
            "kernel",
            format!("Linux {release} has no openat2: nothing can be removed"),
            "run a kernel of 5.8 or later",
        ),
        (5, 6 | 7) => Check::warn(
            "kernel",
            format!("Linux {release} reports no mount ids: siblings are not claimed"),
            "run a kernel of 5.8 or later",
        ),
        _ => Check::ok("kernel", format!("Linux {release}")),
    }
}

fn landlock() -> Check {
    match ability::landlock_abi() {
        Ok(abi) if abi >= LEAST_ABI => Check::ok(
            "landlock",
            format!("Landlock ABI {abi}: the kernel confines deletion to work directories"),
        ),
        Ok(abi) => Check::warn(
            "landlock",
            format!("Landlock ABI {abi} cannot move directories: deletion is confined by handles alone"),
            "run a kernel of 5.19 or later",
        ),
        Err(error) => no_landlock(&error),
    }
}

/// The kernel's answer shows what is missing (landlock_create_ruleset(2)).
fn no_landlock(error: &std::io::Error) -> Check {
    let (why, fix) = match Errno::from_io_error(error) {
        Some(Errno::OPNOTSUPP) => (
            "the kernel supports it, but was booted without it",
            "add landlock to the list of the kernel's boot parameter lsm=, as `cat /sys/kernel/security/lsm` shows it, and boot",
        ),
        Some(Errno::NOSYS) => (
            "this kernel was built without it, or a filter of system calls hides it",
            "run a kernel of 5.19 or later with CONFIG_SECURITY_LANDLOCK; in a container or a unit, allow landlock_create_ruleset",
        ),
        _ => (
            "a filter of system calls forbids it",
            "allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self here",
        ),
    };
    Check::warn(
        "landlock",
        format!("Landlock is not available ({error}; {why}): deletion is confined by handles alone"),
        fix,
    )
}

fn clock(input: &DoctorInput<'_>) -> Check {
    let now = input.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < SANE {
        return Check::fail(
            "clock",
            "the clock shows a time before 2024: every age is wrong, and all content looks young",
            "set the clock: timedatectl set-ntp true",
        );
    }
    match ability::clock_is_kept() {
        Ok(true) => Check::ok("clock", "set and synchronised"),
        Ok(false) => Check::warn(
            "clock",
            "the clock is not synchronised: ages may be wrong after a jump",
            "timedatectl set-ntp true",
        ),
        Err(error) => Check::warn(
            "clock",
            format!("whether the clock is synchronised cannot be determined: {error}"),
            // A container may not ask the kernel, whatever its user.
            if crate::sys::process::is_root() { "timedatectl, on the host itself" } else { AS_ROOT },
        ),
    }
}

fn visibility(input: &DoctorInput<'_>) -> Check {
    match &input.facts.processes.visibility {
        Visibility::Complete => {
            Check::ok("visibility", "every process of the host can be examined from here")
        }
        Visibility::Partial(reasons) if crate::sys::process::is_root() => Check::fail(
            "visibility",
            format!("{}: no sibling can be proved idle", reasons.join("; ")),
            "run in the host's pid namespace with CAP_SYS_PTRACE, on a /proc without hidepid",
        ),
        Visibility::Partial(reasons) => Check::warn(
            "visibility",
            format!("{}: no sibling can be proved idle from here", reasons.join("; ")),
            AS_ROOT,
        ),
    }
}

/// What hooks can see, which run as the runners' users.
fn visibility_of_hooks(input: &DoctorInput<'_>) -> Check {
    let id = "visibility-hooks";
    if let Some(hidepid) = hidepid(input.proc) {
        return Check::warn(
            id,
            format!("/proc is mounted with hidepid={hidepid}: hooks see only their own user's processes"),
            "nothing if the sweep runs as root: hooks then leave requests for it; otherwise mount /proc without hidepid",
        );
    }
    let owners: std::collections::BTreeSet<_> =
        input.facts.runners.iter().map(|runner| runner.runner.owner).collect();
    match owners.iter().any(|owner| *owner != crate::model::Uid::ROOT) {
        true => Check::ok(
            id,
            "hooks run as users: they free their own caches and request the rest from the sweep",
        ),
        false => Check::ok(id, "hooks run as root and prove siblings idle by themselves"),
    }
}

fn program(installed: &Path) -> Check {
    let fix = "install -m 755 disk-guard /usr/bin/disk-guard";
    let place = installed.display();
    let Ok(there) = reach::metadata(installed) else {
        return Check::warn(
            "program",
            format!("{place} does not exist: hooks search PATH, which a job can change"),
            fix,
        );
    };
    if !there.is_file() || there.permissions().mode() & 0o001 == 0 {
        return Check::fail("program", format!("{place} cannot be executed by everybody"), fix);
    }
    if there.uid() != 0 || there.mode() & 0o022 != 0 {
        return Check::fail("program", format!("{place} can be replaced by users other than root"), fix);
    }
    let us = std::fs::metadata("/proc/self/exe");
    if us.is_ok_and(|us| (us.dev(), us.ino()) != (there.dev(), there.ino())) {
        return Check::warn("program", format!("this program is not {place}, which the hooks run"), fix);
    }
    Check::ok("program", format!("{place}"))
}

fn journal() -> Check {
    const SOCKET: &str = "/run/systemd/journal/socket";
    let reached = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET));
    match reached {
        Ok(()) => Check::ok("journal", "events go to the journal"),
        Err(error) => Check::warn(
            "journal",
            format!("the journal cannot be reached ({SOCKET}: {error}): events go to standard error"),
            "systemctl start systemd-journald",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckState;

    #[test]
    fn each_way_to_have_no_landlock_has_its_own_remedy() {
        for (errno, fix) in [
            (nix::libc::ENOSYS, "CONFIG_SECURITY_LANDLOCK"),
            (nix::libc::EOPNOTSUPP, "lsm="),
            (nix::libc::EPERM, "allow landlock_create_ruleset"),
        ] {
            let check = no_landlock(&std::io::Error::from_raw_os_error(errno));
            let said = check.fix.unwrap();
            assert!(
                said.contains(fix) && (errno == nix::libc::EOPNOTSUPP) == said.contains("lsm="),
                "{said}"
            );
        }
    }

    #[test]
    fn kernels_are_judged_by_what_they_can() {
        for (release, state) in [
            ("4.19.0-26-amd64", CheckState::Fail),
            ("5.5.1", CheckState::Fail),
            ("5.6.0", CheckState::Warn),
            ("5.8.0-1-generic", CheckState::Ok),
            ("6.18.5+", CheckState::Ok),
            ("10.0", CheckState::Ok),
            ("strange", CheckState::Warn),
        ] {
            assert_eq!(judge_kernel(release).state, state, "{release}");
        }
    }

    #[test]
    fn a_missing_or_not_executable_program_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("disk-guard");
        assert_eq!(program(&path).state, CheckState::Warn);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(program(&path).state, CheckState::Fail);
    }
}
