//! The structure of a cargo target directory.
//!
//! Two layouts are known, and a profile may hold both at once:
//!
//! ```text
//! PROFILE/.fingerprint/PKG-HASH/  PROFILE/deps/*-HASH*  PROFILE/build/PKG-HASH/    up to cargo 1.99
//! PROFILE/build/PKG/HASH/{fingerprint,out,run}                                     the default since 1.100
//! PROFILE/incremental/CRATE-ID/                                                    both
//! ```
//! A profile is recognised by its content, at most three levels below the target: `debug`, `x86_64-unknown-linux-gnu/release`,
//! `llvm-cov-target/debug`. An entry of another form makes the whole target unknown, and nothing of it is taken apart.
//!
//! Fingerprints are read without updating their access times, which record when a build last used a unit (see [`mod@reference`]).

pub mod fingerprint;
mod profile;
pub mod reference;
mod sizes;

use crate::model::{CargoTarget, Extra, ExtraKind, FileId, Unit};
use crate::observe::sharing::Counted;
use crate::sys::dir::Dir;
use profile::Profile;
use rustix::fs::FileType;
use sizes::{MeasuredSize, Sizes, reclaimable};
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The maximum depth of profiles below the target directory.
const MAX_PROFILE_DEPTH: usize = 3;

/// Units of one target at most; a real one has some hundreds.
const MAX_UNITS: usize = 20_000;

/// Directories next to the profiles that cargo creates again if they are missing.
const REGENERATED: [&CStr; 3] = [c"doc", c"package", c"cargo-timings"];

/// Scratch space of tests. The directory itself is kept: cargo makes it when it compiles a test, not when it runs one.
const SCRATCH: &CStr = c"tmp";

/// Why a target directory cannot be taken apart.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its structure is unknown; in words.
    #[error("it is not laid out as cargo is known to do: {0}")]
    UnknownLayout(String),
    /// The directory cannot be opened.
    #[error("it cannot be opened: {0}")]
    Unopened(io::Error),
    /// It could not be read.
    #[error("{} cannot be read: {source}", below.display())]
    Read {
        /// Relative to the target directory.
        below: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl TargetError {
    fn at(below: &Path) -> impl FnOnce(io::Error) -> Self {
        let below = if below.as_os_str().is_empty() { PathBuf::from(".") } else { below.to_owned() };
        move |source| Self::Read { below, source }
    }
}

/// Reads the target directory `target` until `deadline` at the latest; `counted` determines which of its bytes count.
///
/// # Errors
/// When it has no profile, when something in it is not as cargo makes it, and when it cannot be read.
pub fn read(target: &Dir, counted: Counted, deadline: Instant) -> Result<CargoTarget, TargetError> {
    let sizes = Sizes::new(target, counted, deadline).map_err(TargetError::at(Path::new("")))?;
    let mut reader =
        TargetReader { target, sizes, found: CargoTarget::default(), linked: Vec::new(), described: 0 };
    reader.look_for_profiles(Path::new(""), 0)?;
    if reader.described == 0 {
        return Err(TargetError::UnknownLayout(
            "it has no profile with fingerprints and a lock of cargo's".into(),
        ));
    }
    Ok(reader.finish())
}

struct TargetReader<'t> {
    target: &'t Dir,
    sizes: Sizes,
    found: CargoTarget,
    /// Of each unit the files that have several names.
    linked: Vec<Vec<(FileId, u64, u64)>>,
    /// How many fingerprints list their inputs. A target without any is not one of cargo's.
    described: usize,
}

impl TargetReader<'_> {
    fn open(&self, below: &Path) -> Result<Dir, TargetError> {
        let name = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        self.target.descend(name).map_err(TargetError::at(below))
    }

    fn look_for_profiles(&mut self, below: &Path, depth: usize) -> Result<(), TargetError> {
        let dir = self.open(below)?;
        let names = self.sizes.names(&dir).map_err(TargetError::at(below))?;
        let directories: Vec<&CStr> = names
            .iter()
            .filter(|(name, kind)| is_directory(&dir, name, *kind))
            .map(|(name, _)| name.as_c_str())
            .collect();
        if let Some(profile) = Profile::recognise(below, &names, &directories) {
            return self.read_profile(&profile);
        }
        for name in directories {
            let inner = below.join(profile::path(name));
            if REGENERATED.contains(&name) {
                self.extra(&dir, below, name, ExtraKind::Leftover)?;
            } else if name == SCRATCH {
                let scratch = self.open(&inner)?;
                for (name, _) in self.sizes.names(&scratch).map_err(TargetError::at(&inner))? {
                    self.extra(&scratch, &inner, &name, ExtraKind::Leftover)?;
                }
            } else if depth < MAX_PROFILE_DEPTH {
                self.look_for_profiles(&inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn extra(&mut self, dir: &Dir, within: &Path, name: &CStr, kind: ExtraKind) -> Result<(), TargetError> {
        let (member, size) = self.sizes.member(dir, within, name).map_err(TargetError::at(within))?;
        let bytes = size.bytes + reclaimable(&size.linked);
        self.found.extras.push(Extra { kind, changed: size.changed, bytes, members: vec![member] });
        Ok(())
    }

    fn add_unit(&mut self, unit: Unit, sizes: Vec<MeasuredSize>) -> Result<(), TargetError> {
        if self.found.units.len() == MAX_UNITS {
            return Err(TargetError::UnknownLayout(format!("it has more than {MAX_UNITS} units")));
        }
        self.linked.push(sizes.into_iter().flat_map(|size| size.linked).collect());
        self.found.units.push(unit);
        Ok(())
    }

    /// Assigns further names of the units' files to their units: `debug/app` is a hard link of `debug/deps/app-HASH`.
    fn uplift(
        &mut self,
        dir: &Dir,
        within: &Path,
        names: &[&CStr],
        first_unit: usize,
    ) -> Result<(), TargetError> {
        let mut owners: HashMap<FileId, usize> = HashMap::new();
        for (index, linked) in self.linked.iter().enumerate().skip(first_unit) {
            owners.extend(linked.iter().map(|(id, ..)| (*id, index)));
        }
        for name in names {
            let (member, size) = self.sizes.member(dir, within, name).map_err(TargetError::at(within))?;
            if let [link] = size.linked[..]
                && let Some(owner) = owners.get(&member.id)
            {
                self.found.units[*owner].members.push(member);
                self.linked[*owner].push(link);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> CargoTarget {
        for ((index, unit), linked) in self.found.units.iter_mut().enumerate().zip(&self.linked) {
            let group = u32::try_from(index).ok();
            unit.members.iter_mut().for_each(|member| member.group = group);
            let shared = reclaimable(linked);
            unit.bytes = unit.members.iter().map(|member| member.allocated).sum::<u64>() + shared;
            // So that the sum over the members is the space that they free together.
            if let Some(last) = unit.members.last_mut() {
                last.allocated += shared;
            }
        }
        let units = self.found.units.iter().map(|unit| unit.bytes);
        self.found.bytes = units.chain(self.found.extras.iter().map(|extra| extra.bytes)).sum();
        self.found
    }
}

fn is_directory(dir: &Dir, name: &CStr, kind: FileType) -> bool {
    match kind {
        FileType::Directory => true,
        FileType::Unknown => dir.status_of(name).is_ok_and(|status| status.is_dir()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
