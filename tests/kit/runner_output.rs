//! Reading a script's output as the runner does (`ActionCommandManager.TryProcessCommand` of actions/runner v2.336.0).

/// What the runner would make of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RunnerOutput {
    /// `warning`, `error`, `notice` commands with their message.
    pub(crate) annotations: Vec<(String, String)>,
    /// `group` openings.
    pub(crate) groups: usize,
    /// `endgroup`s.
    pub(crate) ends: usize,
    /// Every other command: none is wanted.
    pub(crate) unexpected: Vec<String>,
}

impl RunnerOutput {
    /// Panics unless this is what a job's log may hold: balanced groups, at most one annotation, no other command.
    #[track_caller]
    pub(crate) fn assert_safe(&self) {
        assert!(self.unexpected.is_empty(), "the runner would obey {:?}", self.unexpected);
        assert!(self.annotations.len() <= 1, "more than one annotation: {:?}", self.annotations);
        assert_eq!(self.groups, self.ends, "every group is closed");
        assert!(self.groups <= 1, "one group");
    }
}

/// Parses both streams; each is read by lines that end in CR, LF or both, as .NET reads them.
pub(crate) fn parse_as_runner(stdout: &[u8], stderr: &[u8]) -> RunnerOutput {
    let mut found = RunnerOutput::default();
    for stream in [stdout, stderr] {
        let text = String::from_utf8_lossy(stream);
        for line in text.split(['\r', '\n']) {
            parse_line(line, &mut found);
        }
    }
    found
}

fn parse_line(line: &str, found: &mut RunnerOutput) {
    let trimmed = line.trim();
    // `::command key=value::message`, at the start of the trimmed line.
    if let Some(rest) = trimmed.strip_prefix("::")
        && let Some((command, message)) = rest.split_once("::")
    {
        sort(command.split(' ').next().unwrap_or_default(), message, trimmed, found);
        return;
    }
    // `##[command key=value]message`, anywhere.
    if let Some((_, rest)) = line.split_once("##[")
        && let Some((command, message)) = rest.split_once(']')
    {
        sort(command.split(' ').next().unwrap_or_default(), message, trimmed, found);
    }
}

fn sort(command: &str, message: &str, line: &str, found: &mut RunnerOutput) {
    match command {
        "warning" | "error" | "notice" => found.annotations.push((command.to_owned(), message.to_owned())),
        "group" => found.groups += 1,
        "endgroup" => found.ends += 1,
        _ => found.unexpected.push(line.to_owned()),
    }
}
