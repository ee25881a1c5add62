use super::contains;
use crate::actions_runner::settings;
use crate::hook_record;
use crate::hygiene::observe::mapping;
use crate::observe::dotenv::{self, Says};
use crate::observe::hook_script::{self, Shown};
use crate::observe::processes::HookVariable;
use crate::observe::processes::environment::value_in;
use crate::setup::env_file::EnvFile;
use crate::setup::units::unit_named;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;

const BOTH: [HookVariable; 2] = HookVariable::BOTH;

/// `.runner`: accepted content is unambiguous, with or without a byte order mark. `.service`: an accepted unit name cannot be taken for
/// an option on a command line.
pub fn runner_settings(bytes: &[u8]) {
    if let Ok(settings) = settings::parse(bytes) {
        assert!(settings.name.as_deref() != Some("") && settings.work_folder.as_deref() != Some(""));
        let plain = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let marked = [b"\xef\xbb\xbf", plain].concat();
        assert_eq!(settings::parse(&marked).unwrap(), settings);
        let written = json!({"agentName": settings.name, "WorkFolder": settings.work_folder});
        assert_eq!(settings::parse(written.to_string().as_bytes()).unwrap(), settings);
        doubled(plain);
    }
    if let Ok(unit) = unit_named(bytes) {
        assert!(unit.starts_with("actions.runner.") && unit.ends_with(".service"), "{unit}");
        assert!(unit.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{unit}");
    }
}

/// Another spelling of a key, which could name another work directory, is refused.
fn doubled(settings: &[u8]) {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(settings) else { return };
    let is_work = |key: &String| key.eq_ignore_ascii_case("workFolder");
    if object.keys().filter(|key| is_work(key)).any(|key| key != "wORKfOLDER") {
        object.insert("wORKfOLDER".into(), json!("/elsewhere"));
        assert!(settings::parse(Value::Object(object).to_string().as_bytes()).is_err());
    }
}

/// `.env`: parsing loses no byte, a set variable has its value, and undoing restores every byte. `environ`: the first entry of a name
/// counts.
pub fn env_file(bytes: &[u8]) {
    let original = EnvFile::parse(bytes);
    assert_eq!(original.to_bytes(), bytes);

    let mut file = original.clone();
    let before = BOTH.map(|variable| file.set(variable, b"/h.sh").0);
    for variable in BOTH {
        assert_eq!(file.value(variable), Some(&b"/h.sh"[..]));
    }
    let mut again = EnvFile::parse(&file.to_bytes());
    for variable in BOTH {
        assert_eq!(again.value(variable), Some(&b"/h.sh"[..]), "what is written is what is read");
        again.set(variable, b"/h.sh");
    }
    assert_eq!(again.to_bytes(), file.to_bytes(), "setting what is set changes no byte");
    for (variable, before) in BOTH.into_iter().zip(&before).rev() {
        assert!(file.undo(variable, b"/h.sh", before).is_some());
    }
    assert_eq!(file.to_bytes(), bytes);
    says(bytes);
    environ(bytes);
}

/// The value that is read is in the file byte for byte. Only the last line of a name counts.
fn says(bytes: &[u8]) {
    let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    for variable in BOTH {
        let line = |value: &[u8]| [variable.name().as_bytes(), b"=", value].concat();
        let Ok(says) = dotenv::says(bytes, variable) else { continue };
        if let Says::Value(value) = says {
            assert!(!value.is_empty() && !value.iter().any(is_line_end));
            assert!(contains(bytes, &line(value)));
            assert_eq!(EnvFile::parse(bytes).value(variable), Some(value), "who edits reads alike");
        }
        for end in [&b"\n"[..], b"\r\n", b"\r"] {
            let more = |last: &[u8]| [bytes, end, last, end].concat();
            assert_eq!(dotenv::says(&more(&line(b"/last.sh ")), variable), Ok(Says::Value(b"/last.sh ")));
            assert_eq!(dotenv::says(&more(&line(b"")), variable), Ok(Says::Unset));
            assert_eq!(dotenv::says(&more(&[b" ", &line(b"/x.sh")[..]].concat()), variable), Ok(says));
        }
    }
}

/// A hook's record: an accepted record is written and read back equal, and its name is valid for one Listener only.
pub fn hook_record(bytes: &[u8]) {
    if let Ok(written) = hook_record::understand(bytes) {
        let again = serde_json::to_vec(&written).expect("numbers and strings serialise");
        assert_eq!(hook_record::understand(&again).ok(), Some(written));
    }
    let name = String::from_utf8_lossy(bytes);
    if let Some(listener) = hook_record::listener_of_name(&name) {
        let end = format!("-{}-{}", listener.pid, listener.start.0);
        assert!(name.replace("-+", "-").replace('+', "").contains(&listener.pid.to_string()), "{name} {end}");
    }
}

fn environ(bytes: &[u8]) {
    for variable in BOTH {
        let entry = |value: &[u8]| [variable.name().as_bytes(), b"=", value].concat();
        if let Some(value) = value_in(bytes, variable) {
            assert!(!value.as_bytes().contains(&0) && contains(bytes, &entry(value.as_bytes())));
        }
        let first = [entry(b"/first"), vec![0], bytes.to_vec()].concat();
        assert_eq!(value_in(&first, variable).map(|value| value.as_bytes()), Some(&b"/first"[..]));
    }
}

/// A hook's script: a comment runs nothing. A script whose first command is ours runs us, whatever follows; with other commands before it,
/// it counts only if those are known to reach ours. `PipelineFolder.json`: its name is read exactly.
pub fn hook_script(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let commented: String = text.lines().map(|line| format!("# {}\n", line.trim_end_matches('\\'))).collect();
    for word in ["started", "completed"] {
        assert!(!hook_script::names_us(&commented, word), "{commented:?}");
        let ours = format!("/usr/bin/disk-guard hook {word}\n");
        assert!(
            hook_script::names_us(&format!("{}\n{ours}{text}", text.trim_end_matches('\\')), word),
            "{text:?}"
        );
    }
    let is_us = |text: &str| matches!(hook_script::first_command(text), Shown::Us(_));
    assert!(!is_us(&commented) || commented.is_empty(), "{commented:?}");
    assert!(is_us(&format!("{commented}exec /usr/bin/disk-guard hook started\n{text}")), "{text:?}");
    for around in ["exit 0\n", "if false; then\n", "cat <<END\n"] {
        let shown = is_us(&format!("{around}{}\ndisk-guard hook started\n", text.trim_end_matches('\\')));
        assert!(!shown, "{around:?} {text:?}");
    }
    let folder = json!({"PipelineDirectory": text}).to_string();
    assert_eq!(mapping::directory(folder.as_bytes()).as_deref(), Some(text.as_ref().as_ref()));
    let _ = mapping::directory(bytes);
}
