//! Whether a git directory is that of a finished checkout, as far as its files show (gitrepository-layout(5)).

use crate::model::hygiene::GitKind;
use crate::sys::dir::Dir;
use std::path::Path;

/// `HEAD` is one line.
const MAX_HEAD: u64 = 4096;

/// `packed-refs` of a repository with very many branches.
const MAX_PACKED: u64 = 64 << 20;

/// `config` is a few lines.
const MAX_CONFIG: u64 = 1 << 20;

/// Whether it was fetched into from elsewhere. A configuration that cannot be read counts as yes.
pub(super) fn has_remote(git: &Dir) -> bool {
    match git.read_file("config", MAX_CONFIG) {
        Ok(text) => text.contains(&0) || String::from_utf8_lossy(&text).contains("[remote"),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Why it is unfinished; `None` without any sign of that. A submodule's git directory is turned into a checkout by the next job, whether
/// that was begun before or not.
pub(super) fn interrupted(git: &Dir, kind: GitKind) -> Option<String> {
    for needed in ["objects", "refs"] {
        if !git.status_of(needed).is_ok_and(|status| status.is_dir()) {
            return Some(format!("it lacks `{needed}`"));
        }
    }
    let head = match git.read_file("HEAD", MAX_HEAD) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) => return Some(format!("HEAD cannot be read: {error}")),
    };
    if let Some(name) = head.strip_prefix("ref:") {
        if !has_ref(git, name.trim()) {
            return Some("nothing was checked out: the branch of HEAD does not exist".to_owned());
        }
    } else if !is_object_id(&head) {
        return Some("HEAD names neither a branch nor a commit".to_owned());
    }
    if kind != GitKind::Module && git.status_of("index").is_err() {
        return Some("nothing was checked out: there is no index".to_owned());
    }
    // Filled with zeros by a crash, or truncated: git reads each of them first.
    for name in ["packed-refs", "index", "config", "shallow"] {
        match git.read_file(name, MAX_PACKED) {
            Ok(content) if name == "index" && content.len() < 32 => {
                return Some("`index` is too short to be one".to_owned());
            }
            Ok(content) if name != "index" && content.contains(&0) || content.starts_with(&[0; 4]) => {
                return Some(format!("`{name}` is full of zeros"));
            }
            _ => {}
        }
    }
    None
}

/// A branch in its own file, or in the packed refs. With another storage format (reftable) only git can tell.
fn has_ref(git: &Dir, name: &str) -> bool {
    if git.status_of("reftable").is_ok() {
        return true;
    }
    // Beneath the git directory only, without links: no branch has another name.
    if git.read_file(Path::new(name), MAX_HEAD).is_ok_and(|bytes| !bytes.trim_ascii().is_empty()) {
        return true;
    }
    match git.read_file("packed-refs", MAX_PACKED) {
        Ok(packed) => {
            String::from_utf8_lossy(&packed).lines().any(|line| line.split(' ').nth(1) == Some(name))
        }
        // One that is larger than that is not empty.
        Err(error) => error.kind() == std::io::ErrorKind::FileTooLarge,
    }
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn missing_parts_of_a_repository_are_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let said = || interrupted(&Dir::resolve(path).unwrap().0, GitKind::Checkout).unwrap_or_default();
        assert!(said().contains("`objects`"));
        create_dir_all(path.join("objects")).unwrap();
        create_dir_all(path.join("refs/heads")).unwrap();
        assert!(said().contains("HEAD cannot be read"));
        write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert!(said().contains("does not exist"));
        write(path.join("refs/heads/main"), format!("{}\n", "a".repeat(40))).unwrap();
        assert!(said().contains("no index"));
        assert_eq!(
            interrupted(&Dir::resolve(path).unwrap().0, GitKind::Module),
            None,
            "a submodule's has none yet"
        );
        write(path.join("index"), "").unwrap();
        assert!(said().contains("too short"), "{}", said());
        write(path.join("index"), format!("DIRC{}", "x".repeat(100))).unwrap();
        assert_eq!(said(), "", "it is whole");
        for name in ["packed-refs", "index", "config", "shallow"] {
            let before = std::fs::read(path.join(name)).ok();
            write(path.join(name), [0; 200]).unwrap();
            assert!(said().contains(&format!("`{name}` is full of zeros")), "{}", said());
            match before {
                Some(before) => write(path.join(name), before).unwrap(),
                None => std::fs::remove_file(path.join(name)).unwrap(),
            }
        }
        write(path.join("refs/heads/main"), "").unwrap();
        write(path.join("packed-refs"), format!("# pack-refs\n{} refs/heads/main\n", "a".repeat(40)))
            .unwrap();
        assert_eq!(said(), "", "a packed branch");
        for (head, expected) in [
            ("a".repeat(40), ""),
            ("garbage".into(), "neither"),
            ("ref: ../../etc/passwd".into(), "does not exist"),
        ] {
            write(path.join("HEAD"), &head).unwrap();
            assert_eq!(said().is_empty(), expected.is_empty(), "{head}: {}", said());
            assert!(said().contains(expected), "{head}: {}", said());
        }
    }
}
