//! The test of the layers that the crate's header lists: every import goes down, no files import each other in a circle, and
//! `model` and `policy` have no effects.
//!
//! Imports are read from the source text: `use` trees and paths that begin with `crate`, `super` or `self`. Tests and fuzzing
//! helpers are left out. What a file takes from the module that it is declared in is no import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's path below the crate.
type Module = Vec<String>;

/// The production code of each file, without comments and tests.
struct SourceTree {
    files: BTreeMap<Module, String>,
}

impl SourceTree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&root) {
            let path = entry.unwrap().into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(module_of(path.strip_prefix(&root).unwrap()), text);
            }
        }
        Self::of(files)
    }

    fn of(files: BTreeMap<Module, String>) -> Self {
        let tests: Vec<Module> = files.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
        let is_test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
        let files = files.into_iter().filter(|(module, _)| !is_test(module));
        Self { files: files.map(|(module, text)| (module, production(&text))).collect() }
    }

    /// The files that a file imports from, itself left out.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let code = &self.files[module];
        let mut paths = use_paths(code);
        paths.extend(inline_paths(code));
        let absolute = paths.into_iter().filter_map(|path| self.absolute(module, &path));
        let file_of = |path: Module| {
            (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|path| self.files.contains_key(path))
        };
        absolute.filter_map(file_of).filter(|file| file != module).collect()
    }

    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat())
            }
            // A module declared in this file; anything else is another crate's.
            _ => {
                let child = [&module[..], &path[..1]].concat();
                self.files.contains_key(&child).then(|| [&module[..], path].concat())
            }
        }
    }
}

fn module_of(path: &Path) -> Module {
    let mut parts: Module =
        path.with_extension("").iter().map(|part| part.to_str().unwrap().into()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// The modules that a file declares for tests or fuzzing alone.
fn test_modules(module: &Module, text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let declared = line.split_once("mod ").filter(|(before, _)| is_visibility(before));
        match declared.and_then(|(_, rest)| rest.strip_suffix(';')) {
            Some(name) if is_test => found.push([&module[..], &[name.to_owned()]].concat()),
            _ => {}
        }
        is_test = line == "#[cfg(test)]"
            || line == "#[cfg(any(test, fuzzing))]"
            || (is_test && line.starts_with(['#', '/']));
    }
    found
}

/// Whether this stands before a module that is declared: nothing, `pub`, or `pub` with its bounds.
fn is_visibility(text: &str) -> bool {
    let text = text.trim_end();
    text.is_empty() || text == "pub" || (text.starts_with("pub(") && text.ends_with(')'))
}

/// Without comments, and without the tests at the end.
fn production(text: &str) -> String {
    let end = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| begins_tests(&text[*at..]));
    let code = text[..end.unwrap_or(text.len())].lines();
    code.map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// Whether attributes are followed by a module in braces.
fn begins_tests(text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| line.starts_with(['#', ' ', ')']));
    lines.next().is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
}

/// Each path that a `use` names, with its tree spread out.
fn use_paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before == "pub" || before.starts_with("pub(") {
            let tree = code[at + 4..].split(';').next().unwrap_or_default();
            spread(&[], tree, &mut found);
        }
    }
    found
}

fn spread(prefix: &[String], tree: &str, found: &mut Vec<Module>) {
    let parts = |path: &str| {
        let path = path.split(" as ").next().unwrap_or_default();
        path.split("::")
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect::<Module>()
    };
    let Some((path, rest)) = tree.split_once('{') else {
        found.push([prefix, &parts(tree)].concat());
        return;
    };
    let prefix = [prefix, &parts(path)].concat();
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut depth = 0;
    let members = inner.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    members.filter(|member| !member.trim().is_empty()).for_each(|member| spread(&prefix, member, found));
}

/// Paths outside of `use` that begin at the crate or go up.
fn inline_paths(code: &str) -> Vec<Module> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !is_name(c))
        .map(|word| word.split("::").map(str::to_owned).collect::<Module>())
        .filter(|path| path.len() > 1 && ["crate", "super"].contains(&path[0].as_str()))
        .collect()
}

/// Each module's layer, the lowest first.
fn layers() -> BTreeMap<String, usize> {
    let header = include_str!("lib.rs");
    let table = header.split("//! ```layers\n").nth(1).and_then(|rest| rest.split("//! ```").next());
    let lines = table.expect("the table of layers").lines().rev().enumerate();
    let of_line = |(layer, line): (usize, &str)| {
        let names: Vec<String> =
            line.trim_start_matches("//!").split_whitespace().map(str::to_owned).collect();
        names.into_iter().map(move |name| (name, layer))
    };
    lines.flat_map(|(layer, line)| of_line((layer, line)).collect::<Vec<_>>()).collect()
}

/// What goes against the layers: one line each.
fn upward(source: &SourceTree, layers: &BTreeMap<String, usize>) -> Vec<String> {
    let mut found = Vec::new();
    for module in source.files.keys().filter(|module| !module.is_empty() && module[0] != "main") {
        let Some(own) = layers.get(&module[0]) else {
            found.push(format!("{} is in no layer of src/lib.rs", module[0]));
            continue;
        };
        for import in source.imports(module).iter().filter(|import| import[0] != module[0]) {
            if layers.get(&import[0]).is_none_or(|layer| layer >= own) {
                found.push(format!(
                    "{} imports {}, which is not below it",
                    module.join("::"),
                    import.join("::")
                ));
            }
        }
    }
    found
}

