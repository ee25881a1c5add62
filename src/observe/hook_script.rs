//! What a hook's script does, as far as that is known without running it.
//!
//! A script has arbitrary text, and whether it runs our hook is undecidable in general. So a script is accepted only if its first
//! significant command is ours: the commands before it can neither end the script nor skip ours, and ours is neither in the background nor
//! a part of a pipe. Any other script has to prove itself by running: a hook that has run leaves a record ([`crate::hook_record`]).

use super::processes::HookVariable;
use crate::sys::reach;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where packages install our hook; a script there counts as ours even if it cannot be read.
const INSTALLED: [&str; 2] = ["/usr/lib/disk-guard/hooks", "/usr/local/lib/disk-guard/hooks"];

/// The name of the package's script, in any directory.
const SHIPPED: &str = include_str!("../../hooks/job-started.sh");

/// Hook scripts are short.
const MAX_BYTES: u64 = 256 * 1024;

/// Commands that can be before ours: none ends the script successfully, and none is more than one command.
const HARMLESS: [&str; 12] =
    [":", "cd", "date", "echo", "export", "hostname", "id", "printf", "set", "shopt", "ulimit", "umask"];

/// A script that runs our hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsUs {
    /// With which configuration; none for the default.
    pub config: Option<PathBuf>,
}

/// The result of reading a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Its first command is ours.
    Us(RunsUs),
    /// Its first command runs this script with a shell.
    Script(PathBuf),
    /// Something else; what, for people.
    Other(&'static str),
}

/// Why a hook is not proved to run ours, for people, to follow the script's name.
#[derive(Debug, thiserror::Error)]
pub enum HookScriptError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is JavaScript with a call of ours, which need not be reached.
    #[error("is JavaScript that calls us: whether it comes to that is shown by its first job")]
    JavaScript,
    /// It is JavaScript without one.
    #[error("is JavaScript without a visible call of `disk-guard hook started`; add the call")]
    OtherJavaScript,
    /// Its first command is another one.
    #[error(
        "does not visibly run `disk-guard hook started`: {0}; make that its first command, or let one job run it"
    )]
    Other(&'static str),
    /// There are too many scripts before ours.
    #[error("runs a script that runs a script: name ours")]
    Nested,
}

/// Whether the started-hook at `hook` runs ours.
///
/// # Errors
/// [`HookScriptError`].
pub fn runs_us(hook: &Path) -> Result<RunsUs, HookScriptError> {
    // One script may be before ours: a chain of `install`, or a wrapper of somebody else.
    let mut script = hook.to_owned();
    for _ in 0..2 {
        if is_installed(&script, "job-started.sh") {
            return Ok(RunsUs { config: None });
        }
        let text = read(&script)?;
        if is_javascript(&script) {
            return Err(match javascript_names_us(&text, "job-started.sh", "started") {
                true => HookScriptError::JavaScript,
                false => HookScriptError::OtherJavaScript,
            });
        }
        match first_command(&text) {
            Shown::Us(us) => return Ok(us),
            Shown::Script(next) => script = next,
            Shown::Other(why) => {
                return Err(HookScriptError::Other(why));
            }
        }
    }
    Err(HookScriptError::Nested)
}

/// Whether a script is our hook, or names it: for those who ask about its owner, not whether a job runs it.
pub fn is_ours(variable: HookVariable, hook: &Path) -> bool {
    let (file, word) = match variable {
        HookVariable::JobStarted => ("job-started.sh", "started"),
        HookVariable::JobCompleted => ("job-completed.sh", "completed"),
    };
    let runs = |text: &str| text == SHIPPED && word == "started" || names_us(text, word);
    is_installed(hook, file)
        || read(hook).is_ok_and(|text| {
            is_javascript(hook) && javascript_names_us(&text, file, word)
                || runs(&text)
                || scripts_named(&text, file)
                    .any(|script| is_installed(&script, file) || read(&script).is_ok_and(|text| runs(&text)))
        })
}

fn is_installed(hook: &Path, file: &str) -> bool {
    INSTALLED.iter().any(|installed| hook == Path::new(installed).join(file)) && reach::metadata(hook).is_ok()
}

