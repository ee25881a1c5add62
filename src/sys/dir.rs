//! Directory handles.
//!
//! Everything under a runner's work directory is hostile: its owner can swap any component for a link or mount over it at any moment. So
//! nothing is opened by a joined path. A [`Dir`] is a handle; an entry below it is reached by one `openat2` that refuses links, magic
//! links, `..` and mounts (openat2(2), RESOLVE_*). If the kernel or a seccomp filter has no openat2 the calls fail, and nothing is
//! touched: fail closed.
//!
//! Handles here read, and change owners and permissions; the calls that rename and remove are in `reclaim`.

use super::reach::{self, MountPointNames};
use crate::model::{FileId, Uid, Usage};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, StatVfs, Statx, StatxFlags, Timespec,
    Timestamps, chmod, chownat, fstatvfs, openat2, readlinkat, statvfs, statx, utimensat,
};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Below a handle: no link, no mount, no way out.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// getdents buffer. Measured: 32 KiB holds about a thousand entries; beyond 256 KiB it gets slower again.
pub const ENTRIES_BUFFER: usize = 32 * 1024;

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// A handle of any entry, including a link itself, that can neither read nor write it: it only reads its status and changes its owner and
/// permissions. Whatever happens to the name, it remains this very file.
#[derive(Debug)]
pub struct Pinned(OwnedFd);

impl Pinned {
    /// What it is.
    ///
    /// # Errors
    /// The error of statx(2).
    pub fn status(&self) -> io::Result<Status> {
        stat_at(self.0.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    /// Sets other permission bits. By its magic link, since fchmod(2) refuses such handles and fchmodat2(2) exists only since Linux 6.6.
    ///
    /// # Errors
    /// The error of chmod(2).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(chmod(format!("/proc/self/fd/{}", self.0.as_raw_fd()), Mode::from_raw_mode(mode & 0o7777))?)
    }

    /// Changes its user and group.
    ///
    /// # Errors
    /// The error of fchownat(2).
    pub fn set_owner(&self, user: Uid, group: u32) -> io::Result<()> {
        let (user, group) = (rustix::fs::Uid::from_raw(user.0), rustix::fs::Gid::from_raw(group));
        Ok(chownat(&self.0, c"", Some(user), Some(group), AtFlags::EMPTY_PATH)?)
    }
}

/// What is known of a file without following it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Device and inode.
    pub id: FileId,
    /// Owner.
    pub owner: Uid,
    /// Group.
    pub group: u32,
    /// Permission bits and type, as in `st_mode`.
    pub mode: u32,
    /// Allocated bytes (512 x `st_blocks`).
    pub allocated: u64,
    /// Hard links.
    pub links: u64,
    /// Modification time.
    pub modified: SystemTime,
    /// When anything about it last changed: only the clock sets it.
    pub changed: SystemTime,
    /// The mount it was reached through (Linux 5.8+; 0 before).
    pub mount_id: u64,
}

/// The times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `st_atime`.
    pub accessed: SystemTime,
    /// `st_mtime`.
    pub modified: SystemTime,
    /// `st_ctime`.
    pub changed: SystemTime,
}

/// A hostile timestamp may be outside the range of SystemTime: then the epoch is used.
fn time_of(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    time.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Status {
    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }
}

/// One entry of a directory, borrowed from the reader's buffer.
#[derive(Debug)]
pub struct DirEntry<'a> {
    /// Its name: any bytes but `/` and NUL.
    pub name: &'a CStr,
    /// Its type; `Unknown` on filesystems that do not report it.
    pub kind: FileType,
}

/// The state after reading a batch of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// The directory is read to its end.
    End,
    /// The end has not been seen yet.
    MoreMayFollow,
}

impl Dir {
    /// Opens an absolute path in which no component is a symbolic link. Mounts may be crossed: the path is the
    /// administrator's, or was resolved by [`Dir::resolve`].
    ///
    /// # Errors
    /// `ELOOP` when a component is a link; an error that names the mount on the way that does not answer ([`reach`]); other errors of
    /// openat2(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        reach::check(path)?;
        Ok(Self(openat2(
            CWD,
            path,
            DIRECTORY,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?))
    }

