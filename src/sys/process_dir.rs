//! Reading `/proc` fast and without confusing two processes.
//!
//! A [`ProcessDir`] is a handle of `/proc/PID`: once that process is gone every read below the handle fails, even when its pid has been
//! reused. Nothing is allocated per process; the callers bring the buffers.
//!
//! Anything unreadable is an error of its own ([`LookError::Hidden`]), never an empty answer.

use super::dir::Status;
use super::process::{Identity, LookError, Proc, parse_stat};
use crate::model::{FileId, Pid, Uid};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// Longest link text that the kernel gives out (`PATH_MAX`, include/uapi/linux/limits.h).
pub const LINK_LIMIT: usize = 4096;

/// How many levels are climbed from a directory that is too deep to have a path. A path of that many bytes has fewer levels until it can
/// be named; no process works deeper than that by accident.
const CLIMB_LIMIT: usize = 1 << 17;

/// As many levels as one openat(2) climbs: `../` for each within `PATH_MAX`.
const STRIDE: usize = 1024;

/// The maximum of climbs for one [`LinkBuffer`]. Each climb takes milliseconds, and any user can open any number of directories that deep;
/// normal hosts have none. Beyond this a directory remains hidden, which protects.
const MOST_CLIMBS: u32 = 64;

/// A buffer for one link's text, and the number of climbs that are left.
#[derive(Debug)]
pub struct LinkBuffer {
    text: [MaybeUninit<u8>; LINK_LIMIT],
    climbs_left: u32,
}

/// A fresh [`LinkBuffer`].
pub fn link_buffer() -> LinkBuffer {
    LinkBuffer { text: [MaybeUninit::uninit(); LINK_LIMIT], climbs_left: MOST_CLIMBS }
}

/// A handle of a procfs.
#[derive(Debug)]
pub struct Processes(OwnedFd);

/// A handle of `/proc/PID`, or of one thread below it.
#[derive(Debug)]
pub struct ProcessDir {
    fd: OwnedFd,
    pid: Pid,
}

impl Processes {
    /// Opens the procfs.
    ///
    /// # Errors
    /// The error of open(2).
    pub fn open(proc: &Proc) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(proc.root(), flags, Mode::empty())?))
    }

    /// The listed pids.
    ///
    /// # Errors
    /// The error of getdents64(2).
    pub fn pids(&self) -> io::Result<Vec<Pid>> {
        numbers(self.0.as_fd())
    }

    /// A handle of one process.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn process(&self, pid: Pid) -> Result<ProcessDir, LookError> {
        let mut name = Decimal::default();
        ProcessDir::at(self.0.as_fd(), name.text(pid.0), pid)
    }

    /// The present identity of a process, if nothing else is needed: one open by path.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn identify(&self, pid: Pid) -> Result<Identity, LookError> {
        let mut name = Decimal::default();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(&self.0, name.text_below(pid.0, b"/stat"), flags, Mode::empty())
            .map_err(|error| LookError::from_io(pid, error.into()))?;
        parse_stat(pid, File::from(file))
    }

    /// A process's name, cut to the buffer: one open by path, for a scan that needs nothing else of most processes.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn comm<'b>(&self, pid: Pid, buffer: &'b mut [u8; 64]) -> Result<&'b [u8], LookError> {
        let mut name = Decimal::default();
        read_comm(self.0.as_fd(), name.text_below(pid.0, b"/comm"), buffer)
            .map_err(|error| LookError::from_io(pid, error.into()))
    }
}

impl AsFd for Processes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ProcessDir {
    fn at(dir: BorrowedFd<'_>, name: &CStr, pid: Pid) -> Result<Self, LookError> {
        openat(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(|fd| Self { fd, pid })
            .map_err(|error| LookError::from_io(pid, error.into()))
    }

    /// Whose.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    fn error(&self, error: Errno) -> LookError {
        LookError::from_io(self.pid, error.into())
    }

