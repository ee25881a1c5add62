//! Which directories can be reached without blocking for ever: mounts that do not answer are detected before they are touched.
//!
//! A dead mount (FUSE, sshfs, NFS) blocks every process that touches it, for ever in the worst case. From [`watch`] on, this process
//! compares the paths it opens with the mount table: on the way to a path, every mount that is not of a local kind has to answer a child
//! that may be abandoned ([`abandonable`]) before anything of it is opened. Below a work directory no mount is entered at all
//! ([`Dir::descend`]), and an entry with the name of a mount point is looked at by a handle that refuses mounts.
//!
//! A mount that answered may stop answering later. A process inside it then can only be replaced: it reports the mounts that it enters
//! ([`tell_of_entries`]), so that its supervisor can ask again ([`Remotes`]).
//!
//! A process that changes what it reaches says so ([`expect_changes`]): then a local disk has to accept changes as well. A frozen one
//! blocks whoever changes it, until it is thawed.
//!
//! Before [`watch`] nothing is read and nothing compared: a hook on a healthy disk does not pay for the host's mounts.
//!
//! [`Dir::descend`]: super::dir::Dir::descend

use super::abandonable::{self, Question};
use super::mountinfo;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for one mount.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for all of them, in one process. Mounts that have not been asked by then count as not answering.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(8);

/// How long an answer is valid; also how long silence is, since each question to a dead mount may leave a process behind.
const ANSWER_COUNTS: Duration = Duration::from_secs(10);
const SILENCE_COUNTS: Duration = Duration::from_secs(900);

/// The maximum of links on the way to a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Filesystems that depend on no other program and no other host.
const LOCAL: &str = " bcachefs binfmt_misc bpf btrfs cgroup cgroup2 configfs cramfs debugfs devpts devtmpfs ecryptfs \
    efivarfs erofs exfat ext2 ext3 ext4 f2fs fusectl hfsplus hugetlbfs iso9660 jfs jffs2 minix mqueue msdos nilfs2 nsfs ntfs3 \
    proc pstore ramfs reiserfs romfs rootfs securityfs selinuxfs smackfs squashfs sysfs tmpfs tracefs ubifs udf vfat xfs zfs ";

/// Those that can be frozen.
const DISKS: &str = " bcachefs btrfs exfat ext2 ext3 ext4 f2fs jfs nilfs2 ntfs3 reiserfs vfat xfs zfs ";

/// The last names of all mount points.
#[derive(Debug, Clone, Default)]
pub struct MountPointNames(Arc<HashSet<Box<[u8]>>>);

impl MountPointNames {
    /// Whether an entry of this name could be a mount point.
    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(name)
    }
}

/// A mount that may block every process that touches it, or changes it.
#[derive(Debug)]
struct Remote {
    point: PathBuf,
    kind: String,
    /// Who serves it, for FUSE.
    server: Option<u32>,
}

impl Remote {
    fn silent(&self, why: &'static str) -> io::Error {
        let inner = Silent { point: self.point.clone(), kind: self.kind.clone(), why };
        io::Error::new(io::ErrorKind::TimedOut, inner)
    }
}

#[derive(Debug, Default)]
struct RemoteTable {
    remote: Vec<Remote>,
    /// Local disks other than the root filesystem: when that is frozen, so is the host.
    disks: Vec<Remote>,
    names: MountPointNames,
}

impl RemoteTable {
    fn parse(text: &[u8]) -> Self {
        let mut table = Self::default();
        let mut names = HashSet::new();
        for mount in text.split(|&byte| byte == b'\n').filter_map(mountinfo::parse_line) {
            let point = Path::new(OsStr::from_bytes(&mount.point));
            names.extend(point.file_name().map(|name| Box::from(name.as_bytes())));
            let kind = String::from_utf8_lossy(mount.kind).into_owned();
            // Overlays are made of other filesystems. The root filesystem has answered already.
            let is_local =
                LOCAL.contains(&format!(" {kind} ")) || (kind == "overlay" && point == Path::new("/"));
            if !is_local {
                let server = mountinfo::option(mount.options, "user_id");
                let server = server.and_then(|uid| std::str::from_utf8(&uid).ok()?.parse().ok());
                table.remote.push(Remote { point: point.to_owned(), kind, server });
            } else if DISKS.contains(&format!(" {kind} ")) && point != Path::new("/") {
                table.disks.push(Remote { point: point.to_owned(), kind, server: None });
            }
        }
        table.names = MountPointNames(Arc::new(names));
        table
    }
}

#[derive(Debug)]
struct ReachState {
    /// By this handle the kernel reports that the table has changed.
    file: Option<File>,
    table: Arc<RemoteTable>,
    answers: HashMap<(PathBuf, Question), (bool, Instant)>,
    waited: Duration,
}

