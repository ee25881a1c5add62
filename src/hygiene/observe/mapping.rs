//! Which repositories a runner knows: `_PipelineMapping/<owner>/<repository>/PipelineFolder.json`.
//!
//! Jobs can write there. Its content decides only whether a directory is reported as abandoned.

use crate::actions_runner::layout;
use crate::sys::dir::Dir;
use serde_json::Value;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

const MAX_NAMES: usize = 4096;
const MAX_FILE: u64 = 64 * 1024;

/// The directories that belong to a repository.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// `None` when it cannot be read: then no directory counts as abandoned.
    known: Option<HashSet<OsString>>,
}

impl Mapping {
    /// Whether no repository has this directory any more.
    pub(super) fn is_gone(&self, directory: &OsStr) -> bool {
        self.known.as_ref().is_some_and(|known| !known.contains(directory))
    }
}

/// Reads all of it.
pub(super) fn read(work: &Dir) -> Mapping {
    let known = || {
        let mapping = work.descend(layout::MAPPING).ok()?;
        let mut known = HashSet::new();
        for owner in mapping.names(MAX_NAMES).ok()? {
            // A value that is not a directory names no repository.
            let Ok(dir) = mapping.descend(owner.as_os_str()) else { continue };
            for repository in dir.names(MAX_NAMES).ok()? {
                let file = Path::new(&repository).join(layout::MAPPING_FILE);
                match dir.read_file(&file, MAX_FILE) {
                    Ok(text) => known.extend(directory(&text)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(_) => return None,
                }
                known.insert(repository);
            }
        }
        Some(known)
    };
    Mapping { known: known().filter(|known| !known.is_empty()) }
}

pub(crate) fn directory(text: &[u8]) -> Option<OsString> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let value: Value = serde_json::from_slice(text).ok()?;
    let fields = value.as_object()?.iter();
    let found = fields.filter(|(key, _)| key.eq_ignore_ascii_case("pipelineDirectory"));
    found.filter_map(|(_, value)| value.as_str().map(OsString::from)).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn a_directory_is_gone_only_when_others_are_known() {
        let temp = tempfile::tempdir().unwrap();
        let (work, path) = Dir::resolve(temp.path()).unwrap();
        assert!(!read(&work).is_gone("app".as_ref()), "no mapping at all tells nothing");
        create_dir_all(path.join("_PipelineMapping/acme/app")).unwrap();
        assert!(!read(&work).is_gone("old".as_ref()), "one without a file neither");
        write(
            path.join("_PipelineMapping/acme/app/PipelineFolder.json"),
            "\u{feff}{\"repositoryName\":\"acme/app\",\"PipelineDirectory\":\"app-2\"}",
        )
        .unwrap();
        let mapping = read(&work);
        assert!(!mapping.is_gone("app".as_ref()) && !mapping.is_gone("app-2".as_ref()));
        assert!(mapping.is_gone("old".as_ref()));
    }
}
