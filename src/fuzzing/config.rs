use crate::config::Config;
use crate::config::units::{Percent, Size, Span};
use crate::ledger::when;
use crate::model::DirGlobs;
use std::fmt::{Debug, Display};
use std::path::{Component, Path};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// An accepted configuration is valid, and its effective form parses to the same one; a refusal has a message.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(&text) {
        Err(problems) => assert!(!problems.to_string().trim().is_empty(), "a refusal without a reason"),
        Ok(config) => {
            is_valid(&config);
            let effective = config.effective();
            let again = Config::parse(&effective).unwrap_or_else(|error| panic!("{error}\n{effective}"));
            assert_eq!(values(&again), values(&config), "{effective}");
            assert_eq!(again.effective(), effective);
        }
    }
}

fn is_valid(config: &Config) {
    let marks = &config.watermarks;
    assert!(marks.low < marks.high && marks.high <= marks.critical && marks.critical.get() <= 100);
    assert!(marks.min_free_inodes.get() <= 100);
    assert!(!config.runners.roots.is_empty());
    for root in &config.runners.roots {
        let root = root.text();
        assert!(root.starts_with('/'), "{root}");
        assert!(!Path::new(root).components().any(|part| part == Component::ParentDir), "{root}");
    }
    for rule in &config.caches {
        assert_ne!(rule.dirs.is_empty(), rule.roots.is_empty());
        assert!((1..=16).contains(&rule.depth) && !rule.markers.is_empty());
        for name in rule.dirs.texts().chain(rule.markers.iter().map(String::as_str)) {
            let name = name.strip_prefix("../").unwrap_or(name);
            assert!(!name.is_empty() && !name.contains('/') && name != "." && name != "..", "{name}");
        }
        for root in &rule.roots {
            let root = root.text();
            assert!(root.starts_with('/'), "{root}");
            assert!(!root.split('/').any(|part| part == ".."), "{root}");
        }
        for dir in rule.dirs.texts() {
            let globs = DirGlobs::parse(&[dir]).expect("a valid glob");
            assert!(!["r", "0", "Z"].iter().all(|name| globs.matches(name.as_ref())), "{dir}");
        }
        assert_ne!((rule.max_age, rule.max_size), (Some(Duration::ZERO), Some(0)));
    }
    assert!(!config.hook.lock_wait.is_zero() && !config.hook.time_limit.is_zero());
    let paths = &config.paths;
    for path in [&paths.run_dir, &paths.state_dir, &paths.proc].into_iter().chain(&paths.programs) {
        assert!(path.is_absolute(), "{}", path.display());
    }
    assert!(config.metrics_textfile.as_ref().is_none_or(|path| path.is_absolute()));
}

/// Everything that the program reads from a configuration.
fn values(config: &Config) -> String {
    let Config { watermarks, runners, siblings, caches, hook, paths, drain_auto, metrics_textfile, .. } =
        config;
    format!(
        "{watermarks:?}{runners:?}{siblings:?}{caches:?}{hook:?}{paths:?}{drain_auto}{metrics_textfile:?}"
    )
}

/// A value with units is printed and parsed to the same value; a time is never before 1970.
pub fn units(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    is_stable::<Percent>(&text);
    is_stable::<Size>(&text);
    is_stable::<Span>(&text);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_634_310);
    if let Err(error) = when::parse(&text, now) {
        assert!(error.to_string().contains(when::FORMS), "{error}");
    }
    let _ = when::span(&text);
}

fn is_stable<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        assert_eq!(printed.parse::<T>().ok(), Some(value), "{text:?} is printed as {printed:?}");
    }
}
