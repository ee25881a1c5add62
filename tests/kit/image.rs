//! A filesystem in a file that can be copied at any instant: a power loss is what a copy holds.

use super::wait::until;
use nix::mount::{MntFlags, umount2};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A journalled ext4 in a file; mounted or not.
#[derive(Debug)]
pub(crate) struct Image {
    file: PathBuf,
    mount_point: Option<PathBuf>,
}

impl Image {
    /// Makes one of so many MiB and inodes, without reserved blocks.
    pub(crate) fn make(file: &Path, mib: u64, inodes: u64) -> Self {
        File::create(file).and_then(|file| file.set_len(mib << 20)).expect("an image can be made");
        let inodes = inodes.to_string();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-J", "size=4", "-N", &inodes]).arg(file));
        Self { file: file.to_owned(), mount_point: None }
    }

    /// What the file holds at this instant, whatever is on its way to it.
    pub(crate) fn copy(&self, to: &Path) -> Self {
        run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&self.file).arg(to));
        Self { file: to.to_owned(), mount_point: None }
    }

    pub(crate) fn mount(&mut self, at: &Path) {
        run(Command::new("mount")
            .args(["-o", "loop,errors=remount-ro", "-t", "ext4"])
            .arg(&self.file)
            .arg(at));
        self.mount_point = Some(at.to_owned());
    }

    /// Writes out all that is on its way.
    pub(crate) fn sync(&self) {
        let at = self.mount_point.as_ref().expect("it is mounted");
        let root = File::open(at).expect("its root opens");
        nix::unistd::syncfs(root).expect("it can be written out");
    }

    /// Waits until nobody uses it any more: whoever was killed may not be gone yet.
    pub(crate) fn unmount(&mut self) {
        if let Some(at) = self.mount_point.take() {
            until("the image to be unmounted", || umount2(&at, MntFlags::empty()).ok());
        }
    }

    /// Replays its journal and looks at every structure of it.
    pub(crate) fn check(&self) {
        run(Command::new("e2fsck").args(["-p"]).arg(&self.file));
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(&self.file));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Some(at) = self.mount_point.take() {
            let _ = umount2(&at, MntFlags::MNT_DETACH);
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // e2fsck says 1 when it has mended something, as replaying a journal is.
    let good = output.status.code().is_some_and(|code| code <= i32::from(command.get_program() == "e2fsck"));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(good, "{command:?}: {}", said.join("\n"));
}
