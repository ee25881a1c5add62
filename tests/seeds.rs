//! Every test that docs/seeds.md names exists, under the name and in the file or directory that it says.

use std::path::{Path, PathBuf};

/// `WHERE: NAME` in backticks, where WHERE lies in `src` or `tests`.
fn references(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|words| words.split_once(": "))
        .filter(|(place, _)| place.starts_with("tests/") || place.starts_with("src/"))
        .collect()
}

/// A file, or all that lie in a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().flat_map(|entry| files(&entry.path())).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

/// A Rust file has a test of this name; a scenario of the lab says the words when it has passed.
fn proves(path: &Path, name: &str) -> bool {
    let content = std::fs::read_to_string(path).unwrap_or_default();
    if path.extension().is_some_and(|ending| ending == "rs") {
        let at = content.find(&format!("fn {name}()"));
        at.is_some_and(|at| content[..at].trim_end().ends_with("#[test]"))
    } else {
        content.lines().any(|line| line.starts_with("ok \"") && line.contains(name))
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/seeds.md")).expect("the table");
    let named = references(&text);
    assert!(named.len() > 50, "only {} are read", named.len());
    let is_missing =
        |(place, name): &(&str, &str)| !files(&root.join(place)).iter().any(|path| proves(path, name));
    let missing: Vec<_> = named.into_iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // Each row has a proof.
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| demand")) {
        assert!(!references(row).is_empty(), "{row}");
    }
    let this = root.join("tests/seeds.rs");
    assert!(proves(&this, "every_test_that_the_table_names_exists"));
    assert!(!proves(&this, "no_such_test") && !proves(&this, "references"));
}