/// Whether disks have to accept changes as well ([`expect_changes`]).
static CHANGES: AtomicBool = AtomicBool::new(false);

static WATCH: OnceLock<Mutex<ReachState>> = OnceLock::new();

/// The observer of the mounts that this process enters.
type EntryObserver = Box<dyn Fn(&Path) + Send + Sync>;
static ENTRY_OBSERVER: OnceLock<EntryObserver> = OnceLock::new();

/// Makes `observer` receive each mount that has answered, before anything of it is opened. For the rest of this process.
pub fn tell_of_entries(observer: impl Fn(&Path) + Send + Sync + 'static) {
    let _ = ENTRY_OBSERVER.set(Box::new(observer));
}

/// The mounts of this host that may block, as they are now.
#[derive(Debug)]
pub struct Remotes(Vec<PathBuf>);

impl Remotes {
    /// Reads the mount table, and touches none of them.
    pub fn of_this_host() -> Self {
        let text = mountinfo::read_own(Path::new("/proc")).unwrap_or_default();
        Self(RemoteTable::parse(&text).remote.into_iter().map(|remote| remote.point).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bit of a mount. If there are more mounts than bits, some share one: then more mounts than necessary are asked.
    pub fn bit_of(&self, point: &Path) -> Option<u32> {
        self.0.iter().position(|remote| remote == point).map(|at| 1 << (at % 32))
    }

    /// The innermost of them that a path without links leads into.
    pub fn around(&self, path: &Path) -> Option<&Path> {
        let around = self.0.iter().filter(|point| path.starts_with(point));
        around.max_by_key(|point| point.as_os_str().len()).map(PathBuf::as_path)
    }

    /// One of the mounts with a bit in `is_entered` that does not answer, asked twice: a slow mount is not a dead one.
    pub fn silent(&self, is_entered: impl Fn(u32) -> bool) -> Option<&Path> {
        let entered = self.0.iter().filter(|point| self.bit_of(point).is_some_and(&is_entered));
        let is_silent = |point: &&PathBuf| {
            let name = CString::new(point.as_os_str().as_bytes());
            // If no child can be made nothing is known, and nothing is given up.
            let answers =
                |name: &CStr| abandonable::answers(name, Question::Look, PATIENCE * 2).unwrap_or(true);
            name.is_ok_and(|name| (0..2).all(|_| !answers(&name)))
        };
        entered.into_iter().find(is_silent).map(PathBuf::as_path)
    }
}

/// Begins to compare, for the rest of this process.
pub fn watch() {
    WATCH.get_or_init(|| {
        let file = mountinfo::open_own(Path::new("/proc")).ok();
        let mut watch =
            ReachState { file, table: Arc::default(), answers: HashMap::new(), waited: Duration::ZERO };
        watch.read();
        Mutex::new(watch)
    });
}

/// Mounts that answer questions, and have kept a process waiting nevertheless.
static LEFT_OUT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Makes a mount count as one that does not answer, for the rest of this process and in those that it forks.
pub fn leave_out(point: &Path) {
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).push(point.to_owned());
}

fn is_left_out(point: &Path) -> bool {
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|one| one == point)
}

/// For a process that is going to change what it reaches: a disk that is frozen counts as one that does not answer.
pub fn expect_changes() {
    CHANGES.store(true, Ordering::Relaxed);
}

