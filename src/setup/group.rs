//! The group by which runners share the lock and their leases.

use crate::model::{Pid, Uid};
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use nix::unistd::{Group, User};

/// Its name.
pub const NAME: &str = "disk-guard";

/// Whether a user is in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Root needs no group.
    NotNeeded,
    /// It is.
    Member,
    /// It is not; its name.
    Missing(String),
    /// There is no such user, or the user database cannot be read; why.
    Unknown(String),
}

/// Whether the group exists.
pub fn exists() -> bool {
    matches!(Group::from_name(NAME), Ok(Some(_)))
}

/// Whether `user` is in it, by the user database. A process has the groups that its user had when it was started.
pub fn membership(user: Uid) -> Membership {
    if user == Uid::ROOT {
        return Membership::NotNeeded;
    }
    let entry = match User::from_uid(nix::unistd::Uid::from_raw(user.0)) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Membership::Unknown(format!("uid {user} has no name in the user database")),
        Err(error) => return Membership::Unknown(format!("the user database cannot be read: {error}")),
    };
    match Group::from_name(NAME) {
        Ok(Some(group)) if entry.gid == group.gid || group.mem.contains(&entry.name) => Membership::Member,
        Ok(_) => Membership::Missing(entry.name),
        Err(error) => Membership::Unknown(format!("the group database cannot be read: {error}")),
    }
}

/// Whether a process runs with the group: the `Gid` and `Groups` lines of its status (proc(5)). None when that is unknown.
pub fn is_in_force(proc: &Proc, pid: Pid) -> Option<bool> {
    let gid = Group::from_name(NAME).ok()??.gid.as_raw().to_string();
    let status = std::fs::read_to_string(proc.path_of(pid, "status")).ok()?;
    let lines = status.lines().filter(|line| line.starts_with("Gid:") || line.starts_with("Groups:"));
    Some(lines.flat_map(str::split_whitespace).any(|word| word == gid))
}

/// The command that makes the group.
pub fn make_command() -> Vec<String> {
    ["groupadd", "--system", NAME].map(str::to_owned).into()
}

/// The command that adds a user, with the program that this host has.
pub fn add_command(programs: Programs<'_>, user: &str) -> Vec<String> {
    if programs.find("usermod").is_err() && programs.find("gpasswd").is_ok() {
        return ["gpasswd", "--add", user, NAME].map(str::to_owned).into();
    }
    ["usermod", "--append", "--groups", NAME, user].map(str::to_owned).into()
}
