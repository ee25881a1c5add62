//! Errors that a runner logs, distinguished from its job's text.
//!
//! The Worker's log contains the whole job message, step names and step telemetry, and the Listener's the job's display name: text from
//! the job, at level INFO (src/Runner.Worker/Worker.cs, StepsRunner.cs, ExecutionContext.cs; src/Runner.Common/Terminal.cs, v2.336.0). So
//! a complaint counts only in an entry of the runner's own components, at ERR or above or beginning with an exception's type, and in the
//! lines that continue such an entry; and there only outside of quotes, which the runner puts around names, paths and commands.

use crate::model::postmortem::Complaint;
use crate::observe::diag_log::{LogEntry, LogSeverity};

/// Tracks the entries of one log.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    counts: bool,
}

impl Entries {
    /// A new entry, and the complaint in its first line.
    pub(crate) fn begin(&mut self, line: &LogEntry<'_>) -> Option<Complaint> {
        self.counts = is_own(line);
        self.go_on(line.message)
    }

    /// Whether a line of this entry names an exception.
    pub(crate) fn names_exception(&self, text: &str) -> bool {
        self.counts && text.split(' ').any(names_an_exception)
    }

    /// A line that continues the entry.
    pub(crate) fn go_on(&self, text: &str) -> Option<Complaint> {
        if self.counts { complaint(text) } else { None }
    }
}

/// Whether an entry is the runner's own report of an error.
fn is_own(line: &LogEntry<'_>) -> bool {
    match line.source {
        // It repeats its input (src/Runner.Common/Terminal.cs).
        "Terminal" => false,
        // It knows only a job's id and display name, and shows those by `Terminal` (src/Runner.Listener/JobDispatcher.cs): exceptions
        // within its sentences are its own.
        "JobDispatcher" => {
            line.severity >= LogSeverity::Error || line.message.split(' ').any(names_an_exception)
        }
        _ => line.severity >= LogSeverity::Error || begins_with_exception(line.message),
    }
}

fn begins_with_exception(message: &str) -> bool {
    let message = message.strip_prefix("Unhandled exception. ").unwrap_or(message);
    message.split(' ').next().is_some_and(names_an_exception)
}

/// `System.IO.IOException:`
fn names_an_exception(word: &str) -> bool {
    let name = word.strip_suffix(':').unwrap_or(word);
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+'));
    is_plain && name.contains('.') && name.ends_with("Exception")
}

/// The complaint in a line, by the words of glibc, .NET, node.js and Go for the system's errors.
pub(crate) fn complaint(text: &str) -> Option<Complaint> {
    const WORDS: [(&str, Complaint); 19] = [
        ("no space left on device", Complaint::NoSpace),
        ("not enough space on the disk", Complaint::NoSpace),
        ("disk quota exceeded", Complaint::Quota),
        ("too many open files in system", Complaint::FileTable),
        ("enfile: file table overflow", Complaint::FileTable),
        ("too many open files", Complaint::Descriptors),
        // .NET's words for EMFILE and ENOSPC of inotify, which are no files and no disk.
        ("on the number of inotify instances has been reached", Complaint::Descriptors),
        ("on the number of inotify watches has been reached", Complaint::Descriptors),
        ("input/output error", Complaint::InputOutput),
        ("eio: i/o error", Complaint::InputOutput),
        ("read-only file system", Complaint::ReadOnly),
        ("cannot allocate memory", Complaint::Memory),
        ("system.outofmemoryexception", Complaint::Memory),
        ("enomem: not enough memory", Complaint::Memory),
        ("insufficient memory to continue the execution", Complaint::Memory),
        ("resource temporarily unavailable", Complaint::Tasks),
        ("failed to create new thread", Complaint::Tasks),
        ("unable to create a thread", Complaint::Tasks),
        ("failed to create a thread", Complaint::Tasks),
    ];
    let (before, behind) = unquoted(text);
    let (before, behind) = (before.to_ascii_lowercase(), behind.to_ascii_lowercase());
    let has = |words: &str| before.contains(words) || behind.contains(words);
    WORDS.iter().find(|(words, _)| has(words)).map(|(_, complaint)| *complaint)
}

