//! Decides the new content of one runner's `.env` from the present one, without effects.
//!
//! An existing hook of somebody else keeps running: the variable then names a chain script of ours, which runs both. Ours runs first
//! before a job, so that the runner is protected while the other one works, and last after it. The previous content is recorded, so that
//! it can be restored exactly.

use super::env_file::{Before, EnvFile, LineChange};
use crate::observe::processes::HookVariable;
use crate::observe::{dotenv, hook_script};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Both variables, in the order in which they are set.
pub const VARIABLES: [HookVariable; 2] = HookVariable::BOTH;

/// Two scripts, one a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// Before a job.
    pub started: PathBuf,
    /// After it.
    pub completed: PathBuf,
}

impl Scripts {
    /// That of one hook.
    pub fn of(&self, variable: HookVariable) -> &Path {
        match variable {
            HookVariable::JobStarted => &self.started,
            HookVariable::JobCompleted => &self.completed,
        }
    }

    /// Our hooks in the directory of the package or of `--hooks-dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self { started: dir.join("job-started.sh"), completed: dir.join("job-completed.sh") }
    }
}

/// The record of a change to a `.env`, by which it can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WiringRecord {
    /// The format's version.
    pub schema: u32,
    /// The runner, for people and to detect a key collision.
    pub root: String,
    /// There was no `.env`.
    pub created: bool,
    /// The variables that were set.
    pub hooks: Vec<Wired>,
}

/// One variable that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wired {
    /// Its name.
    pub variable: String,
    /// Its present value.
    pub value: String,
    /// Its value before.
    pub before: Before,
}

/// The planned change of one runner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// The new `.env`; none when it does not change, and empty when it is removed because only the guard had written it.
    pub content: Option<Content>,
    /// Its lines that change.
    pub changes: Vec<LineChange>,
    /// The record afterwards; none when nothing of ours is left.
    pub record: Option<WiringRecord>,
    /// Chain scripts to be written.
    pub chains: Vec<(PathBuf, String)>,
    /// For people.
    pub notes: Vec<String>,
}

/// The new state of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It has these bytes.
    Bytes(Vec<u8>),
    /// It is removed: the guard made it, and nothing else is in it.
    Gone,
}

/// Why a runner cannot be wired.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// Its `.env` has another encoding.
    #[error("its `.env` cannot be used: {0}")]
    Env(&'static str),
    /// The runner does not quote paths.
    #[error("{0} cannot be written to a `.env`: expected an absolute path without spaces")]
    Path(String),
    /// Its `.env` names a hook that the runner cannot run.
    #[error(
        "{variable} names {value:?}, and every job fails of it ({why}): call `disk-guard hook {hook}` from a script of its own, \
         correct the line, or take it out"
    )]
    FailsEveryJob {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// Why.
        why: &'static str,
        /// The verb for a script of theirs.
        hook: &'static str,
    },
    /// Only shell scripts are chained: the others need an interpreter that only the runner knows.
    #[error(
        "{variable} names {path}, which is no shell script and cannot be chained: call `disk-guard hook {hook}` from it, or take \
         it out"
    )]
    NoShellScript {
        /// The variable's name.
        variable: &'static str,
        /// The hook.
        path: String,
        /// The verb for a script of theirs.
        hook: &'static str,
    },
}

/// The present state of one runner.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// The runner's root.
    pub root: &'a Path,
    /// Its `.env`, if there is one.
    pub env: Option<&'a [u8]>,
    /// The record of an earlier change.
    pub record: Option<&'a WiringRecord>,
}

