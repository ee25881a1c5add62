//! Which filesystem holds a directory, and how full it is.
//!
//! Usage comes from `fstatvfs` on the directory's own handle: a handle cannot be redirected, and statvfs counts inodes, which sysinfo does
//! not. The mount table only provides names: mount point, type, and the superblock's `major:minor`, which identifies a pool of space where
//! `st_dev` does not (btrfs subvolumes).

use super::processes::mountinfo;
use super::shared_kinds::is_shared;
use crate::model::{Disk, Filesystem, FilesystemId};
use crate::sys::dir::{Dir, Status, usage_at};
use crate::sys::process::Proc;
use crate::sys::project;
use crate::sys::reach;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Filesystems that have quotas of projects.
const PROJECTS: [&str; 3] = ["ext4", "xfs", "f2fs"];

/// Our own mount namespace's table.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Vec<HostMount>,
    points: HashSet<PathBuf>,
}

#[derive(Debug)]
struct HostMount {
    id: u64,
    device: FilesystemId,
    point: PathBuf,
    kind: String,
    /// Whether all of its filesystem is mounted there, and not a directory of it.
    is_whole: bool,
    /// The layers of an overlay.
    layers: Vec<PathBuf>,
}

impl MountTable {
    /// Reads the table. A table that cannot be read or parsed counts as empty: it only provides names.
    pub fn read(proc: &Proc) -> Self {
        mountinfo::read_own(proc.root()).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    pub(super) fn parse(text: &[u8]) -> Self {
        let known = |mount: mountinfo::Mount<'_>| HostMount {
            id: mount.id,
            device: mount.device,
            point: OsStr::from_bytes(&mount.point).into(),
            kind: String::from_utf8_lossy(mount.kind).into_owned(),
            is_whole: *mount.root == *b"/",
            layers: match mount.kind {
                b"overlay" => mountinfo::overlay_layers(mount.options)
                    .into_iter()
                    .map(|layer| PathBuf::from(OsString::from_vec(layer)))
                    .collect(),
                _ => Vec::new(),
            },
        };
        let mounts: Vec<HostMount> =
            mountinfo::parse(text).unwrap_or_default().into_iter().map(known).collect();
        let points = mounts.iter().map(|mount| mount.point.clone()).collect();
        Self { mounts, points }
    }

    /// Whether something is mounted at exactly this path, which is free of links. Then it must not be touched: the mount may be dead.
    pub fn has_at(&self, path: &Path) -> bool {
        self.points.contains(path)
    }

    /// Where something is mounted, in no order.
    pub fn points(&self) -> impl Iterator<Item = &Path> {
        self.points.iter().map(PathBuf::as_path)
    }

    fn mount_of(&self, status: &Status) -> Option<&HostMount> {
        self.mounts.iter().find(|mount| mount.id == status.mount_id)
    }

    /// The type of the filesystem of a path, free of links, if processes of other hosts may work in it. From the table only: nothing is
    /// touched.
    pub fn shared_with_others(&self, path: &Path) -> Option<String> {
        // An overlay may be on an overlay, and so on; no host has as many.
        self.shared_within(path, 8)
    }

    fn shared_within(&self, path: &Path, depth: usize) -> Option<String> {
        let over = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        let mount = over.max_by_key(|mount| mount.point.as_os_str().len())?;
        if is_shared(&mount.kind) {
            return Some(mount.kind.clone());
        }
        let layers = mount.layers.iter().filter(|layer| layer.is_absolute() && depth > 0);
        layers.into_iter().find_map(|layer| self.shared_within(layer, depth - 1))
    }

    /// The pool of space that a directory uses: its project's, if that has a quota of its own, otherwise its filesystem's.
    pub fn pool_of(&self, dir: &Dir, status: &Status) -> FilesystemId {
        let id = self.id_of(status);
        self.project_of(dir, status).map_or(id, |project| id.of_project(project))
    }

    /// The project of a directory whose quota statfs(2) shows there. A project without a limit shows the whole filesystem.
    fn project_of(&self, dir: &Dir, status: &Status) -> Option<u32> {
        let mount = self.mount_of(status).filter(|mount| PROJECTS.contains(&mount.kind.as_str()))?;
        let project = project::of(dir)?;
        let size = dir.usage().ok()?.total_bytes;
        // If only the project's own directory is mounted there is nothing to compare with.
        let is_limited =
            !mount.is_whole || usage_at(&mount.point).is_ok_and(|whole| whole.total_bytes != size);
        is_limited.then_some(project)
    }

