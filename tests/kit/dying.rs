//! A mount that answers until a request comes that it dies of, as a server's that dies or a network's that breaks: who is inside by
//! then is beyond SIGKILL.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A filesystem with one directory in its root, which answers until a request comes that it dies of.
pub(crate) struct Dying {
    place: PathBuf,
    is_silent: Arc<AtomicBool>,
    _server: File,
}

/// Operations of FUSE (include/uapi/linux/fuse.h).
pub(crate) mod operation {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BATCH_FORGET: u32 = 42;
}

const INNER: u64 = 2;
const NAME: &[u8] = b"acme";
const ENOENT: i32 = -2;
const ENOSYS: i32 = -38;

impl Dying {
    /// Whoever lists its directory is not answered, and nobody after that.
    pub(crate) fn over(place: &Path, owner: u32) -> Self {
        Self::until(place, owner, |asked| asked.operation() == operation::OPENDIR && asked.node() == INNER)
    }

    pub(crate) fn until(
        place: &Path,
        owner: u32,
        dies_of: impl Fn(&Asked<'_>) -> bool + Send + 'static,
    ) -> Self {
        Self::of(place, [owner, owner], true, dies_of)
    }

    /// Whoever lists its directory is not answered; everybody else is, also after that.
    pub(crate) fn partly(place: &Path, owner: u32) -> Self {
        let is_swallowed =
            |asked: &Asked<'_>| asked.operation() == operation::OPENDIR && asked.node() == INNER;
        Self::of(place, [owner, owner], false, is_swallowed)
    }

    /// The same with an inner directory of root's, as a container leaves one behind.
    pub(crate) fn contaminated(
        place: &Path,
        owner: u32,
        dies_of: impl Fn(&Asked<'_>) -> bool + Send + 'static,
    ) -> Self {
        Self::of(place, [owner, 0], true, dies_of)
    }

    /// The owners are those of its root and of the directory in it. One that does not stay silent answers other requests.
    fn of(
        place: &Path,
        owners: [u32; 2],
        stays_silent: bool,
        dies_of: impl Fn(&Asked<'_>) -> bool + Send + 'static,
    ) -> Self {
        let server = File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("dying"), place, Some("fuse.dying"), flags, Some(options.as_str())).expect("root mounts");
        let is_silent = Arc::new(AtomicBool::new(false));
        let (mut stream, silent) = (server.try_clone().expect("a descriptor"), Arc::clone(&is_silent));
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 17];
            while let Ok(length) = stream.read(&mut request) {
                let asked = Asked(&request[..length]);
                let is_deadly = dies_of(&asked);
                if is_deadly {
                    silent.store(true, Ordering::Relaxed);
                }
                if is_deadly || stays_silent && silent.load(Ordering::Relaxed) {
                    continue;
                }
                if let Some((error, answer)) = asked.answer(owners) {
                    let mut text = Vec::new();
                    text.extend((16 + answer.len() as u32).to_ne_bytes());
                    text.extend(error.to_ne_bytes());
                    text.extend(&asked.0[8..16]);
                    text.extend(answer);
                    // An interrupted one wants no answer any more.
                    let _ = stream.write_all(&text);
                }
            }
        });
        Self { place: place.to_owned(), is_silent, _server: server }
    }

    /// Whether it has died.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        // Lets those go who wait.
        let _ = umount2(&self.place, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    }
}

/// A request: a header of 40 bytes, and what comes after it.
pub(crate) struct Asked<'r>(&'r [u8]);

impl Asked<'_> {
    pub(crate) fn operation(&self) -> u32 {
        u32::from_ne_bytes(self.0[4..8].try_into().expect("four bytes"))
    }

    fn node(&self) -> u64 {
        u64::from_ne_bytes(self.0[16..24].try_into().expect("eight bytes"))
    }

    /// An error and what follows it; none where no answer is expected.
    fn answer(&self, [outer, inner]: [u32; 2]) -> Option<(i32, Vec<u8>)> {
        let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        Some(match self.operation() {
            operation::FORGET | operation::BATCH_FORGET | operation::INTERRUPT => return None,
            operation::INIT => {
                // The same version, no wishes.
                let mut answer = vec![0; 64];
                answer[..8].copy_from_slice(&self.0[40..48]);
                answer[20..24].copy_from_slice(&65_536_u32.to_ne_bytes());
                (0, answer)
            }
            operation::GETATTR => (
                0,
                [vec![0; 16], attributes(self.node(), if self.node() == INNER { inner } else { outer })]
                    .concat(),
            ),
            operation::LOOKUP if self.0[40..].starts_with(NAME) => {
                let head: Vec<u8> = numbers(&[INNER, 0, 0, 0, 0]);
                (0, [head, attributes(INNER, inner)].concat())
            }
            operation::LOOKUP => (ENOENT, Vec::new()),
            operation::OPENDIR => (0, vec![0; 16]),
            operation::RELEASEDIR => (0, Vec::new()),
            operation::READDIR if self.0[48..56] == [0; 8] => {
                let mut entry: Vec<u8> = numbers(&[INNER, 1]);
                entry.extend((NAME.len() as u32).to_ne_bytes());
                // A directory.
                entry.extend(4_u32.to_ne_bytes());
                entry.extend(NAME);
                entry.resize(entry.len().next_multiple_of(8), 0);
                (0, entry)
            }
            operation::READDIR => (0, Vec::new()),
            operation::STATFS => {
                let mut answer: Vec<u8> = numbers(&[100_000, 50_000, 50_000, 1000, 500]);
                answer.extend([4096_u32, 255, 4096, 0].iter().flat_map(|number| number.to_ne_bytes()));
                answer.resize(80, 0);
                (0, answer)
            }
            _ => (ENOSYS, Vec::new()),
        })
    }
}

/// `struct fuse_attr` of a directory.
fn attributes(node: u64, owner: u32) -> Vec<u8> {
    let mut text: Vec<u8> = [node, 4096, 8, 1, 1, 1].iter().flat_map(|number| number.to_ne_bytes()).collect();
    let rest = [0, 0, 0, 0o040_755, 2, owner, owner, 0, 4096, 0_u32];
    text.extend(rest.iter().flat_map(|number| number.to_ne_bytes()));
    text
}