fn read(hook: &Path) -> io::Result<String> {
    // O_NONBLOCK: a FIFO in a script's place must not block.
    reach::check_way(hook)?;
    let file = std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(hook)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first significant command of a shell script.
pub(crate) fn first_command(text: &str) -> Shown {
    if text == SHIPPED {
        return Shown::Us(RunsUs { config: None });
    }
    let text = text.replace("\\\n", " ").replace(fence(), "");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line == CATCHES {
            continue;
        }
        let line = chained(line).unwrap_or(line);
        let Some(command) = ScriptCommand::parse(line) else {
            return Shown::Other("a line before that cannot be followed");
        };
        match command.shown() {
            Some(shown) => return shown,
            None if command.is_simple && command.is_harmless() => {}
            None => return Shown::Other("another command may end it before, or lead around it"),
        }
    }
    Shown::Other("it never does")
}

/// The signals that our scripts catch, so that the fence follows when a signal ends the guard.
const CATCHES: &str = "trap : HUP INT TERM";

/// How the chain scripts of `install` run ours, now and in earlier versions: when it can be read, and no job begins if that fails.
fn chained(line: &str) -> Option<&str> {
    [("[ -r ", " ] && { ", "; code=$?; }"), ("if [ -r ", " ]; then ", " || exit; fi")].iter().find_map(
        |(before, between, after)| {
            let (script, run) = line.strip_prefix(before)?.strip_suffix(after)?.split_once(between)?;
            run.ends_with(script).then_some(run)
        },
    )
}

/// The actions of our started-hook in plain shell if the program cannot be run: a part of chain scripts, too.
pub(crate) fn fence() -> &'static str {
    let (_, after) = SHIPPED.split_once("# --- fence").expect("it is marked in the script: a test says so");
    let (_, after) = after.split_once('\n').expect("the mark is a line");
    after.split_once("# --- end").map_or(after, |(fence, _)| fence).trim_end()
}

/// The first command of a line.
#[derive(Debug)]
struct ScriptCommand {
    words: Vec<String>,
    /// The line is this command alone, in the foreground, with no substitution in it.
    is_simple: bool,
    /// It is waited for, and no other command is connected to its input or output.
    is_waited_for: bool,
}

impl ScriptCommand {
    /// `None` for a line with more than words, quotes and redirections.
    fn parse(line: &str) -> Option<Self> {
        let mut command = Self { words: Vec::new(), is_simple: true, is_waited_for: true };
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                ' ' | '\t' => {}
                '#' => break,
                ';' => {
                    command.is_simple = false;
                    break;
                }
                '|' | '&' if chars.next_if_eq(&c).is_some() => {
                    command.is_simple = false;
                    break;
                }
                '|' | '&' => {
                    (command.is_simple, command.is_waited_for) = (false, false);
                    break;
                }
                '<' | '>' => {
                    // Here-documents and process substitutions are not parsed.
                    if chars.peek() == Some(&'(') || (c == '<' && chars.peek() == Some(&'<')) {
                        return None;
                    }
                    while chars.next_if(|next| matches!(next, '>' | '&' | '|' | ' ')).is_some() {}
                    command.word(None, &mut chars)?;
                }
                '(' | ')' | '{' | '}' | '`' => return None,
                c => {
                    let word = command.word(Some(c), &mut chars)?;
                    // `2>file`: the number is the redirection's.
                    let is_descriptor = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
                    if !(is_descriptor && matches!(chars.peek(), Some('<' | '>'))) {
                        command.words.push(word);
                    }
                }
            }
        }
        Some(command)
    }

    fn word(
        &mut self,
        first: Option<char>,
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    ) -> Option<String> {
        let mut word = String::new();
        let mut next = first.or_else(|| chars.next());
        while let Some(c) = next {
            match c {
                '\'' => loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                },
                '"' => loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => word.push(chars.next()?),
                        '`' => return None,
                        '$' if chars.peek() == Some(&'(') => return None,
                        c => word.push(c),
                    }
                },
                '\\' => word.push(chars.next()?),
                '`' => return None,
                '$' if chars.peek() == Some(&'(') => return None,
                '$' if chars.peek() == Some(&'{') => {
                    word.push(c);
                    for c in chars.by_ref() {
                        word.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
                c => word.push(c),
            }
            next = chars.next_if(|c| !matches!(c, ' ' | '\t' | ';' | '|' | '&' | '<' | '>' | '(' | ')'));
        }
        Some(word)
    }

    fn is_harmless(&self) -> bool {
        match self.words.first() {
            None => true,
            Some(word) => {
                HARMLESS.contains(&word.as_str()) || self.words.iter().all(|word| is_assignment(word))
            }
        }
    }

    /// What it runs, if that is our program or a script.
    fn shown(&self) -> Option<Shown> {
        let mut words =
            self.words.iter().map(String::as_str).skip_while(|word| is_assignment(word)).peekable();
        words.next_if_eq(&"exec");
        let program = words.next()?;
        let name = program.rsplit('/').next().unwrap_or_default();
        let shown = if name == "disk-guard" {
            ours(words)
        } else if matches!(name, "bash" | "sh" | "$BASH" | "${BASH}" | "${BASH:-sh}") {
            let script = words.find(|word| !word.starts_with(['-', '+']))?;
            script.starts_with('/').then(|| Shown::Script(script.into()))?
        } else if matches!(program, "." | "source") {
            words
                .next()
                .filter(|script| script.starts_with('/'))
                .map(|script| Shown::Script(script.into()))?
        } else if program.starts_with('/') && program.ends_with(".sh") {
            Shown::Script(program.into())
        } else {
            return None;
        };
        Some(if self.is_waited_for {
            shown
        } else {
            Shown::Other("it is not waited for, or is part of a pipe")
        })
    }
}

