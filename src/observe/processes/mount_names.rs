//! Under which names each work directory can be reached, in every mount namespace of the host.
//!
//! A process's links are text of the namespace in which the named mount exists. So a work directory is first placed on its filesystem
//! (superblock, and path from that filesystem's own root), found by mount id: on btrfs `st_dev` differs from mountinfo. Then, per
//! namespace, every mount of the same superblock that covers the place gives it one more name.
//!
//! A mount whose root is the work directory or is inside it is itself evidence (a container job has `_work` at `/__w`). Mounts that our
//! own namespace has as well are the host's: an administrator has set them up, and they protect only their place. The same applies to
//! their copies in a copy of the host's tree: in services with `PrivateTmp`, or in a container that has `/` at `/host`.
//!
//! Names that come from mounts of something *above* the work directory hold for every process: descriptors travel between
//! namespaces. Names of evidence-mounts hold in their own namespace only, where they may be as short as `/`.

use super::mountinfo::{self, Mount};
use super::prefixes::{Prefixes, below, join};
use crate::model::{FilesystemId, ProcessId, Runner, Unlocated, Work};
use crate::sys::dir::stat_at;
use crate::sys::process_dir::open_named;
use rustix::fs::AtFlags;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// Where a work directory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkDirPlace {
    pub(super) runner: usize,
    pub(super) device: FilesystemId,
    /// From the root of its filesystem.
    pub(super) in_filesystem: Vec<u8>,
    /// As our own namespace names it.
    pub(super) path: Vec<u8>,
    /// Of a cache by itself, not of a work directory: the directory that it is claimed from, from the root of its filesystem. A process
    /// that has it mounted uses it, and so does one that has a directory between the two mounted.
    pub(super) base: Option<Vec<u8>>,
}

impl WorkDirPlace {
    /// Makes it the place of a cache that is claimed from `base`, in our own namespace's names.
    pub(super) fn set_base(&mut self, base: &[u8]) {
        let length = below(&self.path, base).map_or(0, <[u8]>::len);
        let end = self.in_filesystem.len().saturating_sub(length);
        let base = self.in_filesystem[..end].strip_suffix(b"/").unwrap_or(&self.in_filesystem[..end]);
        self.base = Some(if base.is_empty() { b"/".to_vec() } else { base.to_vec() });
    }

    /// Whether a directory of its filesystem lies strictly between the cache and its base.
    fn is_below_base(&self, directory: &[u8]) -> bool {
        let below_base = self.base.as_ref().and_then(|base| below(directory, base));
        below_base.is_some_and(|rest| !rest.is_empty()) && directory != self.in_filesystem
    }

    /// Whether neither lies in the other.
    pub(super) fn is_apart_from(&self, device: FilesystemId, in_filesystem: &[u8]) -> bool {
        self.device != device
            || (below(in_filesystem, &self.in_filesystem).is_none()
                && below(&self.in_filesystem, in_filesystem).is_none())
    }
}

/// Places every existing work directory, by our own mounts.
pub(super) fn locate(own: &[Mount<'_>], runners: &[Runner]) -> (Vec<WorkDirPlace>, Vec<Unlocated>) {
    let mut places = Vec::new();
    let mut unlocated = Vec::new();
    for (runner, given) in runners.iter().enumerate() {
        let Work::Present(work) = &given.work else { continue };
        let status = open_named(&work.path).and_then(|dir| stat_at(dir.as_fd(), c"", AtFlags::EMPTY_PATH));
        let place = match status {
            Err(error) => Err(error.to_string()),
            Ok(status) if status.id != work.id => Err("it was replaced by another directory".to_owned()),
            Ok(status) => own
                .iter()
                .find(|mount| mount.id == status.mount_id)
                .and_then(|mount| place_by(mount, work.path.as_os_str().as_bytes()))
                .ok_or_else(|| "its mount is not listed".to_owned()),
        };
        match place {
            Ok((device, in_filesystem)) => {
                let path = work.path.as_os_str().as_bytes().to_vec();
                places.push(WorkDirPlace { runner, device, in_filesystem, path, base: None });
            }
            Err(reason) => unlocated.push(Unlocated { runner, reason }),
        }
    }
    (places, unlocated)
}

/// Where `path`, which lies on `mount`, is on its filesystem.
pub(super) fn place_by(mount: &Mount<'_>, path: &[u8]) -> Option<(FilesystemId, Vec<u8>)> {
    Some((mount.device, join(&mount.root, below(path, &mount.point)?)))
}

/// A mount that concerns a work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignMount {
    pub(super) runner: usize,
    pub(super) process: ProcessId,
    pub(super) comm: String,
    pub(super) point: Vec<u8>,
    pub(super) inside: Vec<u8>,
    pub(super) is_of_host: bool,
}

