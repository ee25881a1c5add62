//! Names from disk made harmless and visible before a person or a runner reads them.
//!
//! Invariants: escaped text holds no control character, no line break, no character without a glyph of its own and no
//! bidirectional override, so what is seen is what is there; it can be turned back into the exact bytes, because a
//! backslash is doubled. A line for a job's log is, in addition, never a workflow command: the runner takes `::name::`
//! at a line's start *after trimming white space* and `##[name]` anywhere in it (`ActionCommand.cs` of actions/runner).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Escapes text for a terminal or a log.
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c == '\\' || is_deceptive(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    push_text(&mut out, text);
    Cow::Owned(out)
}

/// Escapes unknown bytes; those that are not UTF-8 become `\xNN`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_text(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Escapes a name.
pub fn os(name: &OsStr) -> String {
    bytes(name.as_bytes())
}

/// Escapes a path; its slashes are kept.
pub fn path(path: &Path) -> String {
    os(path.as_os_str())
}

/// Makes one line of a job's log from a line whose names are escaped already. Backslashes are kept; commands of the runner and line ends
/// are escaped.
pub fn log_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_deceptive(c) { push_escape(&mut out, c) } else { out.push(c) }
    }
    let out = out.replace("##[", r"#\x23[");
    let indent = out.len() - out.trim_start().len();
    match out[indent..].strip_prefix("::") {
        Some(rest) => format!(r"{}\x3a:{rest}", &out[..indent]),
        None => out,
    }
}

/// Escapes the data of a workflow command (what follows `::name::`).
pub fn command_data(data: &str) -> String {
    data.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A").replace("##[", r"#\x23[")
}

/// Escapes the value of a workflow command's property (`title=...`).
pub fn command_property(value: &str) -> String {
    command_data(value).replace(':', "%3A").replace(',', "%2C")
}

fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_deceptive(c) => push_escape(out, c),
            c => out.push(c),
        }
    }
}

fn push_escape(out: &mut String, c: char) {
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii() => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    };
}

/// Whether a character moves the cursor, reorders or hides text, or only looks like a space.
pub(crate) fn is_deceptive(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control() || c.is_whitespace() || is_invisible(c)
}

/// Format characters and fillers: bidirectional controls, zero-width characters, variation selectors, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::escape::{is_command, unescape};
    use proptest::prelude::*;

    #[test]
    fn harmless_characters_are_unchanged() {
        for same in
            ["", "runner-1", "/home/ci/r 1/_work", "größe", "目录", "a:b,c%d", "#[x]", ":: in the middle"]
        {
            assert_eq!(text(same), same);
            assert!(matches!(text(same), Cow::Borrowed(_)), "{same}");
        }
    }

    #[test]
    fn deceptive_characters_become_visible() {
        for (raw, seen) in [
            ("a\nb", r"a\nb"),
            ("a\rb", r"a\rb"),
            ("a\tb", r"a\tb"),
            ("\0", r"\x00"),
            ("\x1b[31mred", r"\x1b[31mred"),
            ("\x7f", r"\x7f"),
            ("\u{85}next", r"\u{85}next"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("a\\nb", r"a\\nb"),
            ("gpj.\u{202e}exe", r"gpj.\u{202e}exe"),
            ("\u{2066}x\u{2069}", r"\u{2066}x\u{2069}"),
            ("ta\u{200b}rget", r"ta\u{200b}rget"),
            ("ta\u{200d}rget", r"ta\u{200d}rget"),
            ("\u{feff}bom", r"\u{feff}bom"),
            ("so\u{ad}ft", r"so\u{ad}ft"),
            ("no\u{a0}break", r"no\u{a0}break"),
            ("line\u{2028}para\u{2029}", r"line\u{2028}para\u{2029}"),
            ("tag\u{e0041}", r"tag\u{e0041}"),
            ("filler\u{3164}", r"filler\u{3164}"),
        ] {
            assert_eq!(text(raw), seen);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_visible() {
        for (raw, seen) in [
            (&b"caf\xe9"[..], r"caf\xe9"),
            (b"\xff\xfe", r"\xff\xfe"),
            (b"ok\xc3", r"ok\xc3"),
            (b"\xc3\xa9\xff\\", "é\\xff\\\\"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ] {
            assert_eq!(bytes(raw), seen);
        }
    }

    #[test]
    fn a_log_line_is_never_a_command() {
        for (raw, seen) in [
            ("::error::boom", r"\x3a:error::boom"),
            ("  ::stop-commands::x", r"  \x3a:stop-commands::x"),
            ("\t::debug::x", r"\t::debug::x"),
            ("x ##[add-mask]y", r"x #\x23[add-mask]y"),
            ("###[group]", r"##\x23[group]"),
            ("##[a]##[b]", r"#\x23[a]#\x23[b]"),
            ("a\r::error::x", r"a\r::error::x"),
            ("a\n::error::x", r"a\n::error::x"),
            ("a::b", "a::b"),
            (r"kept\\as", r"kept\\as"),
            ("\u{200b}::error::", r"\u{200b}::error::"),
        ] {
            assert_eq!(log_line(raw), seen);
        }
    }

    #[test]
    fn command_values_use_the_runners_own_escapes() {
        assert_eq!(command_data("100%\r\n: , ##[x]"), r"100%25%0D%0A: , #\x23[x]");
        assert_eq!(command_property("a:b,c\n%"), "a%3Ab%2Cc%0A%25");
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&bytes(&raw)), raw);
        }

        #[test]
        fn escaped_text_is_one_visible_line(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!bytes(&raw).chars().any(is_deceptive));
        }

        #[test]
        fn text_and_bytes_agree(raw in ".{0,32}") {
            prop_assert_eq!(text(&raw).into_owned(), bytes(raw.as_bytes()));
        }

        #[test]
        fn no_line_reaches_the_runner_as_a_command(raw in "[ \t\r\n\u{a0}\u{3000}:#\\[a%\u{200b}]{0,12}") {
            let line = log_line(&raw);
            prop_assert!(!is_command(&line), "{:?}", line);
            prop_assert!(!line.contains(['\r', '\n']));
            prop_assert_eq!(log_line(&line), line, "a second pass changes nothing");
        }

        #[test]
        fn command_values_cannot_end_their_line_or_property(raw in "[\r\n:,%#\\[a]{0,16}") {
            let value = command_property(&raw);
            prop_assert!(!value.contains(['\r', '\n', ':', ',']));
            prop_assert!(!value.contains("##["));
        }
    }
}
