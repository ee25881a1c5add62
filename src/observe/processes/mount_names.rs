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
mod tests {
    use super::*;
    use crate::model::{Pid, StartTime};

    const HOST: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /data rw - ext4 /dev/b rw\n";

    fn place(runner: usize, minor: u32, in_filesystem: &str, path: &str) -> WorkDirPlace {
        let device = FilesystemId { major: 8, minor };
        WorkDirPlace { runner, device, in_filesystem: in_filesystem.into(), path: path.into(), base: None }
    }

    fn mount_names(own: &[u8], places: Vec<WorkDirPlace>) -> MountNames {
        let own = mountinfo::parse(own).unwrap();
        MountNames::new(&own, places)
    }

    fn learn(mount_names: &mut MountNames, root: &str, text: &[u8]) -> Arc<Prefixes> {
        let mounts = mountinfo::parse(text).unwrap();
        let process = ProcessId { pid: Pid(7), start: StartTime(1) };
        mount_names.learn(b"mnt:[2]", root.as_bytes(), &mounts, process, "x")
    }

    /// Runner, mount point, inside.
    fn seen(mount_names: &MountNames) -> Vec<(usize, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut seen: Vec<_> = mount_names
            .seen
            .iter()
            .map(|seen| (seen.runner, text(&seen.point), text(&seen.inside)))
            .collect();
        seen.sort();
        seen
    }

    fn two_runners() -> Vec<WorkDirPlace> {
        vec![place(0, 2, "/r1/_work", "/data/r1/_work"), place(1, 2, "/r10/_work", "/data/r10/_work")]
    }

