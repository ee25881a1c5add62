//! `roots` of a `[[cache]]`: directories outside of work directories that an administrator declares to be caches.
//!
//! Root deletes the matches of such a glob, so it has to be narrow: absolute, below a named directory, in one home at most, and not in a
//! directory of the system. Whether other users can write on the path is checked on disk ([`crate::observe::declared`]).

use super::{Problems, line_at, raw};
use crate::model::PathGlob;
use std::path::Path;
use toml::Spanned;

/// Directories at the top whose content is the system's.
const SYSTEM: [&str; 12] =
    ["bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr"];

/// Directories of programs that only those programs may delete from.
const STORES: [&str; 10] = [
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/systemd",
];

/// Adds the problems of a rule's `roots` and of the keys that belong to them.
pub(super) fn check(cache: &Spanned<raw::Cache>, problems: &mut Problems<'_>) {
    let rule = cache.get_ref();
    let roots = rule.roots.as_deref().unwrap_or_default();
    if roots.is_empty() {
        problems.add(cache, "cache.roots: found an empty list, expected at least one absolute glob");
    }
    for root in roots {
        let pattern = root.get_ref();
        if let Some(expected) = fault(pattern, rule.owner.as_ref().map(|owner| owner.get_ref().as_str())) {
            problems.add(root, format_args!("cache.roots: found `{pattern}`, expected {expected}"));
        }
    }
    for (key, is_set) in [("dirs", rule.dirs.is_some()), ("tagged_by", rule.tagged_by.is_some())] {
        if is_set {
            problems.add(
                cache,
                format_args!("cache.{key}: found beside cache.roots, which name the directories themselves"),
            );
        }
    }
    if let Some(owner) = rule.owner.as_ref().filter(|owner| owner.get_ref().is_empty()) {
        problems.add(owner, "cache.owner: found an empty text, expected a user's name or number");
    }
    for name in rule.runners.iter().flatten() {
        if let Err(error) = glob::Pattern::new(name) {
            problems.add(cache, format_args!("cache.runners: `{name}` is not a glob: {error}"));
        }
    }
}

/// The lines of values that can only be checked on the host.
pub(super) fn lines(
    caches: &[Spanned<raw::Cache>],
    text: &str,
) -> Vec<(String, &'static str, String, usize)> {
    let mut lines = Vec::new();
    for rule in caches.iter().map(Spanned::get_ref) {
        let roots = rule.roots.iter().flatten().map(|root| ("roots", root));
        for (key, value) in roots.chain(rule.owner.as_ref().map(|owner| ("owner", owner))) {
            let line = line_at(text, value.span().start);
            lines.push((rule.name.clone(), key, value.get_ref().clone(), line));
        }
    }
    lines
}

fn is_open(part: &str) -> bool {
    part.contains(['*', '?', '[', ']'])
}

/// The expected form, if a glob is too wide.
fn fault(pattern: &str, owner: Option<&str>) -> Option<String> {
    let Some(rest) = pattern.strip_prefix('/') else { return Some("an absolute glob".into()) };
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || part.contains('\0')) {
        return Some("a path below the file system's root, without `..`, `.` and empty names".into());
    }
    if parts.iter().any(|part| part.contains("**")) {
        return Some("no `**`: the depth of the directories must be fixed".into());
    }
    if let Err(error) = PathGlob::parse(pattern) {
        return Some(format!("a glob: {error}"));
    }
    if pattern.replace("[{]", "").contains('{') {
        return Some("one glob for each directory: braces mean nothing here (`[{]` is a brace)".into());
    }
    if parts.len() < 2 || is_open(parts[0]) {
        return Some("a path at least two levels deep that begins with a directory's name".into());
    }
    if SYSTEM.contains(&parts[0]) {
        return Some(format!("nothing in /{}, which is the system's", parts[0]));
    }
    if let Some(store) = STORES.into_iter().find(|store| Path::new(pattern).starts_with(store)) {
        return Some(format!("nothing in {store}: only its own program may delete there"));
    }
    // A glob must not choose among the programs that own directories in /var and /var/lib.
    let named = match parts[..] {
        ["var", "lib" | "cache" | "opt" | "local" | "tmp", ..] => 2,
        ["var", ..] => 1,
        _ => 0,
    };
    if named > 0 && parts.get(named).is_none_or(|part| is_open(part)) {
        return Some(format!("a directory of its own, named, in /{}", parts[..named].join("/")));
    }
    if parts[0] == "home" && (is_open(parts[1]) || parts.len() < 3) {
        return Some("one user's home, named, and a directory in it: it crosses a home".into());
    }
    if matches!(parts[0], "home" | "root") && owner.is_none() {
        return Some("`owner` with it: it crosses a home".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::model::PathGlob;

    fn parse(roots: &str, more: &str) -> Result<Config, String> {
        Config::parse(&format!("[[cache]]\nname = \"runs\"\n{more}\nroots = [\"{roots}\"]\n"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_root_that_is_too_wide_is_refused_with_its_key_and_line_and_a_narrow_one_is_taken() {
        for bad in [
            "/",
            "targets/*",
            "./x",
            "/mnt/../etc/x",
            "/mnt//x",
            "/mnt/x/",
            "/mnt",
            "/*/targets",
            "/m[n]t/targets",
            "/mnt/**",
            "/mnt/[",
            "/usr/lib/*",
            "/proc/1",
            "/run/x/y",
            "/srv/{a,b}/c",
            "/var/*",
            "/var/lib",
            "/var/lib/*",
            "/var/cache/c*/x",
            "/var/lib/docker/overlay2/*",
            "/var/lib/containerd",
            "/home",
            "/home/ci",
            "/home/*/target",
            "/home/c?/target",
            "/home/ci/target-*",
            "/root/target",
        ] {
            let said = parse(bad, "").expect_err(bad).to_string();
            assert!(said.contains("line 4: cache.roots: found `"), "{bad}: {said}");
        }
        for (good, more) in [
            ("/mnt/nvme/targets/*/*/*", ""),
            ("/srv/targets", ""),
            ("/var/lib/ci/targets/*", ""),
            ("/var/cache/ccache", ""),
            ("/var/lib/docker-targets/*", ""),
            ("/srv/a[{]b/*", ""),
            ("/home/ci/target-*", "owner = \"ci\""),
            ("/root/target", "owner = \"root\""),
        ] {
            let config = parse(good, more).unwrap();
            assert_eq!(config.caches[1].roots, [PathGlob::parse(good).unwrap()]);
            assert!(config.caches[1].dirs.is_empty() && !config.caches[1].by_cargos_tag);
            assert_eq!(config.caches[1].runners, [glob::Pattern::new("*").unwrap()]);
        }
    }

    #[test]
    fn contradictory_keys_are_refused() {
        for (more, key) in [
            ("dirs = [\"target\"]", "cache.dirs"),
            ("tagged_by = \"cargo\"", "cache.tagged_by"),
            ("owner = \"\"", "cache.owner"),
            ("runners = [\"[\"]", "cache.runners"),
        ] {
            let said = parse("/mnt/targets/*", more).expect_err(more);
            assert!(said.contains(key), "{more}: {said}");
        }
        let said = Config::parse("[[cache]]\nname = \"x\"\nowner = \"ci\"\n").unwrap_err().to_string();
        assert!(said.contains("cache.owner"), "{said}");
    }
}
