//! The man page of one command. The title, the options and the list of subcommands are `clap_mangen`'s. The other sections are
//! written here: its synopsis leaves out the values of options, and it fills examples into one paragraph.

use clap::{Arg, ArgAction, Command, Parser as _};
use clap_mangen::Man;
use disk_guard::cli::Cli;
use disk_guard::report::exit::Exit;
use std::fmt::Write as _;
use std::io;

/// The manual that a page belongs to, as its header says.
const MANUAL: &str = "General Commands Manual";

/// The day on which the command line last changed visibly; every page has to have a date.
const DATE: &str = "2026-11-27";

/// How an apostrophe is defined for every formatter.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Examples that no help text has: a verb, a command line and what it is for.
const EXAMPLES: [(&str, &str, &str); 18] = [
    ("audit", "disk-guard audit --json", "the same findings as one JSON document"),
    ("blame", "disk-guard blame --at 14:20 --window 30min", "everything from 13:50 to 14:50 UTC"),
    ("check", "disk-guard check --runner ci-3 && rm -rf /scratch/ci-3", "delete only what no job uses"),
    ("check-config", "disk-guard check-config /tmp/new.toml", "before the file is installed"),
    ("drain", "disk-guard drain ci-3", "wait for the running job, then stop the unit"),
    (
        "history",
        "disk-guard history --since yesterday",
        "sums and entries since midnight UTC of the day before",
    ),
    ("install", "disk-guard install --dry-run", "the exact changes, without making them"),
    ("notify", "disk-guard notify --test", "one message that is marked as a test"),
    ("plan", "disk-guard plan --json", "the plan as one JSON document"),
    ("postmortem", "disk-guard postmortem --runner ci-3 --since 2h", "all jobs of one runner"),
    ("reap", "disk-guard reap --dry-run --source pods", "what one entry would delete now"),
    ("remediate", "disk-guard remediate ci-3 acme/app", "the recommended repair, without doing it"),
    ("remediate", "disk-guard remediate ci-3 acme/app --mode chown --apply", "repair the owners"),
    ("resume", "disk-guard resume ci-3", "start the unit again"),
    ("status", "disk-guard status --watch", "refreshed every two seconds"),
    ("stores", "disk-guard stores --dry-run --store ccache", "what one entry would be asked now"),
    ("sweep", "disk-guard sweep --dry-run", "the same as disk-guard plan"),
    ("why", "disk-guard why /home/ci/r1/_work/app/app/target", "which run removed it, on which evidence"),
];

/// Files of the whole program.
const FILES: [(&str, &str); 4] = [
    ("/etc/disk-guard/config.toml", "The configuration. Without it the defaults apply."),
    ("/run/disk-guard", "The host lock, the leases of live jobs and requests for a privileged sweep."),
    ("/var/lib/disk-guard", "What is kept across boots: counters, the ledger, and the changes of `install`."),
    ("/usr/lib/disk-guard/hooks", "The scripts for the job hooks of runners."),
];

/// The page, in the language of man(7).
pub(crate) fn page(command: &Command) -> io::Result<String> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let (description, examples) = about.split_once("Examples:\n").unwrap_or((&about, ""));
    let short = command.get_about().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone().about(purpose(&short)))
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(format!("disk-guard {}", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);

    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend(section("SYNOPSIS", &synopsis(command)).bytes());
    text.extend(section("DESCRIPTION", &paragraphs(description)).bytes());
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let verb = name.strip_prefix("disk-guard-").unwrap_or_default();
    text.extend(section("EXIT STATUS", &exit_status(verb)).bytes());
    text.extend(section("FILES", &files()).bytes());
    text.extend(section("EXAMPLES", &shown(verb, examples)).bytes());
    text.extend(section("SEE ALSO", &see_also(name)).bytes());
    let text = without_idle_breaks(&String::from_utf8_lossy(&text));
    // Each part begins with this preamble; a page needs it once.
    let (head, rest) = text.split_at(text.find(PREAMBLE).map_or(0, |at| at + PREAMBLE.len()));
    Ok(head.to_owned() + &rest.replace(PREAMBLE, ""))
}

fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(".SH {title}\n{body}") }
}

/// The first sentence of a help text without its additions, as the line after NAME needs it.
fn purpose(about: &str) -> String {
    let line = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = ["; ", ". ", " ("].iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
    let line = line[..end].trim_end_matches('.').replace('`', "");
    let mut letters = line.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// All ways to call the command, with the values of its options.
fn synopsis(command: &Command) -> String {
    let grouped: Vec<&Arg> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .flat_map(|group| group.get_args())
        .filter_map(|id| command.get_arguments().find(|argument| argument.get_id() == id))
        .collect();
    let is_other = |argument: &&Arg| !grouped.iter().any(|member| member.get_id() == argument.get_id());
    let mut line = format!("\\fB{}\\fR", escaped(command.get_bin_name().unwrap_or(command.get_name())));
    if !grouped.is_empty() {
        let choices: Vec<String> = grouped.iter().map(|argument| usage(argument)).collect();
        let _ = write!(line, " {{{}}}", choices.join(" | "));
    }
    let shown = command.get_arguments().filter(is_other).filter(|argument| !argument.is_hide_set());
    let (globals, own): (Vec<&Arg>, Vec<&Arg>) = shown
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .partition(|argument| argument.is_global_set());
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        own.into_iter().partition(|argument| argument.is_positional());
    for argument in options.into_iter().chain(globals).chain(positional) {
        let usage = usage(argument);
        let usage = if argument.is_required_set() { usage } else { format!("[{usage}]") };
        let _ = write!(line, " {usage}{}", if is_repeatable(argument) { "..." } else { "" });
    }
    line + if command.has_subcommands() { " \\fICOMMAND\\fR\n" } else { "\n" }
}

fn usage(argument: &Arg) -> String {
    let names = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    let value = format!("\\fI{}\\fR", escaped(&names));
    match argument.get_long() {
        None => value,
        Some(long) if argument.get_action().takes_values() => format!("\\fB{}\\fR {value}", option(long)),
        Some(long) => format!("\\fB{}\\fR", option(long)),
    }
}

fn option(long: &str) -> String {
    escaped(&format!("--{long}"))
}

fn is_repeatable(argument: &Arg) -> bool {
    let values = argument.get_num_args().map_or(1, |range| range.max_values());
    matches!(argument.get_action(), ArgAction::Append) || values > 1
}

/// Text of a help message: an empty line ends a paragraph, what stands between backticks is bold.
fn paragraphs(text: &str) -> String {
    let paragraphs: Vec<String> =
        text.trim().split("\n\n").map(|paragraph| filled(paragraph) + "\n").collect();
    paragraphs.join(".PP\n")
}

fn filled(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let marked = escaped(&words);
    let mut pieces = marked.split('`');
    let mut line = pieces.next().unwrap_or_default().to_owned();
    for (index, piece) in pieces.enumerate() {
        line += if index % 2 == 0 { "\\fB" } else { "\\fR" };
        line += piece;
    }
    line
}

/// Each exit code that the verb can end with; all of them on the page of the program.
fn exit_status(verb: &str) -> String {
    let mut text = String::new();
    for exit in Exit::ALL {
        if let Some(meaning) = meaning_for(verb, *exit) {
            let _ = write!(text, ".TP\n.B {}\n{}\n", exit.code(), filled(&meaning));
        }
    }
    text
}

/// What a code means for one verb, from a table entry for several: `meaning; VERB, VERB: meaning`.
fn meaning_for(verb: &str, exit: Exit) -> Option<String> {
    let verb = if verb.starts_with("hook") { "hook" } else { verb };
    match (verb, exit) {
        ("", _) => return Some(exit.meaning().to_owned()),
        ("check", Exit::Done) => return Some("provably idle".to_owned()),
        ("audit", Exit::Done) => return Some("clean".to_owned()),
        (_, Exit::Done) => return Some("done".to_owned()),
        // A hook warns of an invalid configuration, and its job begins.
        ("hook", Exit::ConfigInvalid) => return None,
        (_, Exit::LockTimeout) if !matches!(verb, "sweep" | "remediate") => return None,
        _ => {}
    }
    let parts: Vec<&str> = exit.meaning().split("; ").collect();
    let own = parts
        .iter()
        .filter_map(|part| part.split_once(": "))
        .find_map(|(verbs, meaning)| verbs.split(", ").any(|one| one == verb).then_some(meaning));
    own.or_else(|| parts.into_iter().find(|part| !part.contains(": "))).map(str::to_owned)
}

fn files() -> String {
    FILES.iter().fold(String::new(), |text, (path, what)| {
        format!("{text}.TP\n.I {}\n{}\n", escaped(path), filled(what))
    })
}

/// The examples of the help text and those above, each on a line of its own.
fn shown(verb: &str, of_help: &str) -> String {
    let mut text = String::new();
    for line in of_help.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.trim();
        let (call, what) = line.split_once("  ").unwrap_or((line, ""));
        text += &example(call, what.trim());
    }
    for (_, call, what) in EXAMPLES.iter().filter(|(of, ..)| *of == verb) {
        text += &example(call, what);
    }
    text
}

