use crate::report::job_log::{JobLog, Warning};
use crate::text::escape::{bytes, command_data, command_property, is_deceptive, log_line, text};

/// Escaped text is one visible line without any loss; a job's log contains no command except the guard's own.
pub fn escape(raw: &[u8]) {
    let escaped = bytes(raw);
    assert!(!escaped.chars().any(is_deceptive), "{escaped:?}");
    assert_eq!(unescape(&escaped), raw, "{escaped:?}");

    let lossy = String::from_utf8_lossy(raw);
    assert_eq!(text(&lossy), bytes(lossy.as_bytes()));
    let line = log_line(&lossy);
    assert!(!is_command(&line) && !line.chars().any(is_deceptive), "{line:?}");
    assert_eq!(log_line(&line), line, "a second pass changes nothing");
    let (data, property) = (command_data(&lossy), command_property(&lossy));
    assert!(!data.contains(['\r', '\n']) && !data.contains("##["), "{data:?}");
    assert!(!property.contains(['\r', '\n', ':', ',']) && !property.contains("##["), "{property:?}");
    job_log(&lossy);
}

/// A whole log with the text in place of every name.
fn job_log(text: &str) {
    let mut out = Vec::new();
    let mut log = JobLog::open(&mut out, text).expect("memory takes all");
    log.line(text).expect("memory takes all");
    log.finish(Some(Warning::new(text, text))).expect("memory takes all");
    let out = String::from_utf8(out).expect("text");
    let lines: Vec<&str> = out.split('\n').collect();
    let [group, line, end, warning, ""] = lines[..] else { panic!("{lines:?}") };
    assert!(group.starts_with("::group::disk-guard ") && !group.contains("##["), "{group:?}");
    assert!(!is_command(line), "{line:?}");
    assert_eq!(end, "::endgroup::");
    assert!(warning.starts_with("::warning title=") && !warning.contains("##["), "{warning:?}");
    let properties = warning["::warning title=".len()..].split("::").next().unwrap_or_default();
    assert!(!properties.contains([',', ':']), "one property: {properties:?}");
    assert!(!out.chars().any(|c| c != '\n' && is_deceptive(c)), "{out:?}");
}

/// What the runner looks for in a line (`ActionCommand.TryParseV2` and `TryParse`).
pub(crate) fn is_command(line: &str) -> bool {
    line.trim_start().starts_with("::") || line.contains("##[")
}

/// The inverse of [`bytes`], to show that nothing is lost.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        let kind = rest.as_bytes()[0];
        rest = &rest[1..];
        match kind {
            b'\\' => out.push(b'\\'),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'x' => {
                out.push(u8::from_str_radix(&rest[..2], 16).expect("two digits"));
                rest = &rest[2..];
            }
            b'u' => {
                let end = rest.find('}').expect("braces");
                let number = u32::from_str_radix(&rest[1..end], 16).expect("a number");
                out.extend(char::from_u32(number).expect("a character").to_string().bytes());
                rest = &rest[end + 1..];
            }
            other => panic!("unknown escape {other}"),
        }
    }
    out
}
