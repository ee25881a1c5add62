//! Root runs what nobody else can change: the file behind a path, and every directory that leads to it, link by link.

use super::ProgramError;
use crate::sys::dir::Dir;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Links to a program are followed no further.
const MAX_LINKS: usize = 16;

/// Whether root alone can change `program`.
///
/// # Errors
/// [`ProgramError::Untrusted`], or what cannot be looked at.
pub(super) fn check(program: &Path) -> Result<(), ProgramError> {
    let mut at = program.to_owned();
    for _ in 0..MAX_LINKS {
        check_chain(program, &at)?;
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { break };
        // The directory without links: those that led to it have been looked at above.
        let (_, real) = Dir::resolve(parent).map_err(|source| failed(program, source))?;
        check_chain(program, &real)?;
        match std::fs::read_link(&at) {
            Ok(target) => at = real.join(target),
            Err(_) => return check_chain(program, &real.join(name)),
        }
    }
    Err(failed(program, io::Error::from_raw_os_error(nix::libc::ELOOP)))
}

fn failed(program: &Path, source: io::Error) -> ProgramError {
    ProgramError::NotStarted { call: program.display().to_string(), source }
}

fn check_chain(program: &Path, path: &Path) -> Result<(), ProgramError> {
    for at in path.ancestors() {
        let metadata = std::fs::metadata(at).map_err(|source| failed(program, source))?;
        let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        let why = if metadata.uid() != 0 {
            format!("is owned by uid {}", metadata.uid())
        } else if metadata.mode() & 0o022 != 0 && !is_sticky {
            format!("can be written by others (mode {:04o})", metadata.mode() & 0o7777)
        } else {
            continue;
        };
        let (program, path) = (program.display().to_string(), at.display().to_string());
        return Err(ProgramError::Untrusted { program, path, why });
    }
    Ok(())
}
