//! What the documents name exists: tests under the name and in the file or directory that they say, pages, and targets of links.

mod packaging;

use std::path::{Path, PathBuf};

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file, or all that lie in a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().flat_map(|entry| files(&entry.path())).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

/// The readable Rust files below several paths, joined.
fn code(paths: &[PathBuf]) -> String {
    let all = paths.iter().flat_map(|path| files(path));
    all.filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect()
}

fn is_part_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Whether a function of this name, or whose name begins so where `…` ends it, is there; with `is_test`, as a test.
fn has_function(code: &str, name: &str, is_test: bool) -> bool {
    let (begin, is_whole) = name.strip_suffix('…').map_or((name, true), |begin| (begin, false));
    code.match_indices(&format!("fn {begin}")).any(|(at, found)| {
        let ends = !code[at + found.len()..].starts_with(is_part_of_a_name);
        let above = code[..at].rsplit_once('\n').map_or("", |(above, _)| above);
        let mut attributes = above.lines().rev().map(str::trim).take_while(|line| line.starts_with("#["));
        (ends || !is_whole) && (!is_test || attributes.any(|line| line == "#[test]"))
    })
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `WHERE: NAME` in backticks, where WHERE lies in `src` or `tests`.
fn references(text: &str) -> Vec<(&str, &str)> {
    quoted(text)
        .filter_map(|words| words.split_once(": "))
        .filter(|(place, _)| place.starts_with("tests/") || place.starts_with("src/"))
        .collect()
}

/// A Rust file has a test of this name; a scenario of the lab says the words when it has passed.
fn proves(path: &Path, name: &str) -> bool {
    let content = std::fs::read_to_string(path).unwrap_or_default();
    if path.extension().is_some_and(|ending| ending == "rs") {
        has_function(&content, name, true)
    } else {
        content.lines().any(|line| line.starts_with("ok \"") && line.contains(name))
    }
}

#[test]
fn every_test_that_the_table_of_demands_names_exists() {
    let text = read(&source().join("docs/src/seeds.md"));
    let named = references(&text);
    assert!(named.len() > 50, "only {} are read", named.len());
    let is_missing =
        |(place, name): &(&str, &str)| !files(&source().join(place)).iter().any(|path| proves(path, name));
    let missing: Vec<_> = named.into_iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // Each row has a proof.
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| demand")) {
        assert!(!references(row).is_empty(), "{row}");
    }
    let this = source().join("tests/documents/main.rs");
    assert!(proves(&this, "every_test_that_the_table_of_demands_names_exists"));
    assert!(!proves(&this, "no_such_test") && !proves(&this, "references"));
}

/// Whether `reclaim::claim::tests::NAME`, `ledger::file::tests`, `attacks::floods` or `fuzzing::lease` is there.
fn has_test(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split("::").filter(|part| *part != "tests").collect();
    let mut base = source().join("src");
    if parts.first() == Some(&"attacks") {
        base = source().join("tests");
    }
    let place = |parts: &[&str]| {
        let path = parts.iter().fold(base.clone(), |path, part| path.join(part));
        let mut paths = vec![path.with_extension("rs"), path.clone()];
        paths.extend(
            path.file_name().map(|name| path.with_file_name(format!("{}_tests.rs", name.to_string_lossy()))),
        );
        code(&paths)
    };
    if place(&parts).contains("#[test]") {
        return true;
    }
    let Some(name) = parts.pop() else { return false };
    // What fuzzers call is a function that the corpus is replayed through by one test.
    let is_test = parts.first() != Some(&"fuzzing");
    has_function(&place(&parts), name, is_test)
}

/// What the last column of a table names.
fn proofs(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or_default();
    quoted(last).collect()
}

/// `NAME` after a file or directory: a test in it, or one of its modules.
fn is_in(place: &str, name: &str) -> bool {
    let place = source().join(place);
    place.join(name).with_extension("rs").exists() || has_function(&code(&[place]), name, true)
}

#[test]
fn every_test_that_the_table_of_attacks_names_exists() {
    let mut checked = 0;
    for page in ["docs/src/attacks.md", "SECURITY.md"] {
        let text = read(&source().join(page));
        let rows = text.lines().filter(|line| line.starts_with("| "));
        for row in rows.filter(|row| !row.starts_with("| attack |") && !row.starts_with("| promise |")) {
            let mut place = None;
            assert!(!proofs(row).is_empty(), "no proof: {row}");
            for proof in proofs(row) {
                let is_there = if proof.starts_with("tests/") || proof.starts_with("fuzz/") {
                    place = Some(proof);
                    source().join(proof).exists()
                } else if proof.contains("::") {
                    has_test(proof)
                } else {
                    place.is_some_and(|place| is_in(place, proof))
                };
                assert!(is_there, "{page}: `{proof}` is not there: {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} are read");
    assert!(has_test("policy::liveness::tests") && !has_test("policy::no_such_module::tests"));
    assert!(has_test("attacks::swaps::a_directory_…") && !has_test("attacks::swaps::no_such_test_…"));
    assert!(has_test("fuzzing::lease") && !has_test("fuzzing::no_such_parser"));
    assert!(is_in("tests/crash", "hooks") && !is_in("tests/crash", "no_such_module"));
}

/// The documents that people read, without the changelog.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md"].iter().map(|name| source().join(name)).collect();
    pages.extend(files(&source().join("docs/src")));
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages
}

/// Where the links of a page lead, without code.
fn links(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.filter(|_| !is_code).map(|(target, _)| target.to_owned()));
    }
    found
}

