//! The configuration's globs for runners' roots, expanded within bounds.
//!
//! In most of the usual places other users make directories, any number of them: `/home/*/*/actions-runner*` searches every directory of
//! every home. So each home (each match of a glob's first wildcard) has a share of its own, and a home full of directories costs nobody
//! else a runner; time is bounded for all. Anything that is not searched is reported.

use crate::model::{GlobPart, PathGlob};
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use glob::Pattern;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The maximum of directories from one listing, and from everything below one match of the first wildcard.
const SHARE: usize = 16_384;

/// The maximum of entries of one directory: others than directories count here.
const ENTRIES: usize = 1 << 20;

/// The time for the globs of one look.
const TIME: Duration = Duration::from_secs(4);

/// The maximum of remarks about unreadable directories of one glob.
const NOTES: usize = 8;

/// The maximum of closed places that are remembered.
const CLOSED: usize = 1024;

/// Expands globs, all within one time.
#[derive(Debug)]
pub struct Expander {
    until: Instant,
    share: usize,
    buffer: Vec<MaybeUninit<u8>>,
    /// Directories that are closed to this process, as homes are to other users: for globs over homes that is normal, and no error.
    pub closed: BTreeSet<PathBuf>,
}

/// One glob's expansion.
struct Expansion<'a> {
    found: Vec<PathBuf>,
    notes: Vec<String>,
    untold: usize,
    expander: &'a mut Expander,
}

impl Expander {
    /// Its time begins now.
    pub fn new() -> Self {
        Self {
            until: Instant::now() + TIME,
            share: SHARE,
            buffer: vec![MaybeUninit::uninit(); ENTRIES_BUFFER],
            closed: BTreeSet::new(),
        }
    }

    /// The matches, in the order of the names. Failures are added to `notes`.
    pub fn expand(&mut self, glob: &PathGlob, notes: &mut Vec<String>) -> Vec<PathBuf> {
        let mut run = Expansion { found: Vec::new(), notes: Vec::new(), untold: 0, expander: self };
        run.below(Path::new("/"), glob.parts(), None);
        let Expansion { found, notes: told, untold, .. } = run;
        notes.extend(told);
        if untold > 0 {
            notes.push(format!(
                "runners.roots: {}: {untold} more directories could not be examined",
                glob.text()
            ));
        }
        found
    }
}

impl Default for Expander {
    fn default() -> Self {
        Self::new()
    }
}

impl Expansion<'_> {
    /// `share` is how many may still be taken below a match of the first wildcard.
    fn below(&mut self, place: &Path, parts: &[GlobPart], mut share: Option<&mut usize>) {
        let Some((part, rest)) = parts.split_first() else {
            return self.found.push(place.to_owned());
        };
        let names = match part {
            GlobPart::Named(name) if rest.is_empty() => {
                match Dir::resolve(place).and_then(|(dir, _)| is_there(&dir, Path::new(name))) {
                    Ok(false) => return,
                    Err(error) if is_no_directory(&error) => return,
                    // Named, and perhaps out of reach: the later look reports it.
                    Ok(true) | Err(_) => vec![name.clone()],
                }
            }
            GlobPart::Named(name) => vec![name.clone()],
            GlobPart::Wild(pattern) => match self.list(place, pattern, rest.is_empty()) {
                Ok(names) => names,
                Err(error) if is_no_directory(&error) => return,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    if self.expander.closed.len() < CLOSED {
                        self.expander.closed.insert(place.to_owned());
                    }
                    return;
                }
                Err(error) => {
                    return self
                        .note(format!("runners.roots: {} cannot be listed: {error}", place.display()));
                }
            },
        };
        let is_wild = matches!(part, GlobPart::Wild(_));
        for name in names {
            let next = place.join(&name);
            if Instant::now() > self.expander.until {
                return self.note(format!(
                    "runners.roots: {} and the entries after it were not examined within {} s: name the runners' directories more precisely",
                    next.display(),
                    TIME.as_secs()
                ));
            }
            match share.as_deref_mut() {
                Some(0) => {
                    return self.note(format!(
                        "runners.roots: {} and the entries after it are not examined, there are more than {} directories: name the runners' directories more precisely",
                        next.display(),
                        self.expander.share
                    ));
                }
                Some(left) => {
                    *left -= usize::from(is_wild);
                    self.below(&next, rest, Some(left));
                }
                None if is_wild => self.below(&next, rest, Some(&mut { self.expander.share })),
                None => self.below(&next, rest, None),
            }
        }
    }

    /// The names in one directory that match, links included; entries that are not directories are left out if another name follows.
    fn list(&mut self, place: &Path, pattern: &Pattern, is_last: bool) -> io::Result<Vec<OsString>> {
        let (dir, _) = Dir::resolve(place)?;
        let (mut names, mut read) = (Vec::new(), 0);
        let mut buffer = std::mem::take(&mut self.expander.buffer);
        let (until, share) = (self.expander.until, self.expander.share);
        let listed = dir.for_each_entry(&mut buffer, |entry| {
            read += 1;
            if read > ENTRIES || names.len() >= share || (read % 1024 == 0 && Instant::now() > until) {
                return ControlFlow::Break(());
            }
            let name = OsStr::from_bytes(entry.name.to_bytes());
            let could_be =
                matches!(entry.kind, FileType::Directory | FileType::Symlink | FileType::Unknown) || is_last;
            if could_be && pattern.matches_path_with(Path::new(name), PathGlob::OPTIONS) {
                names.push(name.to_owned());
            }
            ControlFlow::Continue(())
        });
        self.expander.buffer = buffer;
        if listed?.is_some() {
            self.note(format!(
                "runners.roots: {} holds too much to be read to its end ({} of {read} entries match): name the runners' \
                 directories more closely",
                place.display(),
                names.len()
            ));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES { self.notes.push(note) } else { self.untold += 1 }
    }
}

