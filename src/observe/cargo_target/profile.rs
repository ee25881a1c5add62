//! The units and extras of one profile, in both layouts.

use super::fingerprint::{self, Description, FileKind};
use super::sizes::MeasuredSize;
use super::{TargetError, TargetReader, is_directory};
use crate::model::{Extra, ExtraKind, Member, Origin, Unit, UnitState};
use crate::sys::dir::Dir;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where the layout up to cargo 1.99 keeps its fingerprints.
const FINGERPRINTS: &CStr = c".fingerprint";

/// The lock that excludes every build, the first that exists: up to 1.96 builds hold `.cargo-lock` exclusively; since then they hold it
/// shared, and the other one exclusively (cargo, `src/cargo/core/compiler/layout.rs`).
const LOCKS: [&CStr; 2] = [c".cargo-lock", c".cargo-build-lock"];

/// Larger files are no fingerprints of cargo.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// A dependency file names its first source within this many bytes.
const DEPENDENCIES_READ: u64 = 16 << 10;

/// The path that a name is.
pub(super) fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// A directory that holds units.
pub(super) struct Profile<'n> {
    below: PathBuf,
    lock: Option<&'static CStr>,
    names: &'n [(CString, FileType)],
    directories: &'n [&'n CStr],
}

impl<'n> Profile<'n> {
    /// A directory with fingerprints of the first layout, or with a lock of cargo's and a `build`.
    pub(super) fn recognise(
        below: &Path,
        names: &'n [(CString, FileType)],
        directories: &'n [&'n CStr],
    ) -> Option<Self> {
        let lock = LOCKS.into_iter().find(|lock| names.iter().any(|(name, _)| name.as_c_str() == *lock));
        let has_build = directories.contains(&c"build");
        let is_profile = directories.contains(&FINGERPRINTS) || (has_build && lock.is_some());
        is_profile.then(|| Self { below: below.to_owned(), lock, names, directories })
    }

    fn has(&self, directory: &CStr) -> bool {
        self.directories.contains(&directory)
    }
}

/// The content of a unit's fingerprint directory.
struct Fingerprint {
    kinds: Vec<String>,
    hashes: Vec<u64>,
    needs: Vec<u64>,
    profile: (u64, u64),
    is_complete: bool,
    built: Option<SystemTime>,
    read: SystemTime,
    armed: SystemTime,
    started: Option<SystemTime>,
}