/// Decides how to wire a runner to `ours`. `chains` are the places of its chain scripts; `runs_us` returns whether a foreign hook runs
/// ours already.
///
/// # Errors
/// [`WiringError`]; then nothing is to be done.
pub fn wire(
    present: Present<'_>,
    ours: &Scripts,
    chains: &Scripts,
    runs_us: &dyn Fn(HookVariable, &Path) -> bool,
) -> Result<Edit, WiringError> {
    let mut file = EnvFile::parse(present.env.unwrap_or_default());
    let mut edit = Edit::default();
    let mut hooks = Vec::new();
    for variable in VARIABLES {
        dotenv::says(present.env.unwrap_or_default(), variable).map_err(WiringError::Env)?;
        let known = present.record.and_then(|record| record.of(variable));
        let now = file.value(variable).map(<[u8]>::to_vec);
        let foreign = match &now {
            None => None,
            Some(value) if known.is_some_and(|known| known.value.as_bytes() == value) => {
                known.and_then(Wired::foreign)
            }
            // Also with white space around it, which makes every job fail: it is corrected.
            Some(value) if value.trim_ascii() == ours.of(variable).as_os_str().as_bytes() => None,
            Some(value) if value == chains.of(variable).as_os_str().as_bytes() => {
                edit.notes.push(format!(
                    "{} names a chain script of ours without a record: left unchanged",
                    variable.name()
                ));
                continue;
            }
            Some(value) if runs_us(variable, Path::new(OsStr::from_bytes(value))) => {
                edit.notes.push(format!("{} names a script that runs us already", variable.name()));
                continue;
            }
            Some(value) => Some(value.clone()),
        };
        let wanted = if foreign.is_some() { chains } else { ours }.of(variable);
        if let Some(foreign) = &foreign {
            let script = chain(variable, ours.of(variable), chainable(variable, foreign)?, present.root);
            edit.chains.push((wanted.to_owned(), script));
        }
        let wanted = plain(wanted)?;
        let is_ours = known.filter(|known| now.as_deref() == Some(known.value.as_bytes()));
        if now.as_deref() != Some(wanted.as_bytes()) {
            let (before, change) = file.set(variable, wanted.as_bytes());
            edit.changes.push(change);
            let before = is_ours.map_or(before, |known| known.before.clone());
            hooks.push(Wired { variable: variable.name().into(), value: wanted.into(), before });
        } else if let Some(known) = is_ours {
            hooks.push(known.clone());
        }
    }
    if !edit.changes.is_empty() {
        edit.content = Some(Content::Bytes(file.to_bytes()));
    }
    let created = present.env.is_none() || present.record.is_some_and(|record| record.created);
    edit.record = (!hooks.is_empty()).then(|| WiringRecord {
        schema: 1,
        root: present.root.to_string_lossy().into_owned(),
        created,
        hooks,
    });
    Ok(edit)
}

/// Decides how to undo it. Without a record, lines that name `ours` are removed; without `ours` none is.
pub fn unwire(present: Present<'_>, ours: Option<&Scripts>) -> Edit {
    let mut edit = Edit::default();
    let Some(env) = present.env else { return edit };
    let mut file = EnvFile::parse(env);
    for variable in VARIABLES.into_iter().rev() {
        let absent = Before::Absent { unterminated: false };
        let (value, before) = match (present.record.and_then(|record| record.of(variable)), ours) {
            (Some(wired), _) => (wired.value.as_bytes(), &wired.before),
            (None, Some(ours)) => (ours.of(variable).as_os_str().as_bytes(), &absent),
            (None, None) => continue,
        };
        match file.undo(variable, value, before) {
            Some(change) => edit.changes.insert(0, change),
            None if file.value(variable).is_some() => {
                edit.notes.push(format!("{} names another script by now: left as it is", variable.name()));
            }
            None => {}
        }
    }
    if !edit.changes.is_empty() {
        let bytes = file.to_bytes();
        let created = present.record.is_some_and(|record| record.created);
        edit.content = Some(if created && bytes.is_empty() { Content::Gone } else { Content::Bytes(bytes) });
    }
    edit
}

impl WiringRecord {
    /// The record about one variable.
    pub fn of(&self, variable: HookVariable) -> Option<&Wired> {
        self.hooks.iter().find(|wired| wired.variable == variable.name())
    }
}

impl Wired {
    /// The other hook that it runs, if any.
    fn foreign(&self) -> Option<Vec<u8>> {
        let Before::Line(line) = &self.before else { return None };
        let variable = VARIABLES.into_iter().find(|variable| variable.name() == self.variable)?;
        EnvFile::parse(line).value(variable).map(<[u8]>::to_vec)
    }
}

/// A path that can be written in a `.env` and that the runner, which does not quote it, can run.
fn plain(path: &Path) -> Result<&str, WiringError> {
    let is_plain =
        |text: &&str| text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    path.to_str().filter(is_plain).ok_or_else(|| WiringError::Path(path.display().to_string()))
}

/// The script that a hook's name names, if it can be chained.
fn chainable(variable: HookVariable, hook: &[u8]) -> Result<&Path, WiringError> {
    let path = Path::new(OsStr::from_bytes(hook));
    let (variable, hook_verb) = (variable.name(), word(variable));
    if let Some(why) = dotenv::fails_every_job(hook) {
        let value = String::from_utf8_lossy(hook).into_owned();
        return Err(WiringError::FailsEveryJob { variable, value, why, hook: hook_verb });
    }
    if path.extension() != Some(OsStr::new("sh")) {
        return Err(WiringError::NoShellScript {
            variable,
            path: path.display().to_string(),
            hook: hook_verb,
        });
    }
    Ok(path)
}

fn word(variable: HookVariable) -> &'static str {
    match variable {
        HookVariable::JobStarted => "started",
        HookVariable::JobCompleted => "completed",
    }
}