/// # Panics
/// When the command line is none that the program accepts.
fn example(call: &str, what: &str) -> String {
    let own = call.split(" && ").next().unwrap_or(call);
    if let Err(error) = Cli::try_parse_from(own.split(' ')) {
        panic!("the example `{call}` is not a command line of disk-guard: {error}");
    }
    format!(".TP\n.B {}\n{}\n", escaped(call), if what.is_empty() { "\\&".to_owned() } else { filled(what) })
}

fn see_also(name: &str) -> String {
    let mut pages = vec![("disk-guard", 1), ("disk-guard.toml", 5)];
    let more: &[(&str, u8)] = match name {
        "disk-guard" => {
            &[("disk-guard-install", 1), ("disk-guard-doctor", 1), ("systemctl", 1), ("journalctl", 1)]
        }
        "disk-guard-sweep" | "disk-guard-plan" => &[
            ("disk-guard-plan", 1),
            ("disk-guard-sweep", 1),
            ("disk-guard-status", 1),
            ("disk-guard-trim", 1),
        ],
        "disk-guard-why" | "disk-guard-blame" | "disk-guard-history" => {
            &[("disk-guard-blame", 1), ("disk-guard-history", 1), ("disk-guard-why", 1), ("journalctl", 1)]
        }
        "disk-guard-audit" | "disk-guard-remediate" => {
            &[("disk-guard-audit", 1), ("disk-guard-remediate", 1)]
        }
        "disk-guard-drain" | "disk-guard-resume" => &[("disk-guard-drain", 1), ("disk-guard-resume", 1)],
        "disk-guard-install" | "disk-guard-uninstall" => {
            &[("disk-guard-doctor", 1), ("disk-guard-install", 1), ("disk-guard-uninstall", 1)]
        }
        "disk-guard-forecast" | "disk-guard-simulate" => {
            &[("disk-guard-forecast", 1), ("disk-guard-simulate", 1)]
        }
        "disk-guard-hook" => &[("disk-guard-hook-started", 1), ("disk-guard-hook-completed", 1)],
        _ => &[],
    };
    pages.extend(more);
    let pages: Vec<String> = pages
        .into_iter()
        .filter(|(page, _)| *page != name)
        .map(|(page, section)| format!(".BR {} ({section})", escaped(page)))
        .collect();
    pages.join(",\n") + "\n"
}

/// The text as man(7) prints it unchanged.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// Without the line breaks beside vertical space, which break nothing and which linters of man pages object to.
fn without_idle_breaks(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let space = |index: Option<usize>| {
        index.and_then(|index| lines.get(index)).is_some_and(|line| line.is_empty() || *line == ".sp")
    };
    let mut kept = String::with_capacity(text.len());
    for (index, line) in lines.iter().enumerate() {
        if *line != ".br" || !(space(index.checked_sub(1)) || space(Some(index + 1))) {
            kept.push_str(if line.is_empty() { ".sp" } else { line });
            kept.push('\n');
        }
    }
    kept
}
