//! `[[cache]]`: which rules are enabled, and the checks of each.

use super::{Problems, declared, raw, units};
use crate::model::{CacheRule, DirGlobs, PathGlob, Retention};
use std::collections::HashSet;
use std::ffi::OsStr;
use toml::Spanned;

use super::raw::CARGO;

/// The default rule and the file's own: one of the same name replaces it.
pub(super) fn with_defaults(own: Vec<Spanned<raw::Cache>>) -> Vec<Spanned<raw::Cache>> {
    let is_replaced = own.iter().any(|rule| rule.get_ref().name == CARGO);
    let default = (!is_replaced).then(|| Spanned::new(0..0, raw::Cache::default()));
    default.into_iter().chain(own).map(spelled_out).collect()
}

/// The rule with all its defaults, as the effective configuration shows it.
fn spelled_out(rule: Spanned<raw::Cache>) -> Spanned<raw::Cache> {
    let (span, mut rule) = (rule.span(), rule.into_inner());
    if !rule.is_declared() {
        rule.tagged_by.get_or_insert(if rule.by_cargos_tag() { "cargo".into() } else { String::new() });
        rule.dirs = Some(rule.dirs());
    }
    rule.trim.get_or_insert(if rule.name == CARGO { raw::Trim::Cargo } else { raw::Trim::Never });
    Spanned::new(span, rule)
}

/// Adds the problems of the rules.
pub(super) fn check(rules: &[Spanned<raw::Cache>], problems: &mut Problems<'_>) {
    let mut names = HashSet::new();
    for rule in rules {
        check_one(rule, problems);
        let name = &rule.get_ref().name;
        if !names.insert(name) {
            problems.add(rule, format_args!("cache.name: `{name}` is there twice, expected distinct names"));
        }
    }
}

fn single_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".."
}

fn check_one(cache: &Spanned<raw::Cache>, problems: &mut Problems<'_>) {
    let rule = cache.get_ref();
    if rule.name.is_empty() || !rule.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        problems.add(
            cache,
            format_args!("cache.name: found `{}`, expected letters, digits, `-`, `_`, `.`", rule.name),
        );
    }
    if Retention::NAMES.contains(&rule.name.as_str()) {
        problems.add(
            cache,
            format_args!("cache.name: found `{}`, expected another: [retention] uses that name", rule.name),
        );
    }
    if !(1..=16).contains(&rule.depth) {
        problems.add(cache, format_args!("cache.depth: found {}, expected 1 to 16", rule.depth));
    }
    markers(&rule.marker, problems);
    match rule.tagged_by.as_deref() {
        None | Some("" | "cargo") => {}
        Some(other) => problems.add(
            cache,
            format_args!("cache.tagged_by: found `{other}`, expected `cargo`, or `\"\"` for none"),
        ),
    }
    if rule.is_declared() {
        declared::check(cache, problems);
    } else {
        dirs(cache, problems);
        for (key, is_set) in [("owner", rule.owner.is_some()), ("runners", rule.runners.is_some())] {
            if is_set {
                problems.add(
                    cache,
                    format_args!("cache.{key}: found without cache.roots, expected it only beside `roots`"),
                );
            }
        }
    }
}

fn markers(marker: &Spanned<raw::Markers>, problems: &mut Problems<'_>) {
    if marker.get_ref().0.is_empty() {
        problems.add(marker, "cache.marker: found an empty list, expected at least one name");
    }
    for name in &marker.get_ref().0 {
        if !single_name(name.strip_prefix("../").unwrap_or(name)) {
            problems.add(
                marker,
                format_args!(
                    "cache.marker: found `{name}`, expected the name of a file or directory in the cache, or `../NAME` beside it"
                ),
            );
        }
    }
}

fn dirs(cache: &Spanned<raw::Cache>, problems: &mut Problems<'_>) {
    let list = cache.get_ref().dirs();
    if list.is_empty() {
        problems.add(cache, "cache.dirs: found an empty list, expected at least one directory name");
    }
    for dir in &list {
        if !single_name(dir) {
            problems.add(
                cache,
                format_args!(
                    "cache.dirs: found `{dir}`, expected a directory's name without `/`; directories outside of work directories are `roots`"
                ),
            );
            continue;
        }
        match DirGlobs::parse(&[dir]) {
            Err(error) => {
                problems.add(cache, format_args!("cache.dirs: `{dir}` is not a glob: {}", error.kind()));
            }
            Ok(glob) if matches_any_name(dir, &glob) => problems.add(
                cache,
                format_args!("cache.dirs: `{dir}` would match a checkout itself, expected a name"),
            ),
            Ok(_) => {}
        }
    }
    if let Err(error) = DirGlobs::parse(&list)
        && !matches!(error.glob(), Some(one) if list.iter().any(|dir| dir == one))
    {
        problems.add(cache, format_args!("cache.dirs: together they are too large: {}", error.kind()));
    }
}

