//! Images, one by one: an engine's own `prune` removes all that no container uses, and has no limit in bytes.
//!
//! An image that a container uses, running or not, is kept, and so is one that the engine reports as pinned. Nothing is forced: the engine
//! itself refuses an image that came into use meanwhile.

use crate::stores::place::StoreDir;
use crate::stores::tool::{CollectionTime, StoreTool};
use crate::sys::program::ProgramError;
use serde_json::Value;
use std::collections::HashSet;

/// The maximum of ids on one command line.
const BATCH: usize = 200;

/// An image that no container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The names by which it is removed, or its id if it has none.
    names: Vec<String>,
    bytes: u64,
    /// Sorts as time does: when it was last named here, otherwise when it was made.
    since: String,
}

/// An engine with images.
pub(super) trait Engine {
    /// The images that may be removed, in this order.
    fn unused(&self) -> Result<Vec<Image>, ProgramError>;
    /// Removes one.
    fn remove(&self, image: &Image, turn: &CollectionTime<'_>) -> Result<(), ProgramError>;
}

/// Removes images until this many bytes were freed, or should have been by the engine's account.
pub(super) fn collect(
    engine: &dyn Engine,
    place: &StoreDir,
    wanted: u64,
    turn: &CollectionTime<'_>,
) -> Result<(), ProgramError> {
    let available = || place.dir.usage().map_or(0, |usage| usage.available_bytes);
    let before = available();
    let (mut removed, mut refusal) = (0_u64, None);
    for image in engine.unused()? {
        if removed >= wanted || available().saturating_sub(before) >= wanted {
            return Ok(());
        }
        match engine.remove(&image, turn) {
            Ok(()) => removed = removed.saturating_add(image.bytes),
            // In use by now, or the parent of another: the next one.
            Err(error @ ProgramError::Failed { .. }) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refusal {
        Some(error) if removed == 0 => Err(error),
        _ => Ok(()),
    }
}

/// Docker.
pub(super) struct Docker<'t>(pub(super) &'t StoreTool);

impl Engine for Docker<'_> {
    fn unused(&self) -> Result<Vec<Image>, ProgramError> {
        let images = self.inspected(&["image", "ls", "--quiet", "--no-trunc"], "image")?;
        let containers = self.inspected(&["ps", "--all", "--quiet", "--no-trunc"], "container")?;
        Ok(unused_of_docker(&images, &containers))
    }

    fn remove(&self, image: &Image, turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
        let names = image.names.iter().map(String::as_str);
        let words: Vec<&str> = ["image", "rm", "--"].into_iter().chain(names).collect();
        self.0.collect(&words, turn)
    }
}

impl Docker<'_> {
    fn inspected(&self, list: &[&str], what: &str) -> Result<Vec<Value>, ProgramError> {
        let listed = self.0.ask(list)?;
        // Each name of an image is a line of its own.
        let mut seen = HashSet::new();
        let ids: Vec<&str> =
            listed.lines().map(str::trim).filter(|id| is_identity(id) && seen.insert(*id)).collect();
        let mut all = Vec::new();
        for batch in ids.chunks(BATCH) {
            let answer = self.0.ask(&[&[what, "inspect"], batch].concat())?;
            all.extend(serde_json::from_str::<Vec<Value>>(&answer).unwrap_or_default());
        }
        Ok(all)
    }
}

fn is_identity(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':')
}

fn unused_of_docker(images: &[Value], containers: &[Value]) -> Vec<Image> {
    let used: HashSet<&str> = containers.iter().filter_map(|container| container["Image"].as_str()).collect();
    // A container without a known image may use any.
    if containers.iter().any(|container| container["Image"].as_str().is_none()) {
        return Vec::new();
    }
    let mut unused: Vec<(bool, Image)> = images
        .iter()
        .filter_map(|image| {
            let id = image["Id"].as_str().filter(|id| is_identity(id) && !used.contains(id))?;
            let tags = strings(&image["RepoTags"]);
            let named = image["Metadata"]["LastTagTime"].as_str().filter(|time| !time.starts_with("0001"));
            let since = named.or_else(|| image["Created"].as_str()).unwrap_or_default().to_owned();
            let is_named = !tags.is_empty();
            let names = if is_named { tags } else { vec![id.to_owned()] };
            Some((is_named, Image { names, bytes: image["Size"].as_u64().unwrap_or(0), since }))
        })
        .collect();
    unused.sort_by(|(is_named, one), (other_is_named, other)| {
        (is_named, &one.since).cmp(&(other_is_named, &other.since))
    });
    unused.into_iter().map(|(_, image)| image).collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// containerd and others behind the CRI, which reports no times: the largest first.
pub(super) struct Cri<'t>(pub(super) &'t StoreTool);