    /// The filesystem of a file with this status; by its device if the table does not have it.
    fn id_of(&self, status: &Status) -> FilesystemId {
        self.mount_of(status).map_or_else(|| device(status.id.dev), |mount| mount.device)
    }

    /// The filesystem that holds `dir`, and its usage now.
    ///
    /// # Errors
    /// The error of statx(2) or fstatvfs(3).
    pub fn filesystem_of(&self, dir: &Dir) -> io::Result<Filesystem> {
        let status = dir.status()?;
        let mount = self.mount_of(&status);
        Ok(Filesystem {
            id: self.pool_of(dir, &status),
            mount: mount.map_or_else(|| PathBuf::from("?"), |mount| mount.point.clone()),
            fs_type: mount.map_or_else(|| "?".to_owned(), |mount| mount.kind.clone()),
            usage: dir.usage()?,
        })
    }
}

impl MountTable {
    /// The disks of this host, for orientation: each once, by its first mount point. Network and FUSE filesystems, and mounts below them,
    /// are not touched: a dead one would block this process for ever.
    pub fn disks(&self) -> Vec<Disk> {
        reach::watch();
        let mut seen = HashSet::new();
        // Without a block device of their own: btrfs and ZFS number their volumes themselves.
        let is_disk =
            |mount: &&HostMount| mount.device.major != 0 || matches!(mount.kind.as_str(), "btrfs" | "zfs");
        let mut disks: Vec<Disk> = self
            .mounts
            .iter()
            .filter(is_disk)
            .filter(|mount| reach::is_local(&mount.point))
            .filter_map(|mount| {
                let usage = usage_at(&mount.point).ok()?;
                // After the look: the first mount point may be closed to this process, or a file.
                (usage.total_bytes > 0 && seen.insert(mount.device)).then(|| Disk {
                    mount: mount.point.clone(),
                    fs_type: mount.kind.clone(),
                    usage,
                })
            })
            .collect();
        disks.sort_by(|a, b| a.mount.cmp(&b.mount));
        disks
    }
}

/// The superblock, as far as `st_dev` identifies it.
pub fn device(dev: u64) -> FilesystemId {
    FilesystemId { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn an_odd_mount_point_hides_no_other() {
        let text = b"1 0 8:1 / /odd\xff\\040name rw - ext4 /dev/a rw\n2 1 0:41 /@ /srv/my\\040disk rw - btrfs /dev/b rw\n";
        let table = MountTable::parse(text);
        let shown: Vec<(&Path, &str)> =
            table.mounts.iter().map(|mount| (mount.point.as_path(), mount.kind.as_str())).collect();
        let odd = Path::new(OsStr::from_bytes(b"/odd\xff name"));
        assert_eq!(shown, [(odd, "ext4"), (Path::new("/srv/my disk"), "btrfs")]);
        assert_eq!(table.mounts[1].device, FilesystemId { major: 0, minor: 41 });
    }

    /// Compared with df's own figures, which also count a filesystem once that is mounted twice.
    #[test]
    fn the_disks_are_those_of_df_and_nothing_that_another_program_serves() {
        let proc = Proc::new(Path::new("/proc"));
        let disks = MountTable::read(&proc).disks();
        let df = Command::new("df").args(["--local", "--output=target,fstype"]).output().unwrap();
        let df = String::from_utf8_lossy(&df.stdout).into_owned();
        for disk in &disks {
            assert!(disk.usage.total_bytes > 0 && !disk.fs_type.starts_with("fuse"), "{disk:?}");
        }
        let is_disk = |kind: &str| matches!(kind, "ext4" | "xfs" | "btrfs");
        let wanted = df.lines().any(|line| line.split_whitespace().last().is_some_and(is_disk));
        assert_eq!(wanted, disks.iter().any(|disk| is_disk(&disk.fs_type)), "{disks:?}\n{df}");
    }

    /// The figures are df's own.
    #[test]
    fn usage_is_what_df_prints() {
        let (dir, path) = Dir::resolve(&std::env::temp_dir()).unwrap();
        let found = MountTable::read(&Proc::new(Path::new("/proc"))).filesystem_of(&dir).unwrap();
        let df =
            Command::new("df").args(["--output=pcent,itotal,target", "-B1"]).arg(&path).output().unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let percent: i16 = words[0].trim_end_matches('%').parse().unwrap();
        // Others write to the same disk between the two looks.
        assert!((i16::from(found.usage.used_percent()) - percent).abs() <= 1, "{found:?} {text}");
        assert_eq!(found.usage.inodes_total.to_string(), words[1]);
        assert_eq!(found.mount.to_str().unwrap(), words[2]);
    }
}
