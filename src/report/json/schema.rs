//! The JSON Schema of each document, made from the types that are serialised.

use super::{
    Document, doctor, forecast, hygiene, ledger, notify, postmortem, reap, run, setup, simulation, status,
    stores, trim,
};
use crate::model::CheckResult;
use crate::model::hygiene::RepairReport;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

/// The schema of the `--json` output of each verb, by the verb; that of `notify` is the input of its program.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let setup = of::<setup::SetupDoc<'_>>;
    let run = of::<run::RunDoc<'_>>;
    let why = either(&[of::<ledger::WhyDoc<'_>>("why"), of::<ledger::WhyEnvironmentDoc<'_>>("why")]);
    let past = of::<simulation::PastDoc<'_>>("simulate");
    let simulate = either(&[of::<simulation::SimulationDoc<'_>>("simulate"), past]);
    vec![
        ("audit", of::<hygiene::AuditDoc<'_>>("audit")),
        ("blame", of::<ledger::BlameDoc<'_>>("blame")),
        ("check", of::<CheckResult>("check")),
        ("doctor", of::<doctor::Doctor<'_>>("doctor")),
        ("forecast", of::<forecast::ForecastDoc<'_>>("forecast")),
        ("history", of::<ledger::HistoryDoc<'_>>("history")),
        ("install", setup("install")),
        ("notify", of::<notify::Message<'_>>("notify")),
        ("plan", run("plan")),
        ("postmortem", of::<postmortem::PostmortemDoc<'_>>("postmortem")),
        ("reap", of::<reap::ReapDoc<'_>>("reap")),
        ("remediate", of::<RepairReport>("remediate")),
        ("simulate", simulate),
        ("status", of::<status::StatusDoc<'_>>("status")),
        ("stores", of::<stores::StoresDoc<'_>>("stores")),
        ("sweep", run("sweep")),
        ("trim", of::<trim::TrimDoc<'_>>("trim")),
        ("uninstall", setup("uninstall")),
        ("why", why),
    ]
}

fn of<T: JsonSchema>(verb: &str) -> Schema {
    let mut schema =
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Document<T>>();
    schema.insert("title".into(), format!("disk-guard {verb}").into());
    if let Some(version) = schema.pointer_mut("/properties/schema") {
        *version = json!({"const": super::SCHEMA});
    }
    schema
}

/// One of several documents, whose definitions are distinguished by their names.
fn either(schemas: &[Schema]) -> Schema {
    let title = schemas[0].get("title").cloned().unwrap_or_default();
    let mut definitions = serde_json::Map::new();
    let mut branches = Vec::new();
    for schema in schemas {
        let mut branch = schema.as_value().clone();
        let Value::Object(fields) = &mut branch else { continue };
        fields.remove("$schema");
        fields.remove("title");
        // The same types have the same definition in each.
        if let Some(Value::Object(own)) = fields.remove("definitions") {
            definitions.extend(own);
        }
        branches.push(branch);
    }
    json_schema!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "anyOf": branches,
        "definitions": definitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::json::{self, Layout};
    use crate::report::samples;

    fn errors(verb: &str, document: &Value) -> Vec<String> {
        let schemas = schemas();
        let (_, schema) = schemas.iter().find(|(name, _)| *name == verb).expect(verb);
        let validator = jsonschema::validator_for(schema.as_value()).expect("a schema");
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn the_sample_documents_match_their_schemas_and_one_without_a_field_does_not() {
        let line = Layout::Line;
        for (verb, text) in [
            ("status", json::status(&samples::host(), line)),
            ("sweep", json::run(&samples::run(Execution::Apply), line)),
            ("plan", json::run(&samples::run(Execution::DryRun), line)),
            ("history", json::history(&samples::history(), line)),
            ("blame", json::blame(&samples::blame(), line)),
            ("why", json::why(&samples::why_innocent(), line)),
            ("notify", json::test_message("h", samples::now(), line)),
        ] {
            let document: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(errors(verb, &document), Vec::<String>::new(), "{verb}");
            for field in document.as_object().unwrap().keys().filter(|field| {
                // An optional field is left out if it has no value.
                !["reap", "holding"].contains(&field.as_str())
            }) {
                let mut lacking = document.clone();
                lacking.as_object_mut().unwrap().remove(field);
                let is_optional =
                    verb == "why" && errors(verb, &lacking).is_empty() && field.ends_with("_bytes");
                assert!(is_optional || !errors(verb, &lacking).is_empty(), "{verb} without {field}");
            }
            let mut newer = document.clone();
            newer["schema"] = 2.into();
            assert!(!errors(verb, &newer).is_empty(), "{verb} of another version");
        }
    }
}