    /// The process's name without its line end.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn comm<'b>(&self, buffer: &'b mut [u8; 64]) -> Result<&'b [u8], LookError> {
        read_comm(self.fd.as_fd(), c"comm", buffer).map_err(|error| self.error(error))
    }

    /// The text of one of its links (`cwd`, `root`, `exe`, `fd/3`, `ns/mnt`). For a directory that is too deep to have a path, the text of
    /// the nearest named one above it: longer than the path of any place in question.
    ///
    /// # Errors
    /// [`LookError`]; `Gone` also when only the link is absent (a kernel thread has no `exe`).
    pub fn link<'b>(&self, name: &CStr, buffer: &'b mut LinkBuffer) -> Result<&'b [u8], LookError> {
        let length = match readlinkat_raw(&self.fd, name, &mut buffer.text[..]) {
            Ok((text, _)) if text.len() < LINK_LIMIT => text.len(),
            // A text that fills the buffer may have been cut.
            Ok(_) | Err(Errno::NAMETOOLONG) => self.nearest_named(name, buffer)?,
            Err(error) => return Err(self.error(error)),
        };
        // SAFETY: the kernel has just written so many bytes at the buffer's start.
        #[allow(unsafe_code)]
        Ok(unsafe { std::slice::from_raw_parts(buffer.text.as_ptr().cast::<u8>(), length) })
    }

    /// Climbs from a link's directory until one has a path, and writes it; returns its length. A target that is not a directory cannot be
    /// climbed from, and stays hidden.
    fn nearest_named(&self, name: &CStr, buffer: &mut LinkBuffer) -> Result<usize, LookError> {
        let too_deep = || self.error(Errno::NAMETOOLONG);
        buffer.climbs_left = buffer.climbs_left.checked_sub(1).ok_or_else(too_deep)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut below = openat(&self.fd, name, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR => too_deep(),
            // Closed since its link was read.
            error => self.error(error),
        })?;
        // By growing strides while the reached directory has no path either, then by shrinking ones: asking for a name that is too long
        // costs as much as a name of that length.
        let (mut stride, mut lengthens, mut climbed) = (1, true, 0);
        while climbed < CLIMB_LIMIT {
            let above = openat(&below, "../".repeat(stride), flags, Mode::empty())
                .map_err(|error| self.error(error))?;
            let own = format!("/proc/self/fd/{}", above.as_raw_fd());
            match readlinkat_raw(CWD, own, &mut buffer.text[..]) {
                Ok((text, _)) if text.len() < LINK_LIMIT && stride == 1 => return Ok(text.len()),
                Ok((text, _)) if text.len() < LINK_LIMIT => lengthens = false,
                Ok(_) | Err(Errno::NAMETOOLONG) => {
                    climbed += stride;
                    below = above;
                }
                Err(error) => return Err(self.error(error)),
            }
            stride = if lengthens { (stride * 2).min(STRIDE) } else { (stride / 2).max(1) };
        }
        Err(too_deep())
    }

    /// The file that a link leads to, and its mount.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn follow(&self, name: &CStr) -> Result<(FileId, u64), LookError> {
        // As the kernel has cached it: a dead server is not asked.
        super::dir::stat_at(self.fd.as_fd(), name, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC)
            .map(|status| (status.id, status.mount_id))
            .map_err(|error| LookError::from_io(self.pid, error))
    }

    /// A handle of the directory a link leads to: one that only names it.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open_link(&self, name: &CStr) -> Result<OwnedFd, LookError> {
        openat(&self.fd, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| self.error(error))
    }

    /// Opens one of its files for reading.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open(&self, name: &CStr) -> Result<File, LookError> {
        openat(&self.fd, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .map(File::from)
            .map_err(|error| self.error(error))
    }

    /// Reads one of its files, `limit` bytes of it at most, into an emptied buffer.
    ///
    /// # Errors
    /// [`LookError`]; `Hidden` past the limit.
    pub fn read(&self, name: &CStr, limit: u64, buffer: &mut Vec<u8>) -> Result<(), LookError> {
        buffer.clear();
        let read = self.open(name)?.take(limit + 1).read_to_end(buffer);
        match read {
            Ok(size) if size as u64 > limit => {
                let source = io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"));
                Err(LookError::Hidden { pid: self.pid, source })
            }
            Ok(_) => Ok(()),
            Err(error) => Err(LookError::from_io(self.pid, error)),
        }
    }

    /// Its present identity.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn identify(&self) -> Result<Identity, LookError> {
        parse_stat(self.pid, self.open(c"stat")?)
    }

    /// The user it runs as; see [`Proc::owner`].
    ///
    /// # Errors
    /// [`LookError`].
    pub fn owner(&self) -> Result<Uid, LookError> {
        super::dir::stat_at(self.fd.as_fd(), c"", AtFlags::EMPTY_PATH)
            .map(|status| status.owner)
            .map_err(|error| LookError::from_io(self.pid, error))
    }

    /// How many links the directory `name` has: for `task` it is two more than there are threads (fs/proc/base.c,
    /// `proc_task_getattr`).
    ///
    /// # Errors
    /// [`LookError`].
    pub fn links(&self, name: &CStr) -> Result<u64, LookError> {
        super::dir::stat_at(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|status| status.links)
            .map_err(|error| LookError::from_io(self.pid, error))
    }

    /// How many files it has open, if the kernel reports it (Linux 6.2+: the size of `fd`); 0 otherwise.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open_count(&self) -> Result<u64, LookError> {
        rustix::fs::statat(&self.fd, c"fd", AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| u64::try_from(stat.st_size).unwrap_or(0))
            .map_err(|error| self.error(error))
    }

    /// The numbers that the directory `name` (`fd`, `task`) lists.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn numbers(&self, name: &CStr) -> Result<Vec<Pid>, LookError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.fd, name, flags, Mode::empty()).map_err(|error| self.error(error))?;
        numbers(dir.as_fd()).map_err(|error| LookError::from_io(self.pid, error))
    }

    /// A handle of one of its threads.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn thread(&self, tid: Pid) -> Result<ProcessDir, LookError> {
        let mut name = Decimal::default();
        Self::at(self.fd.as_fd(), name.text_after(b"task/", tid.0), tid)
    }

    /// The status of an open file, as the kernel has cached it: a dead server is not asked.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open_file_status(&self, fd: i32) -> Result<Status, LookError> {
        let mut name = Decimal::default();
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        super::dir::stat_at(self.fd.as_fd(), name.text_after(b"fd/", fd), flags)
            .map_err(|error| LookError::from_io(self.pid, error))
    }

    /// The link of an open file.
    ///
    /// # Errors
    /// As [`ProcessDir::link`].
    pub fn open_file<'b>(&self, fd: i32, buffer: &'b mut LinkBuffer) -> Result<&'b [u8], LookError> {
        let mut name = Decimal::default();
        self.link(name.text_after(b"fd/", fd), buffer)
    }
}