/// Whether a glob leaves the name open: it matches names of one length that have nothing in common, as `*`, `?*` and `{a,*}` do.
fn matches_any_name(pattern: &str, glob: &DirGlobs) -> bool {
    // Most have a letter that every match must have. Compiling the others costs two dozen system calls, which no hook should.
    let has_choices = pattern.contains(['{', '[']);
    if !has_choices && pattern.contains(|c| !matches!(c, '*' | '?' | '\\')) {
        return false;
    }
    (1..=4)
        .any(|length| ["r", "0", "Z"].iter().all(|letter| glob.matches(OsStr::new(&letter.repeat(length)))))
}

/// Why what is read again here can be read.
const CHECKED: &str = "it has been checked";

impl From<raw::Cache> for CacheRule {
    fn from(raw: raw::Cache) -> Self {
        let age = |span: units::Span| Some(span.0).filter(|age| !age.is_zero());
        let trims = match raw.trim {
            Some(trim) => trim == raw::Trim::Cargo,
            None => raw.name == CARGO,
        };
        Self {
            dirs: DirGlobs::parse(&raw.dirs()).expect(CHECKED),
            by_cargos_tag: raw.by_cargos_tag(),
            roots: raw.roots().map(|root| PathGlob::parse(root).expect(CHECKED)).collect(),
            owner: raw.owner.map(Spanned::into_inner),
            runners: {
                let all = ["*".to_owned()];
                let globs = raw.runners.as_deref().unwrap_or(&all);
                globs.iter().map(|glob| glob::Pattern::new(glob).expect(CHECKED)).collect()
            },
            name: raw.name,
            depth: raw.depth,
            markers: raw.marker.into_inner().0,
            max_age: age(raw.max_age),
            max_size: Some(raw.max_size.0).filter(|size| *size > 0),
            trims,
            stale: age(raw.stale).filter(|_| trims),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn rules(text: &str) -> Vec<String> {
        Config::parse(text).unwrap().caches.into_iter().map(|rule| rule.name).collect()
    }

    #[test]
    fn an_own_rule_adds_to_the_default_and_one_of_its_name_replaces_it() {
        let npm = "[[cache]]\nname = \"npm\"\ndirs = [\"node_modules\"]\nmarker = \".package-lock.json\"\n";
        assert_eq!(rules(""), ["cargo-target"]);
        assert_eq!(rules(npm), ["cargo-target", "npm"]);
        let replaced = Config::parse("[[cache]]\nname = \"cargo-target\"\nmax_size = \"1GiB\"\n").unwrap();
        assert_eq!(replaced.caches.len(), 1);
        assert_eq!(replaced.caches[0].max_size, Some(1 << 30));
        assert!(replaced.caches[0].by_cargos_tag, "what is not said is as in the default");
        assert!(replaced.switched_off.is_empty());
    }

    #[test]
    fn a_disabled_rule_is_reported() {
        let off = "[[cache]]\nname = \"cargo-target\"\nenabled = false\n";
        assert_eq!(rules(off), [""; 0]);
        let config = Config::parse(off).unwrap();
        assert_eq!(config.switched_off, ["cargo-target"]);
        let again = Config::parse(&config.effective()).unwrap();
        assert_eq!((again.caches.len(), again.switched_off.len()), (0, 1));
    }

    #[test]
    fn a_marker_is_a_name_one_beside_or_one_of_several() {
        let markers = |value: &str| {
            let text = format!("[[cache]]\nname = \"m\"\ndirs = [\"target\"]\nmarker = {value}\n");
            Config::parse(&text).map(|config| config.caches[1].markers.clone())
        };
        assert_eq!(markers("\"maven-status\"").unwrap(), ["maven-status"]);
        assert_eq!(markers("[\"../pom.xml\", \"x\"]").unwrap(), ["../pom.xml", "x"]);
        for bad in ["\"\"", "[]", "\"../\"", "\"..\"", "\"../..\"", "\"../../x\"", "\"/etc\"", "\"a/b\"", "7"]
        {
            let said = markers(bad).expect_err(bad).to_string();
            assert!(said.contains("line 4") && said.contains("marker"), "{bad}: {said}");
        }
    }
}
