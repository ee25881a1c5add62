use super::contains;
use crate::hygiene::observe::mapping;
use crate::observe::guarded;
use crate::observe::processes::HookVariable;
use crate::observe::processes::environment::value_in;
use crate::observe::settings;
use crate::setup::env_file::EnvFile;
use crate::setup::units::unit_named;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;

const BOTH: [HookVariable; 2] = [HookVariable::JobStarted, HookVariable::JobCompleted];

/// `.runner`: what is understood is unambiguous, with a byte order mark or without. `.service`: what is taken for a unit's name
/// can be nothing else on a command line.
pub fn runner_settings(bytes: &[u8]) {
    if let Ok(settings) = settings::parse(bytes) {
        assert!(settings.name.as_deref() != Some("") && settings.work_folder.as_deref() != Some(""));
        let plain = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let marked = [b"\xef\xbb\xbf", plain].concat();
        assert_eq!(settings::parse(&marked).as_ref(), Ok(&settings));
        let written = json!({"agentName": settings.name, "WorkFolder": settings.work_folder});
        assert_eq!(settings::parse(written.to_string().as_bytes()), Ok(settings));
        doubled(plain);
    }
    if let Ok(unit) = unit_named(bytes) {
        assert!(unit.starts_with("actions.runner.") && unit.ends_with(".service"), "{unit}");
        assert!(unit.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{unit}");
    }
}

/// Nobody adds another spelling of a key, and so another work directory, unnoticed.
fn doubled(settings: &[u8]) {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(settings) else { return };
    let is_work = |key: &String| key.eq_ignore_ascii_case("workFolder");
    if object.keys().filter(|key| is_work(key)).any(|key| key != "wORKfOLDER") {
        object.insert("wORKfOLDER".into(), json!("/elsewhere"));
        assert!(settings::parse(Value::Object(object).to_string().as_bytes()).is_err());
    }
}

/// `.env`: taking apart loses no byte, setting sets, and undoing what was set restores every byte. `environ`: the first entry of a
/// name counts.
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
    environ(bytes);
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

/// A hook's script: what is commented out runs nothing, and a line of ours runs us whatever stands around it. `.env`: the last line of
/// a name counts. `PipelineFolder.json`: the name that stands there.
pub fn hook_script(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let commented: String = text.lines().map(|line| format!("# {}\n", line.trim_end_matches('\\'))).collect();
    let ours = |word: &str| format!("\n/usr/bin/disk-guard hook {word}\n");
    for word in ["started", "completed"] {
        assert!(!guarded::script_runs_us(&commented, word), "{commented:?}");
        let whole = text.trim_end_matches('\\');
        assert!(guarded::script_runs_us(&format!("{whole}{}{text}", ours(word)), word), "{text:?}");
    }
    let last = [bytes, b"\nACTIONS_RUNNER_HOOK_JOB_STARTED=/last.sh\n"].concat();
    assert_eq!(guarded::hook_in(&last).as_deref(), Some("/last.sh".as_ref()));
    if let Some(hook) = guarded::hook_in(bytes) {
        assert!(!hook.as_os_str().is_empty() && contains(bytes, hook.as_os_str().as_bytes()));
    }
    let folder = json!({"PipelineDirectory": text}).to_string();
    assert_eq!(mapping::directory(folder.as_bytes()).as_deref(), Some(text.as_ref().as_ref()));
    let _ = mapping::directory(bytes);
}
