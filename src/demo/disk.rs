//! The demo's disk.
//!
//! As root, or where the kernel allows user namespaces, it is a tmpfs that is mounted over the temporary directory in a mount namespace
//! of this process: no other process sees it, and it ends with the process. Otherwise it is a temporary directory, and a full disk is
//! simulated by a `pressure.min_free` above the free space.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of the small disk besides the copy of this program.
const DISK_BYTES: u64 = 96 << 20;

/// The disk that the demo works on.
#[derive(Debug)]
pub(super) struct DemoDisk {
    root: PathBuf,
    kind: DiskKind,
}

/// The kind of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskKind {
    /// A tmpfs in a mount namespace.
    OwnDisk,
    /// A directory on the machine's disk: removed at the end.
    Budget,
}

impl DemoDisk {
    /// Makes the disk. Call it before any thread is started: a process with threads cannot enter a user namespace.
    pub(super) fn make(program_bytes: u64) -> io::Result<Self> {
        let temporary = std::env::temp_dir();
        let name = format!("disk-guard-demo-{}", std::process::id());
        match own_disk(&temporary, DISK_BYTES + program_bytes) {
            Ok(()) => {
                let root = temporary.join("disk-guard-demo");
                std::fs::create_dir(&root)?;
                Ok(Self { root, kind: DiskKind::OwnDisk })
            }
            Err(_) => {
                let root = temporary.join(name);
                std::fs::create_dir(&root)?;
                Ok(Self { root, kind: DiskKind::Budget })
            }
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn kind(&self) -> DiskKind {
        self.kind
    }
}

impl Drop for DemoDisk {
    fn drop(&mut self) {
        if self.kind == DiskKind::Budget {
            #[expect(
                clippy::disallowed_methods,
                reason = "a directory of our own making, in the temporary directory"
            )]
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn own_disk(at: &Path, bytes: u64) -> nix::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        // Without a mapping every file would belong to nobody.
        let write = |file: &str, text: String| {
            std::fs::write(format!("/proc/self/{file}"), text).map_err(io_to_errno)
        };
        write("setgroups", "deny".into())?;
        write("uid_map", format!("{uid} {uid} 1"))?;
        write("gid_map", format!("{gid} {gid} 1"))?;
    }
    let nothing = None::<&Path>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let options = format!("size={bytes},mode=0755");
    mount(
        Some("disk-guard-demo"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
        Some(options.as_str()),
    )
}

fn io_to_errno(error: io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}
