//! What the packages are made of: generated files are as the generator makes them now, the two ways to a .deb install the
//! same files, the documented configuration is the real one, and units, pages and scripts pass their linters.
#![allow(clippy::disallowed_methods, reason = "the tests lay out trees of their own")]

#[path = "../../packaging/assets/generate.rs"]
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(source().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a tool; `None`, and a line that says so, where it is not installed.
fn tool(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(source()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped, not installed: {program}");
            None
        }
        output => Some(output.expect("the tool runs")),
    }
}

#[track_caller]
fn assert_silent(what: &str, output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success() && said.is_empty(), "{what}:\n{}", String::from_utf8_lossy(&said));
}

/// All files below `root`, relative to it.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let relative =
        |entry: walkdir::DirEntry| entry.path().strip_prefix(root).map(PathBuf::from).expect("below it");
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.expect("it can be read"));
    entries.filter(|entry| entry.file_type().is_file()).map(relative).collect()
}

/// What packaging/stage.sh installs, with a text in the binary's place.
fn staged() -> (tempfile::TempDir, BTreeSet<PathBuf>) {
    let temp = tempfile::tempdir().expect("a directory");
    let binary = temp.path().join("disk-guard");
    std::fs::write(&binary, "#!/bin/sh\n").expect("a file");
    let tree = temp.path().join("tree");
    let output = Command::new(source().join("packaging/stage.sh")).arg(&tree).arg(&binary).output();
    assert_silent("stage.sh", &output.expect("stage.sh runs"));
    let files = files(&tree);
    (temp, files)
}

#[test]
fn generated_files_are_up_to_date() {
    let assets = generate::assets().expect("they can be generated");
    for (path, content) in &assets {
        let checked_in = std::fs::read(source().join("packaging").join(path)).unwrap_or_default();
        assert!(
            checked_in == *content,
            "packaging/{} is out of date: run `cargo run --example packaging-assets`",
            path.display()
        );
        assert!(
            !String::from_utf8_lossy(content).contains("demo-actor"),
            "{}: a hidden command",
            path.display()
        );
    }
    let known: BTreeSet<PathBuf> = assets.into_keys().chain(["man/disk-guard.toml.5".into()]).collect();
    for directory in ["man", "completions", "schema"] {
        for file in files(&source().join("packaging").join(directory)) {
            let file = Path::new(directory).join(file);
            assert!(known.contains(&file), "packaging/{} belongs to no command: remove it", file.display());
        }
    }
}

/// Section by section, with the values of options, and each example on a line of its own.
#[test]
fn every_page_of_a_command_is_complete() {
    let assets = generate::assets().expect("they can be generated");
    let pages: BTreeMap<String, String> = assets
        .into_iter()
        .filter(|(path, _)| path.starts_with("man"))
        .map(|(path, page)| (path.display().to_string(), String::from_utf8(page).expect("text")))
        .collect();
    assert!(pages.len() > 20, "{:?}", pages.keys());
    for (path, page) in &pages {
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "SEE ALSO"] {
            assert!(page.contains(&format!(".SH {section}\n")), "{path} has no section {section}");
        }
        assert!(page.contains(r"[\fB\-\-config\fR \fIPATH\fR]"), "{path}: options have values:\n{page}");
    }
    let reap = &pages["man/disk-guard-reap.1"];
    assert!(reap.contains(r"[\fB\-\-source\fR \fINAME\fR]..."), "it can be repeated:\n{reap}");
    let check = &pages["man/disk-guard-check.1"];
    assert!(check.contains(r"{\fB\-\-runner\fR \fINAME\fR | \fB\-\-path\fR \fIPATH\fR}"), "{check}");
    assert!(check.contains(".B 10\nbusy\n") && !check.contains(".B 20\n"), "its own exit codes:\n{check}");
    let all = &pages["man/disk-guard.1"];
    assert!(all.contains("\n.B disk\\-guard status\ndisks, busy runners"), "one example a line:\n{all}");
}

