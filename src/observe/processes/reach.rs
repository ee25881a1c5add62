//! In which work directories a Worker of no known runner can be at work.
//!
//! Any user can run a process with a Worker's name. It is evidence only about directories that it can reach: by its executable, its root,
//! its working directory, its own mounts, and its user's write permissions.

use super::mount_names::WorkDirPlace;
use super::mountinfo::{self, Mount};
use super::prefixes::{below, join};
use super::sight::mount_over;
use crate::model::{FilesystemId, Uid, WorkerReach};
use crate::sys::process::LookError;
use crate::sys::process_dir::{ProcessDir, link_buffer, open_named};
use rustix::fs::fstat;

const MOUNTINFO_LIMIT: u64 = 64 << 20;
const STATUS_LIMIT: u64 = 64 << 10;

/// The directories that this process reaches. `places` are the known runners' work directories, `None` when not all of them could be
/// placed; `own` are our own mounts, and `group` is that of the shared directory.
pub(super) fn of(
    dir: &ProcessDir,
    places: Option<&[WorkDirPlace]>,
    own: &[Mount<'_>],
    group: Option<u32>,
) -> WorkerReach {
    let mut reach = WorkerReach::default();
    let Ok(owner) = dir.owner() else { return reach };
    let Ok(groups) = groups_of(dir) else { return reach };
    reach.is_member = group.is_some_and(|group| groups.contains(&group));
    let Some(places) = places else { return reach };
    reach
        .runners
        .extend(places.iter().filter(|place| may_write(place, owner, &groups)).map(|place| place.runner));
    if let Ok(held) = held(dir, places, own) {
        reach.runners.extend(held);
        reach.is_whole = true;
    }
    reach.runners.sort_unstable();
    reach.runners.dedup();
    reach
}

/// Whether a user may write a work directory. If that cannot be determined, every user counts.
fn may_write(place: &WorkDirPlace, user: Uid, groups: &[u32]) -> bool {
    let status = open_named(path_of(place)).and_then(|dir| Ok(fstat(&dir)?));
    status.map_or(true, |status| {
        // With an access list, the bits of the group are its mask: a named user may have access.
        let by_group = status.st_mode & 0o020 != 0;
        user == Uid::ROOT
            || user == Uid(status.st_uid)
            || status.st_mode & 0o002 != 0
            || (by_group && (groups.contains(&status.st_gid) || has_list(path_of(place))))
    })
}

fn has_list(path: &std::path::Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0u8; 0][..]).is_ok_and(|size| size > 0)
}

fn path_of(place: &WorkDirPlace) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new(std::ffi::OsStr::from_bytes(&place.path))
}

/// Its groups, the first of all its own (`Gid:` and `Groups:` of `/proc/PID/status`).
fn groups_of(dir: &ProcessDir) -> Result<Vec<u32>, LookError> {
    let mut text = Vec::new();
    dir.read(c"status", STATUS_LIMIT, &mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("Gid:").or(line.strip_prefix("Groups:")));
    Ok(lines.flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect())
}

/// The runners with a work directory that contains something of the process itself, or that its mounts show by a name of their own.
fn held(dir: &ProcessDir, places: &[WorkDirPlace], own: &[Mount<'_>]) -> Result<Vec<usize>, LookError> {
    let unread =
        |what: &str| LookError::Hidden { pid: dir.pid(), source: std::io::Error::other(what.to_owned()) };
    let mut text = Vec::new();
    dir.read(c"mountinfo", MOUNTINFO_LIMIT, &mut text)?;
    let mut mounts = mountinfo::parse(&text).ok_or_else(|| unread("its mountinfo cannot be parsed"))?;
    let mut buffer = link_buffer();
    let root = dir.link(c"root", &mut buffer)?.to_vec();
    for mount in &mut mounts {
        mount.point = join(&root, below(&mount.point, b"/").unwrap_or(b"")).into();
    }
    let mut buffer = link_buffer();
    let shared_root =
        std::fs::read_link("/proc/self/ns/mnt").map(|link| link.into_os_string().into_encoded_bytes());
    let in_our_world = shared_root
        .is_ok_and(|shared_root| dir.link(c"ns/mnt", &mut buffer).is_ok_and(|link| link == shared_root));
    let mut found = Vec::new();
    for name in [c"exe", c"cwd", c"root"] {
        let mut buffer = link_buffer();
        let path = dir.link(name, &mut buffer)?;
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        if !path.starts_with(b"/") {
            return Err(unread("it works outside of its own mounts"));
        }
        // A chrooted process does not list the mount of its root directory. In our own mount namespace it is known; in another one only
        // the name is; the write permissions of the process's user are checked besides.
        let mount =
            mount_over(&mounts, path).or_else(|| in_our_world.then(|| mount_over(own, path)).flatten());
        let Some(mount) = mount else {
            let named = places.iter().filter(|place| below(path, &place.path).is_some());
            found.extend(named.map(|place| place.runner));
            continue;
        };
        let inside = join(&mount.root, below(path, &mount.point).unwrap_or(b""));
        found.extend(
            places.iter().filter(|place| lies_in(place, mount.device, &inside)).map(|place| place.runner),
        );
    }
    let is_ours = |mount: &Mount<'_>| {
        let same = |ours: &Mount<'_>| {
            (ours.device, &ours.root, &ours.point) == (mount.device, &mount.root, &mount.point)
        };
        own.iter().any(same)
    };
    for mount in mounts.iter().filter(|mount| !is_ours(mount)) {
        let shown = places.iter().filter(|place| lies_in(place, mount.device, &mount.root));
        found.extend(shown.map(|place| place.runner));
        if mount.kind == b"overlay" {
            let layers = mountinfo::overlay_layers(mount.options);
            let touches = |place: &&WorkDirPlace| {
                let meets = |layer: &Vec<u8>| {
                    below(layer, &place.path).is_some() || below(&place.path, layer).is_some()
                };
                layers.iter().any(meets)
            };
            found.extend(places.iter().filter(touches).map(|place| place.runner));
        }
    }
    Ok(found)
}

fn lies_in(place: &WorkDirPlace, device: FilesystemId, inside: &[u8]) -> bool {
    place.device == device && below(inside, &place.in_filesystem).is_some()
}
