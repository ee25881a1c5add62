//! The shipped rules, on trees shaped as the tools make them: what each of `packaging/rules` is for goes, and the same without its
//! markers stays. The shapes were recorded from trees that the tools themselves had made (the rules' comments name the versions).
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Fs, Host, grow_old, sees_everything};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LONG_AGO: Duration = Duration::from_secs(45 * 86_400);
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// What a tool has made.
struct Shape {
    rule: &'static str,
    /// In a checkout, or below the directory that stands for `/srv/cache` and homes.
    place: &'static str,
    /// Files, from the checkout or from the cache; one that ends in `/` is a directory.
    entries: &'static [&'static str],
    /// Which of them declare it.
    markers: &'static [&'static str],
}

const IN_CHECKOUTS: [Shape; 9] = [
    Shape {
        rule: "node-modules",
        place: "npm/node_modules",
        entries: &["node_modules/.package-lock.json", "node_modules/is-odd/index.js", "package-lock.json"],
        markers: &["node_modules/.package-lock.json"],
    },
    Shape {
        rule: "node-modules",
        place: "pnpm/node_modules",
        entries: &[
            "node_modules/.modules.yaml",
            "node_modules/.pnpm-workspace-state-v1.json",
            "node_modules/.pnpm/is-odd@3.0.1/node_modules/is-odd/index.js",
            "node_modules/.pnpm/lock.yaml",
        ],
        markers: &["node_modules/.modules.yaml"],
    },
    Shape {
        rule: "node-modules",
        place: "yarn/packages/app/node_modules",
        entries: &["node_modules/.yarn-integrity", "node_modules/is-odd/index.js"],
        markers: &["node_modules/.yarn-integrity"],
    },
    Shape {
        rule: "maven-target",
        place: "maven/target",
        entries: &[
            "pom.xml",
            "target/a-1.jar",
            "target/maven-archiver/pom.properties",
            "target/classes/A.class",
            "target/maven-status/maven-compiler-plugin/compile/default-compile/createdFiles.lst",
        ],
        markers: &["pom.xml", "target/maven-status"],
    },
    Shape {
        rule: "maven-target",
        place: "maven-resources/module/target",
        entries: &["pom.xml", "target/a-1.jar", "target/maven-archiver/pom.properties"],
        markers: &["pom.xml"],
    },
    Shape {
        rule: "gradle-build",
        place: "gradle/build",
        entries: &[
            "build.gradle",
            "build/libs/x.jar",
            "build/classes/java/main/A.class",
            "build/tmp/jar/MANIFEST.MF",
        ],
        markers: &["build.gradle"],
    },
    Shape {
        rule: "gradle-build",
        place: "gradle-kotlin/.gradle",
        entries: &[
            "settings.gradle.kts",
            ".gradle/4.4.1/fileHashes/fileHashes.lock",
            ".gradle/buildOutputCleanup/cache.properties",
        ],
        markers: &["settings.gradle.kts"],
    },
    Shape {
        rule: "python-venv",
        place: "python/.venv",
        entries: &[".venv/bin/pip", ".venv/lib/python3.11/site-packages/idna/core.py", ".venv/pyvenv.cfg"],
        markers: &[".venv/pyvenv.cfg"],
    },
    Shape {
        rule: "python-venv",
        place: "uv/venv",
        entries: &[
            "venv/CACHEDIR.TAG",
            "venv/.gitignore",
            "venv/.lock",
            "venv/bin/python",
            "venv/pyvenv.cfg",
        ],
        markers: &["venv/pyvenv.cfg"],
    },
];

const OUTSIDE: [Shape; 10] = [
    Shape {
        rule: "ccache",
        place: "ccache",
        entries: &["9/CACHEDIR.TAG", "9/stats", "9/5/9221g", "tmp/.cleaned"],
        markers: &["tmp"],
    },
    Shape { rule: "sccache", place: "sccache", entries: &["9/f/9fef52"], markers: &["9"] },
    Shape {
        rule: "go-build",
        place: "go-build",
        entries: &["README", "trim.txt", "fe/fe01-a"],
        markers: &["trim.txt"],
    },
    Shape {
        rule: "go-modules",
        place: "go-mod",
        entries: &["cache/lock", "cache/download/example.com/m/@v/list", "example.com/m@v1.0.0/m.go"],
        markers: &["cache"],
    },
    Shape {
        rule: "npm-cache",
        place: "npm",
        entries: &["_cacache/index-v5/d8/x", "_logs/debug-0.log"],
        markers: &["_cacache"],
    },
    Shape {
        rule: "yarn-cache",
        place: "yarn/v6",
        entries: &[".tmp/", "npm-is-odd-3.0.1-integrity/x"],
        markers: &[".tmp"],
    },
    Shape {
        rule: "pnpm-store",
        place: "store/v11",
        entries: &["files/b1/x", "index.db", "projects/"],
        markers: &["files"],
    },
    Shape { rule: "pip-cache", place: "pip", entries: &["wheels/83/f4/x.whl"], markers: &["wheels"] },
    Shape {
        rule: "uv-cache",
        place: "uv",
        entries: &["CACHEDIR.TAG", ".lock", "archive-v0/x/y", "wheels-v8/pypi/x"],
        markers: &["CACHEDIR.TAG"],
    },
    Shape {
        rule: "gradle-caches",
        place: "gradle/caches",
        entries: &["modules-2/x", "4.4.1/fileHashes/fileHashes.lock", "jars-3/y"],
        markers: &["modules-2"],
    },
];

