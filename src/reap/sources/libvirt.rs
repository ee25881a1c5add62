//! libvirt's domains: `virsh list`, `virsh undefine`, with their overlay disks.
//!
//! virsh prints tables for people; its lists by state print one UUID a line, so each state is asked for separately. A domain that is in no
//! list, or in two, changed meanwhile and is unknown. One that starts with the host, or has a saved memory image, is in use.
//!
//! Of its disks only overlays are deleted: volumes with a backing store, in a storage pool, used by no other domain and by no other
//! volume. A disk without a backing store may belong to anybody and is kept, as are CD images. virsh refuses to delete the storage of a
//! running domain.

use super::{EnvironmentSource, SourceError, not_understood};
use crate::model::reap::{Environment, EnvironmentState};
use crate::reap::program::Tool;
use std::collections::HashSet;
use std::time::SystemTime;

pub(super) struct Libvirt {
    tool: Tool,
}

/// A disk of a domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DomainDisk {
    /// Its name in the domain, as virsh expects it.
    pub(crate) target: String,
    /// Its path.
    pub(crate) path: String,
    /// Whether it may be deleted: no CD, not shared, not read-only.
    pub(crate) is_disk: bool,
}

impl Libvirt {
    pub(super) fn new(tool: Tool) -> Self {
        Self { tool }
    }

    fn uuids(&self, options: &[&str]) -> Result<HashSet<String>, SourceError> {
        let arguments = [&["-q", "list", "--uuid"], options].concat();
        let text = self.text(&arguments)?;
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| uuid(line, &arguments))
            .collect()
    }

    fn text(&self, arguments: &[&str]) -> Result<String, SourceError> {
        let output = self.tool.output(arguments)?;
        String::from_utf8(output)
            .map_err(|error| not_understood(&format!("virsh {}", arguments.join(" ")), error))
    }

    /// The overlays among the disks of a domain.
    fn overlays(&self, domain: &str) -> Result<Vec<DomainDisk>, SourceError> {
        let mut overlays = Vec::new();
        let disks = disks(&self.text(&["-q", "dumpxml", "--inactive", domain])?)?;
        for disk in disks.into_iter().filter(|disk| disk.is_disk) {
            // A volume outside of every pool is not judged here.
            let said = self.tool.run(&["-q", "vol-dumpxml", &disk.path])?;
            if said.is_success() && has_backing(&said.text())? {
                overlays.push(disk);
            }
        }
        if overlays.is_empty() {
            return Ok(overlays);
        }
        let others = self.used_by_others(domain)?;
        overlays.retain(|disk| !others.contains(&disk.path) && !others.contains(volume_of(&disk.path)));
        Ok(overlays)
    }

    /// Every path that another domain names as a disk or as a disk's backing file, and the volumes that it names without their path.
    fn used_by_others(&self, domain: &str) -> Result<HashSet<String>, SourceError> {
        let mut used = HashSet::new();
        for other in self.uuids(&["--all"])?.iter().filter(|other| *other != domain) {
            let xml = self.text(&["-q", "dumpxml", other])?;
            used.extend(sources(&xml)?);
            // A domain that is at work may have other disks than it starts with.
            used.extend(sources(&self.text(&["-q", "dumpxml", "--inactive", other])?)?);
            for disk in disks(&xml)? {
                let said = self.tool.run(&["-q", "vol-dumpxml", &disk.path])?;
                if said.is_success() {
                    used.extend(backing(&said.text())?);
                }
            }
            for (pool, volume) in volumes(&xml)? {
                let [pool, volume] = [format!("--pool={pool}"), format!("--vol={volume}")];
                used.extend(backing(&self.text(&["-q", "vol-dumpxml", &pool, &volume])?)?);
            }
        }
        Ok(used)
    }
}

impl EnvironmentSource for Libvirt {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        let names = self.text(&["-q", "list", "--all", "--uuid", "--name"])?;
        let running = self.uuids(&["--state-running"])?;
        let paused = self.uuids(&["--state-paused"])?;
        let other = self.uuids(&["--all", "--state-other"])?;
        let shut_off = self.uuids(&["--all", "--state-shutoff"])?;
        let autostart = self.uuids(&["--all", "--autostart"])?;
        let saved = self.uuids(&["--all", "--with-managed-save"])?;
        let lists = [(&running, "running"), (&paused, "paused"), (&other, "other"), (&shut_off, "shut off")];
        let mut all = Vec::new();
        for line in names.lines().filter(|line| !line.trim().is_empty()) {
            let (id, name) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let id = uuid(id, &["list", "--all", "--uuid", "--name"])?;
            let states: Vec<&str> =
                lists.iter().filter(|(list, _)| list.contains(&id)).map(|(_, state)| *state).collect();
            let state = match states[..] {
                ["running" | "paused"] => EnvironmentState::Running,
                ["shut off"] => EnvironmentState::Stopped,
                [] => EnvironmentState::Unknown("in no list of a state".to_owned()),
                _ => EnvironmentState::Unknown(format!("state {}", states.join(" and "))),
            };
            let claim = if autostart.contains(&id) {
                Some("it is set to start with the host (virsh autostart)")
            } else {
                saved.contains(&id).then_some("its memory is saved, to be resumed (virsh managedsave)")
            };
            all.push(Environment {
                claim: claim.map(str::to_owned),
                ..Environment::new(id, name.trim(), state)
            });
        }
        Ok(all)
    }

    fn holdings(&self, environment: &Environment) -> Result<Vec<String>, SourceError> {
        Ok(self.overlays(&environment.id)?.into_iter().map(|disk| disk.path).collect())
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        let targets: Vec<String> =
            self.overlays(&environment.id)?.into_iter().map(|disk| disk.target).collect();
        let storage = targets.join(",");
        let mut arguments = vec!["-q", "undefine", environment.id.as_str()];
        if !storage.is_empty() {
            arguments.extend(["--storage", &storage]);
        }
        self.tool.output(&arguments)?;
        Ok(())
    }
}