/// Files that import each other in a circle: each circle once, by its members.
fn circles(source: &SourceTree) -> Vec<BTreeSet<String>> {
    // A file belongs to the module that declares it, and takes what that defines.
    let imports: BTreeMap<&Module, BTreeSet<Module>> = source
        .files
        .keys()
        .map(|module| {
            let others = source.imports(module).into_iter().filter(|import| !module.starts_with(import));
            (module, others.collect())
        })
        .collect();
    let reached = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<Module> = imports[from].iter().cloned().collect();
        while let Some(module) = open.pop() {
            open.extend(imports[&module].iter().filter(|import| !seen.contains(*import)).cloned());
            seen.insert(module);
        }
        seen
    };
    let reach: BTreeMap<&Module, BTreeSet<Module>> =
        imports.keys().map(|module| (*module, reached(module))).collect();
    let circle = |module: &Module| -> BTreeSet<String> {
        let back = reach[module].iter().filter(|other| reach[other].contains(module));
        back.map(|other| other.join("::")).collect()
    };
    let circles: BTreeSet<_> =
        imports.keys().map(|module| circle(module)).filter(|c| !c.is_empty()).collect();
    circles.into_iter().collect()
}

/// What only code with effects says.
const EFFECTS: [&str; 7] =
    ["std::fs", "File::", "SystemTime::now", "Instant::now", "std::process", "rustix::", "nix::"];

#[test]
fn imports_go_down() {
    let found = upward(&SourceTree::read(), &layers());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_import_each_other_in_no_circle() {
    let found = circles(&SourceTree::read());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn model_and_policy_have_no_effects() {
    let source = SourceTree::read();
    let pure = source.files.iter().filter(|(module, _)| {
        ["model", "policy"].iter().any(|pure| module.starts_with(&[(*pure).to_owned()]))
    });
    let found: Vec<_> = pure
        .flat_map(|(module, code)| {
            let effects = EFFECTS.iter().filter(|effect| code.contains(*effect));
            effects.map(|effect| format!("{} uses {effect}", module.join("::"))).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    let observe = &source.files[&vec!["observe".to_owned(), "filesystems".to_owned()]];
    assert!(EFFECTS.iter().any(|effect| observe.contains(effect)), "effects are recognised where they are");
}

#[test]
fn names_of_githubs_runner_stand_in_one_module() {
    use crate::actions_runner::{environment::HookVariable, layout};
    let mut names = vec![layout::LISTENER, layout::WORKER, layout::SETTINGS, layout::ENV];
    names.extend([layout::DIAG, layout::WORK, layout::ACTIONS, layout::TOOLS, layout::TEMP, layout::UPDATE]);
    names.extend([layout::MAPPING, layout::MAPPING_FILE, layout::EXTERNALS]);
    names.extend(HookVariable::BOTH.map(HookVariable::name));
    let source = SourceTree::read();
    let is_named = |name: &str, code: &str| code.contains(&format!("\"{name}\""));
    let (of_module, others): (Vec<_>, Vec<_>) =
        source.files.iter().partition(|(module, _)| module.starts_with(&["actions_runner".to_owned()]));
    for name in names {
        assert!(
            of_module.iter().any(|(_, code)| is_named(name, code)),
            "{name} is looked for as it is written"
        );
        let elsewhere = others.iter().filter(|(_, code)| is_named(name, code));
        let elsewhere: Vec<String> = elsewhere.map(|(module, _)| module.join("::")).collect();
        assert!(elsewhere.is_empty(), "{name} stands in {elsewhere:?}");
    }
}

#[test]
fn a_wrong_import_and_a_circle_are_found() {
    let file = |path: &str, text: &str| (module_of(&PathBuf::from(path)), text.to_owned());
    let files = [
        file("low/mod.rs", "mod a;\nmod b;\nuse crate::high::{self, thing};\n"),
        file("low/a.rs", "use super::{Parent, b::{B, C as D}};\n"),
        file(
            "low/b.rs",
            "fn f() -> super::a::A { todo!() }\n#[cfg(test)]\nmod tests {\n    use crate::high::x;\n}\n",
        ),
        file(
            "high.rs",
            "// use crate::none;\npub use crate::low::a::A;\n#[cfg(test)]\nmod checks;\n#[cfg(test)]\npub(crate) mod kit;\n\
             #[cfg(test)]\npub(in crate::high) mod more;\n",
        ),
        file("high/checks.rs", "use crate::unheard::of;\n"),
        file("high/kit.rs", "use crate::unheard::of;\n"),
        file("high/more.rs", "use crate::unheard::of;\n"),
    ];
    let source = SourceTree::of(files.into());
    let layers = [("low".to_owned(), 0), ("high".to_owned(), 1)].into();
    assert_eq!(upward(&source, &layers), ["low imports high, which is not below it"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert!(circles(&source).contains(&names(&["low::a", "low::b"])), "{:?}", circles(&source));
    let unknown = upward(&source, &[("low".to_owned(), 0)].into());
    assert!(unknown.contains(&"high is in no layer of src/lib.rs".to_owned()), "{unknown:?}");
}
