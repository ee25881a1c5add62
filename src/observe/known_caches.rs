//! The caches of well-known tools: their form, and the variable that tells each tool where its own is. Only for remarks: a rule is
//! suggested by it, and nothing is deleted by it. Maven's local repository is not one: packages that `mvn install` has put there cannot be
//! downloaded again.
//!
//! Taken from trees that the tools have made; `packaging/rules` lists the versions.

use super::caches::has_any_marker;
use crate::sys::dir::Dir;
use std::path::{Path, PathBuf};

/// The marker that a rule does not need to name: the default.
const TAG: &str = "CACHEDIR.TAG";

/// A tool's cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownCache {
    /// A name for a rule.
    pub(super) name: &'static str,
    /// The variables that hold its place.
    variables: &'static [&'static str],
    /// The directory below that is the cache; empty: that directory itself.
    below: &'static str,
    /// Its marker.
    markers: &'static [&'static str],
}

const fn kind(
    name: &'static str,
    variables: &'static [&'static str],
    below: &'static str,
    markers: &'static [&'static str],
) -> KnownCache {
    KnownCache { name, variables, below, markers }
}

/// The default first: for directories without any other known kind, cargo's or tagged.
const KINDS: [KnownCache; 12] = [
    kind(
        "cargo-targets",
        &["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR"],
        "",
        &[TAG],
    ),
    kind("cargo-registry", &["CARGO_HOME"], "registry", &[TAG]),
    kind("ccache", &["CCACHE_DIR"], "", &["ccache.conf", "tmp"]),
    kind("sccache", &["SCCACHE_DIR"], "", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"]),
    kind("go-build", &["GOCACHE"], "", &["trim.txt", "00"]),
    kind("go-modules", &["GOMODCACHE"], "", &["cache"]),
    kind("npm-cache", &["npm_config_cache", "NPM_CONFIG_CACHE"], "", &["_cacache"]),
    kind("pnpm-store", &["npm_config_store_dir", "NPM_CONFIG_STORE_DIR"], "", &["v3", "v10", "v11"]),
    kind("yarn-cache", &["YARN_CACHE_FOLDER"], "", &["v6", ".tmp"]),
    kind("pip-cache", &["PIP_CACHE_DIR"], "", &["http-v2", "http", "wheels", "selfcheck"]),
    kind("uv-cache", &["UV_CACHE_DIR"], "", &[TAG]),
    kind("gradle-caches", &["GRADLE_USER_HOME"], "caches", &[TAG, "modules-2", "jars-3", "jars-9"]),
];

impl KnownCache {
    /// The kind of directories without any other known kind.
    pub(super) fn default() -> &'static Self {
        &KINDS[0]
    }

    /// The markers that a rule has to name; empty where the default suffices.
    pub(super) fn marker_key(&self) -> String {
        match self.markers {
            [TAG] => String::new(),
            [one] => format!("marker = \"{one}\", "),
            several => format!("marker = {several:?}, "),
        }
    }
}

/// All variables that hold the place of a cache.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|kind| kind.variables.iter().copied())
}

/// The cache and kind that a variable of this value names.
pub(super) fn named_by(variable: &str, value: &Path) -> Option<(PathBuf, &'static KnownCache)> {
    let kind = KINDS.iter().find(|kind| kind.variables.contains(&variable))?;
    let path = if kind.below.is_empty() { value.to_owned() } else { value.join(kind.below) };
    Some((path, kind))
}

/// The kind by a directory's tag, or by its name and marker. The directory was mounted or linked to and may be anything, so a marker that
/// any directory could have counts only with the tool's name in the path.
pub(super) fn recognise(path: &Path, dir: &Dir) -> Option<&'static KnownCache> {
    let bears = |kind: &KnownCache| {
        let markers: Vec<String> = kind.markers.iter().map(|&marker| marker.to_owned()).collect();
        has_any_marker(dir, dir, &markers).unwrap_or(false)
    };
    if bears(KnownCache::default()) {
        return Some(KnownCache::default());
    }
    let names = path.to_string_lossy().to_ascii_lowercase();
    let is_named = |kind: &&KnownCache| kind.name.split('-').all(|word| names.contains(word));
    KINDS[1..].iter().filter(is_named).find(|kind| bears(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_cache_and_what_declares_it() {
        let named = |variable: &str, value: &str| {
            named_by(variable, Path::new(value)).map(|(path, kind)| (path, kind.marker_key()))
        };
        assert_eq!(named("CARGO_TARGET_DIR", "/t"), Some(("/t".into(), String::new())));
        assert_eq!(named("CARGO_HOME", "/c"), Some(("/c/registry".into(), String::new())));
        assert_eq!(named("GOMODCACHE", "/g"), Some(("/g".into(), "marker = \"cache\", ".into())));
        let ccache = Some(("/c".into(), "marker = [\"ccache.conf\", \"tmp\"], ".into()));
        assert_eq!(named("CCACHE_DIR", "/c"), ccache);
        assert_eq!(named("PATH", "/bin"), None);
    }

    #[test]
    fn a_directory_is_recognised_by_its_tag_or_by_a_name_and_a_marker() {
        let temp = tempfile::tempdir().unwrap();
        let (_, base) = Dir::resolve(temp.path()).unwrap();
        let kind = |below: &str, marker: &str| {
            let path = base.join(below);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(marker), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
            recognise(&path, &Dir::open(&path).unwrap()).map(|kind| kind.name)
        };
        assert_eq!(kind("anything", TAG), Some("cargo-targets"));
        assert_eq!(kind("ccache", "ccache.conf"), Some("ccache"));
        assert_eq!(kind("npm-cache", "_cacache"), Some("npm-cache"));
        assert_eq!(kind("data", "cache"), None, "any directory may hold one of that name");
        assert_eq!(kind("go/mod/modules", "x"), None);
    }
}