impl Engine for Cri<'_> {
    fn unused(&self) -> Result<Vec<Image>, ProgramError> {
        let json = |arguments: &[&str]| -> Result<Value, ProgramError> {
            Ok(serde_json::from_str(&self.0.ask(arguments)?).unwrap_or(Value::Null))
        };
        Ok(unused_of_cri(&json(&["images", "-o", "json"])?, &json(&["ps", "-a", "-o", "json"])?))
    }

    fn remove(&self, image: &Image, turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
        let names = image.names.iter().map(String::as_str);
        let words: Vec<&str> = ["rmi"].into_iter().chain(names).collect();
        self.0.collect(&words, turn)
    }
}

fn unused_of_cri(images: &Value, containers: &Value) -> Vec<Image> {
    // A missing list is not an empty one.
    let Some(containers) = containers["containers"].as_array() else { return Vec::new() };
    let mut used: HashSet<&str> = HashSet::new();
    for container in containers {
        let references = [&container["imageRef"], &container["image"]["image"], &container["imageId"]];
        let references: Vec<&str> = references.into_iter().filter_map(Value::as_str).collect();
        if references.is_empty() {
            return Vec::new();
        }
        used.extend(references);
    }
    let mut unused: Vec<Image> = images["images"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|image| {
            let id = image["id"].as_str().filter(|id| is_identity(id))?;
            let names: Vec<String> =
                strings(&image["repoTags"]).into_iter().chain(strings(&image["repoDigests"])).collect();
            let is_used = used.contains(id) || names.iter().any(|name| used.contains(name.as_str()));
            // Pods have no container of it, and cannot be started without it.
            let is_pause = names.iter().any(|name| name.contains("/pause:") || name.contains("/pause@"));
            let bytes = image["size"].as_u64().or_else(|| image["size"].as_str()?.parse().ok()).unwrap_or(0);
            let may_go = !is_used && !is_pause && image["pinned"] != true;
            may_go.then(|| Image { names: vec![id.to_owned()], bytes, since: String::new() })
        })
        .collect();
    unused.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.names.cmp(&other.names)));
    unused
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(images: &[Image]) -> Vec<String> {
        images.iter().map(|image| image.names.join(" ")).collect()
    }

    #[test]
    fn docker_images_without_a_name_are_deleted_first_then_those_tagged_longest_ago() {
        let image = |id: &str, tags: &[&str], tagged: &str, created: &str| {
            json!({"Id": format!("sha256:{id}"), "RepoTags": tags, "Size": 10, "Created": created,
                "Metadata": {"LastTagTime": tagged}})
        };
        let never = "0001-01-01T00:00:00Z";
        let images = [
            image("1", &["new:1"], "2026-11-20T00:00:00Z", "2020-01-01T00:00:00Z"),
            image("2", &["old:1", "old:2"], "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            image("3", &[], never, "2026-11-01T00:00:00Z"),
            image("4", &["used:1"], never, "2000-01-01T00:00:00Z"),
            image("5", &["made:1"], never, "2026-10-01T00:00:00Z"),
            json!({"Id": "--force", "RepoTags": []}),
        ];
        let containers = [json!({"Image": "sha256:4"})];
        assert_eq!(
            names(&unused_of_docker(&images, &containers)),
            ["sha256:3", "old:1 old:2", "made:1", "new:1"]
        );
        assert_eq!(names(&unused_of_docker(&images, &[json!({})])), [""; 0], "a container tells nothing");
    }

    #[test]
    fn cri_images_are_deleted_largest_first_and_never_used_pinned_or_pause_images() {
        let images = json!({"images": [
            {"id": "sha256:1", "repoTags": ["a:1"], "size": "10"},
            {"id": "sha256:2", "repoTags": ["b:1"], "size": "30"},
            {"id": "sha256:3", "repoTags": ["c:1"], "size": "99"},
            {"id": "sha256:4", "repoTags": ["registry.k8s.io/pause:3.9"], "size": "99"},
            {"id": "sha256:5", "size": "99", "pinned": true},
            {"id": "sha256:6", "repoDigests": ["d@sha256:9"], "size": "99"},
        ]});
        let containers =
            json!({"containers": [{"imageRef": "sha256:3"}, {"image": {"image": "d@sha256:9"}}]});
        assert_eq!(names(&unused_of_cri(&images, &containers)), ["sha256:2", "sha256:1"]);
        for broken in [json!(null), json!({"containers": [{}]})] {
            assert_eq!(names(&unused_of_cri(&images, &broken)), [""; 0], "{broken}");
        }
    }
}
