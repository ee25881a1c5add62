use super::*;

#[derive(Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
struct Note {
    root: String,
    text: String,
}

fn note(root: &Path, text: &str) -> Note {
    Note { root: root.to_string_lossy().into_owned(), text: text.into() }
}

#[test]
fn records_are_kept_by_root_and_gone_when_forgotten() {
    let temp = tempfile::tempdir().unwrap();
    let state = StateDir::at(&temp.path().join("state"));
    let (one, other) = (Path::new("/a/runner-1"), Path::new("/b/runner-1"));
    assert_eq!(state.load::<Note>(RecordKind::Wired, one).unwrap(), None);
    state.check_writable().unwrap();
    state.save(RecordKind::Wired, one, &note(one, "1")).unwrap();
    state.save(RecordKind::Wired, other, &note(other, "2")).unwrap();
    assert_eq!(state.load(RecordKind::Wired, one).unwrap(), Some(note(one, "1")));
    assert_eq!(state.load_all::<Note>(RecordKind::Wired).unwrap().len(), 2);
    state.forget(RecordKind::Wired, one).unwrap();
    assert!(!state.holds(RecordKind::Wired, one) && state.holds(RecordKind::Wired, other));
}

#[test]
fn a_record_under_a_weak_key_counts_for_its_own_root_alone() {
    let temp = tempfile::tempdir().unwrap();
    let state = StateDir::at(temp.path());
    let root = Path::new("/home/ci/actions-runner-3");
    let old = temp.path().join(format!("wired/{}.json", weak_key(root)));
    state.check_writable().unwrap();
    let put = |owner: &Path| std::fs::write(&old, serde_json::to_vec(&note(owner, "old")).unwrap()).unwrap();
    put(Path::new("/home/zed/x/actions-runner-3"));
    assert!(!state.holds(RecordKind::Wired, root));
    state.forget(RecordKind::Wired, root).unwrap();
    state.save(RecordKind::Wired, root, &note(root, "new")).unwrap();
    assert!(old.exists(), "another's");
    state.forget(RecordKind::Wired, root).unwrap();
    put(root);
    assert_eq!(state.load(RecordKind::Wired, root).unwrap(), Some(note(root, "old")));
    state.save(RecordKind::Wired, root, &note(root, "new")).unwrap();
    assert!(!old.exists(), "written anew");
    assert_eq!(state.load_all::<Note>(RecordKind::Wired).unwrap(), [note(root, "new")]);
}

#[test]
fn a_chain_script_of_another_runner_is_neither_overwritten_nor_removed() {
    let temp = tempfile::tempdir().unwrap();
    let state = StateDir::at(temp.path());
    let (one, other) = (Path::new("/a/runner-1"), Path::new("/b/runner-1"));
    let script = |root: &Path| wiring::chain_head(root);
    let path = state.chains(one).started;
    state.write_chain(one, &path, &script(one)).unwrap();
    state.write_chain(one, &path, &(script(one) + "again\n")).unwrap();
    let refused = state.write_chain(other, &path, &script(other)).unwrap_err().to_string();
    assert!(refused.contains("/a/runner-1"), "{refused}");
    let old = temp.path().join(format!("hooks/{}-started.sh", weak_key(other)));
    std::fs::write(&old, script(one)).unwrap();
    state.remove_chains(other).unwrap();
    assert!(path.exists() && old.exists());
    std::fs::write(&old, script(other)).unwrap();
    state.remove_chains(other).unwrap();
    assert!(!old.exists(), "its own, by its old name");
    state.remove_chains(one).unwrap();
    assert!(!path.exists());
}

#[test]
fn keys_are_plain_distinct_and_lasting() {
    assert_eq!(key(Path::new("/home/ci/actions-runner-3")), key(Path::new("/home/ci/actions-runner-3")));
    assert_ne!(key(Path::new("/a/r")), key(Path::new("/b/r")));
    let hostile = key(Path::new("/a/.x y\n\"é"));
    assert!(hostile.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{hostile}");
    assert_eq!(key(Path::new("/x")), "x-b3d1db318671a024a7e4b433389f8820");
    assert_eq!(weak_key(Path::new("/x")), "x-07d64e07b49caeb2");
}
