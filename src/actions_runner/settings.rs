//! `.runner`, as far as it matters here: a runner's name and its work folder.
//!
//! The runner's user can write it, and so can a job, for the next job. Content that is not clear is an error, and the runner's work
//! directory is then unusable.

use serde_json::{Map, Value};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why `.runner` cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// It is not JSON.
    #[error("`.runner` is not JSON: {0}")]
    NoJson(#[from] serde_json::Error),
    /// It is not an object.
    #[error("`.runner` is not a JSON object")]
    NoObject,
    /// It contains a key twice.
    #[error("`.runner` has {0} twice, in different spellings")]
    Twice(&'static str),
    /// The value of a key is not text.
    #[error("`.runner`: {key} is {found}, expected text")]
    NoText {
        /// Which.
        key: &'static str,
        /// The found value.
        found: String,
    },
}

/// The two settings that matter here; an empty text counts as missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) work_folder: Option<String>,
}

/// Reads `.runner`: JSON with a BOM, keys in camelCase, or in PascalCase when it was written for a just-in-time runner.
///
/// # Errors
/// [`SettingsError`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Settings, SettingsError> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let value: Value = serde_json::from_slice(bytes)?;
    let object = value.as_object().ok_or(SettingsError::NoObject)?;
    Ok(Settings { name: text(object, "agentName")?, work_folder: text(object, "workFolder")? })
}

/// The runner accepts keys in any case. Its choice between two spellings is not documented: we do not guess.
fn text(object: &Map<String, Value>, wanted: &'static str) -> Result<Option<String>, SettingsError> {
    let mut found = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let value = found.next();
    if found.next().is_some() {
        return Err(SettingsError::Twice(wanted));
    }
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(SettingsError::NoText { key: wanted, found: other.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn settings_are_read_in_all_the_shapes_that_runners_write() {
        let expected = Settings { name: Some("ci-1".into()), work_folder: Some("_w".into()) };
        assert_eq!(
            settings("\u{feff}{\"agentId\": 3, \"agentName\": \"ci-1\", \"workFolder\": \"_w\"}"),
            expected
        );
        assert_eq!(
            settings("{\"AgentId\": \"3\", \"AgentName\": \"ci-1\", \"WorkFolder\": \"_w\"}"),
            expected
        );
        assert_eq!(settings("{\"workFolder\": \"\", \"agentName\": null}"), Settings::default());
    }

    #[test]
    fn doubt_is_an_error() {
        for bad in [
            "",
            "[]",
            "{\"workFolder\": 7}",
            "{\"agentName\": \"x\"",
            "{\"workFolder\":\"a\",\"WorkFolder\":\"b\"}",
            "{\"workFolder\":\"a\",\"WORKFOLDER\":null}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