/// The script that runs both, each as the runner runs a hook: `bash -e PATH` and nothing more, whatever the job's log shows
/// (src/Runner.Worker/Handlers/ScriptHandlerHelpers.cs, v2.336.0). Without bash the runner uses `sh`.
fn chain(variable: HookVariable, ours: &Path, theirs: &Path, root: &Path) -> String {
    let run = |path: &Path| format!("\"${{BASH:-sh}}\" -e {}", quoted(path));
    let word = quoted(ours);
    let (ours, theirs) = (run(ours), run(theirs));
    let body = match variable {
        // Ours exits with 1 when it refuses the job. If it is missing or dies, the job does not begin unfenced.
        HookVariable::JobStarted => format!(
            "trap : HUP INT TERM\n{}\ncode=127\n[ -r {word} ] && {{ {ours}; code=$?; }}\n\
             case $code in 0) ;; 1) exit 1 ;; *) fence_in_time ;; esac\nexec {theirs}\n",
            hook_script::fence()
        ),
        HookVariable::JobCompleted => {
            format!("{theirs}\ncode=$?\n[ -r {word} ] && {ours}\nexit \"$code\"\n")
        }
    };
    chain_head(root) + &body
}

const CHAIN_FOR: &str = "# Made by `disk-guard install` for the runner at ";
const CHAIN_IS: &str = ": our hook and the one that its .env named.";

/// The first lines of every chain script: they name its runner.
pub(super) fn chain_head(root: &Path) -> String {
    let root = crate::text::escape::path(root);
    format!(
        "#!/usr/bin/env bash\n{CHAIN_FOR}{root}{CHAIN_IS}\n\
         # The other one's exit code is the job's. `disk-guard uninstall` puts it back.\nset +e\n"
    )
}