    /// Opens a directory through any links and returns its real path: handle and path agree.
    ///
    /// # Errors
    /// The error of open(2); `ENOENT` when the directory was removed meanwhile; an error that names the mount on the way that does not
    /// answer.
    pub fn resolve(path: &Path) -> io::Result<(Self, PathBuf)> {
        if let Some(real) = reach::resolve(path)? {
            return Ok((Self::open(&real)?, real));
        }
        let dir = Self::open_followed(path)?;
        let real = readlinkat(CWD, format!("/proc/self/fd/{}", dir.0.as_raw_fd()), Vec::new())?.into_bytes();
        Ok((dir, PathBuf::from(OsString::from_vec(real))))
    }

    /// The same without the real path.
    ///
    /// # Errors
    /// As [`Dir::resolve`].
    pub fn follow(path: &Path) -> io::Result<Self> {
        match reach::resolve(path)? {
            Some(real) => Self::open(&real),
            None => Self::open_followed(path),
        }
    }

    fn open_followed(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens the directory `below`, which must lie beneath this one, on the same mount, without a link on the way.
    ///
    /// # Errors
    /// `ELOOP` for a link, `EXDEV` for a mount or a way out, `ENOTDIR`, and other errors of openat2(2).
    pub fn descend<P: rustix::path::Arg>(&self, below: P) -> io::Result<Self> {
        Ok(Self(self.open_beneath(below, DIRECTORY)?))
    }

    /// The same, such that reading it does not update its access time.
    ///
    /// # Errors
    /// As [`Dir::descend`]; `EPERM` for a process that does not own it and lacks CAP_FOWNER.
    pub fn descend_unnoticed<P: rustix::path::Arg>(&self, below: P) -> io::Result<Self> {
        Ok(Self(self.open_beneath(below, DIRECTORY | OFlags::NOATIME)?))
    }

    /// The same for an entry of any type, without opening it: a link itself, not what it points to.
    ///
    /// # Errors
    /// As [`Dir::descend`], but a link is no error.
    pub fn pin<P: rustix::path::Arg>(&self, below: P) -> io::Result<Pinned> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Pinned(self.open_beneath(below, flags)?))
    }

    /// The same for a regular file, for reading. A FIFO, socket or device is refused without being opened: a container's root can leave
    /// device nodes in a work directory, and opening one may start it (a watchdog, a tape).
    ///
    /// # Errors
    /// As [`Dir::descend`]; `InvalidInput` for anything but a regular file.
    pub fn open_file<P: rustix::path::Arg>(&self, below: P) -> io::Result<File> {
        Ok(self.open_file_with(below, OFlags::empty())?.0)
    }

    fn open_file_with<P: rustix::path::Arg>(&self, below: P, wish: OFlags) -> io::Result<(File, Status)> {
        // Checked by a handle that opens nothing, then opened through that very handle: no name is resolved twice.
        let handle = self.open_beneath(below, OFlags::PATH | OFlags::CLOEXEC)?;
        let status = stat_at(handle.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        if !status.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::open(&link, flags | wish, Mode::empty()) {
            Err(Errno::PERM) if !wish.is_empty() => {}
            opened => return Ok((File::from(opened?), status)),
        }
        Ok((File::from(rustix::fs::open(link, flags, Mode::empty())?), status))
    }

    /// Reads at most `limit` bytes of a regular file beneath this directory.
    ///
    /// # Errors
    /// As [`Dir::open_file`]; `FileTooLarge` past the limit.
    pub fn read_file<P: rustix::path::Arg>(&self, below: P, limit: u64) -> io::Result<Vec<u8>> {
        Ok(self.read_file_and_status(below, limit)?.0)
    }

    /// The same, with the file's status when it was opened.
    ///
    /// # Errors
    /// As [`Dir::read_file`].
    pub fn read_file_and_status<P: rustix::path::Arg>(
        &self,
        below: P,
        limit: u64,
    ) -> io::Result<(Vec<u8>, Status)> {
        let (file, status) = self.open_file_with(below, OFlags::empty())?;
        // Most files read here are shorter, and are then read at once; an empty buffer would be filled with 32 bytes first.
        let mut bytes = Vec::with_capacity(2048);
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
        }
        Ok((bytes, status))
    }

    /// `openat2` beneath this handle, repeated while a concurrent rename makes the kernel unsure (`EAGAIN`).
    fn open_beneath<P: rustix::path::Arg>(&self, below: P, flags: OFlags) -> io::Result<OwnedFd> {
        below
            .into_with_c_str(|below| {
                for _ in 0..16 {
                    match openat2(&self.0, below, flags, Mode::empty(), BENEATH) {
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        result => return result,
                    }
                }
                Err(Errno::AGAIN)
            })
            .map_err(io::Error::from)
    }

    /// The status of this directory.
    ///
    /// # Errors
    /// The error of statx(2).
    pub fn status(&self) -> io::Result<Status> {
        stat_at(self.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    /// The status of the entry `name`; a link is not followed, an automount not triggered, and a mount of the last table not touched.
    ///
    /// # Errors
    /// `EXDEV` for a mount; the error of statx(2).
    pub fn status_of<P: rustix::path::Arg>(&self, name: P) -> io::Result<Status> {
        let names = reach::names();
        name.into_with_c_str(|name| Ok(self.status_among(name, &names)))?
    }

    /// The same for one of many entries, with the names of mount points as they were when the walk began.
    ///
    /// # Errors
    /// As [`Dir::status_of`].
    #[inline(always)] // see stat_at
    pub fn status_among(&self, name: &CStr, mounts: &MountPointNames) -> io::Result<Status> {
        if mounts.has(name.to_bytes()) {
            return self.pin(name)?.status();
        }
        stat_at(self.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    }

    /// When the entry `name` was last read, written and changed; a link is not followed.
    ///
    /// # Errors
    /// The error of statx(2).
    pub fn times_of<P: rustix::path::Arg>(&self, name: P) -> io::Result<Times> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = statx(&self.0, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(Times {
            accessed: time_of(stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec),
            modified: time_of(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: time_of(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        })
    }

    /// Sets the access time of the entry `name` to its present value, so that only its change time moves: under relatime the next read
    /// then updates the access time again (mount(8)). A link is not followed.
    ///
    /// # Errors
    /// The error of utimensat(2).
    pub fn touch_change_time<P: rustix::path::Arg + Copy>(&self, name: P) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = statx(&self.0, name, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
        let last_access = Timespec { tv_sec: stat.stx_atime.tv_sec, tv_nsec: stat.stx_atime.tv_nsec.into() };
        let last_modification = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        Ok(utimensat(&self.0, name, &Timestamps { last_access, last_modification }, flags)?)
    }

    /// Reads at most `limit` bytes of a regular file beneath this directory without updating its access time, where that is allowed
    /// (O_NOATIME is for the owner and for CAP_FOWNER).
    ///
    /// # Errors
    /// As [`Dir::read_file`].
    pub fn read_file_unnoticed<P: rustix::path::Arg>(&self, below: P, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(2048);
        self.open_file_with(below, OFlags::NOATIME)?.0.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Whether its times are set by this host's own clock, as on local disks; a server's may be behind.
    pub fn is_timed_by_own_clock(&self) -> bool {
        // EXT4, XFS, BTRFS, F2FS, ZFS, BCACHEFS, TMPFS (include/uapi/linux/magic.h and theirs).
        const OWN: [u64; 7] =
            [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0x0102_1994];
        rustix::fs::fstatfs(&self.0).is_ok_and(|fs| OWN.contains(&(fs.f_type as u64 & 0xFFFF_FFFF)))
    }

    /// How full the filesystem is that holds this directory. `df` and sysinfo resolve mount points by path; a handle cannot be redirected,
    /// and statvfs has the inodes that sysinfo lacks.
    ///
    /// # Errors
    /// The error of fstatvfs(3).
    pub fn usage(&self) -> io::Result<Usage> {
        Ok(usage(&fstatvfs(&self.0)?))
    }

    /// Calls `visit` for every entry but `.` and `..`, until it breaks. Memory stays at the buffer's size whatever the
    /// directory holds.
    ///
    /// # Errors
    /// The error of getdents64(2); `ENOENT` on a directory that has been removed is an empty one.
    pub fn for_each_entry<B>(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        mut visit: impl FnMut(DirEntry<'_>) -> std::ops::ControlFlow<B>,
    ) -> io::Result<Option<B>> {
        rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
        let mut reader = RawDir::new(&self.0, buffer);
        while let Some(entry) = reader.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let std::ops::ControlFlow::Break(value) = visit(DirEntry { name, kind: entry.file_type() }) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Calls `visit` for the entries of one getdents64(2) call except `.` and `..`, continuing at this handle's position. The position
    /// belongs to the handle: two threads that read batches of one handle share the directory's entries, each entry read by one of them.
    /// [`Dir::rewind`] starts over.
    ///
    /// # Errors
    /// The error of getdents64(2); `ENOENT` on a directory that has been removed is its end.
    pub fn read_batch(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        mut visit: impl FnMut(DirEntry<'_>),
    ) -> io::Result<Batch> {
        let mut reader = RawDir::new(&self.0, buffer);
        loop {
            match reader.next() {
                None | Some(Err(Errno::NOENT)) => return Ok(Batch::End),
                Some(Err(Errno::INTR)) => continue,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        visit(DirEntry { name, kind: entry.file_type() });
                    }
                }
            }
            if reader.is_buffer_empty() {
                return Ok(Batch::MoreMayFollow);
            }
        }
    }

    /// Resets this handle to the directory's first entry.
    ///
    /// # Errors
    /// The error of lseek(2).
    pub fn rewind(&self) -> io::Result<()> {
        rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
        Ok(())
    }

    /// The names of at most `limit` entries; for directories of the guard's own.
    ///
    /// # Errors
    /// As [`Dir::for_each_entry`].
    pub fn names(&self, limit: usize) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        let mut buffer = Box::new_uninit_slice(ENTRIES_BUFFER);
        self.for_each_entry(&mut buffer, |entry| {
            if names.len() == limit {
                return std::ops::ControlFlow::Break(());
            }
            names.push(OsStr::from_bytes(entry.name.to_bytes()).to_owned());
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    /// A second handle of the same open directory.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

/// The same by a path, links followed: where trust does not matter.
///
/// # Errors
/// The error of statvfs(3).
pub fn usage_at(path: &Path) -> io::Result<Usage> {
    Ok(usage(&statvfs(path)?))
}

fn usage(vfs: &StatVfs) -> Usage {
    let bytes = |blocks: u64| blocks.saturating_mul(vfs.f_frsize);
    Usage {
        total_bytes: bytes(vfs.f_blocks),
        used_bytes: bytes(vfs.f_blocks.saturating_sub(vfs.f_bfree)),
        available_bytes: bytes(vfs.f_bavail),
        inodes_total: vfs.f_files,
        inodes_free: vfs.f_favail,
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.0
    }
}

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// statx(2) of `name` below `dir`.
///
/// # Errors
/// The error of statx(2).
// Inlined by force, with its callers: sizing does little else, and on processors that flush their return predictions at each system call
// (mitigations), the returns through these three layers cost a seventh of the whole walk.
#[inline(always)]
pub fn stat_at<P: rustix::path::Arg>(dir: BorrowedFd<'_>, name: P, flags: AtFlags) -> io::Result<Status> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    Ok(Status::from(&statx(dir, name, flags, wanted)?))
}

impl From<&Statx> for Status {
    #[inline(always)] // see stat_at
    fn from(stat: &Statx) -> Self {
        Self {
            id: FileId {
                dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                ino: stat.stx_ino,
            },
            owner: Uid(stat.stx_uid),
            group: stat.stx_gid,
            mode: u32::from(stat.stx_mode),
            allocated: stat.stx_blocks.saturating_mul(512),
            links: u64::from(stat.stx_nlink),
            modified: time_of(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: time_of(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            mount_id: stat.stx_mnt_id,
        }
    }
}

/// When anything about a file last changed (`st_ctime`): only the clock sets it.
pub fn changed(metadata: &std::fs::Metadata) -> std::time::SystemTime {
    use std::os::unix::fs::MetadataExt as _;
    let seconds = std::time::Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
    let rest = std::time::Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or(0));
    std::time::SystemTime::UNIX_EPOCH + seconds + rest
}

#[cfg(test)]
mod tests;
