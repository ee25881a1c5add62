//! What is generated: path below `packaging/` and content.

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use disk_guard::cli::Cli;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// The manual that a page belongs to, as its header says.
const MANUAL: &str = "General Commands Manual";

/// When the command line last changed enough to say so; a page has to bear a date.
const DATE: &str = "2026-11-21";

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
        assets.insert(PathBuf::from("completions").join(file), text);
    }
    Ok(assets)
}

/// One page for a command, and one for each of its subcommands that people may see.
fn pages(command: &Command, assets: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let page = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(format!("disk-guard {}", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut text = Vec::new();
    page.render(&mut text)?;
    assets.insert(PathBuf::from(format!("man/{name}.1")), without_idle_breaks(&text));
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages(subcommand, assets)?;
    }
    Ok(())
}

/// Without the line breaks beside vertical space, which break nothing and which linters of man pages object to.
fn without_idle_breaks(page: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(page);
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
    kept.into_bytes()
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