/// The shipped rules, those that stand there as comments as well, each as a text of its own.
fn shipped() -> BTreeMap<String, toml::Table> {
    let mut rules = BTreeMap::new();
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rules/*.toml");
    for path in glob::glob(pattern.to_str().unwrap()).unwrap() {
        let text = std::fs::read_to_string(path.unwrap()).unwrap();
        let is_key = |line: &str| {
            line.starts_with("[[")
                || line.split(" = ").next().unwrap().chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let shown = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) && (rest.contains(" = ") || rest.starts_with('[')) => rest.to_owned(),
            _ => line.to_owned(),
        });
        let text: String = shown.map(|line| line + "\n").collect();
        let table: toml::Table = toml::from_str(&text).unwrap();
        for rule in table["cache"].as_array().unwrap() {
            let rule = rule.as_table().unwrap().clone();
            rules.insert(rule["name"].as_str().unwrap().to_owned(), rule);
        }
    }
    rules
}

/// Lays a shape down below `top`, with or without what declares it.
fn lay(shape: &Shape, top: &Path, is_declared: bool) {
    let markers: BTreeSet<&str> = shape.markers.iter().copied().collect();
    for entry in shape.entries {
        if !is_declared && markers.iter().any(|marker| Path::new(entry).starts_with(marker)) {
            continue;
        }
        let path = top.join(entry);
        create_dir_all(path.parent().unwrap()).unwrap();
        match entry.ends_with('/') {
            true => create_dir_all(&path).unwrap(),
            false => write(&path, if entry.ends_with("CACHEDIR.TAG") { TAG } else { "x" }).unwrap(),
        }
    }
    // So that there is a directory of the name in any case.
    create_dir_all(top).unwrap();
}

#[test]
fn a_cache_of_a_shipped_rule_is_deleted_by_age_and_kept_without_its_markers() {
    if !sees_everything() {
        return;
    }
    let mut rules = shipped();
    let tried: BTreeSet<&str> = IN_CHECKOUTS.iter().chain(&OUTSIDE).map(|shape| shape.rule).collect();
    assert_eq!(rules.keys().map(String::as_str).collect::<BTreeSet<_>>(), tried, "a shape for every rule");
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 20_000 });
    let caches = host.base.join("caches");
    create_dir_all(&caches).unwrap();
    set_permissions(&caches, PermissionsExt::from_mode(0o755)).unwrap();
    let runner = host.runner("actions-runner-1").build();
    let (mut goes, mut stays): (Vec<PathBuf>, Vec<PathBuf>) = Default::default();
    for shape in &IN_CHECKOUTS {
        for (repository, is_declared) in [("acme/with", true), ("acme/without", false)] {
            let place = runner.checkout(repository).join(shape.place);
            let top = place.parent().unwrap();
            lay(shape, top, is_declared);
            grow_old(top, LONG_AGO);
            if is_declared { goes.push(place) } else { stays.push(place) }
        }
    }
    for shape in &OUTSIDE {
        let places = ["with", "without"].map(|part| caches.join(part).join(shape.place));
        for (place, is_declared) in places.iter().zip([true, false]) {
            lay(shape, place, is_declared);
            grow_old(place, LONG_AGO);
        }
        // As Go leaves its modules.
        if shape.rule == "go-modules" {
            kit::Runner::make_read_only(&places[0].join("example.com"));
        }
        let rule = rules.get_mut(shape.rule).unwrap();
        let shown = rule["roots"][0].as_str().unwrap().to_owned();
        let (_, last) = shape.place.rsplit_once('/').unwrap_or(("", shape.place));
        let pattern = glob::Pattern::new(shown.rsplit('/').next().unwrap()).unwrap();
        assert!(pattern.matches(last), "{shown} is for {}", shape.place);
        let roots = places.iter().map(|place| toml::Value::String(place.to_str().unwrap().to_owned()));
        rule.insert("roots".into(), toml::Value::Array(roots.collect()));
        rule.contains_key("owner").then(|| rule.insert("owner".into(), "0".into()));
        let [with, without] = places;
        goes.push(with);
        stays.push(without);
    }
    let list: Vec<toml::Table> = rules.into_values().collect();
    let mut table = toml::Table::new();
    table.insert("cache".into(), toml::Value::Array(list.into_iter().map(toml::Value::Table).collect()));
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.extra = toml::to_string(&table).unwrap();
    });
    let canaries: Vec<Canary> = stays.iter().map(|tree| Canary::of(tree)).collect();
    let sweep = host.sweep();
    for place in &goes {
        assert_eq!(sweep.outcome(place), "removed", "{}: {:#}", place.display(), sweep.0);
        assert!(!place.exists(), "{}", place.display());
    }
    canaries.iter().for_each(Canary::assert_intact);
}