fn with<T>(action: impl FnOnce(&mut ReachState) -> T) -> Option<T> {
    WATCH.get().map(|watch| action(&mut watch.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The names of mount points now; none before [`watch`].
pub fn names() -> MountPointNames {
    with(|watch| watch.current().names.clone()).unwrap_or_default()
}

/// Checks that every mount on the way to a path without links answers.
///
/// # Errors
/// The mount that does not.
pub fn check(path: &Path) -> io::Result<()> {
    with(|watch| watch.check(path)).unwrap_or(Ok(()))
}

/// Whether everything on the way to a path without links is of a local kind. Determined without touching anything.
pub fn is_local(path: &Path) -> bool {
    with(|watch| !watch.current().remote.iter().any(|remote| path.starts_with(&remote.point))).unwrap_or(true)
}

/// The path that `path` leads to, through links and answering mounts; `None` when no mount of this host can block.
///
/// # Errors
/// The error of opening a directory on the way; the mount that does not answer.
pub fn resolve(path: &Path) -> io::Result<Option<PathBuf>> {
    with(|watch| {
        let table = watch.current();
        let asks = CHANGES.load(Ordering::Relaxed) && !table.disks.is_empty();
        match table.remote.is_empty() && !asks {
            true => Ok(None),
            false => watch.resolve(path).map(Some),
        }
    })
    .unwrap_or(Ok(None))
}

/// Checks that every mount on the way to `path` answers, through links. Any other error is left to whoever opens it.
///
/// # Errors
/// The mount that does not.
pub fn check_way(path: &Path) -> io::Result<()> {
    match resolve(path) {
        Err(error) if is_silence(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The metadata of what `path` leads to.
///
/// # Errors
/// The mount on the way that does not answer; the error of stat(2).
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    check_way(path)?;
    std::fs::metadata(path)
}

/// The same of an entry itself, without following a link.
///
/// # Errors
/// As [`metadata`].
pub fn symlink_metadata(path: &Path) -> io::Result<Metadata> {
    check_way(path)?;
    std::fs::symlink_metadata(path)
}

/// Whether an error means that a mount does not answer.
pub fn is_silence(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Silent>())
}

/// A mount that is not entered.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} filesystem mounted at {} {why}", point.display())]
struct Silent {
    point: PathBuf,
    kind: String,
    why: &'static str,
}

/// The message about a mount that is not entered.
pub(crate) const IS_SILENT: &str = "does not answer: bring its server back, or run `umount -l` on it";
const IS_PARTLY_SILENT: &str = "does not answer every call: bring its server back, or run `umount -l` on it";
const IS_FROZEN: &str =
    "is frozen and accepts no changes: a snapshot is being taken, or `fsfreeze -u` has to be run on it";
const IS_FOREIGN: &str =
    "is served by another user, who could block every process that enters it: it is not entered";

impl ReachState {
    fn current(&mut self) -> Arc<RemoteTable> {
        let has_changed = self.file.as_ref().is_none_or(|file| {
            let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
            !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
        });
        if has_changed {
            self.read();
        }
        Arc::clone(&self.table)
    }

    fn read(&mut self) {
        let mut text = Vec::new();
        if let Some(file) = &mut self.file {
            let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
        }
        self.table = Arc::new(RemoteTable::parse(&text));
    }

    fn check(&mut self, path: &Path) -> io::Result<()> {
        let table = self.current();
        table
            .remote
            .iter()
            .filter(|remote| path.starts_with(&remote.point))
            .try_for_each(|remote| self.ask(remote, path))?;
        if !CHANGES.load(Ordering::Relaxed) {
            return Ok(());
        }
        let around = table.disks.iter().filter(|disk| path.starts_with(&disk.point));
        match around.max_by_key(|disk| disk.point.as_os_str().len()) {
            Some(disk) if !self.answers(&disk.point, Question::Change) => Err(disk.silent(IS_FROZEN)),
            _ => Ok(()),
        }
    }

    /// Whether a mount may be entered on the way to `path`.
    fn ask(&mut self, remote: &Remote, path: &Path) -> io::Result<()> {
        let us = nix::unistd::geteuid().as_raw();
        if remote.server.is_some_and(|server| server != 0 && server != us) {
            return Err(remote.silent(IS_FOREIGN));
        }
        if is_left_out(&remote.point) {
            return Err(remote.silent(IS_PARTLY_SILENT));
        }
        // The directories below an automounter are mounted when they are touched.
        let touched = match remote.kind.as_str() {
            "autofs" => path.strip_prefix(&remote.point).ok().and_then(|below| below.components().next()),
            _ => None,
        };
        let place = touched.map_or_else(|| remote.point.clone(), |first| remote.point.join(first));
        if !self.answers(&place, Question::Look) {
            return Err(remote.silent(IS_SILENT));
        }
        if let Some(observer) = ENTRY_OBSERVER.get() {
            observer(&remote.point);
        }
        Ok(())
    }

    fn answers(&mut self, place: &Path, question: Question) -> bool {
        let asked = (place.to_owned(), question);
        match self.answers.get(&asked) {
            Some((true, when)) if when.elapsed() < ANSWER_COUNTS => return true,
            Some((false, when)) if when.elapsed() < SILENCE_COUNTS => return false,
            _ => {}
        }
        let patience = PATIENCE.min(PATIENCE_FOR_ALL.saturating_sub(self.waited));
        let Ok(name) = CString::new(place.as_os_str().as_bytes()) else { return false };
        let begun = Instant::now();
        // If no child can be made nothing is known, and an unknown mount is not touched.
        let answer = !patience.is_zero() && abandonable::answers(&name, question, patience).unwrap_or(false);
        self.waited += begun.elapsed();
        self.answers.insert(asked, (answer, Instant::now()));
        answer
    }

    /// Walks one name at a time: each is known to answer before it is opened.
    fn resolve(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut rest: VecDeque<OsString> = VecDeque::new();
        if !path.is_absolute() {
            rest.extend(names_of(&std::env::current_dir()?));
        }
        rest.extend(names_of(path));
        let (mut real, mut links) = (PathBuf::from("/"), 0);
        let mut here = named(&real)?;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                real.pop();
                here = named(&real)?;
                continue;
            }
            let next = real.join(&name);
            self.check(&next)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat2(&here, &*name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
            match readlinkat(&opened, "", Vec::new()) {
                // Not a link.
                Err(_) => (here, real) = (opened, next),
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(rustix::io::Errno::LOOP.into());
                    }
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    for part in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                        here = named(&real)?;
                    }
                }
            }
        }
        Ok(real)
    }
}

