//! The message that `[notify] command` reads on its standard input.

use super::{Document, Layout};
use crate::as_json;
use crate::model::incident::{News, Telling};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::SystemTime;

/// The message.
#[derive(Serialize, JsonSchema)]
pub(super) struct Message<'a> {
    host: &'a str,
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    /// A person tests whether messages arrive.
    test: bool,
    /// Everything below in words, for a chat or a mail: the host and a line for each incident.
    text: String,
    incidents: &'a [Telling],
}

/// The message about these incidents.
pub fn message(host: &str, now: SystemTime, tellings: &[Telling], layout: Layout) -> String {
    let text = in_words(host, tellings);
    Document::of(Message { host, time: now, test: false, text, incidents: tellings }, layout)
}

/// A message about nothing, by which a person tests whether messages arrive.
pub fn test_message(host: &str, now: SystemTime, layout: Layout) -> String {
    let text = format!("{host}: disk-guard's messages arrive here. This is a test, nothing is the matter.");
    Document::of(Message { host, time: now, test: true, text, incidents: &[] }, layout)
}

/// The incidents for people.
fn in_words(host: &str, tellings: &[Telling]) -> String {
    let line = |telling: &Telling| {
        let advice = match &telling.advice[..] {
            "" => String::new(),
            advice => format!(" (`{advice}`)"),
        };
        let still = if telling.news == News::Still { "still: " } else { "" };
        format!("- {still}{}{advice}", telling.text)
    };
    let lines: Vec<String> = tellings.iter().map(line).collect();
    format!("disk-guard on {host}:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::incident::IncidentKind;
    use crate::report::samples;

    #[test]
    fn a_message_has_all_its_fields_and_the_same_in_words() {
        let telling = |news, kind, subject: &str, text: &str, advice: &str| Telling {
            news,
            kind,
            subject: subject.to_owned(),
            since: 1_772_634_000,
            text: text.to_owned(),
            advice: advice.to_owned(),
        };
        let tellings = [
            telling(
                News::Still,
                IncidentKind::CriticalDisk,
                "/home",
                "/home is above critical: 98% used, 2.00 GiB available",
                "disk-guard status",
            ),
            telling(News::Over, IncidentKind::DeadSweep, "", "dead-sweep is over", ""),
        ];
        insta::assert_snapshot!(message("ci-1", samples::now(), &tellings, Layout::Pretty), @r#"
        {
          "schema": 1,
          "host": "ci-1",
          "time": "2026-03-04T14:25:10Z",
          "test": false,
          "text": "disk-guard on ci-1:\n- still: /home is above critical: 98% used, 2.00 GiB available (`disk-guard status`)\n- dead-sweep is over",
          "incidents": [
            {
              "kind": "critical-disk",
              "news": "still",
              "subject": "/home",
              "since": "2026-03-04T14:20:00Z",
              "text": "/home is above critical: 98% used, 2.00 GiB available",
              "advice": "disk-guard status"
            },
            {
              "kind": "dead-sweep",
              "news": "over",
              "subject": "",
              "since": "2026-03-04T14:20:00Z",
              "text": "dead-sweep is over",
              "advice": ""
            }
          ]
        }
        "#);
        let test = test_message("ci-1", samples::now(), Layout::Line);
        assert!(test.contains("\"test\":true") && test.contains("This is a test"), "{test}");
    }
}
