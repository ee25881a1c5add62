//! The values that are read even from an invalid configuration: where leases are, because jobs start nevertheless and other guards look for
//! their leases there; and `[notify]`, because the administrator has to learn that no sweep can run.

use super::{Config, ConfigError, Paths, check_ownership};
use crate::sys::reach;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

impl Paths {
    /// The paths in a configuration that may be invalid otherwise; the defaults if it has none, cannot be read, or must not be trusted.
    pub fn salvaged_from(path: &Path) -> Self {
        read(path).map_or_else(|| Config::default().paths, |text| Self::salvaged(&text))
    }

    fn salvaged(text: &str) -> Self {
        let mut paths = Config::default().paths;
        let table = toml::from_str::<toml::Table>(text);
        let named = |key: &str| match &table {
            Ok(table) => absolute(table.get("paths")?.get(key)?),
            // One broken line must not take the others with it.
            Err(_) => text
                .lines()
                .filter_map(|line| absolute(toml::from_str::<toml::Table>(line).ok()?.get(key)?))
                .next_back(),
        };
        for (key, path) in
            [("run_dir", &mut paths.run_dir), ("state_dir", &mut paths.state_dir), ("proc", &mut paths.proc)]
        {
            if let Some(named) = named(key) {
                *path = named;
            }
        }
        paths
    }
}

impl Config {
    /// The defaults with `[notify]` and `[paths]` of a configuration that is invalid elsewhere; none if these sections cannot be used.
    pub fn salvaged_for_notify(path: &Path) -> Option<Self> {
        let text = read(path)?;
        let with_paths = sections(&text, &["notify", "paths"]);
        let config = Self::parse(&with_paths).or_else(|_| Self::parse(&sections(&text, &["notify"]))).ok()?;
        (!config.notify.command.is_empty()).then_some(config)
    }
}

/// The lines of these tables: between their header and the next one.
fn sections(text: &str, names: &[&str]) -> String {
    let mut is_in = false;
    let mut out = String::new();
    for line in text.lines() {
        if let Some(header) = line.trim().strip_prefix('[') {
            is_in =
                names.iter().any(|name| header.strip_prefix(name).is_some_and(|rest| rest.starts_with(']')));
        }
        if is_in {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

impl ConfigError {
    /// The problem in one line for a job's log: without the drawing that shows a person the place.
    pub fn in_one_line(&self) -> String {
        let text = self.to_string();
        let mut words: Vec<String> = Vec::new();
        let mut place = None;
        for line in text.lines().map(str::trim) {
            if let Some(at) = line.strip_prefix("TOML parse error at ") {
                place = at.split(',').next().map(str::to_owned);
            } else if let Some((number, _)) = line.split_once('|')
                && place.is_some()
                && number.trim().chars().all(|digit| digit.is_ascii_digit())
            {
            } else if let Some(place) = place.take() {
                words.push(format!("{place}: {line}"));
            } else {
                words.push(line.to_owned());
            }
        }
        let mut words = words.into_iter();
        let first = words.next().unwrap_or_default();
        let rest: Vec<String> = words.collect();
        if rest.is_empty() { first } else { format!("{first} {}", rest.join("; ")) }
    }
}

fn absolute(value: &toml::Value) -> Option<PathBuf> {
    value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
}

fn read(path: &Path) -> Option<String> {
    reach::check_way(path).ok()?;
    let file = std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file()
        || crate::sys::process::is_root() && check_ownership("", metadata.uid(), metadata.mode()).is_err()
    {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(super::MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_a_broken_file_are_those_that_it_names() {
        let valid = "[paths]\nrun_dir = \"/a/run\"\nproc = \"/a/proc\"\n";
        for text in [
            valid.to_owned(),
            format!("[pressure]\nhihg = 5\n{valid}"),
            format!("[pressure]\nhigh = \"85%\n{valid}"),
            format!("{valid}[hook\n"),
        ] {
            let paths = Paths::salvaged(&text);
            assert_eq!(paths.run_dir, Path::new("/a/run"), "{text}");
            assert_eq!(paths.proc, Path::new("/a/proc"), "{text}");
            assert_eq!(paths.state_dir, Config::default().paths.state_dir, "{text}");
        }
    }

    #[test]
    fn the_notification_program_is_read_from_a_file_with_errors_elsewhere() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("config.toml");
        let notify = "[notify]\ncommand = [\"/bin/tell\", \"x\"]\nrepeat = \"2h\"\n";
        for wrong in ["[pressure]\nhihg = 5\n", "[pressure\nhigh = \"85%\n", "[paths]\nproc = \"here\"\n"] {
            for text in [format!("{wrong}{notify}"), format!("{notify}{wrong}")] {
                std::fs::write(&file, &text).unwrap();
                assert!(Config::parse(&text).is_err(), "{text}");
                let config = Config::salvaged_for_notify(&file).expect(&text);
                assert_eq!(config.notify.command, ["/bin/tell", "x"], "{text}");
                assert_eq!(config.notify.repeat.as_secs(), 7200);
            }
        }
        for text in ["[pressure]\nhihg = 5\n", "[notify]\ncommand = [\"tell\"]\n", "[notify]\ncommand = [\n"]
        {
            std::fs::write(&file, text).unwrap();
            assert!(Config::salvaged_for_notify(&file).is_none(), "{text}");
        }
    }

    #[test]
    fn an_invalid_path_leaves_the_default() {
        for text in ["", "[paths]\nrun_dir = 5\n", "[paths]\nrun_dir = \"here\"\n", "\0\u{1}"] {
            assert_eq!(Paths::salvaged(text).run_dir, Config::default().paths.run_dir, "{text:?}");
        }
        assert_eq!(Paths::salvaged_from(Path::new("/nonexistent")).run_dir, Config::default().paths.run_dir);
    }

    #[test]
    fn an_error_fits_in_one_line() {
        let line = |text: &str| {
            let problems = Config::parse(text).expect_err("it is not valid").to_string();
            ConfigError::Invalid { path: "/c".into(), problems }.in_one_line()
        };
        let invalid = "the configuration /c is not valid: ";
        let begins = |text: &str, with: &str| {
            let line = line(text);
            assert!(line.starts_with(&format!("{invalid}{with}")), "{line}");
            assert!(!line.contains(['\n', '^']) && !line.contains(" | "), "{line}");
        };
        begins("[pressure]\nhihg = 5\n", "line 2: unknown field `hihg`, expected one of `high`");
        begins("\n[pressure]\nhigh = \"x\"\n", "line 3: found `x`, expected a whole percentage");
        begins("[pressure\n", "line 1: unclosed table");
        begins("[pressure]\nlow = \"90%\"\ncritical = \"5%\"\n", "line 2: pressure.low: found 90%");
    }
}