/// The root that a chain script was made for, escaped; none for other files.
pub(super) fn owner_of_chain(script: &[u8]) -> Option<String> {
    let line = script.split(|byte| *byte == b'\n').nth(1)?;
    let root = std::str::from_utf8(line).ok()?.strip_prefix(CHAIN_FOR)?.strip_suffix(CHAIN_IS)?;
    Some(root.to_owned())
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::hook_script::fence;
    use super::*;

    const S: &str = "ACTIONS_RUNNER_HOOK_JOB_STARTED";
    const C: &str = "ACTIONS_RUNNER_HOOK_JOB_COMPLETED";

    fn ours() -> Scripts {
        Scripts::in_dir(Path::new("/usr/lib/disk-guard/hooks"))
    }

    fn chains() -> Scripts {
        Scripts { started: "/state/k-started.sh".into(), completed: "/state/k-completed.sh".into() }
    }

    fn present<'a>(env: Option<&'a [u8]>, record: Option<&'a WiringRecord>) -> Present<'a> {
        Present { root: Path::new("/r"), env, record }
    }

    fn wired(env: Option<&str>, record: Option<&WiringRecord>) -> Edit {
        wire(present(env.map(str::as_bytes), record), &ours(), &chains(), &|_, _| false).unwrap()
    }

    fn bytes(edit: &Edit) -> String {
        match &edit.content {
            Some(Content::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wiring_is_idempotent_and_undone_to_the_byte() {
        for env in [
            None,
            Some(String::new()),
            Some("LANG=C".into()),
            Some("LANG=C\r\nX=1\r\n".into()),
            Some(format!("{S}=/pre.sh\nLANG=C\n")),
            Some(format!("{S}=/pre.sh\r\n{C}=/post.sh")),
            Some(format!("{S}=/a.sh\n{S}=/b.sh\n{C}=\n")),
        ] {
            let first = wired(env.as_deref(), None);
            let (text, record) = (bytes(&first), first.record.clone().unwrap());
            let second = wired(Some(&text), Some(&record));
            assert_eq!((second.content, &second.record), (None, &first.record), "{env:?}");
            assert_eq!(second.chains, first.chains, "chain scripts are made anew");
            let undone = unwire(present(Some(text.as_bytes()), Some(&record)), Some(&ours()));
            match env {
                None => assert_eq!(undone.content, Some(Content::Gone)),
                Some(env) => assert_eq!(bytes(&undone), env),
            }
        }
    }

    #[test]
    fn a_foreign_hook_still_runs_in_the_chain() {
        let edit = wired(Some(&format!("{S}=/opt/it's.sh\n")), None);
        assert_eq!(bytes(&edit), format!("{S}=/state/k-started.sh\n{C}={}\n", ours().completed.display()));
        let (path, script) = &edit.chains[0];
        assert_eq!(path, Path::new("/state/k-started.sh"));
        let ours_at = script.find("/usr/lib/disk-guard/hooks/job-started.sh").unwrap();
        assert!(ours_at < script.find(r" -e '/opt/it'\''s.sh'").unwrap(), "{script}");
        assert!(!script.contains("pipefail"), "{script}");
        let edit = wired(Some(&format!("{C}=/post.sh\n")), None);
        let script = &edit.chains[0].1;
        assert!(script.find("'/post.sh'").unwrap() < script.find("job-completed.sh").unwrap(), "{script}");
    }

    #[test]
    fn a_chain_fences_where_our_hook_is_missing() {
        assert!(fence().ends_with("\n}") && fence().contains("\nfence_in_time() {"), "{}", fence());
        let script = &wired(Some(&format!("{S}=/pre.sh\n")), None).chains[0].1;
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("no {text}: {script}"));
        assert!(
            at("fence() {") < at("*) fence_in_time") && at("*) fence_in_time") < at("exec \"${BASH:-sh}\"")
        );
    }

    #[test]
    fn a_script_that_already_runs_our_hook_is_not_connected_twice() {
        let env = format!("{S}=/wrapper.sh\n{C}=/wrapper2.sh\n");
        let edit = wire(present(Some(env.as_bytes()), None), &ours(), &chains(), &|_, _| true).unwrap();
        assert_eq!((edit.content, edit.record, edit.notes.len()), (None, None, 2));
        let by_hand = format!("{S}={}\n{C}={}\n", ours().started.display(), ours().completed.display());
        assert_eq!(wired(Some(&by_hand), None), Edit::default());
        let undone = unwire(present(Some(by_hand.as_bytes()), None), Some(&ours()));
        assert_eq!(bytes(&undone), "");
    }

    #[test]
    fn hooks_that_move_keep_what_was_before() {
        let first = wired(Some(&format!("{S}=/pre.sh\n")), None);
        let (text, record) = (bytes(&first), first.record.unwrap());
        let moved = Scripts::in_dir(Path::new("/usr/local/lib/disk-guard/hooks"));
        let edit =
            wire(present(Some(text.as_bytes()), Some(&record)), &moved, &chains(), &|_, _| false).unwrap();
        assert!(edit.chains[0].1.contains("/usr/local/lib/disk-guard/hooks/job-started.sh"));
        let (text, record) = (bytes(&edit), edit.record.unwrap());
        let undone = unwire(present(Some(text.as_bytes()), Some(&record)), Some(&moved));
        assert_eq!(bytes(&undone), format!("{S}=/pre.sh\n"));
    }

    #[test]
    fn hooks_that_cannot_be_chained_are_refused_with_a_way_out() {
        for hook in ["/a.js", "/a.ps1", "a.sh", "/a", "/a.sh ", "/a b.sh"] {
            let env = format!("{S}={hook}\n");
            let refusal =
                wire(present(Some(env.as_bytes()), None), &ours(), &chains(), &|_, _| false).unwrap_err();
            let refusal = refusal.to_string();
            assert!(refusal.contains(hook) && refusal.contains("disk-guard hook started"), "{refusal}");
        }
        let wide: Vec<u8> =
            format!("\u{feff}{S}=/a.sh\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(wire(present(Some(&wide), None), &ours(), &chains(), &|_, _| false).is_err());
        let spaced = Scripts::in_dir(Path::new("/my hooks"));
        assert!(wire(present(None, None), &spaced, &chains(), &|_, _| false).is_err());
    }

    #[test]
    fn a_hook_that_was_changed_after_the_installation_is_left_alone() {
        let record = wired(None, None).record.unwrap();
        let env = format!("{S}=/new.sh\n{C}={}\n", ours().completed.display());
        let undone = unwire(present(Some(env.as_bytes()), Some(&record)), Some(&ours()));
        assert_eq!(bytes(&undone), format!("{S}=/new.sh\n"));
        assert_eq!(undone.notes.len(), 1);
        let again = wired(Some(&env), Some(&record));
        assert_eq!(again.chains.len(), 1, "installed again, theirs is chained");
        assert!(bytes(&again).contains("/state/k-started.sh"));
    }

    #[test]
    fn a_line_of_another_writer_is_kept_when_only_recorded_changes_are_undone() {
        let by_hand = format!("{S}={}\n", ours().started.display());
        let edit = wired(Some(&by_hand), None);
        let (text, record) = (bytes(&edit), edit.record.unwrap());
        assert_eq!(record.hooks.len(), 1, "the completed-hook is ours");
        let undone =
            |ours: Option<&Scripts>| bytes(&unwire(present(Some(text.as_bytes()), Some(&record)), ours));
        assert_eq!(undone(None), by_hand);
        assert_eq!(undone(Some(&ours())), "");
    }
}