/// `disk-guard [--config FILE] hook started`, without further arguments.
fn ours<'w>(mut words: impl Iterator<Item = &'w str>) -> Shown {
    let mut config = None;
    let other = Shown::Other("it runs another verb of ours");
    while let Some(word) = words.next() {
        match word {
            "--config" => config = words.next().map(PathBuf::from),
            "--log-level" | "--color" => drop(words.next()),
            "hook" => {
                // A runner that is named on the command line gets no lease.
                let is_whole =
                    words.next() == Some("started") && words.all(|word| !word.starts_with("--runner-root"));
                return if is_whole { Shown::Us(RunsUs { config }) } else { other };
            }
            _ => match word.strip_prefix("--config=") {
                Some(file) => config = Some(file.into()),
                None if word.starts_with("--") => {}
                None => return other,
            },
        }
    }
    other
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            // These decide which program, or which code, comes next.
            && !matches!(name, "PATH" | "BASH" | "BASH_ENV" | "ENV" | "LD_PRELOAD" | "IFS")
    })
}

fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'))
}

/// Whether a script has a line that runs ours, reachable or not.
pub(crate) fn names_us(text: &str, word: &str) -> bool {
    commands(&text.replace("\\\n", " ")).any(|line| {
        line.split_once("disk-guard").is_some_and(|(_, rest)| {
            let words: Vec<&str> = rest.split_whitespace().collect();
            words.windows(2).any(|pair| pair[0] == "hook" && pair[1].trim_end_matches([';', '"']) == word)
        })
    })
}

/// The runner runs such a hook with its own Node.js.
fn is_javascript(hook: &Path) -> bool {
    hook.extension().is_some_and(|extension| extension == "js")
}

/// Whether JavaScript has a call of ours outside of comments, however it is broken into strings and lines:
/// `execFileSync("/usr/bin/disk-guard", ["hook", "started"])`, or one that runs our script.
/// `execFileSync("/usr/bin/disk-guard", ["hook", "started"])`, or one that runs our script.
fn javascript_names_us(text: &str, file: &str, word: &str) -> bool {
    let text = without_comments(text);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let words: Vec<&str> = text.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let is_call = |at: usize| {
        let next = words[at + 1..].iter().take(NEAR);
        let next: Vec<&&str> = next.collect();
        next.windows(2).any(|pair| *pair[0] == "hook" && *pair[1] == word)
    };
    (0..words.len()).any(|at| {
        name(words[at]) == "disk-guard" && is_call(at)
            || words[at].starts_with('/') && name(words[at]) == file
    })
}

/// The maximum of words between our program's name and the verb: a configuration and similar.
const NEAR: usize = 8;

/// JavaScript without its comments. Those in strings are kept.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c, chars.peek()) {
            (Some(_), '\\', _) => out.extend(chars.next()),
            (Some(open), c, _) if c == open => {
                quote = None;
                out.push(c);
            }
            (None, '"' | '\'' | '`', _) => {
                quote = Some(c);
                out.push(c);
            }
            (None, '/', Some('/')) => {
                chars.by_ref().find(|c| *c == '\n');
                out.push('\n');
            }
            (None, '/', Some('*')) => {
                chars.next();
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
                out.push(' ');
            }
            (_, c, _) => out.push(c),
        }
    }
    out
}

/// The absolute paths of scripts of this name that a script runs with a shell.
fn scripts_named(text: &str, file: &str) -> impl Iterator<Item = PathBuf> {
    commands(text)
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches(['\'', '"', ';']))
        .filter(move |word| word.starts_with('/') && Path::new(word).file_name() == Some(file.as_ref()))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests;
