//! The files in the fingerprint directory of a unit (cargo, `src/cargo/core/compiler/fingerprint`).
//!
//! `KIND` holds the fingerprint, 16 hexadecimal digits of a little-endian number; every build that contains the unit reads it, and no
//! other build does. `KIND.json` lists its inputs, including the fingerprints of its dependencies. `invoked.timestamp` is touched when the
//! compiler is started, `dep-KIND` and `output-KIND` hold dependencies and diagnostics.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The kind of a file in the fingerprint directory of a unit, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `KIND`.
    Fingerprint,
    /// `KIND.json`.
    Description,
    /// `invoked.timestamp`.
    Started,
    /// `dep-KIND`, `output-KIND`.
    Other,
}

/// See [`FileKind`].
pub fn file_kind(name: &[u8]) -> FileKind {
    match name {
        b"invoked.timestamp" => FileKind::Started,
        name if name.starts_with(b"dep-") || name.starts_with(b"output-") => FileKind::Other,
        name if name.ends_with(b".json") => FileKind::Description,
        _ => FileKind::Fingerprint,
    }
}

/// The content of `KIND.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Description {
    /// The fingerprints of the unit's dependencies, and what distinguishes its role: profile and platform.
    Understood {
        /// Fingerprints.
        needs: Vec<u64>,
        /// The profile's and the platform's hashes.
        profile: (u64, u64),
    },
    /// It is torn: not JSON.
    Torn,
    /// It is JSON of an unknown form: another version of cargo.
    Unknown,
}

#[derive(Deserialize)]
struct FingerprintFile {
    deps: Vec<(IgnoredAny, IgnoredAny, IgnoredAny, u64)>,
    profile: u64,
    #[serde(default)]
    compile_kind: u64,
}

/// Reads a `KIND.json`.
pub fn description(bytes: &[u8]) -> Description {
    match serde_json::from_slice::<FingerprintFile>(bytes) {
        Ok(written) => Description::Understood {
            needs: written.deps.iter().map(|dep| dep.3).collect(),
            profile: (written.profile, written.compile_kind),
        },
        Err(error) if error.is_data() => Description::Unknown,
        Err(_) => Description::Torn,
    }
}

/// Reads a `KIND`: the fingerprint. An empty file is one that cargo has invalidated.
pub fn hash(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() == 16)?;
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(number.swap_bytes())
}

/// The hash at the end of a unit's directory or artefact: `libserde-0123456789abcdef.rlib`.
pub fn suffix(name: &[u8]) -> Option<&str> {
    let end = name.windows(17).rposition(|window| {
        window[0] == b'-' && window[1..].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })?;
    let after = name.get(end + 17);
    let hash = &name[end + 1..end + 17];
    matches!(after, None | Some(b'.')).then(|| std::str::from_utf8(hash).ok())?
}

/// Whether a rule of a dependency file (`.d`) names sources of the workspace: none of a registry, a git checkout or a directory
/// of vendored crates. `None` when it names no source.
pub fn is_of_workspace(rule: &str) -> Option<bool> {
    let sources = rule.lines().next()?.split_once(": ")?.1.trim();
    let foreign = ["/registry/src/", "/git/checkouts/", "/vendor/", "vendor/"];
    (!sources.is_empty()).then(|| {
        !foreign.iter().any(|place| {
            if place.starts_with('/') { sources.contains(place) } else { sources.starts_with(place) }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_cargo_writes_them() {
        assert_eq!(hash(b"83c98e1fbf522804"), Some(299580356041820547));
        for torn in
            [&b""[..], b"83c98e1fbf52280", b"83C98E1FBF522804", b"+3c98e1fbf522804", b"83c98e1fbf522804\n"]
        {
            assert_eq!(hash(torn), None);
        }
        let json = br#"{"rustc":1,"features":"[]","target":2,"profile":3,"path":4,
            "deps":[[5037372466785579007,"itoa",false,17916204839278617707]],"local":[],"compile_kind":7}"#;
        let understood = Description::Understood { needs: vec![17916204839278617707], profile: (3, 7) };
        assert_eq!(description(json), understood);
        assert_eq!(description(&json[..40]), Description::Torn);
        assert_eq!(description(br#"{"deps":[{"hash":1}],"profile":3}"#), Description::Unknown);
    }

    #[test]
    fn files_of_a_unit_are_distinguished_by_their_names() {
        for (name, kind) in [
            ("lib-serde", FileKind::Fingerprint),
            ("run-build-script-build-script-build", FileKind::Fingerprint),
            ("lib-serde.json", FileKind::Description),
            ("dep-lib-serde", FileKind::Other),
            ("output-lib-serde", FileKind::Other),
            ("dep-lib.json", FileKind::Other),
            ("invoked.timestamp", FileKind::Started),
        ] {
            assert_eq!(file_kind(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn artefacts_name_their_unit_at_their_end() {
        for (name, hash) in [
            ("libserde-0123456789abcdef.rlib", Some("0123456789abcdef")),
            ("app-0123456789abcdef", Some("0123456789abcdef")),
            ("app-0123456789abcdef.app.1234-cgu.0.rcgu.o", Some("0123456789abcdef")),
            ("a-0123456789abcdef-fedcba9876543210.d", Some("fedcba9876543210")),
            ("app-0123456789abcdefx", None),
            ("app-0123456789ABCDEF", None),
            ("app", None),
        ] {
            assert_eq!(suffix(name.as_bytes()), hash, "{name}");
        }
    }

    #[test]
    fn the_workspaces_own_sources_are_distinguished_from_those_of_others() {
        assert_eq!(is_of_workspace("/t/debug/deps/p-1.d: src/main.rs\n"), Some(true));
        assert_eq!(is_of_workspace("x.d: /h/.cargo/registry/src/index-1/serde-1/src/lib.rs\n"), Some(false));
        assert_eq!(is_of_workspace("x.d: vendor/serde/src/lib.rs\n"), Some(false));
        assert_eq!(is_of_workspace("x.d: \n"), None);
        assert_eq!(is_of_workspace("garbage"), None);
    }
}
