//! A runner's `.env`, read as its Listener reads it, and what a hook's value must be for a job to get past it. Pure.
//!
//! actions/runner v2.336.0, src/Runner.Listener/Program.cs (`LoadAndSetEnv`): `File.ReadAllLines`, which ends lines at LF, CRLF or a lone
//! CR and strips a byte order mark; each line is split at its first `=`, and nothing is trimmed or unquoted; an empty value unsets the
//! variable. A value here overrides the unit's. Every other reader of a `.env` in this program uses this module.

use super::processes::HookVariable;

/// The byte order mark of UTF-8, which the runner strips.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// The value of one variable in a `.env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says<'e> {
    /// None: the Listener keeps the one it was started with.
    Nothing,
    /// It is removed from the environment.
    Unset,
    /// Exactly this value.
    Value(&'e [u8]),
}

/// One line: its text, and its end (empty for a last line without one).
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &'static [u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let end: &[u8] = match &rest[length..] {
            [b'\r', b'\n', ..] => b"\r\n",
            [b'\r', ..] => b"\r",
            [b'\n', ..] => b"\n",
            _ => b"",
        };
        let text = &rest[..length];
        rest = &rest[length + end.len()..];
        Some((text, end))
    })
}

/// The text after `VARIABLE=` in a line; `is_first` is true for the file's first line.
pub fn value_in_line(line: &[u8], is_first: bool, variable: HookVariable) -> Option<&[u8]> {
    value_of(line, is_first, variable.name())
}

fn value_of<'l>(line: &'l [u8], is_first: bool, name: &str) -> Option<&'l [u8]> {
    let line = if is_first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
    line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The value of a variable in a whole file: its last line of that name counts.
///
/// # Errors
/// For a file in UTF-16 or UTF-32, which the runner would decode and this program does not.
pub fn says(file: &[u8], variable: HookVariable) -> Result<Says<'_>, &'static str> {
    says_of(file, variable.name())
}

/// The value of the variable of this name in a whole file: its last line of that name counts.
///
/// # Errors
/// As for [`says`].
pub fn says_of<'e>(file: &'e [u8], name: &str) -> Result<Says<'e>, &'static str> {
    if file.starts_with(b"\xff\xfe") || file.starts_with(b"\xfe\xff") || file.starts_with(b"\0\0\xfe\xff") {
        return Err("it is not in UTF-8: write it again");
    }
    let values = lines(file).enumerate().filter_map(|(n, (line, _))| value_of(line, n == 0, name));
    Ok(match values.last() {
        None => Says::Nothing,
        // .NET treats a value that begins with NUL as empty.
        Some([] | [0, ..]) => Says::Unset,
        Some(value) => Says::Value(value),
    })
}

/// Why every job fails at a hook of this value, as far as its text shows (src/Runner.Worker/JobHookProvider.cs,
/// Handlers/ScriptHandlerHelpers.cs). The path is inserted unquoted into a command line, and the working directory is the job's.
pub fn fails_every_job(value: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(value) else { return Some("it is not UTF-8") };
    if text.trim() != text {
        return Some("there is white space before or after it, which the runner treats as part of the name");
    }
    if text.contains('"') || text.starts_with('\'') {
        return Some("there are quotes in it, which the runner takes for a part of the name");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("there is a space in it, and the runner does not quote it");
    }
    if !text.starts_with('/') {
        return Some("it is no absolute path");
    }
    let name = text.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    if !matches!(extension, Some("sh" | "ps1" | "js")) {
        return Some("its name does not end in .sh, .ps1 or .js");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: &str = "ACTIONS_RUNNER_HOOK_JOB_STARTED";

    fn started(file: &[u8]) -> Says<'_> {
        says(file, HookVariable::JobStarted).unwrap()
    }

    /// Each as the genuine runner has read it.
    #[test]
    fn an_env_file_is_parsed_as_the_runner_parses_it() {
        for (file, says) in [
            (format!("{S}=/a.sh\n"), Says::Value(b"/a.sh")),
            (format!("LANG=C\r\n{S}=/a.sh\r\nX=1\r\n"), Says::Value(b"/a.sh")),
            (format!("LANG=C\r{S}=/a.sh\rX=1"), Says::Value(b"/a.sh")),
            (format!("{S}=/a.sh\n{S}=/b.sh"), Says::Value(b"/b.sh")),
            (format!("{S}=/a.sh\n{S}=\n"), Says::Unset),
            (format!("{S}=/a.sh\n{S}"), Says::Value(b"/a.sh")),
            (format!("\u{feff}{S}=/a.sh\n"), Says::Value(b"/a.sh")),
            (format!("LANG=C\n\u{feff}{S}=/a.sh\n"), Says::Nothing),
            (format!("{S}=/a.sh \n"), Says::Value(b"/a.sh ")),
            (format!("{S}= /a.sh\n"), Says::Value(b" /a.sh")),
            (format!("{S}=\"/a.sh\"\n"), Says::Value(b"\"/a.sh\"")),
            (format!("{S}=/a.sh # ours\n"), Says::Value(b"/a.sh # ours")),
            (format!("{S}=/a.sh=b\n"), Says::Value(b"/a.sh=b")),
            (format!(" {S}=/a.sh\n"), Says::Nothing),
            (format!("{S} =/a.sh\n"), Says::Nothing),
            (format!("export {S}=/a.sh\n"), Says::Nothing),
            (format!("#{S}=/a.sh\n{S}_X=/b.sh\n"), Says::Nothing),
            (format!("{}=/a.sh\n", S.to_lowercase()), Says::Nothing),
            (String::new(), Says::Nothing),
        ] {
            assert_eq!(started(file.as_bytes()), says, "{file:?}");
        }
        let wide: Vec<u8> =
            format!("\u{feff}{S}=/a.sh\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(says(&wide, HookVariable::JobStarted).is_err());
    }

    #[test]
    fn lines_that_stop_every_job_are_recognised_by_their_text() {
        for good in ["/usr/lib/disk-guard/hooks/job-started.sh", "/a.js", "/x.y/b.ps1", "/it's/../a.sh"] {
            assert_eq!(fails_every_job(good.as_bytes()), None, "{good}");
        }
        for bad in [
            "/a.sh ",
            " /a.sh",
            "/a b.sh",
            "/a\t.sh",
            "\"/a.sh\"",
            "'/a.sh'",
            "a.sh",
            "./a.sh",
            "~/a.sh",
            "/a",
            "/a.SH",
            "/a.sh/b",
            "/a.bash",
        ] {
            assert!(fails_every_job(bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(fails_every_job(b"/\xff.sh").is_some());
    }
}
