//! Root runs only files that nobody else can change: the file behind a path, and every directory that leads to it, link by link.

use super::ProgramError;
use crate::sys::reach;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The maximum of links to a program.
const MAX_LINKS: usize = 16;

/// Checks that only root can change `program`: the file, and the target of each name on the way.
///
/// # Errors
/// [`ProgramError::Untrusted`], or what cannot be looked at.
pub(super) fn check(program: &Path) -> Result<(), ProgramError> {
    let look = |path: &Path| reach::symlink_metadata(path).map_err(|source| failed(program, source));
    let mut real = PathBuf::from("/");
    let mut names = VecDeque::new();
    put_before(&mut names, program);
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let (directory, next) = (look(&real)?, real.join(&name));
        let entry = look(&next)?;
        // In a sticky directory only root can exchange root's entries.
        let is_fast = directory.mode() & 0o1000 != 0 && entry.uid() == 0;
        if let Some(why) = changed_by(&directory).filter(|_| directory.uid() != 0 || !is_fast) {
            return Err(untrusted(program, &real, why));
        }
        if entry.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(failed(program, io::Error::from_raw_os_error(nix::libc::ELOOP)));
            }
            let target = std::fs::read_link(&next).map_err(|source| failed(program, source))?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            put_before(&mut names, &target);
        } else {
            real = next;
        }
    }
    match changed_by(&look(&real)?) {
        Some(why) => Err(untrusted(program, &real, why)),
        None => Ok(()),
    }
}

/// The users other than root, if any, that can change a file or directory.
fn changed_by(metadata: &Metadata) -> Option<String> {
    if metadata.uid() != 0 {
        Some(format!("is owned by uid {}", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        Some(format!("can be written by others (mode {:04o})", metadata.mode() & 0o7777))
    } else {
        None
    }
}

fn put_before(names: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => names.push_front(name.to_owned()),
            Component::ParentDir => names.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

fn untrusted(program: &Path, path: &Path, why: String) -> ProgramError {
    ProgramError::Untrusted { program: program.display().to_string(), path: path.display().to_string(), why }
}

fn failed(program: &Path, source: io::Error) -> ProgramError {
    ProgramError::NotStarted { call: program.display().to_string(), source }
}
