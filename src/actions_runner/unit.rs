//! The names of systemd units that `svc.sh install` creates: `actions.runner.<org-repo>.<agent>.service`.

const PREFIX: &str = "actions.runner.";
const SUFFIX: &str = ".service";

/// Whether a file or a control group has a name of such a unit's shape.
pub fn is_named_so(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
}

/// Whether this is the name of such a unit, in valid characters of unit names: safe to pass to `systemctl`.
pub fn is_valid(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:\\@".contains(c);
    name.len() <= 255 && is_named_so(name.as_bytes()) && name.chars().all(plain)
}