#[test]
fn pages_and_completions_are_well_formed() {
    for page in files(&source().join("packaging/man")) {
        let path = format!("packaging/man/{}", page.display());
        let Some(output) = tool("mandoc", &["-T", "lint", "-W", "warning", &path]) else { break };
        assert_silent(&path, &output);
    }
    for (shell, file) in [("bash", "disk-guard.bash"), ("zsh", "_disk-guard"), ("fish", "disk-guard.fish")] {
        if let Some(output) = tool(shell, &["-n", &format!("packaging/completions/{file}")]) {
            assert_silent(file, &output);
        }
    }
}

/// The commented defaults, with the signs taken from the lines that are configuration.
fn shipped_defaults() -> String {
    let is_setting = |text: &str| text.starts_with(|first: char| first == '[' || first.is_ascii_lowercase());
    read("packaging/config.toml")
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// What `check-config` prints without its head.
fn effective(config: &str) -> toml::Table {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("config.toml");
    std::fs::write(&path, config).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_disk-guard")).arg("check-config").arg(&path).output();
    let output = output.expect("disk-guard runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").parse().expect("what it prints is a configuration")
}

#[test]
fn the_shipped_configuration_spells_out_the_defaults() {
    let defaults = effective("");
    let shipped = shipped_defaults();
    assert_eq!(effective(&read("packaging/config.toml")), defaults, "as shipped, nothing is set");
    assert_eq!(effective(&shipped), defaults, "the commented values are the defaults");
    let written: toml::Table = shipped.parse().expect("TOML");
    assert_eq!(keys(&written), keys(&defaults), "every key is shown");
}

/// `table.key` of everything that can be set.
fn keys(table: &toml::Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in table {
        let inner: Vec<&toml::Table> = match value {
            toml::Value::Array(array) => array.iter().filter_map(toml::Value::as_table).collect(),
            value => value.as_table().into_iter().collect(),
        };
        keys.extend(inner.into_iter().flat_map(|table| table.keys()).map(|key| format!("{name}.{key}")));
    }
    keys
}

/// Each file by itself and all together, with what they show as comments as well.
#[test]
fn the_library_of_rules_is_valid_and_every_rule_has_a_name_of_its_own() {
    let mut all = String::new();
    let paths =
        glob::glob(source().join("packaging/rules/*.toml").to_str().expect("UTF-8")).expect("a pattern");
    for path in paths {
        let text = std::fs::read_to_string(path.expect("it can be read")).expect("text");
        let is_setting =
            |text: &str| text.starts_with(|first: char| first == '[' || first.is_ascii_lowercase());
        let has_value = |text: &str| text.starts_with('[') || text.contains(" = ");
        let shown = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_setting(rest) && has_value(rest) => rest.replace("\"ci\"", "\"root\""),
            _ => line.to_owned(),
        });
        let shown: String = shown.map(|line| line + "\n").collect();
        let rules = effective(&shown)["cache"].as_array().expect("rules").len();
        assert!(rules >= 3, "the default and its own");
        all += &shown;
    }
    assert!(effective(&all)["cache"].as_array().expect("rules").len() >= 10, "no name is there twice");
}

/// The effective configuration, with the tables that are not there without an entry of one's own, and every key in them.
fn with_every_table() -> toml::Table {
    effective(
        "[[reap]]\nname = \"pods\"\nkind = \"kubernetes\"\nmatch = [\"*\"]\ncommand = [\"kubectl\"]\nbusy_snapshot = \"/x\"\nmin_age = \"1h\"\nstale_generation = false\nworker_check = [\"{runner}\"]\n\
         [[store]]\nkind = \"ccache\"\nname = \"x\"\ncommand = [\"ccache\"]\npath = \"/x\"\n\
         [[cache]]\nname = \"x\"\nroots = [\"/srv/no/such/*\"]\nowner = \"root\"\nrunners = [\"*\"]\n",
    )
}

