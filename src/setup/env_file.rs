//! A runner's `.env`, edited without touching lines of others. Pure.
//!
//! Its content is read as the Listener reads it (`observe::dotenv`). Every edit here can be undone exactly: the previous content is
//! returned, and lines of others are never rewritten.

use crate::observe::dotenv::{self, BOM};
use crate::observe::processes::HookVariable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The file, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    lines: Vec<EnvLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EnvLine {
    text: Vec<u8>,
    /// LF, CRLF or CR; empty for a last line without one.
    end: &'static [u8],
}

/// The state of a hook variable before it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Not there.
    Absent {
        /// The file's last line had no line end, and was given one.
        unterminated: bool,
    },
    /// This line, without its end.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    Line(Vec<u8>),
}

/// One line that changes, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineChange {
    /// Counted from 1, in the file as it was when this change was made.
    pub line: usize,
    /// The removed line.
    pub removed: Option<Vec<u8>>,
    /// The added line.
    pub added: Option<Vec<u8>>,
}

impl EnvFile {
    /// Takes a file apart.
    pub fn parse(bytes: &[u8]) -> Self {
        let lines = dotenv::lines(bytes).map(|(text, end)| EnvLine { text: text.to_vec(), end }).collect();
        Self { lines }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| [line.text.as_slice(), line.end]).flatten().copied().collect()
    }

    /// The effective value, exactly: that of the last line. An empty one does not count.
    pub fn value(&self, variable: HookVariable) -> Option<&[u8]> {
        self.value_at(self.last(variable)?, variable).filter(|value| !value.is_empty())
    }

    fn value_at(&self, index: usize, variable: HookVariable) -> Option<&[u8]> {
        dotenv::value_in_line(&self.lines[index].text, index == 0, variable)
    }

    fn last(&self, variable: HookVariable) -> Option<usize> {
        (0..self.lines.len()).rfind(|index| self.value_at(*index, variable).is_some())
    }

    /// The line end that this file uses.
    fn line_end(&self) -> &'static [u8] {
        self.lines.iter().map(|line| line.end).rfind(|end| !end.is_empty()).unwrap_or(b"\n")
    }

    /// Sets a variable in the effective line, or in a new one at the end.
    pub fn set(&mut self, variable: HookVariable, value: &[u8]) -> (Before, LineChange) {
        let entry = [variable.name().as_bytes(), b"=", value].concat();
        if let Some(index) = self.last(variable) {
            let line = &mut self.lines[index];
            let mark = if index == 0 && line.text.starts_with(BOM) { BOM } else { b"" };
            let old = std::mem::replace(&mut line.text, [mark, &entry].concat());
            let change = LineChange { line: index + 1, removed: Some(old.clone()), added: Some(entry) };
            return (Before::Line(old), change);
        }
        let end = self.line_end();
        let unterminated = match self.lines.last_mut() {
            Some(last) if last.end.is_empty() => {
                last.end = end;
                true
            }
            _ => false,
        };
        self.lines.push(EnvLine { text: entry.clone(), end });
        (
            Before::Absent { unterminated },
            LineChange { line: self.lines.len(), removed: None, added: Some(entry) },
        )
    }

    /// Restores the state before `wired` was set. A variable with another value by now belongs to somebody else and is kept: then nothing
    /// changes.
    pub fn undo(&mut self, variable: HookVariable, wired: &[u8], before: &Before) -> Option<LineChange> {
        let index = self.last(variable)?;
        if self.value(variable)? != wired {
            return None;
        }
        let line = index + 1;
        if let Before::Line(text) = before {
            let removed = std::mem::replace(&mut self.lines[index].text, text.clone());
            return Some(LineChange { line, removed: Some(removed), added: Some(text.clone()) });
        }
        let removed = self.lines.remove(index);
        if matches!(before, Before::Absent { unterminated: true })
            && index == self.lines.len()
            && let Some(last) = self.lines.last_mut()
        {
            last.end = b"";
        }
        Some(LineChange { line, removed: Some(removed.text), added: None })
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [HookVariable; 2] = HookVariable::BOTH;

    fn wire(text: &[u8]) -> (EnvFile, Vec<(HookVariable, Before)>) {
        let mut file = EnvFile::parse(text);
        let before = BOTH.map(|variable| (variable, file.set(variable, b"/h.sh").0)).to_vec();
        (file, before)
    }

    #[test]
    fn lines_of_others_are_unchanged_and_ours_follow_the_files_line_endings() {
        let (s, c) = ("ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED");
        for (before, after) in [
            (String::new(), format!("{s}=/h.sh\n{c}=/h.sh\n")),
            ("LANG=C\n".into(), format!("LANG=C\n{s}=/h.sh\n{c}=/h.sh\n")),
            ("LANG=C".into(), format!("LANG=C\n{s}=/h.sh\n{c}=/h.sh\n")),
            ("A=1\r\nB=2\r\n".into(), format!("A=1\r\nB=2\r\n{s}=/h.sh\r\n{c}=/h.sh\r\n")),
            ("A=1\r\nB=2".into(), format!("A=1\r\nB=2\r\n{s}=/h.sh\r\n{c}=/h.sh\r\n")),
            (format!("{s}=/old.sh\r\nB=\"2\"  \n"), format!("{s}=/h.sh\r\nB=\"2\"  \n{c}=/h.sh\n")),
            (format!("{s}=/a\n{s}=/b\n{c}=\n"), format!("{s}=/a\n{s}=/h.sh\n{c}=/h.sh\n")),
            (format!("#{s}=/a\n{s}_X=/b\n"), format!("#{s}=/a\n{s}_X=/b\n{s}=/h.sh\n{c}=/h.sh\n")),
            (format!("\u{feff}{s}=/a\n"), format!("\u{feff}{s}=/h.sh\n{c}=/h.sh\n")),
            (format!("A=1\r{s}=/a\r"), format!("A=1\r{s}=/h.sh\r{c}=/h.sh\r")),
        ] {
            let (file, _) = wire(before.as_bytes());
            assert_eq!(String::from_utf8(file.to_bytes()).unwrap(), after, "{before:?}");
        }
    }

    #[test]
    fn setting_an_unchanged_value_changes_no_byte() {
        let (file, _) = wire(b"A=1\r\nB=2");
        let (again, _) = wire(&file.to_bytes());
        assert_eq!(again, file);
    }

    #[test]
    fn a_value_that_somebody_changed_since_is_not_undone() {
        let mut file = EnvFile::parse(b"ACTIONS_RUNNER_HOOK_JOB_STARTED=/theirs.sh\n");
        let before = Before::Absent { unterminated: false };
        assert_eq!(file.undo(HookVariable::JobStarted, b"/h.sh", &before), None);
        assert_eq!(file.to_bytes(), b"ACTIONS_RUNNER_HOOK_JOB_STARTED=/theirs.sh\n");
    }

    #[test]
    fn lines_added_after_ours_are_kept_when_ours_are_removed() {
        let (mut file, before) = wire(b"A=1");
        file = EnvFile::parse(&[file.to_bytes().as_slice(), b"B=2\n"].concat());
        for (variable, before) in before.iter().rev() {
            assert!(file.undo(*variable, b"/h.sh", before).is_some());
        }
        assert_eq!(file.to_bytes(), b"A=1\nB=2\n");
    }

    #[test]
    fn a_previous_value_survives_a_round_trip_through_the_record() {
        for before in [Before::Absent { unterminated: true }, Before::Line(b"X=\xff\n\"".to_vec())] {
            let text = serde_json::to_string(&before).unwrap();
            assert_eq!(serde_json::from_str::<Before>(&text).unwrap(), before);
        }
    }

    proptest! {
        #[test]
        fn undoing_restores_every_byte(text in "((A|B|ACTIONS_RUNNER_HOOK_JOB_STARTED|ACTIONS_RUNNER_HOOK_JOB_COMPLETED)=[a/ ]{0,3}(\n|\r\n|\r|)){0,6}") {
            let (mut file, before) = wire(text.as_bytes());
            for (variable, before) in before.iter().rev() {
                prop_assert!(file.undo(*variable, b"/h.sh", before).is_some());
            }
            prop_assert_eq!(file.to_bytes(), text.as_bytes());
        }

        #[test]
        fn taking_apart_loses_nothing(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..64)) {
            prop_assert_eq!(EnvFile::parse(&bytes).to_bytes(), bytes);
        }
    }
}
