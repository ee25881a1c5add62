use crate::observe::cargo_target::fingerprint::{Description, description, hash, is_of_workspace, suffix};

/// Files of cargo about a unit: a description that cannot be parsed is torn or unknown and never used in part; a written fingerprint is
/// read back equal; a unit's hash is the last one in its name.
pub fn cargo_unit(bytes: &[u8]) {
    if let Description::Understood { needs, .. } = description(bytes) {
        assert!(needs.len() <= bytes.len() / 4, "more dependencies than there is text");
    }
    if let Some(number) = hash(bytes) {
        assert_eq!(format!("{:016x}", number.swap_bytes()).as_bytes(), bytes);
    }
    if let Some(hash) = suffix(bytes) {
        let at =
            bytes.windows(16).rposition(|window| window == hash.as_bytes()).expect("it is part of the name");
        assert!(bytes[at - 1] == b'-' && matches!(bytes.get(at + 16), None | Some(b'.')));
    }
    let text = String::from_utf8_lossy(bytes);
    let dependency =
        format!("x.d: /h/registry/src/i/a/src/lib.rs {}", text.lines().next().unwrap_or_default());
    assert_eq!(is_of_workspace(&dependency), Some(false), "whatever else it names");
    let _ = is_of_workspace(&text);
}