pub(crate) fn uuid(text: &str, call: &[&str]) -> Result<String, SourceError> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let is_uuid =
        groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if is_uuid {
        Ok(text.to_owned())
    } else {
        Err(not_understood(&format!("virsh {}", call.join(" ")), format!("`{text}` is no UUID")))
    }
}

fn parse(xml: &str) -> Result<roxmltree::Document<'_>, SourceError> {
    roxmltree::Document::parse(xml).map_err(|error| not_understood("virsh dumpxml", error))
}

/// The disks that are files or block devices.
pub(crate) fn disks(xml: &str) -> Result<Vec<DomainDisk>, SourceError> {
    let document = parse(xml)?;
    let disks = document.descendants().filter(|node| node.has_tag_name("disk"));
    Ok(disks
        .filter_map(|disk| {
            let child = |name: &str| disk.children().find(|node| node.has_tag_name(name));
            let source = child("source")?;
            let path = source.attribute("file").or_else(|| source.attribute("dev"))?;
            let target = child("target")?.attribute("dev")?;
            // A comma would end it in virsh's list of storage.
            let is_disk = disk.attribute("device").unwrap_or("disk") == "disk"
                && child("readonly").is_none()
                && child("shareable").is_none()
                && path.starts_with('/')
                && !target.is_empty()
                && target.bytes().all(|byte| byte.is_ascii_alphanumeric());
            Some(DomainDisk { target: target.to_owned(), path: path.to_owned(), is_disk })
        })
        .collect())
}

/// The name of a volume in its pool.
fn volume_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Every file or device in the description, and every volume that it names by its pool.
pub(crate) fn sources(xml: &str) -> Result<Vec<String>, SourceError> {
    let document = parse(xml)?;
    let named = document.descendants().filter(|node| node.has_tag_name("source"));
    Ok(named
        .filter_map(|node| ["file", "dev", "volume"].iter().find_map(|name| node.attribute(*name)))
        .map(str::to_owned)
        .collect())
}

/// The disks that are named by a pool and a volume.
pub(crate) fn volumes(xml: &str) -> Result<Vec<(String, String)>, SourceError> {
    let document = parse(xml)?;
    let named = document.descendants().filter(|node| node.has_tag_name("source"));
    let both = named.filter_map(|node| Some((node.attribute("pool")?, node.attribute("volume")?)));
    Ok(both.map(|(pool, volume)| (pool.to_owned(), volume.to_owned())).collect())
}

/// The backing file of a volume.
pub(crate) fn backing(xml: &str) -> Result<Option<String>, SourceError> {
    let document = parse(xml)?;
    let store = document.descendants().find(|node| node.has_tag_name("backingStore"));
    let path = store.and_then(|store| store.children().find(|node| node.has_tag_name("path")));
    Ok(path.and_then(|path| path.text()).map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned))
}

fn has_backing(xml: &str) -> Result<bool, SourceError> {
    Ok(backing(xml)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_disks_of_their_own_are_considered() {
        let xml = "<domain><devices>
            <disk type='file' device='disk'><source file='/p/a.qcow2'/><target dev='vda'/></disk>
            <disk type='file' device='cdrom'><source file='/p/a.iso'/><target dev='sda'/><readonly/></disk>
            <disk type='file' device='disk'><source file='/p/s.qcow2'/><target dev='vdb'/><shareable/></disk>
            <disk type='network' device='disk'><source protocol='rbd' name='x'/><target dev='vdc'/></disk>
            <disk type='file'><source file='/p/b.qcow2'><x/></source><target dev='vdd'/></disk>
            <disk type='file' device='disk'><source file='/p/c'/><target dev='vd,e'/></disk>
            <disk type='file' device='disk'><source file='/p/d'/><target dev=''/></disk>
            <disk type='volume' device='disk'><source pool='p' volume='e.qcow2'/><target dev='vde'/></disk>
            <disk type='file' device='disk'><target dev='vdf'/></disk></devices></domain>";
        let chosen: Vec<String> =
            disks(xml).unwrap().into_iter().filter(|disk| disk.is_disk).map(|disk| disk.target).collect();
        assert_eq!(chosen, ["vda", "vdd"]);
        let named = sources(xml).unwrap();
        assert_eq!(named.len(), 7);
        assert!(named.iter().any(|name| name == volume_of("/p/e.qcow2")), "also a volume without its path");
        assert_eq!(volumes(xml).unwrap(), [("p".to_owned(), "e.qcow2".to_owned())]);
    }

    #[test]
    fn an_overlay_has_something_below_it() {
        for (xml, expected) in [
            ("<volume><backingStore><path>/p/base</path><format type='raw'/></backingStore></volume>", true),
            ("<volume><backingStore><path> </path></backingStore></volume>", false),
            ("<volume><backingStore/></volume>", false),
            ("<volume><target><path>/p/a</path></target></volume>", false),
        ] {
            assert_eq!(has_backing(xml).unwrap(), expected, "{xml}");
        }
        assert!(has_backing("<volume").is_err());
    }

    #[test]
    fn uuids_are_exact() {
        assert!(uuid("6695eb01-f6a4-8304-79aa-97f2502e193f", &[]).is_ok());
        for bad in
            ["", "6695eb01", "6695eb01-f6a4-8304-79aa-97f2502e193g", "6695eb01-f6a4-8304-79aa97-f2502e193f"]
        {
            assert!(uuid(bad, &[]).is_err(), "{bad}");
        }
    }
}