/// A handle that only names a directory whose path has no links.
fn named(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(CWD, path, flags, Mode::empty(), resolve)?)
}

fn names_of(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn mounts_that_are_not_local_are_probed_first_and_every_mount_point_has_a_name() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
            6 1 8:2 / /data rw - xfs /dev/b rw\n\
            2 1 0:40 / /srv/dead\\040one rw - fuse.sshfs host: rw,user_id=1001,group_id=1\n\
            3 1 0:41 / /net rw - nfs4 host:/x rw\n\
            4 1 0:42 / /var/lib/merged rw - overlay overlay rw,lowerdir=/l\n\
            5 1 0:43 / /tmp/odd\xff rw - tmpfs tmpfs rw\n\
            broken\n";
        let table = RemoteTable::parse(text);
        let shown: Vec<_> =
            table.remote.iter().map(|one| (one.point.to_str().unwrap(), one.server)).collect();
        assert_eq!(shown, [("/srv/dead one", Some(1001)), ("/net", None), ("/var/lib/merged", None)]);
        let disks: Vec<_> = table.disks.iter().map(|one| one.point.to_str().unwrap()).collect();
        assert_eq!(disks, ["/data"], "what can be frozen without the whole host");
        for name in [&b"dead one"[..], b"net", b"merged", b"odd\xff"] {
            assert!(table.names.has(name), "{name:?}");
        }
        assert!(!table.names.has(b"srv"));
    }

    #[test]
    fn only_what_was_entered_is_asked_again() {
        let remotes = Remotes(vec!["/".into(), "/proc".into()]);
        assert_eq!((remotes.bit_of(Path::new("/")), remotes.bit_of(Path::new("/proc"))), (Some(1), Some(2)));
        assert_eq!(remotes.bit_of(Path::new("/none")), None);
        assert_eq!(remotes.around(Path::new("/proc/1")), Some(Path::new("/proc")), "the innermost");
        assert_eq!(remotes.silent(|_| true), None, "they answer");
        assert!(!remotes.is_empty());
    }

    #[test]
    fn a_path_leads_where_the_kernel_leads() {
        let temp = tempfile::tempdir().unwrap();
        let (_, base) = super::super::dir::Dir::resolve(temp.path()).unwrap();
        std::fs::create_dir_all(base.join("a/b/c")).unwrap();
        symlink("b/c", base.join("a/relative")).unwrap();
        symlink(base.join("a/relative"), base.join("absolute")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        let mut watch =
            ReachState { file: None, table: Arc::default(), answers: HashMap::new(), waited: Duration::ZERO };
        for (path, real) in [
            ("a/b", "a/b"),
            ("a/relative", "a/b/c"),
            ("absolute", "a/b/c"),
            ("absolute/../..", "a"),
            ("./a//b/", "a/b"),
        ] {
            assert_eq!(watch.resolve(&base.join(path)).unwrap(), base.join(real), "{path}");
        }
        assert_eq!(watch.resolve(&base.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(watch.resolve(&base.join("loop")).unwrap_err().raw_os_error(), Some(40));
    }

    #[test]
    fn a_filesystem_served_by_another_user_is_not_entered() {
        let us = nix::unistd::geteuid().as_raw();
        let table = format!("2 1 0:40 / /srv/x rw - fuse.x x rw,user_id={}\n", us + 1);
        let mut watch =
            ReachState { file: None, table: Arc::default(), answers: HashMap::new(), waited: Duration::ZERO };
        let table = RemoteTable::parse(table.as_bytes());
        let error = watch.ask(&table.remote[0], Path::new("/srv/x/runner")).unwrap_err();
        assert!(is_silence(&error) && error.to_string().contains("/srv/x"), "{error}");
        // The positive control: the same place, served by this test, is asked, and answers.
        let own = Remote { point: "/".into(), kind: "fuse.x".into(), server: Some(us) };
        watch.ask(&own, Path::new("/srv/x/runner")).unwrap();
        let other = Remote { point: "/proc".into(), kind: "fuse.x".into(), server: Some(us) };
        watch.ask(&other, Path::new("/proc/1")).unwrap();
        leave_out(&other.point);
        let error = watch.ask(&other, Path::new("/proc/1")).unwrap_err();
        assert!(is_silence(&error) && error.to_string().contains("every call"), "{error}");
    }
}
