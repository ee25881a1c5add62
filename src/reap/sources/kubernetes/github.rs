//! GitHub's own list of runners, as `gh api --paginate` leaves it in a file.
//!
//! `GET /orgs/ORG/actions/runners` comes in pages. One document, documents one after the other (`--paginate`) and an array of documents
//! (`--paginate --slurp`) are all read. It counts only while it is recent and complete: every page names the same total, and there are as
//! many different runners.

use super::super::{SourceError, not_understood};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// An older snapshot shows other jobs.
const MAX_AGE: Duration = Duration::from_secs(900);

/// Clocks of hosts that share a disk differ by this much; a file from further in the future would never become old.
const AHEAD: Duration = Duration::from_secs(60);

const MAX_BYTES: u64 = 64 << 20;

/// The list, whole.
pub(super) struct Github {
    runners: Vec<GithubRunner>,
}

/// GitHub's state of one runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has a job.
    Busy,
    /// It has none.
    Free {
        /// It is connected, and could be given one.
        is_offline: bool,
    },
    /// The list does not name it.
    Absent,
}

#[derive(Deserialize)]
struct Page {
    total_count: usize,
    runners: Vec<GithubRunner>,
}

#[derive(Deserialize)]
struct GithubRunner {
    id: Option<u64>,
    name: String,
    status: String,
    busy: bool,
}

