//! Properties of every parser of foreign bytes, for any input.
//!
//! One function per parser: it accepts any bytes and panics if a property is violated. There are two callers. The fuzzers in `fuzz/` search
//! for new inputs, outside of CI and with a nightly toolchain. The test below replays the inputs in `fuzz/corpus`, which are written by
//! hand or were found by fuzzers. Neither is part of the program: this module exists only in tests and under `--cfg fuzzing`.
//!
//! Each property is more than the absence of panics: written values are read back equal, unclear input protects, and the writer of a part
//! of the bytes decides about no more than that part.

mod cargo_target;
mod config;
pub(crate) mod escape;
mod ledger;
mod listener_log;
mod postmortem;
mod proc_files;
mod reap;
mod records;
mod runner_files;
mod stores;

pub use cargo_target::cargo_unit;
pub use config::{config, units};
pub use escape::escape;
pub use ledger::{journal_entry, ledger_line};
pub use listener_log::listener_log;
pub use postmortem::{diag_log, host_entry, kernel_message};
pub use proc_files::{locks, maps, mountinfo, stat};
pub use reap::{containers, domains, environment_list, lima, pods, tart};
pub use records::{count_record, lease, ticket};
pub use runner_files::{env_file, hook_record, hook_script, runner_settings};
pub use stores::store_usage;

/// The function that a fuzzer calls.
pub type Target = fn(&[u8]);

/// All of them, by the names of their fuzzers and of their directories in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 28] = [
    ("cargo_unit", cargo_unit),
    ("config", config),
    ("containers", containers),
    ("count_record", count_record),
    ("diag_log", diag_log),
    ("domains", domains),
    ("env_file", env_file),
    ("environment_list", environment_list),
    ("escape", escape),
    ("hook_record", hook_record),
    ("hook_script", hook_script),
    ("host_entry", host_entry),
    ("journal_entry", journal_entry),
    ("kernel_message", kernel_message),
    ("lease", lease),
    ("ledger_line", ledger_line),
    ("lima", lima),
    ("listener_log", listener_log),
    ("locks", locks),
    ("maps", maps),
    ("mountinfo", mountinfo),
    ("pods", pods),
    ("runner_settings", runner_settings),
    ("stat", stat),
    ("store_usage", store_usage),
    ("tart", tart),
    ("ticket", ticket),
    ("units", units),
];

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn the_corpus_holds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let mut broken = Vec::new();
        for (name, target) in TARGETS {
            let corpus = fuzz.join("corpus").join(name);
            let mut inputs = 0;
            for entry in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{name}: {error}")) {
                let path = entry.unwrap().path();
                let bytes = std::fs::read(&path).unwrap();
                if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                    broken.push(path);
                }
                inputs += 1;
            }
            assert!(inputs >= 3, "{name} has a corpus of {inputs}");
        }
        assert!(broken.is_empty(), "these break a promise: {broken:#?}");
    }

    #[test]
    fn every_target_has_its_fuzzer_and_every_corpus_its_target() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let listed = |directory: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(fuzz.join(directory)).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed("corpus"), names);
        assert_eq!(listed("fuzz_targets"), names);
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in &names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        }
    }
}