#[test]
fn the_configuration_page_has_every_key_and_no_other() {
    let mut section = String::new();
    let mut documented = BTreeSet::new();
    for line in read("packaging/man/disk-guard.toml.5").lines() {
        if let Some(name) = line.strip_prefix(".Ss ") {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some(key) = line.strip_prefix(".It Cm ") {
            documented.insert(format!("{section}.{}", key.split(' ').next().unwrap_or_default()));
        }
    }
    assert_eq!(documented, keys(&with_every_table()));
}

/// A page of the book shows every key: the defaults as they are, what needs an entry of one's own in further blocks.
#[test]
fn the_books_page_of_the_configuration_has_every_key_and_the_real_defaults() {
    let page = read("docs/src/configure.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<toml::Table> = blocks.map(|block| block.parse().expect("TOML")).collect();
    assert_eq!(effective(&blocks[0].to_string()), effective(""), "the first block is the defaults");
    let shown: BTreeSet<String> = blocks.iter().flat_map(keys).collect();
    assert_eq!(shown, keys(&with_every_table()));
}

#[test]
fn cargo_deb_and_build_sh_install_the_same_files() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let text = |value: &toml::Value| value.as_str().expect("text").to_owned();
    let mut named = BTreeMap::new();
    for asset in deb["assets"].as_array().expect("a list") {
        let (from, to, mode) = (text(&asset[0]), text(&asset[1]), text(&asset[2]));
        let matches = if from.starts_with("target/") {
            vec![PathBuf::from(&from)]
        } else {
            let pattern = source().join(&from).to_str().expect("UTF-8").to_owned();
            glob::glob(&pattern).expect("a pattern").map(|path| path.expect("it can be read")).collect()
        };
        assert!(!matches.is_empty(), "{from} names nothing");
        for path in matches {
            let name = path.file_name().expect("a file");
            let to = if to.ends_with('/') { Path::new(&to).join(name) } else { PathBuf::from(&to) };
            named.insert(to, mode.clone());
        }
    }
    // Debian's alone: build.sh adds it to what every package installs.
    assert!(named.remove(Path::new("usr/share/lintian/overrides/disk-guard")).is_some());
    assert!(read("packaging/deb/build.sh").contains("usr/share/lintian/overrides/disk-guard"));
    let (temp, staged) = staged();
    assert_eq!(named.keys().cloned().collect::<BTreeSet<_>>(), staged);
    for (path, mode) in named {
        use std::os::unix::fs::PermissionsExt as _;
        let found =
            temp.path().join("tree").join(&path).metadata().expect("it is staged").permissions().mode();
        assert_eq!(format!("{:o}", found & 0o7777), mode, "{}", path.display());
    }
    let maintainer = read("packaging/deb/changelog");
    assert!(maintainer.contains(&format!(" -- {}  ", text(&deb["maintainer"]))), "one maintainer");
}

#[test]
fn every_version_is_the_crates() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        read("packaging/deb/changelog").starts_with(&format!("disk-guard ({version}-1) ")),
        "packaging/deb/changelog"
    );
    assert!(
        read("packaging/rpm/disk-guard.spec").contains(&format!("\nVersion:        {version}\n")),
        "disk-guard.spec"
    );
}

