//! Which filesystem holds a directory, and how full it is.
//!
//! Usage comes from `fstatvfs` on the directory's own handle: a handle cannot be redirected, and statvfs counts inodes,
//! which sysinfo does not. The mount table only gives names: mount point, type, and the superblock's `major:minor`, which
//! tells one pool of space from another where `st_dev` does not (btrfs subvolumes).

use crate::model::{Filesystem, FilesystemId};
use crate::sys::dir::{Dir, Status};
use crate::sys::process::Proc;
use procfs::FromBufRead as _;
use procfs::process::{MountInfo, MountInfos};
use std::io::{self, BufReader};
use std::path::PathBuf;

/// Our own mount namespace's table.
#[derive(Debug, Default)]
pub struct MountTable(Vec<MountInfo>);

impl MountTable {
    /// Reads `/proc/self/mountinfo`. A table that cannot be read or understood is an empty one: it only gives names.
    pub fn read(proc: &Proc) -> Self {
        let file = std::fs::File::open(proc.root().join("self/mountinfo"));
        let table = file.ok().and_then(|file| MountInfos::from_buf_read(BufReader::new(file)).ok());
        Self(table.map(|infos| infos.0).unwrap_or_default())
    }

    fn mount_of(&self, status: &Status) -> Option<&MountInfo> {
        self.0.iter().find(|mount| u64::try_from(mount.mnt_id) == Ok(status.mount_id))
    }

    /// Which filesystem holds what has this status; by its device where the table does not tell.
    pub fn id_of(&self, status: &Status) -> FilesystemId {
        let mount = self.mount_of(status);
        mount.and_then(|mount| parse_device(&mount.majmin)).unwrap_or_else(|| device(status.id.dev))
    }

    /// The filesystem that holds `dir`, and its usage now.
    ///
    /// # Errors
    /// What statx(2) or fstatvfs(3) says.
    pub fn filesystem_of(&self, dir: &Dir) -> io::Result<Filesystem> {
        let status = dir.status()?;
        let mount = self.mount_of(&status);
        Ok(Filesystem {
            id: self.id_of(&status),
            mount: mount.map_or_else(|| PathBuf::from("?"), |mount| mount.mount_point.clone()),
            fs_type: mount.map_or_else(|| "?".to_owned(), |mount| mount.fs_type.clone()),
            usage: dir.usage()?,
        })
    }
}

fn parse_device(text: &str) -> Option<FilesystemId> {
    let (major, minor) = text.split_once(':')?;
    Some(FilesystemId { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// The superblock as far as `st_dev` tells it.
pub fn device(dev: u64) -> FilesystemId {
    FilesystemId { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

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
