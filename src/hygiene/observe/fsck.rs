//! Git's own judgement of a repository with arbitrary, possibly hostile content.
//!
//! # Threat model
//!
//! The repository's configuration, links to other object stores, and every object are hostile. So git runs as the runner's user and never
//! as root; without the configuration of the system and of that user; without protocols, prompts, pagers, hooks and file system monitors;
//! in exactly the directory that was opened; with little memory, without write access, for a bounded time; and all its child processes end
//! with it. A repository that borrows objects from elsewhere is not judged at all.

use crate::model::Uid;
use crate::sys::dir::Dir;
use crate::sys::program::{Bounds, Call, ProgramEnd, Sandbox};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No check of a repository takes longer.
const TIME: Duration = Duration::from_secs(60);

/// Git maps packs whole.
const MEMORY: u64 = 8 << 30;

const FILES: u64 = 1024;

/// `BUG`, `fatal`: with these exit codes git says nothing about the repository's objects.
const DIED: [i32; 2] = [128, 129];

/// Git's judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fsck {
    /// Every reachable object exists.
    Sound,
    /// One does not; the first complaint.
    Broken(String),
    /// It was not run, or did not finish; the reason.
    NotJudged(String),
}

/// Git.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    directories: Vec<PathBuf>,
}

impl Git {
    /// The one at `program`, which finds its parts in `directories`.
    pub fn new(program: PathBuf, directories: &[PathBuf]) -> Self {
        Self { program, directories: directories.to_vec() }
    }

    /// Checks the repository whose git directory this is, and whose user is `owner`.
    pub(super) fn check(&self, git: &Dir, owner: Uid, deadline: Instant) -> Fsck {
        let me = nix::unistd::geteuid();
        if owner == Uid::ROOT {
            return Fsck::NotJudged("the runner's user is root, and git is not run as root here".to_owned());
        }
        if !me.is_root() && me.as_raw() != owner.0 {
            return Fsck::NotJudged(format!("git would have to run as uid {owner}"));
        }
        let borrows = ["objects/info/alternates", "objects/info/http-alternates", "commondir"];
        if let Some(file) = borrows.iter().find(|file| git.status_of(Path::new(file)).is_ok()) {
            return Fsck::NotJudged(format!("it borrows from another repository (`{file}`)"));
        }
        let group = git.status().map_or(owner.0, |status| status.group);
        let group = if group == 0 { owner.0 } else { group };
        let time = TIME.min(deadline.saturating_duration_since(Instant::now()));
        let confinement = Sandbox { user: (owner, group), dir: git, memory: MEMORY, files: FILES };
        let mut call = self.call(time);
        call.confinement = Some(confinement);
        match call.run().map(|run| (run.end, run.complaint)) {
            Ok((ProgramEnd::Itself(status) | ProgramEnd::Held(status), said)) => judge(status.code(), &said),
            Ok(_) => Fsck::NotJudged(format!("git did not end within {} s", time.as_secs())),
            Err(error) => Fsck::NotJudged(error.to_string()),
        }
    }

    fn call(&self, time: Duration) -> Call<'_> {
        let mut arguments = Vec::new();
        for setting in [
            "safe.directory=*",
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "core.alternateRefsCommand=false",
            "core.sshCommand=false",
            "core.pager=cat",
            "core.bare=true",
            "credential.helper=",
            "gc.auto=0",
            "maintenance.auto=false",
        ] {
            arguments.extend(["-c", setting]);
        }
        arguments.extend(["--no-pager", "--no-optional-locks", "fsck"]);
        arguments.extend(["--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress"]);
        let mut call = Call::new(self.program.clone(), &arguments, &self.directories, Bounds::new(time, 0));
        for (name, value) in [
            ("HOME", "/nonexistent"),
            // The repository is named, not searched for: git might find that of a parent directory. Its owner has been checked.
            ("GIT_DIR", "."),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_ALLOW_PROTOCOL", "none"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "false"),
            ("GIT_SSH_COMMAND", "false"),
            ("GIT_PAGER", "cat"),
            ("GIT_EDITOR", "false"),
        ] {
            call.environment.push((name, value.into()));
        }
        call
    }
}

fn judge(code: Option<i32>, said: &str) -> Fsck {
    let complaint = said.lines().next().unwrap_or("it prints nothing").to_owned();
    let for_want =
        ["out of memory", "mmap failed", "Too many open files", "Resource temporarily unavailable"];
    match code {
        Some(0) => Fsck::Sound,
        _ if for_want.iter().any(|want| said.to_lowercase().contains(&want.to_lowercase())) => {
            Fsck::NotJudged(format!("git lacked resources: {complaint}"))
        }
        None => Fsck::NotJudged("git was killed".to_owned()),
        Some(code) if DIED.contains(&code) && !is_about_content(said) => {
            Fsck::NotJudged(format!("git gave up: {complaint}"))
        }
        Some(_) => Fsck::Broken(complaint),
    }
}

/// Hostile input can also crash git.
fn is_about_content(said: &str) -> bool {
    let signs = [
        "not a git repository",
        "bad object",
        "corrupt",
        "loose object",
        "packfile",
        "index file",
        "unable to parse",
        "bad config",
        "packed-refs",
        "bad shallow",
        "invalid sha1 pointer",
        "bad ref",
        "broken",
    ];
    signs.iter().any(|sign| said.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gits_findings_about_content_count_against_a_repository() {
        for (code, said, broken) in [
            (Some(2), "missing blob 0123", true),
            (Some(1), "error: object corrupt or missing", true),
            (Some(128), "fatal: loose object 12 is corrupt", true),
            (Some(128), "fatal: not a git repository: '.'", true),
            (Some(128), "fatal: Out of memory, realloc failed", false),
            (Some(128), "fatal: detected dubious ownership in repository", false),
            (None, "", false),
        ] {
            assert_eq!(matches!(judge(code, said), Fsck::Broken(_)), broken, "{said}");
        }
        assert_eq!(judge(Some(0), "notice: HEAD points to an unborn branch"), Fsck::Sound);
    }
}