/// A mount of our own namespace that concerns a work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Concern {
    runner: usize,
    device: FilesystemId,
    /// The directory of its filesystem that is mounted.
    root: Vec<u8>,
    point: Vec<u8>,
    /// Which part of the work directory it concerns.
    inside: Vec<u8>,
    /// Whether it is mounted there, and does not give it another name.
    lies_inside: bool,
    /// Whether it is of a directory above a cache.
    is_above: bool,
}

impl Concern {
    /// One that gives a part of the work directory another name.
    fn part(runner: usize, point: Vec<u8>, inside: Vec<u8>) -> Self {
        let device = FilesystemId { major: 0, minor: 0 };
        Self { runner, device, root: Vec::new(), point, inside, lies_inside: false, is_above: false }
    }
}

/// All that is known of namespaces and names.
#[derive(Debug)]
pub(super) struct MountNames {
    pub(super) places: Vec<WorkDirPlace>,
    /// Per place: where our own namespace has exactly it mounted (a disk of its own, a bind mount that makes it, or one that gives it a
    /// second name).
    homes: Vec<Vec<Vec<u8>>>,
    /// The host's own mounts that concern a work directory.
    host: Vec<Concern>,
    /// The mount at `/` of our own namespace.
    own_root: Option<(FilesystemId, Vec<u8>)>,
    /// Names that hold everywhere.
    pub(super) shared: Prefixes,
    /// A shared name has been added since this was last reset: earlier comparisons must be repeated.
    pub(super) grown: bool,
    namespaces: HashMap<Vec<u8>, Namespace>,
    pub(super) seen: Vec<ForeignMount>,
    /// Our own mounts: superblock, which directory of it, where.
    own: HashSet<(FilesystemId, Vec<u8>, Vec<u8>)>,
    /// Directories as our own namespace names them, that another one has mounted by themselves.
    pub(super) binds: BTreeMap<Vec<u8>, ProcessId>,
}

/// The maximum of those that are remembered.
const MAX_BINDS: usize = 256;

#[derive(Debug, Clone)]
struct Namespace {
    /// Read through a process that is not chrooted: mountinfo hides mounts outside a process's root.
    whole: bool,
    local: Arc<Prefixes>,
}

impl MountNames {
    pub(super) fn new(own: &[Mount<'_>], places: Vec<WorkDirPlace>) -> Self {
        let homes: Vec<Vec<Vec<u8>>> = places
            .iter()
            .map(|place| {
                let is_home = |mount: &&Mount<'_>| {
                    mount.device == place.device
                        && *mount.root == *place.in_filesystem
                        && (place.base.is_none() || *mount.point == *place.path)
                };
                own.iter().filter(is_home).map(|mount| mount.point.to_vec()).collect()
            })
            .collect();
        let mut shared = Prefixes::default();
        for place in &places {
            shared.add(&place.path, place.runner);
        }
        let mut reader = NamespaceReader::new(b"/", vec![Vec::new()]);
        reader.all(&places, &homes, &shared, own);
        Self {
            homes,
            host: reader.seen,
            own_root: root_of(own, b"/"),
            places,
            shared,
            grown: false,
            namespaces: HashMap::new(),
            seen: Vec::new(),
            own: own.iter().map(|mount| (mount.device, mount.root.to_vec(), mount.point.to_vec())).collect(),
            binds: BTreeMap::new(),
        }
    }

    /// The names that hold in a namespace only, if it is known well enough for a process with this root.
    pub(super) fn known(&self, namespace: &[u8], root: &[u8]) -> Option<Arc<Prefixes>> {
        let known = self.namespaces.get(namespace)?;
        (known.whole || root != b"/").then(|| Arc::clone(&known.local))
    }