impl Github {
    pub(super) fn read(path: &Path, now: SystemTime) -> Result<Self, SourceError> {
        let unusable = |why: String| SourceError::Snapshot { path: path.display().to_string(), why };
        let options = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = std::fs::OpenOptions::new().read(true).custom_flags(options).open(path);
        let file = file.map_err(|error| unusable(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| unusable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unusable("it is no file".to_owned()));
        }
        // A user who can write it can have any runner deleted.
        let is_root = crate::sys::process::is_root();
        if is_root && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0) {
            let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
            return Err(unusable(format!(
                "it is of uid {uid} with mode {mode:04o}, expected a file that root alone can write: fetch it as root"
            )));
        }
        let written = metadata.modified().map_err(|error| unusable(error.to_string()))?;
        if now.duration_since(written).unwrap_or_default() > MAX_AGE {
            let minutes = MAX_AGE.as_secs() / 60;
            return Err(unusable(format!(
                "it was written more than {minutes} min ago: fetch it before each run"
            )));
        }
        if written.duration_since(now).unwrap_or_default() > AHEAD {
            return Err(unusable(
                "its modification time is in the future: set the clock, and fetch it again".to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
        Self::parse(&bytes).map_err(|error| match error {
            SourceError::Partial(why) => unusable(why),
            other => unusable(other.to_string()),
        })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SourceError> {
        let mut pages = Vec::new();
        for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
            match document.map_err(|error| not_understood("the snapshot", error))? {
                Value::Array(several) => pages.extend(several),
                one => pages.push(one),
            }
        }
        let pages: Vec<Page> = pages
            .into_iter()
            .map(|page| serde_json::from_value(page).map_err(|error| not_understood("the snapshot", error)))
            .collect::<Result<_, _>>()?;
        let Some(total) = pages.first().map(|page| page.total_count) else {
            return Err(SourceError::Partial("it is empty".to_owned()));
        };
        if let Some(other) = pages.iter().map(|page| page.total_count).find(|count| *count != total) {
            return Err(SourceError::Partial(format!(
                "its pages count {total} and {other} runners: the list changed while it was fetched; fetch it again"
            )));
        }
        let runners: Vec<GithubRunner> = pages.into_iter().flat_map(|page| page.runners).collect();
        let distinct: HashSet<(Option<u64>, &str)> = runners
            .iter()
            .map(|runner| (runner.id, if runner.id.is_some() { "" } else { runner.name.as_str() }))
            .collect();
        if distinct.len() != total {
            let has = distinct.len();
            return Err(SourceError::Partial(format!(
                "it contains {has} of {total} runners: write all pages to it (gh api --paginate)"
            )));
        }
        Ok(Self { runners })
    }

    /// The state of the runner with one of these names. If two entries have the name, both must agree.
    pub(super) fn word(&self, names: &[&str]) -> Word {
        let mut found = self.runners.iter().filter(|runner| names.contains(&runner.name.as_str())).peekable();
        if found.peek().is_none() {
            return Word::Absent;
        }
        let (mut is_busy, mut is_offline) = (false, true);
        for runner in found {
            is_busy |= runner.busy;
            is_offline &= runner.status == "offline";
        }
        if is_busy { Word::Busy } else { Word::Free { is_offline } }
    }

    /// Why it prevents the deletion of a runner for which nothing else is asked.
    pub(super) fn claim(&self, names: &[&str]) -> Option<String> {
        match self.word(names) {
            Word::Busy => Some(Word::BUSY.to_owned()),
            Word::Free { is_offline: false } => Some("GitHub lists it as online".to_owned()),
            Word::Free { is_offline: true } | Word::Absent => None,
        }
    }
}

impl Word {
    pub(super) const BUSY: &'static str = "GitHub lists it as busy";
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runner(id: u64, name: &str, status: &str, busy: bool) -> Value {
        json!({"id": id, "name": name, "status": status, "busy": busy})
    }

    fn page(total: u64, runners: &[Value]) -> Value {
        json!({"total_count": total, "runners": runners})
    }

    fn all() -> Vec<Value> {
        vec![
            runner(1, "r1", "online", true),
            runner(2, "r2", "online", false),
            runner(3, "r3", "offline", false),
            runner(4, "r4", "offline", true),
        ]
    }

    #[test]
    fn every_shape_that_gh_prints_is_read_and_only_a_whole_list_counts() {
        let all = all();
        let (one, two) = (page(4, &all[..2]), page(4, &all[2..]));
        for (what, text) in [
            ("one document", page(4, &all).to_string()),
            ("one after the other", format!("{one}{two}")),
            ("with line ends", format!("{one}\n{two}\n")),
            ("--slurp", json!([one, two]).to_string()),
            ("no runner at all", page(0, &[]).to_string()),
        ] {
            assert!(Github::parse(text.as_bytes()).is_ok(), "{what}");
        }
        let again = page(4, &[all[1].clone(), all[2].clone()]);
        for (what, text, expected) in [
            ("nothing", String::new(), "it is empty"),
            ("an empty array", "[]".into(), "it is empty"),
            ("the first page only", one.to_string(), "2 of 4 runners"),
            ("one page twice", format!("{one}{one}"), "2 of 4 runners"),
            ("a runner that moved to the next page", format!("{one}{again}"), "3 of 4 runners"),
            ("another total", format!("{one}{}", page(5, &all[2..])), "changed while it was fetched"),
            (
                "cut off in the second page",
                format!("{one}{}", &two.to_string()[..40]),
                "cannot be understood",
            ),
            (
                "a message of an error",
                json!({"message": "Bad credentials"}).to_string(),
                "cannot be understood",
            ),
        ] {
            let error =
                Github::parse(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{what}: {error}");
        }
    }

    #[test]
    fn githubs_state_of_a_runner() {
        let github = Github::parse(page(4, &all()).to_string().as_bytes()).unwrap();
        for (name, word, is_claimed) in [
            ("r1", Word::Busy, true),
            ("r2", Word::Free { is_offline: false }, true),
            ("r3", Word::Free { is_offline: true }, false),
            ("r4", Word::Busy, true),
            ("r5", Word::Absent, false),
        ] {
            assert_eq!(
                (github.word(&[name, ""]), github.claim(&[name, ""]).is_some()),
                (word, is_claimed),
                "{name}"
            );
        }
        let twice = [runner(1, "r", "offline", false), runner(2, "r", "online", true)];
        let github = Github::parse(page(2, &twice).to_string().as_bytes()).unwrap();
        assert_eq!(github.word(&["r"]), Word::Busy, "two of one name");
    }

    #[test]
    fn a_file_that_is_old_or_from_the_future_or_that_others_can_write_is_not_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("runners.json");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::write(&path, page(4, &all()).to_string()).unwrap();
        mode(0o644);
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let why = |now: SystemTime| {
            Github::read(&path, now).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let seconds = Duration::from_secs;
        assert_eq!(why(written + seconds(899)), "", "the control");
        assert!(why(written + seconds(3600)).contains("written more than 15 min ago"));
        assert!(why(written - seconds(3600)).contains("in the future"));
        if crate::sys::process::is_root() {
            mode(0o666);
            assert!(why(written).contains("root alone can write"), "{}", why(written));
        }
        let missing = Github::read(&temp.path().join("none"), written).err().map(|error| error.to_string());
        assert!(missing.unwrap_or_default().contains("No such file"));
    }
}
