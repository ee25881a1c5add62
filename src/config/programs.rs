//! `runners.programs`: where packages keep the runner's programs.

use super::Problems;
use crate::actions_runner::layout;
use crate::model::PathGlob;
use toml::Spanned;

/// Nothing is installed there.
const NO_PACKAGES: [&str; 4] = ["run", "proc", "sys", "dev"];

/// The globs in the list, without those that are wrong.
pub(super) fn read(programs: &[Spanned<String>], problems: &mut Problems<'_>) -> Vec<PathGlob> {
    let mut globs = Vec::new();
    for glob in programs {
        let found = glob.get_ref();
        match parse(found) {
            Ok(parsed) => globs.push(parsed),
            Err(expected) => {
                problems.add(glob, format_args!("runners.programs: found `{found}`, expected {expected}"));
            }
        }
    }
    globs
}

/// # Errors
/// What is expected instead.
fn parse(pattern: &str) -> Result<PathGlob, String> {
    let Some(rest) = pattern.strip_prefix('/') else {
        return Err("an absolute glob of directories".to_owned());
    };
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("an absolute glob without `..`, `.` and empty parts".to_owned());
    }
    if parts.contains(&"**") {
        return Err("each directory on the way, named or `*`: `**` is anywhere".to_owned());
    }
    if parts.len() < 2 || parts[0].contains(['*', '?', '[']) {
        return Err("a directory below one of the root's, which is named".to_owned());
    }
    if let Some(name) = parts.last().filter(|name| [layout::LISTENER, layout::WORKER].contains(name)) {
        return Err(format!("the directory that holds {name}"));
    }
    let is_in = |place: &&&str| rest.strip_prefix(**place).is_some_and(|rest| rest.starts_with('/'));
    if let Some(place) = NO_PACKAGES.iter().find(is_in) {
        return Err(format!("nothing in /{place}, where no package keeps programs"));
    }
    PathGlob::parse(pattern).map_err(|error| format!("a glob: {error}"))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn an_invalid_package_directory_is_refused_with_its_key_and_line() {
        for bad in [
            "",
            "/",
            "lib/x",
            "/nix",
            "/*/store/x",
            "/nix/../x",
            "/nix/./x",
            "/nix//store",
            "/nix/store/",
            "/nix/**/lib",
            "/nix/store/[",
            "/nix/store/*/Runner.Listener",
            "/nix/store/*/Runner.Worker",
            "/run/current-system/x",
            "/proc/1/root",
            "/dev/shm/x",
        ] {
            let said = Config::parse(&format!("[runners]\nprograms = [\"/usr/lib/runner\", {bad:?}]\n"))
                .expect_err(bad)
                .to_string();
            assert!(said.contains("line 2: runners.programs: found `"), "{bad}: {said}");
            assert_eq!(said.lines().count(), 1, "{bad}: {said}");
        }
        for good in
            ["/nix/store/*-github-runner-*/lib/github-runner", "/usr/lib/github-runner", "/opt/r[12]/bin"]
        {
            let config = Config::parse(&format!("[runners]\nprograms = [{good:?}]\n")).unwrap();
            assert_eq!(config.runners.programs[0].text(), good);
            assert_eq!(Config::parse(&config.effective()).unwrap().runners.programs[0].text(), good);
        }
        assert!(Config::parse("[runners]\nprograms = \"/usr/lib/x\"\n").is_err());
    }
}