fn read_comm<'b>(dir: BorrowedFd<'_>, name: &CStr, buffer: &'b mut [u8; 64]) -> rustix::io::Result<&'b [u8]> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let size = rustix::io::read(&file, &mut buffer[..])?;
    let text = &buffer[..size];
    Ok(text.strip_suffix(b"\n").unwrap_or(text))
}

/// The entries of a directory that are numbers.
fn numbers(dir: BorrowedFd<'_>) -> io::Result<Vec<Pid>> {
    // The handle may have been listed before: it would continue where that ended.
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut found = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut reader = RawDir::new(dir, &mut buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.first().is_some_and(u8::is_ascii_digit)
            && let Some(number) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok())
        {
            found.push(Pid(number));
        }
    }
    Ok(found)
}

/// A number as a C string on the stack, with something before or behind it.
#[derive(Default)]
struct Decimal([u8; 32]);

impl Decimal {
    fn text(&mut self, number: i32) -> &CStr {
        self.join(b"", number, b"")
    }

    fn text_below(&mut self, number: i32, after: &[u8]) -> &CStr {
        self.join(b"", number, after)
    }

    fn text_after(&mut self, before: &[u8], number: i32) -> &CStr {
        self.join(before, number, b"")
    }

    fn join(&mut self, before: &[u8], number: i32, after: &[u8]) -> &CStr {
        let mut digits = [0; 10];
        let mut first = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let mut end = 0;
        for part in [before, &digits[first..], after] {
            self.0[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.0[end] = 0;
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// The directory at `path` from the point of view of the holder of `root`: links are followed, and none of them leads out of `root`.
///
/// # Errors
/// The error of openat2(2).
pub fn open_in_root(root: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// A handle that only names the directory at an absolute `path` without links: it needs no permission to list it.
///
/// # Errors
/// The error of openat2(2).
pub fn open_named(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::NO_SYMLINKS | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)?)
}

/// The path of an open handle, as text of the mount namespace of its mount.
///
/// # Errors
/// The error of readlink(2).
pub fn place_of(handle: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    Ok(rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes())
}

/// A regular file beneath a handle that only names its directory; FIFOs and links are refused, nothing blocks.
///
/// # Errors
/// The error of openat2(2); `InvalidInput` for what is no regular file; `FileTooLarge` past the limit.
pub fn read_beneath(dir: BorrowedFd<'_>, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Whether two threads share their open files, and their root and working directory (kcmp(2)). `None` if unknown.
pub fn share_files_and_directories(one: Pid, other: Pid) -> Option<bool> {
    /// include/uapi/linux/kcmp.h
    const KCMP_FILES: i32 = 2;
    const KCMP_FS: i32 = 3;
    for kind in [KCMP_FILES, KCMP_FS] {
        // SAFETY: kcmp with these kinds takes integers only and reads or writes none of our memory.
        #[allow(unsafe_code)]
        let order = unsafe { nix::libc::syscall(nix::libc::SYS_kcmp, one.0, other.0, kind, 0, 0) };
        match order {
            0 => {}
            -1 => return None,
            _ => return Some(false),
        }
    }
    Some(true)
}