#[test]
fn units_are_valid_and_hardened() {
    let (temp, _) = staged();
    let root = temp.path().join("tree");
    let units = root.join("usr/lib/systemd/system");
    let ours = files(&units);
    // The units that ours are ordered after or wanted by, and the program that the request's service runs.
    std::fs::create_dir(root.join("bin")).expect("a directory");
    std::fs::copy(root.join("usr/bin/disk-guard"), root.join("bin/sh")).expect("a program");
    for name in
        ["sysinit", "basic", "shutdown", "local-fs", "timers", "paths", "sockets", "slices", "multi-user"]
    {
        std::fs::write(units.join(format!("{name}.target")), "[Unit]\n").expect("a unit");
    }
    for slice in ["system", "-"] {
        std::fs::write(units.join(format!("{slice}.slice")), "[Unit]\nDefaultDependencies=no\n")
            .expect("a unit");
    }
    for unit in &ours {
        let root = format!("--root={}", root.display());
        let unit = unit.to_str().expect("UTF-8");
        // Its exit status is 0 for unknown keys too: what counts is that it has nothing to say.
        let Some(output) = tool("systemd-analyze", &["verify", "--man=no", &root, unit]) else { return };
        assert_silent(unit, &output);
        if unit.ends_with(".service") {
            let path = format!("systemd/{unit}");
            // The reaper's tools, and the program that is told, talk to sockets and to the network; those of stores run as other users.
            let threshold = match unit {
                "disk-guard-reap.service" | "disk-guard-notify.service" => "27",
                "disk-guard-stores.service" => "40",
                _ => "25",
            };
            let threshold = format!("--threshold={threshold}");
            let output =
                tool("systemd-analyze", &["security", "--offline=yes", &threshold, &path]).expect("as above");
            assert!(output.status.success(), "{unit}:\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// The sweep keeps its walls: what the reaper's tools need is in a unit of its own, which follows every sweep.
#[test]
fn the_reaper_follows_the_sweep_in_a_unit_of_its_own() {
    let (sweep, reap) = (read("systemd/disk-guard-sweep.service"), read("systemd/disk-guard-reap.service"));
    let has = |unit: &str, line: &str| unit.lines().any(|found| found == line);
    assert!(
        has(&sweep, "ExecStart=/usr/bin/disk-guard sweep --no-reap --no-stores")
            && has(&sweep, "PrivateNetwork=yes")
    );
    assert!(has(&sweep, "Wants=disk-guard-reap.service disk-guard-stores.service disk-guard-notify.service"));
    let stores = read("systemd/disk-guard-stores.service");
    assert!(has(&stores, "ExecStart=/usr/bin/disk-guard stores") && !stores.contains("CAP_CHOWN"));
    assert!(
        stores.lines().any(|line| line.starts_with("After=") && line.contains("disk-guard-sweep.service"))
    );
    assert!(reap.lines().any(|line| line.starts_with("After=") && line.contains("disk-guard-sweep.service")));
    assert!(has(&reap, "ExecStart=/usr/bin/disk-guard reap") && !reap.contains("\nPrivateNetwork="));
    let notify = read("systemd/disk-guard-notify.service");
    assert!(
        notify.lines().any(|line| line.starts_with("After=") && line.contains("disk-guard-sweep.service"))
    );
    assert!(has(&notify, "ExecStart=/usr/bin/disk-guard notify") && !notify.contains("\nPrivateNetwork="));
    // Nobody tells of a sweep that does not come but a timer of its own, which every sweep puts off.
    assert!(has(&read("systemd/disk-guard-notify.timer"), "OnUnitInactiveSec=30min"));
}

#[test]
fn the_sweep_unit_may_see_and_reach_every_directory() {
    let unit = read("systemd/disk-guard-sweep.service");
    let settings: BTreeMap<&str, &str> = unit.lines().filter_map(|line| line.split_once('=')).collect();
    for blinding in [
        "ProtectProc",
        "ProcSubset",
        "PrivateUsers",
        "PrivatePIDs",
        "ProtectHome",
        "PrivateTmp",
        "TemporaryFileSystem",
    ] {
        assert!(!settings.contains_key(blinding), "{blinding}= hides processes or runners from the sweep");
    }
    assert_eq!(settings["RestrictSUIDSGID"], "no", "it takes openat2 away");
    assert_ne!(settings["ProtectSystem"], "strict", "runners may be anywhere");
}

/// What the removal does is tried by tests/packages/run.sh; that both packages do it is seen here.
#[test]
fn both_packages_undo_what_is_recorded_and_keep_hooks_that_may_still_be_run() {
    for (script, gone) in
        [("packaging/deb/prerm", "dpkg-divert"), ("packaging/rpm/disk-guard.spec", "%posttrans")]
    {
        let text = read(script);
        assert!(
            text.contains("disk-guard uninstall --recorded") && text.contains("removal/still-named"),
            "{script}"
        );
        assert!(text.contains(gone), "{script}");
    }
}

/// The first plan can be read before anything goes: no trigger is past already when the package comes to a running host.
#[test]
fn the_first_sweep_comes_at_the_next_quarter_of_an_hour() {
    let timer = read("systemd/disk-guard-sweep.timer");
    let triggers: Vec<&str> =
        timer.lines().filter(|line| line.starts_with("On") && line.contains('=')).collect();
    assert_eq!(triggers, ["OnCalendar=*:0/15"]);
    assert!(timer.contains("\nPersistent=yes\n"), "what was missed while the host was down is made up for");
}
