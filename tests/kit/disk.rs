//! Small real filesystems. Each is unmounted when it is dropped, also while a test panics.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a host's runners lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fs {
    /// The computer's temporary directory: no root needed, nothing to fill.
    Directory,
    /// Of so many MiB and inodes.
    Tmpfs { mib: u64, inodes: u64 },
    /// On a loop device, of so many MiB and inodes, with 5 % reserved for root as `mkfs.ext4` does by default.
    Ext4 { mib: u64, inodes: u64 },
    /// On a loop device; 300 MiB is the least that `mkfs.xfs` makes.
    Xfs { mib: u64 },
    /// On a loop device; counts no inodes.
    Btrfs { mib: u64 },
}

/// A mounted filesystem.
#[derive(Debug)]
pub(crate) struct Disk {
    mount_point: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// Makes `fs` and mounts it at `at`; an image goes to `image`.
    pub(crate) fn mount(fs: Fs, at: &Path, image: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("the mount point can be made");
        let (kind, mib) = match fs {
            Fs::Directory => return None,
            Fs::Tmpfs { mib, inodes } => {
                let options = format!("size={mib}m,nr_inodes={inodes},mode=0755");
                mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
                    .expect("a tmpfs can be mounted");
                return Some(Self { mount_point: at.to_owned(), image: None });
            }
            Fs::Ext4 { mib, .. } => ("ext4", mib),
            Fs::Xfs { mib } => ("xfs", mib),
            Fs::Btrfs { mib } => ("btrfs", mib),
        };
        File::create(image).and_then(|file| file.set_len(mib << 20)).expect("an image can be made");
        let mut mkfs = Command::new(format!("mkfs.{kind}"));
        mkfs.arg("-q");
        if let Fs::Ext4 { inodes, .. } = fs {
            mkfs.args(["-F", "-m", "5", "-O", "^has_journal", "-N", &inodes.to_string()]);
        } else {
            mkfs.arg("-f");
        }
        run(mkfs.arg(image));
        // The image goes with its last user: `mount -o loop` detaches the device when it is unmounted.
        run(Command::new("mount").args(["-o", "loop", "-t", kind]).arg(image).arg(at));
        Some(Self { mount_point: at.to_owned(), image: Some(image.to_owned()) })
    }

    /// Shows `from` at `at` too.
    pub(crate) fn bind(from: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("the mount point can be made");
        mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .expect("a directory can be bind-mounted");
        Self { mount_point: at.to_owned(), image: None }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.mount_point);
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
    }
}

/// Takes the topmost mount at `at` away; lazily when something still uses it.
fn unmount(at: &Path) {
    if umount2(at, MntFlags::empty()).is_err() {
        let _ = umount2(at, MntFlags::MNT_DETACH);
    }
}

/// Unmounts whatever is mounted below `base`, deepest first: what a killed test left. True when nothing is left.
pub(crate) fn unmount_below(base: &Path) -> bool {
    let mounted = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
        points.filter(|point| point.starts_with(base)).collect::<Vec<_>>()
    };
    for point in mounted().into_iter().rev() {
        unmount(&point);
    }
    mounted().is_empty()
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\').then(|| text.get(at + 1..at + 4)).flatten();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What `df` prints for the filesystem that holds `path`: Use% and available bytes.
pub(crate) fn usage(path: &Path) -> (u64, u64) {
    let output = Command::new("df")
        .args(["--block-size=1", "--output=pcent,avail"])
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .expect("df runs");
    let text = String::from_utf8(output.stdout).expect("df prints UTF-8");
    let mut fields = text.lines().nth(1).expect("a line of figures").split_whitespace();
    let mut next = || fields.next().expect("two figures").trim_end_matches('%').parse().expect("a figure");
    (next(), next())
}

/// Writes into `file` until no byte more fits, not even root's reserve.
pub(crate) fn fill_bytes(file: &Path) {
    let mut ballast = File::options().create(true).append(true).open(file).expect("there is an inode left");
    for size in [1 << 20, 64 << 10, 4096, 512, 1] {
        let block = vec![0x5a; size];
        while ballast.write_all(&block).is_ok() {}
    }
    let _ = ballast.sync_all();
}

/// Makes empty files in `directory` until no inode is left.
pub(crate) fn fill_inodes(directory: &Path) {
    std::fs::create_dir_all(directory).expect("there is an inode left");
    for number in 0_u32.. {
        if File::create(directory.join(format!("{number:06}"))).is_err() {
            return;
        }
    }
}