impl TargetReader<'_> {
    /// Adds the content of one profile. Without a lock of cargo's nothing keeps a build away meanwhile: it is left alone.
    pub(super) fn read_profile(&mut self, profile: &Profile<'_>) -> Result<(), TargetError> {
        let Some(lock) = profile.lock else { return Ok(()) };
        self.found.locks.push(profile.below.join(path(lock)));
        let first_unit = self.found.units.len();
        let mut artefacts = self.artefacts(profile)?;
        if profile.has(FINGERPRINTS) {
            self.units_of_first_layout(&profile.below, &mut artefacts)?;
        }
        if profile.has(c"build") {
            self.units_of_second_layout(&profile.below.join("build"))?;
        }
        for (member, size) in artefacts.into_values().flatten().map(|found| (found.member, found.size)) {
            self.found.extras.push(Extra {
                kind: ExtraKind::Leftover,
                changed: size.changed,
                bytes: size.bytes + super::reclaimable(&size.linked),
                members: vec![member],
            });
        }
        if profile.has(c"incremental") {
            let below = profile.below.join("incremental");
            let dir = self.open(&below)?;
            for (name, _) in self.sizes.names(&dir).map_err(TargetError::at(&below))? {
                self.extra(&dir, &below, &name, ExtraKind::Incremental)?;
            }
        }
        let here = self.open(&profile.below)?;
        let files: Vec<&CStr> = profile
            .names
            .iter()
            .filter(|(_, kind)| *kind == FileType::RegularFile)
            .map(|(n, _)| n.as_c_str())
            .collect();
        self.uplift(&here, &profile.below, &files, first_unit)?;
        if profile.has(c"examples") {
            let below = profile.below.join("examples");
            let dir = self.open(&below)?;
            let names = self.sizes.names(&dir).map_err(TargetError::at(&below))?;
            let plain = names.iter().map(|(name, _)| name.as_c_str());
            let plain: Vec<&CStr> =
                plain.filter(|name| fingerprint::suffix(name.to_bytes()).is_none()).collect();
            self.uplift(&dir, &below, &plain, first_unit)?;
        }
        Ok(())
    }

    /// The files of the first layout beside the fingerprints, by the hash in their name. The output of a build script comes first: it must
    /// not be missing while its fingerprint exists.
    fn artefacts(&mut self, profile: &Profile<'_>) -> Result<HashMap<String, Vec<Artefact>>, TargetError> {
        let mut found: HashMap<String, Vec<Artefact>> = HashMap::new();
        for place in [c"build", c"deps", c"examples"] {
            if !profile.has(place) {
                continue;
            }
            let below = profile.below.join(path(place));
            let dir = self.open(&below)?;
            for (name, _) in self.sizes.names(&dir).map_err(TargetError::at(&below))? {
                let Some(hash) = fingerprint::suffix(name.to_bytes()) else { continue };
                let (member, size) =
                    self.sizes.member(&dir, &below, &name).map_err(TargetError::at(&below))?;
                let origin = self.origin(&dir, &name);
                let started = dir
                    .times_of(&*path(&name).join("invoked.timestamp"))
                    .ok()
                    .filter(|_| place == c"build")
                    .map(|times| times.modified);
                found.entry(hash.to_owned()).or_default().push(Artefact { member, size, origin, started });
            }
        }
        Ok(found)
    }

    fn units_of_first_layout(
        &mut self,
        below: &Path,
        artefacts: &mut HashMap<String, Vec<Artefact>>,
    ) -> Result<(), TargetError> {
        let within = below.join(path(FINGERPRINTS));
        let dir = self.open(&within)?;
        for (name, kind) in self.sizes.names(&dir).map_err(TargetError::at(&within))? {
            let Some(hash) = fingerprint::suffix(name.to_bytes()).filter(|_| is_directory(&dir, &name, kind))
            else {
                continue;
            };
            let fingerprint = self.fingerprint(&within.join(path(&name)))?;
            let own = artefacts.remove(hash).unwrap_or_default();
            let (member, size) = self.sizes.member(&dir, &within, &name).map_err(TargetError::at(&within))?;
            let package = &name.to_bytes()[..name.to_bytes().len() - hash.len() - 1];
            self.unit(below, package, fingerprint, (member, size), own)?;
        }
        Ok(())
    }

    fn units_of_second_layout(&mut self, below: &Path) -> Result<(), TargetError> {
        let build = self.open(below)?;
        for (package, kind) in self.sizes.names(&build).map_err(TargetError::at(below))? {
            let is_first_layout = fingerprint::suffix(package.to_bytes()).is_some();
            if is_first_layout || !is_directory(&build, &package, kind) {
                continue;
            }
            let within = below.join(path(&package));
            let dir = self.open(&within)?;
            for (name, kind) in self.sizes.names(&dir).map_err(TargetError::at(&within))? {
                let is_hash =
                    name.to_bytes().len() == 16 && name.to_bytes().iter().all(u8::is_ascii_hexdigit);
                if !is_hash || !is_directory(&dir, &name, kind) {
                    continue;
                }
                let here = within.join(path(&name));
                let mut fingerprint = self.fingerprint(&here.join("fingerprint"))?;
                if let Ok(times) = dir.times_of(&*path(&name).join("run/invoked.timestamp")) {
                    fingerprint.started = fingerprint.started.or(Some(times.modified));
                }
                let (member, size) =
                    self.sizes.member(&dir, &within, &name).map_err(TargetError::at(&within))?;
                let origin = self.origin_of_output(&here.join("out"));
                let directory = (member, size);
                self.unit_with_origin(below, package.to_bytes(), fingerprint, directory, Vec::new(), origin)?;
            }
        }
        Ok(())
    }

    /// Reads the fingerprint directory `below`; a missing one makes its unit broken.
    fn fingerprint(&mut self, below: &Path) -> Result<Fingerprint, TargetError> {
        let epoch = SystemTime::UNIX_EPOCH;
        let mut read = Fingerprint {
            kinds: Vec::new(),
            hashes: Vec::new(),
            needs: Vec::new(),
            profile: (0, 0),
            is_complete: true,
            built: None,
            read: epoch,
            armed: epoch,
            started: None,
        };
        let dir = match self.target.descend(below) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read),
            opened => opened.map_err(TargetError::at(below))?,
        };
        for (name, kind) in self.sizes.names(&dir).map_err(TargetError::at(below))? {
            let file = fingerprint::file_kind(name.to_bytes());
            if kind != FileType::RegularFile || file == FileKind::Other {
                continue;
            }
            let times = dir.times_of(&*name).map_err(TargetError::at(below))?;
            if file == FileKind::Started {
                read.started = Some(times.modified);
                continue;
            }
            let bytes = dir.read_file_unnoticed(&*name, MAX_DESCRIPTION).map_err(TargetError::at(below))?;
            if file == FileKind::Description {
                match fingerprint::description(&bytes) {
                    Description::Understood { needs, profile } => {
                        self.described += 1;
                        read.needs.extend(needs);
                        read.profile = profile;
                    }
                    Description::Torn => read.is_complete = false,
                    Description::Unknown => {
                        let file = below.join(path(&name));
                        let words = format!("{} is of another shape", file.display());
                        return Err(TargetError::UnknownLayout(words));
                    }
                }
                continue;
            }
            match fingerprint::hash(&bytes) {
                Some(hash) => read.hashes.push(hash),
                None => read.is_complete = false,
            }
            read.built = read.built.max(Some(times.modified));
            read.read = read.read.max(times.accessed);
            read.armed = read.armed.max(times.changed);
            read.kinds.push(name.to_string_lossy().into_owned());
        }
        Ok(read)
    }

    fn unit(
        &mut self,
        below: &Path,
        package: &[u8],
        mut fingerprint: Fingerprint,
        directory: (Member, MeasuredSize),
        artefacts: Vec<Artefact>,
    ) -> Result<(), TargetError> {
        fingerprint.started = fingerprint.started.or(artefacts.iter().find_map(|artefact| artefact.started));
        let origins: Vec<Origin> = artefacts.iter().filter_map(|artefact| artefact.origin).collect();
        let origin = origins.contains(&Origin::Workspace).then_some(Origin::Workspace);
        let origin = origin.or(origins.first().copied());
        self.unit_with_origin(below, package, fingerprint, directory, artefacts, origin)
    }

    fn unit_with_origin(
        &mut self,
        below: &Path,
        package: &[u8],
        fingerprint: Fingerprint,
        (directory, size): (Member, MeasuredSize),
        artefacts: Vec<Artefact>,
        origin: Option<Origin>,
    ) -> Result<(), TargetError> {
        let is_check = !artefacts.is_empty()
            && artefacts.iter().all(|artefact| {
                let name = artefact.member.name.as_bytes();
                name.ends_with(b".rmeta") || name.ends_with(b".d")
            });
        let package = String::from_utf8_lossy(package).into_owned();
        let kinds = fingerprint.kinds.join(" ");
        let (built, is_complete) = match fingerprint.built {
            Some(built) => (built, fingerprint.is_complete && !fingerprint.hashes.is_empty()),
            None => (size.changed, false),
        };
        let took = fingerprint.started.and_then(|started| built.duration_since(started).ok());
        let (profile, platform) = fingerprint.profile;
        let (mut members, mut sizes) = (vec![directory], vec![size]);
        for artefact in artefacts {
            members.push(artefact.member);
            sizes.push(artefact.size);
        }
        let unit = Unit {
            role: format!("{} {package} {kinds} {profile:x} {platform:x} {is_check}", below.display()),
            label: format!("{package} {kinds}"),
            hashes: fingerprint.hashes,
            needs: fingerprint.needs,
            state: if is_complete { UnitState::Complete } else { UnitState::Broken },
            built,
            read: fingerprint.read,
            armed: fingerprint.armed,
            cost: took.unwrap_or(Duration::ZERO),
            origin: origin.unwrap_or(Origin::Dependency),
            bytes: 0,
            members,
        };
        self.add_unit(unit, sizes)
    }

    /// The origin of the sources that a dependency file names; `None` for other files.
    fn origin(&self, dir: &Dir, name: &CStr) -> Option<Origin> {
        if !name.to_bytes().ends_with(b".d") {
            return None;
        }
        let file = dir.open_file(name).ok()?;
        let mut head = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, DEPENDENCIES_READ), &mut head).ok()?;
        Some(match fingerprint::is_of_workspace(&String::from_utf8_lossy(&head))? {
            true => Origin::Workspace,
            false => Origin::Dependency,
        })
    }

    fn origin_of_output(&mut self, below: &Path) -> Option<Origin> {
        let dir = self.target.descend(below).ok()?;
        let names = self.sizes.names(&dir).ok()?;
        names.iter().find_map(|(name, _)| self.origin(&dir, name))
    }
}

/// A file or directory of the first layout that belongs to the unit whose hash is in its name.
struct Artefact {
    member: Member,
    size: MeasuredSize,
    origin: Option<Origin>,
    /// When the build script was started.
    started: Option<SystemTime>,
}
