//! The shipped JSON Schemas against what the program really prints and reads.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, MIB};
use clap::CommandFactory as _;
use disk_guard::cli::Cli;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("packaging/schema/{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a schema is JSON")
}

fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("it is a schema");
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The verbs that print a document.
fn verbs() -> BTreeSet<String> {
    let has_json = |command: &&clap::Command| command.get_arguments().any(|a| a.get_id() == "json");
    Cli::command().get_subcommands().filter(has_json).map(|c| c.get_name().to_owned()).collect()
}

#[test]
fn the_document_of_every_verb_matches_its_schema() {
    let mut host = Host::new();
    let list = host.base.join("vms.json");
    let environments =
        r#"[{"id": "vm-1", "state": "running"}, {"id": "vm-2", "state": "stopped", "bytes": 5}]"#;
    std::fs::write(&list, format!("{{\"schema\": 1, \"complete\": true, \"environments\": {environments}}}"))
        .expect("a file");
    host.configure(|settings| {
        settings.want_everything();
        settings.extra = format!(
            "[[reap]]\nname = \"vms\"\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"cat {}\"]\nmatch = [\"*\"]\n",
            list.display()
        );
    });
    let runner = host.runner("actions-runner-1").build();
    let other = host.runner("actions-runner-2").build();
    let kept = other.cache("acme/app", "target", MIB, Duration::from_secs(60));
    let unit = kept.join("debug/.fingerprint/app-0123456789abcdef");
    std::fs::create_dir_all(&unit).expect("a directory");
    std::fs::write(kept.join("debug/.cargo-lock"), "").expect("a file");
    std::fs::write(unit.join("lib-app"), "0123456789abcdef").expect("a file");
    std::fs::write(unit.join("lib-app.json"), "{\"deps\": [], \"profile\": 1}").expect("a file");
    let cache = runner.cache("acme/app", "target", MIB, Duration::from_secs(2 * 86_400));
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let (cache, kept) = (cache.display().to_string(), kept.display().to_string());
    let hooks = host.base.join("hooks").display().to_string();
    let calls: &[&[&str]] = &[
        &["status"],
        &["plan"],
        &["trim", &kept],
        &["audit"],
        &["remediate", "actions-runner-1", "acme/app"],
        &["check", "--runner", "actions-runner-1"],
        &["doctor"],
        &["install", "--dry-run", "--hooks-dir", &hooks],
        &["uninstall", "--dry-run", "--hooks-dir", &hooks],
        &["reap", "--dry-run"],
        &["sweep"],
        &["sweep", "--no-reap"],
        &["status"],
        &["why", &cache],
        &["why", "vm-1"],
        &["history"],
        &["blame", "--at", "1min ago"],
        &["forecast"],
        &["stores", "--dry-run"],
        &["postmortem"],
        &["notify", "--dry-run"],
        &["simulate", "--days", "1", "--seeds", "1"],
    ];
    for call in calls {
        let run = host.guard(&[call, &["--json"][..]].concat());
        let document: Value = serde_json::from_slice(&run.stdout)
            .unwrap_or_else(|error| panic!("{call:?}: {error}: {}{}", run.stdout(), run.stderr()));
        let schema = schema(call[0]);
        assert_eq!(faults(&schema, &document), Vec::<String>::new(), "{call:?}: {document:#}");
        let mut other = document.clone();
        other["schema"] = Value::from(99);
        assert!(!faults(&schema, &other).is_empty(), "{call:?}: the schema says something");
    }
    job.finish(&mut listener);
    let tried: BTreeSet<String> = calls.iter().map(|call| call[0].to_owned()).collect();
    assert_eq!(tried, verbs(), "every verb with --json is tried");
}

#[test]
fn the_configurations_schema_takes_what_the_program_takes_and_finds_slips() {
    let schema = schema("config");
    let fault = |text: &str| {
        let table: toml::Table = text.parse().expect("TOML");
        faults(&schema, &serde_json::to_value(table).expect("TOML is JSON"))
    };
    let host = Host::new();
    let effective = host.guard(&["check-config"]).expect_code(&[0]).stdout();
    assert_eq!(fault(&effective), Vec::<String>::new(), "{effective}");
    for rules in glob::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/rules/*.toml")).expect("a glob") {
        let text = std::fs::read_to_string(rules.expect("a file")).expect("text");
        assert_eq!(fault(&text), Vec::<String>::new(), "{text}");
    }
    for good in [
        "[[cache]]\nname = \"x\"\nmarker = [\"a\", \"../b\"]\nmax_size = 4096",
        "[notify]\ncommand = [\"/bin/true\"]\non = [\"leak\"]",
        "[[reap]]\nname = \"x\"\nkind = \"docker\"\nmatch = [\"*\"]",
        "[pressure]\nmin_free = 0",
    ] {
        assert_eq!(fault(good), Vec::<String>::new(), "{good}");
        assert!(disk_guard::config::Config::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "[pressure]\nhihg = \"85%\"",
        "[pressure]\nhigh = 85",
        "[presure]\n",
        "[siblings]\nclaim = \"always\"",
        "[notify]\non = [\"fire\"]",
        "[[reap]]\nname = \"x\"",
        "[runners]\nroots = \"/srv/*\"",
    ] {
        assert!(!fault(bad).is_empty(), "{bad}");
        assert!(disk_guard::config::Config::parse(bad).is_err(), "{bad}");
    }
    let high = schema.pointer("/definitions/Pressure/properties/high/description").and_then(Value::as_str);
    assert_eq!(high, Some("act at or above this (df's Use%)"), "keys are described as in the shipped file");
}
