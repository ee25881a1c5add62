//! `notify`: reports incidents to the administrator's program.

use super::{Context, Format, complain, now, print};
use crate::cli::Cli;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::model::Execution;
use crate::observe::inventory::host_name;
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::report::{escape, json};
use crate::runs::notify::{Due, send};
use crate::sys::process::Proc;
use std::io::IsTerminal as _;
use std::path::Path;

/// Looks for incidents and sends those that are due.
pub(super) fn run(context: &Context, execution: Execution, format: Format) -> Exit {
    if context.config.notify.command.is_empty() && execution == Execution::Apply {
        if format == Format::Json {
            print(&json::message(&host_name(), now(), &[], json::Layout::Pretty));
        } else if std::io::stdout().is_terminal() {
            print("nothing is notified: `command` of [notify] is not set; see disk-guard.toml(5)\n");
        }
        return Exit::Done;
    }
    report(Due::now(context.host(), None), execution, format)
}

/// Reports that the configuration cannot be used, where the file still says to whom: no sweep runs.
pub(super) fn without_config(cli: &Cli, error: &ConfigError, execution: Execution, format: Format) {
    let path = cli.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    let Some(config) = Config::salvaged_for_notify(path) else { return };
    let screen = Screen::of_stdout(cli.color.into());
    let context = Context { proc: Proc::new(&config.paths.proc), config, screen };
    let _ = report(Due::now(context.host(), Some(error)), execution, format);
}

/// Sends a message that says that it is a test.
pub(super) fn test(context: &Context, format: Format) -> Exit {
    if context.config.notify.command.is_empty() {
        complain(
            &"no notification is sent: `command` of [notify] is not set; set it to a program and its arguments, such as [\"/usr/local/sbin/tell-us\"]",
        );
        return Exit::Error;
    }
    if format == Format::Json {
        print(&json::test_message(&host_name(), now(), json::Layout::Pretty));
    }
    let message = json::test_message(&host_name(), now(), json::Layout::Line);
    if send(&context.host(), &message).is_err() {
        return Exit::Error;
    }
    if format == Format::Text {
        print("sent: a test message\n");
    }
    Exit::Done
}

fn report(due: Due<'_>, execution: Execution, format: Format) -> Exit {
    let tellings = due.tellings();
    if format == Format::Json {
        print(&json::message(&host_name(), now(), tellings, json::Layout::Pretty));
    } else {
        for telling in tellings {
            let line = format!("{} {}: {}", telling.news.as_str(), telling.kind.as_str(), telling.text);
            print(&format!("{}\n", escape::log_line(&line)));
        }
        if tellings.is_empty() && execution.is_dry_run() {
            print("nothing to notify\n");
        }
    }
    if due.send(execution).is_ok() { Exit::Done } else { Exit::Error }
}