/// Whether a directory has an entry of this name, a mount included.
///
/// # Errors
/// The error of looking for it.
pub fn is_there(dir: &Dir, name: &Path) -> io::Result<bool> {
    match dir.pin(name) {
        Ok(_) => Ok(true),
        Err(error) if is_no_directory(&error) => Ok(false),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a runner's root could match the configuration's globs, by its path only.
pub fn is_allowed(root: &Path, globs: &[PathGlob]) -> bool {
    globs.iter().any(|glob| glob.matches(root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    fn glob(path: &Path) -> PathGlob {
        PathGlob::parse(path.to_str().unwrap()).unwrap()
    }

    fn expand(pattern: &Path) -> (Vec<PathBuf>, Vec<String>) {
        let mut notes = Vec::new();
        let found = Expander::new().expand(&glob(pattern), &mut notes);
        (found, notes)
    }

    /// Compared with the crate that this replaces.
    #[test]
    fn globs_match_what_the_glob_crate_matches() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        for dir in ["a/x/runner-1", "a/x/runner-2/_work", "a/.hidden/runner-3", "b/y/other", "b/y/runner-10"]
        {
            create_dir_all(base.join(dir)).unwrap();
        }
        write(base.join("a/x/runner-file"), "").unwrap();
        symlink("a", base.join("link")).unwrap();
        symlink("/no/such", base.join("b/dangling")).unwrap();
        for pattern in [
            "*/x/runner-*",
            "*/*/runner-*",
            "a/x/runner-1",
            "a/x/none",
            "*/y/runner-?",
            "a/x/runner-[12]",
            "*/x/runner-1/",
        ] {
            let pattern = base.join(pattern);
            let mut wanted: Vec<PathBuf> =
                glob::glob_with(pattern.to_str().unwrap(), PathGlob::OPTIONS).unwrap().flatten().collect();
            wanted.sort();
            let (mut found, notes) = expand(&pattern);
            found.sort();
            assert_eq!(found, wanted, "{pattern:?}");
            assert!(notes.is_empty(), "{notes:?}");
        }
        // It never searches hidden directories, unless the glob names the dot.
        assert_eq!(expand(&base.join("a/.h*/*")).0, [base.join("a/.hidden/runner-3")]);
    }

    #[test]
    fn a_home_full_of_directories_hides_no_runner_of_another_home_and_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        for index in 0..60 {
            create_dir_all(base.join(format!("attacker/{index}/actions-runner-{index}"))).unwrap();
            create_dir_all(base.join(format!("nested/1/actions-runner-{index}"))).unwrap();
        }
        create_dir_all(base.join("zoe/ci/actions-runner-1")).unwrap();
        let mut notes = Vec::new();
        let mut expander = Expander { share: 50, ..Expander::new() };
        let found = expander.expand(&glob(&base.join("*/*/actions-runner*")), &mut notes);
        let of = |home: &str| found.iter().filter(|path| path.starts_with(base.join(home))).count();
        assert_eq!((of("attacker"), of("nested"), of("zoe")), (25, 49, 1));
        for home in ["attacker", "nested"] {
            assert!(notes.iter().any(|note| note.contains(home)), "{notes:?}");
        }

        // Time is shared by all: anything that is not searched is reported.
        let mut late = Expander { until: Instant::now(), ..Expander::new() };
        let mut notes = Vec::new();
        assert!(late.expand(&glob(&base.join("*/ci/*")), &mut notes).is_empty());
        assert!(notes.iter().any(|note| note.contains("within")), "{notes:?}");
    }

    #[test]
    fn globs_judge_a_root_by_its_path() {
        let patterns = [glob(Path::new("/home/*/actions-runner*"))];
        assert!(is_allowed(Path::new("/home/ci/actions-runner-1"), &patterns));
        assert!(!is_allowed(Path::new("/home/ci/x/actions-runner-1"), &patterns));
        assert!(!is_allowed(Path::new("/srv/actions-runner-1"), &patterns));
    }
}