/// The names by which the headings of a page can be linked to.
fn headings(text: &str) -> Vec<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let slug = |title: &str| {
        let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|&sign| is_part_of_a_name(sign) || sign == '-').collect()
    };
    titles.map(slug).collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let directory = page.parent().expect("a page lies in a directory");
            let target = if path.is_empty() { page.clone() } else { directory.join(path) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !heading.is_empty() {
                let known = headings(&read(&target));
                assert!(
                    known.contains(&heading.to_owned()),
                    "{}: {link} is not one of {known:?}",
                    page.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} are read");
}

#[test]
fn every_place_that_a_contributor_is_sent_to_exists() {
    let text = read(&source().join("CONTRIBUTING.md"));
    let places: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).flat_map(quoted).collect();
    let places: Vec<&str> = places.into_iter().filter(|place| place.contains('/')).collect();
    assert!(places.len() > 30, "only {} are read", places.len());
    let missing: Vec<&str> = places.into_iter().filter(|place| !source().join(place).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Each command has a manual page, which is generated.
#[test]
fn every_command_is_in_the_table_of_commands() {
    let text = read(&source().join("docs/src/operate.md"));
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| `disk-guard ")).collect();
    let mut commands = 0;
    for page in files(&source().join("packaging/man")) {
        let name = page.file_stem().expect("a file").to_string_lossy().into_owned();
        let Some(command) = name.strip_prefix("disk-guard-") else { continue };
        let command = command.replace("hook-", "hook ");
        let starts = |words: &str| {
            let rest = words.trim_start_matches("disk-guard ").strip_prefix(command.as_str());
            rest.is_some_and(|rest| !rest.starts_with(|sign: char| is_part_of_a_name(sign) || sign == '-'))
        };
        assert!(table.iter().any(|row| quoted(row).any(starts)), "{command} is missing");
        commands += 1;
    }
    assert!(commands > 15, "only {commands} are read");
}

#[test]
fn the_summary_of_the_book_names_every_page_and_no_other() {
    let book = source().join("docs/src");
    let mut named: Vec<PathBuf> =
        links(&read(&book.join("SUMMARY.md"))).iter().map(|link| book.join(link)).collect();
    let mut present = files(&book);
    present.retain(|path| path.file_name().is_some_and(|name| name != "SUMMARY.md"));
    named.sort();
    present.sort();
    assert_eq!(named, present);
}

#[test]
fn the_readme_is_short() {
    let words = read(&source().join("README.md")).split_whitespace().count();
    assert!(words <= 1200, "{words} words: what is new belongs into a page of docs/src");
}

/// The page that docs/captures.sh writes: whoever adds a verb shows its screen.
#[test]
fn every_screen_is_captured_at_two_widths() {
    use clap::CommandFactory as _;
    let text = read(&source().join("docs/src/screens.md"));
    let cli = disk_guard::cli::Cli::command();
    let shows = cli.get_subcommands().filter(|verb| verb.get_arguments().any(|a| a.get_id() == "json"));
    for verb in shows.map(clap::Command::get_name) {
        let captures: Vec<&str> = text.split(&format!("\n$ disk-guard {verb}")).skip(1).collect();
        let bodies: Vec<&str> = captures.iter().filter_map(|rest| rest.split("\n```").next()).collect();
        assert!(bodies.len() >= 2, "{verb} is shown {} times: run docs/captures.sh", bodies.len());
        assert!(bodies.iter().all(|body| body.lines().count() > 1), "{verb} shows nothing");
    }
    assert!(text.contains("\n$ disk-guard status --watch\n") && text.contains("ci-host-07"));
    assert!(!text.contains("/tmp/") && !text.contains("run="), "nothing of the machine that it was made on");
}

/// Whether `path`, such as `lock::SharedLock::acquire`, is in the source: the longest part of it that is a module, and each further name
/// in that module's files.
fn is_in_source(path: &str) -> bool {
    let mut module = source().join("src");
    let mut names = path.split("::").peekable();
    while let Some(name) = names.peek() {
        let inner = module.join(name);
        if !inner.is_dir() && !inner.with_extension("rs").is_file() {
            break;
        }
        module = inner;
        names.next();
    }
    let code = code(&[module.clone(), module.with_extension("rs")]);
    let is_declared = |name: &str| {
        let kinds = ["fn", "struct", "enum", "trait", "type"].map(|kind| format!("{kind} {name}"));
        let is_variant =
            |line: &str| line.trim().strip_prefix(name).is_some_and(|rest| rest.starts_with([',', '(', ' ']));
        kinds.iter().any(|declared| {
            code.match_indices(declared)
                .any(|(at, found)| !code[at + found.len()..].starts_with(is_part_of_a_name))
        }) || code.lines().any(is_variant)
    };
    !code.is_empty() && names.all(is_declared)
}

/// The model of the protocol says which code each of its steps stands for.
#[test]
fn the_code_that_the_model_names_exists() {
    let mut count = 0;
    for file in files(&source().join("tests/model")) {
        let text = read(&file);
        let is_path =
            |name: &&str| name.contains("::") && name.chars().all(|c| is_part_of_a_name(c) || c == ':');
        for name in quoted(&text).filter(is_path).filter(|name| !name.starts_with("Self::")) {
            count += 1;
            assert!(is_in_source(name), "{} names `{name}`, which is not in src", file.display());
        }
    }
    assert!(count > 30, "only {count} names were read");
    assert!(
        !is_in_source("lock::SharedLock::acquired") && !is_in_source("no_such_module::SharedLock"),
        "others are refused"
    );
}