    /// Records which directories of the host a namespace has mounted that our own does not have in that way.
    fn note_binds(&mut self, mounts: &[Mount<'_>], process: ProcessId) {
        for mount in mounts.iter().filter(|mount| *mount.root != *b"/") {
            let key = (mount.device, mount.root.to_vec(), mount.point.to_vec());
            if self.binds.len() >= MAX_BINDS || self.own.contains(&key) {
                continue;
            }
            let here = self.own.iter().filter(|(device, ..)| *device == mount.device);
            let named = here.filter_map(|(_, root, point)| Some(join(point, below(&mount.root, root)?)));
            // By the shortest name.
            if let Some(name) =
                named.min_by(|a, b| (a.len(), a).cmp(&(b.len(), b))).filter(|name| !self.shared.hold(name))
            {
                self.binds.entry(name).or_insert(process);
            }
        }
    }

    /// Where a namespace has the host's own tree.
    fn copies(&self, root: &[u8], mounts: &[Mount<'_>]) -> Vec<Vec<u8>> {
        let Some((device, tree)) = &self.own_root else { return Vec::new() };
        let is_tree =
            |mount: &&Mount<'_>| mount.device == *device && *mount.root == **tree && *mount.point != *b"/";
        let elsewhere =
            mounts.iter().filter(is_tree).filter(|_| root == b"/").map(|mount| mount.point.to_vec());
        let whole = root_of(mounts, root) == self.own_root;
        whole.then(Vec::new).into_iter().chain(elsewhere).collect()
    }

    /// Drops the namespaces but not the names, for another pass.
    pub(super) fn begin_again(&mut self) {
        self.namespaces.clear();
        self.grown = false;
    }

    /// Adds a namespace from the mounts that are visible to `process`, whose root directory is `root`.
    pub(super) fn learn(
        &mut self,
        namespace: &[u8],
        root: &[u8],
        mounts: &[Mount<'_>],
        process: ProcessId,
        comm: &str,
    ) -> Arc<Prefixes> {
        let mut reader = NamespaceReader::new(root, self.copies(root, mounts));
        reader.all(&self.places, &self.homes, &self.shared, mounts);
        self.note_binds(mounts, process);
        for place in &self.places {
            for name in reader.wide.of(place.runner) {
                self.grown |= self.shared.add(name, place.runner);
            }
        }
        for seen in reader.seen {
            let is_of_host = self.host.iter().any(|host| is_copy(host, &seen, &reader.copies));
            // Mounts of the host itself above a cache are no evidence about it.
            if is_of_host && seen.is_above {
                continue;
            }
            let Concern { runner, point, inside, .. } = seen;
            // Each of the host's own is reported once, by any name; the others by each of theirs.
            let is_known = |known: &ForeignMount| {
                (known.runner, known.is_of_host, &known.inside) == (runner, is_of_host, &inside)
                    && (is_of_host || known.point == point)
            };
            if !self.seen.iter().any(is_known) {
                self.seen.push(ForeignMount {
                    runner,
                    process,
                    comm: comm.to_owned(),
                    point,
                    inside,
                    is_of_host,
                });
            }
        }
        let local = Arc::new(reader.local);
        let replaced = self
            .namespaces
            .insert(namespace.to_vec(), Namespace { whole: root == b"/", local: Arc::clone(&local) });
        // Processes of this namespace have been compared with the narrower view.
        self.grown |= replaced.is_some();
        local
    }
}

/// Whether a mount is one of the host's own: in the same place of the work directory, or under the same name in a copy of the host's tree.
fn is_copy(host: &Concern, seen: &Concern, copies: &[Vec<u8>]) -> bool {
    let key = |mount: &Concern| (mount.runner, mount.device, mount.lies_inside);
    key(host) == key(seen)
        && (&host.root, &host.inside) == (&seen.root, &seen.inside)
        && (host.lies_inside || copies.iter().any(|copy| join(copy, &host.point) == seen.point))
}

/// What is mounted at the root of the namespace.
fn root_of(mounts: &[Mount<'_>], root: &[u8]) -> Option<(FilesystemId, Vec<u8>)> {
    if root != b"/" {
        return None;
    }
    mounts.iter().rfind(|mount| *mount.point == *b"/").map(|mount| (mount.device, mount.root.to_vec()))
}

/// One namespace being read.
struct NamespaceReader<'r> {
    /// The reading process's root: mount points are relative to it.
    root: &'r [u8],
    /// Where the host's own tree is found in it.
    copies: Vec<Vec<u8>>,
    wide: Prefixes,
    local: Prefixes,
    seen: Vec<Concern>,
}

impl<'r> NamespaceReader<'r> {
    fn new(root: &'r [u8], copies: Vec<Vec<u8>>) -> Self {
        Self { root, copies, wide: Prefixes::default(), local: Prefixes::default(), seen: Vec::new() }
    }

    fn all(
        &mut self,
        places: &[WorkDirPlace],
        homes: &[Vec<Vec<u8>>],
        shared: &Prefixes,
        mounts: &[Mount<'_>],
    ) {
        for (place, homes) in places.iter().zip(homes) {
            self.cover(place, mounts, homes);
        }
        self.mounts_inside(places, mounts);
        self.overlays(places, shared, mounts);
    }

    fn concern(&mut self, mount: &Mount<'_>, of: Concern) {
        self.seen.push(Concern { device: mount.device, root: mount.root.to_vec(), ..of });
    }

    fn point(&self, mount: &Mount<'_>) -> Vec<u8> {
        if mount.point.starts_with(b"/") {
            join(self.root, below(&mount.point, b"/").unwrap_or(b""))
        } else {
            mount.point.to_vec()
        }
    }

    /// The names that mounts of the place's own superblock give it.
    fn cover(&mut self, place: &WorkDirPlace, mounts: &[Mount<'_>], homes: &[Vec<u8>]) {
        let (mut exact, mut parts, mut above) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.device == place.device) {
            let point = self.point(mount);
            match below(&place.in_filesystem, &mount.root) {
                Some(b"") => exact.push((mount, point)),
                Some(rest) => {
                    names.push(join(&point, rest));
                    above.extend(place.is_below_base(&mount.root).then_some((mount, point)));
                }
                None => {
                    if let Some(rest) = below(&mount.root, &place.in_filesystem) {
                        parts.push((mount, point, join(&place.path, rest)));
                    }
                }
            }
        }
        // A bind mount of the work directory onto itself (as ReadWritePaths= makes one) adds no name.
        for (mount, point) in exact {
            let is_home = |home: &Vec<u8>| self.copies.iter().any(|copy| join(copy, home) == point);
            if names.contains(&point) || homes.iter().any(is_home) {
                names.push(point);
            } else {
                parts.push((mount, point, place.path.clone()));
            }
        }
        for name in names {
            self.wide.add(&name, place.runner);
        }
        for (mount, point) in above {
            let part = Concern::part(place.runner, point, place.path.clone());
            self.concern(mount, Concern { is_above: true, ..part });
        }
        for (mount, point, inside) in parts {
            self.local.add(&point, place.runner);
            self.concern(mount, Concern::part(place.runner, point, inside));
        }
    }

    /// Mounts of whatever filesystem, strictly inside a work directory.
    fn mounts_inside(&mut self, places: &[WorkDirPlace], mounts: &[Mount<'_>]) {
        for mount in mounts {
            let point = self.point(mount);
            if !self.wide.hold(&point) && !self.local.hold(&point) {
                continue;
            }
            for place in places {
                let names = self.wide.of(place.runner).chain(self.local.of(place.runner));
                let rest = names.filter_map(|name| below(&point, name)).find(|rest| !rest.is_empty());
                if let Some(inside) = rest.map(|rest| join(&place.path, rest)) {
                    let part = Concern::part(place.runner, point.clone(), inside);
                    self.concern(mount, Concern { lies_inside: true, ..part });
                }
            }
        }
    }

    /// Overlays over a part of a work directory are evidence; overlays over a directory above it give it one more name. Layers are the
    /// text that mount(2) was given, in an unknown namespace; a relative one cannot be placed and proves nothing.
    fn overlays(&mut self, places: &[WorkDirPlace], shared: &Prefixes, mounts: &[Mount<'_>]) {
        for mount in mounts.iter().filter(|mount| mount.kind == b"overlay") {
            let point = self.point(mount);
            for layer in mountinfo::overlay_layers(mount.options) {
                if !layer.starts_with(b"/") {
                    continue;
                }
                for place in places {
                    let names: Vec<Vec<u8>> = (self.wide.of(place.runner))
                        .chain(self.local.of(place.runner))
                        .chain(shared.of(place.runner))
                        .map(<[u8]>::to_vec)
                        .collect();
                    for name in names {
                        if let Some(rest) = below(&layer, &name) {
                            let inside = join(&place.path, rest);
                            self.concern(mount, Concern::part(place.runner, point.clone(), inside));
                        } else if let Some(rest) = below(&name, &layer) {
                            self.wide.add(&join(&point, rest), place.runner);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