    /// A container is given the directory of one project, and its cache lies below that.
    #[test]
    fn a_mount_between_a_cache_and_its_base_is_evidence_and_one_of_the_base_is_none() {
        let cache = |name: &str| {
            let mut place = place(0, 2, &format!("/t/{name}/run"), &format!("/data/t/{name}/run"));
            place.set_base(b"/data/t");
            place
        };
        let between = b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 /t/app /ws rw - ext4 /dev/b rw\n";
        for (name, text, expected) in [
            ("app", &between[..], vec![(0, "/ws".into(), "/data/t/app/run".into())]),
            ("lib", &between[..], vec![]),
            ("app", b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 /t /ws rw - ext4 /dev/b rw\n", vec![]),
            ("app", b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 / /ws rw - ext4 /dev/b rw\n", vec![]),
        ] {
            let mut mount_names = mount_names(HOST, vec![cache(name)]);
            learn(&mut mount_names, "/", text);
            assert_eq!(seen(&mount_names), expected, "{name}");
        }
        // The base is a filesystem's root.
        let mut on_its_own = place(0, 2, "/app/run", "/data/app/run");
        on_its_own.set_base(b"/data");
        for (root, count) in [("/app", 1), ("/", 0)] {
            let text = format!("9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 {root} /ws rw - ext4 /dev/b rw\n");
            let mut mount_names = mount_names(HOST, vec![on_its_own.clone()]);
            learn(&mut mount_names, "/", text.as_bytes());
            assert_eq!(seen(&mount_names).len(), count, "{root}");
        }
        // The host has it mounted itself, and a service has a copy of the host's tree.
        let host = [HOST, b"3 1 8:2 /t/app /srv/app rw - ext4 /dev/b rw\n"].concat();
        let mut mount_names = mount_names(&host, vec![cache("app")]);
        learn(&mut mount_names, "/", &host);
        assert_eq!(seen(&mount_names), []);
    }

    #[test]
    fn a_container_that_has_the_work_directory_is_evidence_for_that_runner_alone() {
        let mut mount_names = mount_names(HOST, two_runners());
        let text = b"9 0 0:40 / / rw - overlay overlay rw,lowerdir=/var/l,upperdir=/var/u,workdir=/var/w\n\
                     10 9 8:2 /r1/_work /__w rw - ext4 /dev/b rw\n\
                     11 9 8:2 /r1/_work/_temp /github rw - ext4 /dev/b rw\n";
        let local = learn(&mut mount_names, "/", text);
        assert_eq!(
            seen(&mount_names),
            [
                (0, "/__w".into(), "/data/r1/_work".into()),
                (0, "/github".into(), "/data/r1/_work/_temp".into())
            ]
        );
        assert!(local.hold(b"/__w/x") && local.hold(b"/github") && !local.hold(b"/data/r10/_work"));
        assert!(!mount_names.grown, "names of evidence hold in their namespace only");
    }

    #[test]
    fn a_private_copy_of_the_host_is_no_evidence() {
        let mut mount_names = mount_names(HOST, two_runners());
        let text = [HOST, b"12 1 8:1 /tmp/systemd-private/tmp /tmp rw - ext4 /dev/a rw\n"].concat();
        learn(&mut mount_names, "/", &text);
        assert_eq!(seen(&mount_names), []);
        assert!(!mount_names.grown, "nothing new was learnt");
    }

    #[test]
    fn a_work_directory_with_its_own_disk_and_the_copies_of_that_mount_are_no_evidence() {
        let own = [HOST, b"3 2 8:3 / /data/r1/_work rw - ext4 /dev/c rw\n"].concat();
        let mut mount_names = mount_names(&own, vec![place(0, 3, "/", "/data/r1/_work")]);
        learn(&mut mount_names, "/", &own);
        assert_eq!(seen(&mount_names), []);
        let container = b"9 0 0:40 / / rw - overlay o rw\n10 9 8:3 / /data/r1/_work rw - ext4 /dev/c rw\n";
        learn(&mut mount_names, "/", container);
        assert_eq!(seen(&mount_names), [(0, "/data/r1/_work".into(), "/data/r1/_work".into())]);
    }

    #[test]
    fn a_bind_onto_itself_is_no_evidence_and_a_second_name_is() {
        let mut mount_names = mount_names(HOST, two_runners());
        let unit = [HOST, b"4 2 8:2 /r1/_work /data/r1/_work rw - ext4 /dev/b rw\n"].concat();
        learn(&mut mount_names, "/", &unit);
        assert_eq!(seen(&mount_names), []);
        let alias = [HOST, b"5 2 8:2 /r1/_work /mnt rw - ext4 /dev/b rw\n"].concat();
        learn(&mut mount_names, "/", &alias);
        assert_eq!(seen(&mount_names), [(0, "/mnt".into(), "/data/r1/_work".into())]);
    }

    #[test]
    fn any_mount_strictly_inside_is_evidence() {
        let mut mount_names = mount_names(HOST, two_runners());
        let text = [HOST, b"6 2 0:50 / /data/r10/_work/a/tmp rw - tmpfs t rw\n"].concat();
        learn(&mut mount_names, "/", &text);
        assert_eq!(seen(&mount_names), [(1, "/data/r10/_work/a/tmp".into(), "/data/r10/_work/a/tmp".into())]);
    }

    #[test]
    fn the_hosts_own_mounts_are_distinguished_from_others_in_every_copy_of_its_tree() {
        let own = [
            HOST,
            b"3 2 0:50 / /data/r1/_work/_temp rw - tmpfs t rw\n",
            b"4 2 8:1 /tc /data/r1/_work/_tool rw - ext4 /dev/a rw\n",
            b"5 2 8:2 /r1/_work/app/app/target /srv/export rw - ext4 /dev/b rw\n",
            b"6 1 8:2 /r10/_work /srv/r10 rw - ext4 /dev/b rw\n",
        ]
        .concat();
        let of_host = |mount_names: &MountNames| {
            let mut seen: Vec<_> = mount_names
                .seen
                .iter()
                .map(|seen| (String::from_utf8(seen.inside.clone()).unwrap(), seen.is_of_host))
                .collect();
            seen.sort();
            seen
        };
        let expected =
            ["_temp", "_tool", "app/app/target"].map(|part| (format!("/data/r1/_work/{part}"), true));
        // The host itself, a service with the same tree, a container with all of the host at /host.
        let mut mount_names = mount_names(&own, two_runners());
        learn(&mut mount_names, "/", &own);
        assert_eq!(of_host(&mount_names), expected);
        mount_names.begin_again();
        let monitor: Vec<u8> = String::from_utf8(own.clone())
            .unwrap()
            .lines()
            .map(|line| {
                let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
                words[4] = format!("/host{}", words[4].trim_end_matches('/'));
                words.join(" ") + "\n"
            })
            .collect::<String>()
            .into_bytes();
        let monitor = [&b"9 0 0:40 / / rw - overlay o rw\n"[..], &monitor].concat();
        learn(&mut mount_names, "/", &monitor);
        assert_eq!(of_host(&mount_names), expected);
        assert!(
            mount_names.shared.hold(b"/srv/r10/x"),
            "the second name of a whole work directory is a name"
        );
        // A container job that has the same cache, and one that has a part of the work directory, are use.
        mount_names.begin_again();
        learn(
            &mut mount_names,
            "/",
            b"9 0 0:40 / / rw - overlay o rw\n10 9 8:2 /r1/_work/app/app/target /target rw - ext4 /dev/b rw\n\
              11 9 8:2 /r10/_work /__w rw - ext4 /dev/b rw\n",
        );
        let uses: Vec<_> = of_host(&mount_names).into_iter().filter(|(_, is_of_host)| !is_of_host).collect();
        assert_eq!(
            uses,
            [("/data/r1/_work/app/app/target".into(), false), ("/data/r10/_work".into(), false)]
        );
    }

    #[test]
    fn a_mount_of_a_parent_gives_a_name_that_holds_everywhere() {
        let mut mount_names = mount_names(HOST, two_runners());
        learn(
            &mut mount_names,
            "/",
            b"9 0 0:40 / / rw - overlay o rw\n10 9 8:2 / /host rw - ext4 /dev/b rw\n",
        );
        assert_eq!(seen(&mount_names), []);
        assert!(
            mount_names.grown
                && mount_names.shared.hold(b"/host/r1/_work/x")
                && !mount_names.shared.hold(b"/host/r1")
        );
    }

    #[test]
    fn a_chrooted_view_is_put_below_its_root_and_replaced_by_the_whole_one() {
        let mut mount_names = mount_names(HOST, two_runners());
        let local = learn(&mut mount_names, "/jail", b"10 9 8:2 /r1/_work /w rw - ext4 /dev/b rw\n");
        assert!(local.hold(b"/jail/w/x"));
        assert!(mount_names.known(b"mnt:[2]", b"/jail").is_some());
        assert!(mount_names.known(b"mnt:[2]", b"/").is_none(), "mounts outside the jail are not known yet");
        learn(&mut mount_names, "/", HOST);
        assert!(mount_names.grown && mount_names.known(b"mnt:[2]", b"/").is_some());
    }

    #[test]
    fn overlays_over_a_part_and_over_the_whole() {
        let mut mount_names = mount_names(HOST, two_runners());
        let text =
            b"9 0 0:40 / / rw - overlay o rw,lowerdir=/data/r1/_work/rootfs:/l2,upperdir=/u,workdir=/w\n";
        learn(&mut mount_names, "/", text);
        assert_eq!(seen(&mount_names), [(0, "/".into(), "/data/r1/_work/rootfs".into())]);
        let text = b"9 0 0:41 / /merged rw - overlay o rw,lowerdir=/data,upperdir=/u,workdir=/w\n";
        learn(&mut mount_names, "/", text);
        assert_eq!(seen(&mount_names).len(), 1);
        assert!(mount_names.shared.hold(b"/merged/r10/_work/x"));
    }

    #[test]
    fn apart_means_neither_in_the_other() {
        let place = place(0, 2, "/r1/_work", "/data/r1/_work");
        let device = place.device;
        for (path, apart) in [
            ("/r1/_work", false),
            ("/r1/_work/x", false),
            ("/r1", false),
            ("/", false),
            ("/r1/_work2", true),
            ("/r10/_work", true),
        ] {
            assert_eq!(place.is_apart_from(device, path.as_bytes()), apart, "{path}");
        }
        assert!(place.is_apart_from(FilesystemId { major: 8, minor: 9 }, b"/r1/_work"));
    }
}