/// The text before the first quote of a line, and behind the last one. An apostrophe within a word is no quote.
fn unquoted(text: &str) -> (&str, &str) {
    let is_quote = |(at, c): &(usize, char)| {
        let is_within_a_word = || {
            let before = text[..*at].chars().next_back();
            let behind = text[at + 1..].chars().next();
            before.is_some_and(char::is_alphanumeric) && behind.is_some_and(char::is_alphanumeric)
        };
        *c == '"' || (*c == '\'' && !is_within_a_word())
    };
    let first = text.char_indices().find(is_quote).map(|(at, _)| at);
    let last = text.char_indices().rev().find(is_quote).map(|(at, _)| at);
    match (first, last) {
        (Some(first), Some(last)) => (&text[..first], &text[last + 1..]),
        _ => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complains(text: &str) -> Vec<Complaint> {
        let mut entries = Entries::default();
        let told = text.lines().map(|text| match LogEntry::parse(text) {
            Some(line) => entries.begin(&line),
            None => entries.go_on(text),
        });
        told.flatten().collect()
    }

    #[test]
    fn the_runners_own_errors_count() {
        for (text, expected) in [
            (
                "ERR  JobExtension] System.IO.IOException: No space left on device : '/w/PipelineFolder.json'",
                Complaint::NoSpace,
            ),
            (
                "INFO JobDispatcher] Job cancel message sending for job x failed, kill running worker. System.IO.IOException: No space left on device",
                Complaint::NoSpace,
            ),
            (
                "INFO Worker] Unhandled exception. System.IO.IOException: Too many open files in system : '/x'",
                Complaint::FileTable,
            ),
            ("CRIT Worker] Disk quota exceeded", Complaint::Quota),
            ("ERR  Worker] open /var/lib/docker/tmp/x: no space left on device", Complaint::NoSpace),
            (
                "ERR  Worker] System.IO.IOException: The configured user limit (128) on the number of inotify instances has been reached, or the per-process limit on the number of open file descriptors has been reached.",
                Complaint::Descriptors,
            ),
            (
                "ERR  Worker] An error occurred trying to start process '/usr/bin/docker' with working directory '/srv/w'. Resource temporarily unavailable",
                Complaint::Tasks,
            ),
            ("ERR  ProcessInvokerWrapper] couldn't write: Input/output error", Complaint::InputOutput),
            (
                "ERR  JobDispatcher] Unhandled exception happened in worker:\nSystem.AggregateException: One\n ---> System.IO.IOException: No space left on device : '/d'",
                Complaint::NoSpace,
            ),
        ] {
            let text = format!("[2026-01-02 03:04:05Z {text}");
            assert_eq!(complains(&text), [expected], "{text}");
        }
    }

    /// Each contains the name of an error, and none is one.
    #[test]
    fn the_jobs_words_do_not_count() {
        for text in [
            "INFO Worker] Job message:\n {\n    \"value\": \"grep -c \\\"No space left on device\\\" log\"\n  \"ref\": \"fix/ENOSPC-message\"",
            "INFO Worker] Job message:\nSystem.IO.IOException: No space left on device",
            "INFO StepsRunner] Processing step: DisplayName='Run grep 'System.IO.IOException: No space left on device' log'",
            "INFO ExecutionContext] Publish step telemetry for current step {\n  \"errorMessages\": [\n    \"No space left on device\"",
            "INFO Terminal] WRITE LINE: Running job: No space left on device",
            "ERR  Terminal] WRITE ERROR: No space left on device",
            "ERR  ActionCommandManager] Unable to process command '::set-env name=x::No space left on device' successfully.",
            "ERR  ActionManager] Failed to download archive https://codeload.github.com/a/b/fix/ENOSPC-message",
            "ERR  StepsRunner] Caught exception from step: System.IO.FileNotFoundException: Could not find file '/w/No space left on device'.",
            "WARN JobExtension] Ignore exception: No space left on device",
            "INFO StepsRunner] Evaluating: contains(github.event.head_commit.message, No space left on device)",
        ] {
            let text = format!("[2026-01-02 03:04:05Z {text}");
            assert_eq!(complains(&text), [], "{text}");
        }
        assert_eq!(complains("No space left on device"), [], "what continues a line that is out of sight");
    }
}
