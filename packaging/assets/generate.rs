//! What is generated: path below `packaging/` and content.

#[path = "man.rs"]
mod man;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use disk_guard::cli::Cli;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// All generated files.
pub(crate) fn assets() -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut assets = BTreeMap::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, &mut assets)?;
    for (shell, file) in
        [(Shell::Bash, "disk-guard.bash"), (Shell::Zsh, "_disk-guard"), (Shell::Fish, "disk-guard.fish")]
    {
        let mut text = Vec::new();
        generate(shell, &mut visible(&Cli::command()), "disk-guard", &mut text);
        let text = with_runners(shell, &String::from_utf8_lossy(&text)).into_bytes();
        assets.insert(PathBuf::from("completions").join(file), text);
    }
    schemas(&mut assets);
    Ok(assets)
}

/// The JSON Schemas of the configuration file and of what each verb prints.
fn schemas(assets: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let mut config = disk_guard::config::schema().to_value();
    config["title"] = "disk-guard's configuration".into();
    describe(&mut config, include_str!("../config.toml"));
    let documents = disk_guard::report::json::schemas();
    let documents = documents.into_iter().map(|(verb, schema)| (verb, schema.to_value()));
    for (name, schema) in documents.chain([("config", config)]) {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        assets.insert(PathBuf::from(format!("schema/{name}.schema.json")), text.into_bytes());
    }
}

/// Each key is described by its comment in the shipped configuration.
fn describe(schema: &mut serde_json::Value, shipped: &str) {
    let mut section = String::new();
    for line in shipped.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim_start) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_start_matches('[').split(']').next().unwrap_or_default();
            section = name[..1].to_uppercase() + &name[1..];
        } else if let Some((key, rest)) = line.split_once(" = ")
            && let Some((_, comment)) = rest.rsplit_once(" # ")
            && let Some(property) = schema.pointer_mut(&format!("/definitions/{section}/properties/{key}"))
        {
            property["description"] = comment.trim().into();
        }
    }
}

/// The verbs whose first argument is a runner, and those that have one as `--runner`.
const RUNNER_FIRST: [&str; 4] = ["drain", "resume", "remediate", "why"];
const RUNNER_OPTION: [&str; 2] = ["check", "postmortem"];

/// The same, and wherever a runner is meant this host's runners are offered.
fn with_runners(shell: Shell, text: &str) -> String {
    match shell {
        Shell::Bash => bash_with_runners(text),
        Shell::Zsh => {
            let text: String = text
                .lines()
                .map(|line| {
                    let is_runner = line.starts_with("':runner -- ")
                        || line.starts_with("'--runner=[")
                        || line.starts_with("':path -- The path, a runner");
                    let ending = if line.contains("':path --") { ":_files" } else { ":_default" };
                    let other = if line.contains("':path --") {
                        ":_disk-guard_runners_and_files"
                    } else {
                        ":_disk-guard_runners"
                    };
                    if is_runner {
                        line.replace(&format!("{ending}'"), &format!("{other}'")) + "\n"
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect();
            let names = "(( $+functions[_disk-guard_runners] )) ||\n_disk-guard_runners() {\n    local -a names\n    names=(${(f)\"$(disk-guard names 2>/dev/null)\"})\n    compadd -a names\n}\n(( $+functions[_disk-guard_runners_and_files] )) ||\n_disk-guard_runners_and_files() {\n    _disk-guard_runners\n    _files\n}\n\n";
            let at = text.find("(( $+functions[_disk-guard_commands] ))").unwrap_or(text.len());
            format!("{}{names}{}", &text[..at], &text[at..])
        }
        Shell::Fish => {
            let mut text = text.to_owned();
            let names = "-a \"(disk-guard names 2>/dev/null)\" -d 'Runner'";
            for verb in RUNNER_FIRST {
                // A path may be asked for as well.
                let files = if verb == "why" { "" } else { "-f " };
                text += &format!(
                    "complete -c disk-guard -n \"__fish_disk_guard_using_subcommand {verb}\" {files}{names}\n"
                );
            }
            for verb in RUNNER_OPTION {
                text += &format!(
                    "complete -c disk-guard -n \"__fish_disk_guard_using_subcommand {verb}\" -l runner -x {names}\n"
                );
            }
            text
        }
        _ => text.to_owned(),
    }
}

/// The generated function answers first; where a runner is meant, this host's take the place of its answer.
fn bash_with_runners(text: &str) -> String {
    let (first, option) =
        (RUNNER_FIRST.join("|"), RUNNER_OPTION.map(|verb| format!("{verb}:--runner")).join("|"));
    let ours = format!(
        r#"_disk_guard_runners() {{
    _disk__guard "$@"
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD - 1]}}" verb="" word
    [[ "$cur" == -* ]] && return 0
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in
            {first}|check|postmortem) verb="$word"; break ;;
        esac
    done
    case "$verb:$prev" in
        {own}) COMPREPLY=( $(compgen -W "$(disk-guard names 2>/dev/null)" -- "$cur") ) ;;
        why:why) COMPREPLY=( $(compgen -W "$(disk-guard names 2>/dev/null)" -- "$cur") $(compgen -f -- "$cur") ) ;;
    esac
    return 0
}}

"#,
        own = RUNNER_FIRST
            .iter()
            .filter(|verb| **verb != "why")
            .map(|verb| format!("{verb}:{verb}"))
            .chain([option])
            .collect::<Vec<_>>()
            .join("|"),
    );
    // The generator names a command's own cases otherwise than it looks for them, when its name has a hyphen.
    let text = text.replace("disk__subcmd__guard", "disk__guard");
    let text = text.replace("complete -F _disk__guard -o", "complete -F _disk_guard_runners -o");
    let at = text.rfind("if [[ \"${BASH_VERSINFO[0]}\"").unwrap_or(text.len());
    format!("{}{ours}{}", &text[..at], &text[at..])
}

/// One page for a command, and one for each of its subcommands that people may see.
fn pages(command: &Command, assets: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    assets.insert(PathBuf::from(format!("man/{name}.1")), man::page(command)?.into_bytes());
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages(subcommand, assets)?;
    }
    Ok(())
}

/// The same command line without what is hidden: the generators of completions do not look at that.
fn visible(command: &Command) -> Command {
    // clap keeps names as static text; these few live as long as the program.
    let fixed = |text: &str| -> &'static str { text.to_owned().leak() };
    let mut copy = Command::new(fixed(command.get_name())).args(command.get_arguments().cloned());
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(fixed(version));
    }
    copy.subcommands(command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).map(visible))
}
