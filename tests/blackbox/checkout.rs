//! What an audit calls clean survives what `actions/checkout` does next, on every kind of damage that a crash, a killed job or a
//! container job leaves: real git, as the runner's own user, step by step as that action goes on in a directory that is there.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, Runner, grow_old, needs_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const USER: u32 = 12_011;

/// A host, its runner, what is checked out there, and where that comes from.
struct Scene {
    host: Host,
    runner: Runner,
    origin: PathBuf,
    module: PathBuf,
    checkout: PathBuf,
}

fn git_at(dir: &Path, arguments: &[&str]) -> Output {
    let settings = [
        "user.name=x",
        "user.email=x@example.invalid",
        "init.defaultBranch=main",
        "protocol.file.allow=always",
    ];
    let mut command = Command::new("git");
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.args(arguments).current_dir(dir).uid(USER).gid(USER);
    command.env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command.output().expect("git runs")
}

#[track_caller]
fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = git_at(dir, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        let path = std::env::var("PATH").unwrap_or_default();
        let programs: Vec<String> =
            path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir:?}")).collect();
        host.configure(|settings| {
            (settings.high, settings.low, settings.critical) = (100, 99, 100);
            settings.extra = format!("programs = [{}]\n", programs.join(", "));
        });
        let runner = host.runner("actions-runner-1").user(USER, USER).build();
        let (origin, module) = (host.base.join("origin"), host.base.join("module"));
        for place in [&module, &origin] {
            fs::create_dir(place).unwrap();
            chown(place, Some(USER), Some(USER)).unwrap();
            git(place, &["init", "-q"]);
            fs::create_dir(place.join("src")).unwrap();
            for number in 0..8 {
                fs::write(place.join(format!("src/file-{number}")), format!("{number}\n")).unwrap();
            }
            Command::new("chown").arg("-R").arg(format!("{USER}:{USER}")).arg(place).status().unwrap();
            git(place, &["add", "."]);
            git(place, &["commit", "-qm", "one"]);
        }
        git(&origin, &["submodule", "add", "-q", &format!("file://{}", module.display()), "lib/module"]);
        git(&origin, &["commit", "-qm", "a submodule"]);
        let checkout = runner.work.join("app/app");
        fs::create_dir_all(&checkout).unwrap();
        let mapping = runner.work.join("_PipelineMapping/acme/app");
        fs::create_dir_all(&mapping).unwrap();
        fs::write(mapping.join("PipelineFolder.json"), "{\"pipelineDirectory\":\"app\"}").unwrap();
        runner.own(&runner.work);
        let scene = Self { host, runner, origin, module, checkout };
        assert_eq!(scene.next_job(), Ok("cloned"), "the first job");
        // As after some days: packed by the last fetch, and some of it loose.
        git(&scene.checkout, &["pack-refs", "--all"]);
        scene.copy(
            &scene.places(),
            &["origin", "module", "app"].map(|name| scene.host.base.join("saved").join(name)),
        );
        scene
    }

    fn places(&self) -> [PathBuf; 3] {
        [self.origin.clone(), self.module.clone(), self.runner.work.join("app")]
    }

    /// Everything as it was at the beginning.
    fn restore(&self) {
        self.copy(
            &["origin", "module", "app"].map(|name| self.host.base.join("saved").join(name)),
            &self.places(),
        );
    }

    fn copy(&self, from: &[PathBuf; 3], to: &[PathBuf; 3]) {
        for (from, to) in from.iter().zip(to) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let _ = fs::remove_dir_all(to);
            let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
            assert!(copied.success(), "{}", from.display());
        }
    }

    /// A new commit, of which the checkout has nothing.
    fn advance(&self) -> String {
        fs::write(self.origin.join("src/file-1"), format!("{:?}\n", std::time::SystemTime::now())).unwrap();
        git(&self.origin, &["commit", "-qam", "next"]);
        git(&self.origin, &["rev-parse", "HEAD"])
    }

    /// `prepareExistingDirectory`, fetch, checkout and submodules of actions/checkout: how it went on, or why it failed.
    fn next_job(&self) -> Result<&'static str, String> {
        let at = self.checkout.as_path();
        let url = format!("file://{}", self.origin.display());
        let is_ok = |arguments: &[&str]| git_at(at, arguments).status.success();
        let said =
            |arguments: &[&str]| String::from_utf8_lossy(&git_at(at, arguments).stdout).trim().to_owned();
        let mut how = "went on";
        let is_there = at.join(".git").is_dir();
        let mut is_kept = is_there && said(&["config", "--local", "--get", "remote.origin.url"]) == url;
        if is_kept {
            for lock in [".git/index.lock", ".git/shallow.lock"] {
                as_user(&["rm", "-rf", lock], at);
            }
            if is_ok(&["symbolic-ref", "-q", "HEAD"]) {
                is_kept &= is_ok(&["checkout", "--detach"]);
            }
            is_kept &= is_ok(&["clean", "-ffdx"]) && is_ok(&["reset", "--hard", "HEAD"]);
        }
        if !is_kept {
            how = if is_there { "cloned afresh" } else { "cloned" };
            let output = as_user(&["find", ".", "-mindepth", "1", "-delete"], at);
            if !output.status.success() {
                return Err(format!("emptying: {}", String::from_utf8_lossy(&output.stderr)));
            }
            must(at, &["init", "-q"])?;
            must(at, &["remote", "add", "origin", &url])?;
        }
        must(at, &["config", "--local", "gc.auto", "0"])?;
        must(
            at,
            &[
                "fetch",
                "-q",
                "--no-tags",
                "--prune",
                "--no-recurse-submodules",
                "--depth=1",
                "origin",
                "+refs/heads/main:refs/remotes/origin/main",
            ],
        )?;
        must(at, &["checkout", "-q", "--force", "refs/remotes/origin/main"])?;
        must(at, &["submodule", "sync", "--recursive"])?;
        must(at, &["submodule", "update", "--init", "--force", "--depth=1", "--recursive"])?;
        Ok(how)
    }

    fn audit(&self) -> (String, String) {
        let report = self.host.guard(&["audit", "--json"]).expect_code(&[0, 12, 13]).report().0;
        let areas = report["runners"][0]["repositories"].as_array().expect("areas");
        let area = areas.iter().find(|area| area["directory"] == "app").expect("ours");
        let kinds: Vec<&str> = area["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .filter_map(|found| found["kind"].as_str())
            .collect();
        (area["verdict"].as_str().expect("a word").to_owned(), kinds.join(" "))
    }
}

fn as_user(words: &[&str], dir: &Path) -> Output {
    Command::new(words[0]).args(&words[1..]).current_dir(dir).uid(USER).gid(USER).output().expect("it runs")
}

fn must(dir: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = git_at(dir, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said
        .lines()
        .find(|line| line.starts_with("fatal") || line.starts_with("error"))
        .or(said.lines().next());
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("git {}: {}", arguments[0], first.unwrap_or_default()))
    }
}

/// A file of the runner's own, whatever its mode was.
fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, content).unwrap();
    for at in path.ancestors().take_while(|at| !at.ends_with("app/app")).filter(|at| at.exists()) {
        chown(at, Some(USER), Some(USER)).unwrap();
    }
    grow_old(path, Duration::from_secs(3600));
}

/// Where a loose object of this name lies.
fn loose(git: &Path, id: &str) -> PathBuf {
    git.join("objects").join(&id[..2]).join(&id[2..])
}

/// The same file, full of zeros, as a crash leaves it.
fn zeros(path: &Path) {
    let length = fs::metadata(path).map_or(100, |metadata| metadata.len().max(100));
    put(path, &vec![0; length as usize]);
}

fn cut(path: &Path) {
    let content = fs::read(path).unwrap();
    put(path, &content[..content.len() / 2]);
}

fn pack(git: &Path, ending: &str) -> PathBuf {
    let files = fs::read_dir(git.join("objects/pack")).expect("packs").flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|is| is == ending)).expect("a pack")
}

type Damage = fn(&Scene, &Path);

/// Each kind of damage, and what the audit calls it.
const DAMAGES: &[(&str, &str, Damage)] = &[
    ("nothing", "clean", |_, _| {}),
    ("an empty loose object that is wanted next", "replace", |scene, git| {
        let next = scene.advance();
        put(&loose(git, &next), b"");
    }),
    ("a loose object of zeros that is wanted next", "replace", |scene, git| {
        let next = scene.advance();
        put(&loose(git, &next), &[0; 200]);
    }),
    ("an empty loose object that nobody wants", "replace", |_, git| put(&loose(git, &"ab".repeat(20)), b"")),
    ("packs of zeros", "replace", |scene, git| {
        super_pack(scene);
        zeros(&pack(git, "pack"));
    }),
    ("a pack that was cut off", "replace", |scene, git| {
        super_pack(scene);
        cut(&pack(git, "pack"));
    }),
    ("an empty index of a pack", "replace", |scene, git| {
        super_pack(scene);
        put(&pack(git, "idx"), b"");
    }),
    ("a pack that is gone", "replace", |scene, git| {
        super_pack(scene);
        fs::remove_file(pack(git, "pack")).unwrap();
    }),
    ("what a killed fetch left", "clean", |_, git| {
        put(&git.join("objects/pack/tmp_pack_AbCdEf"), &[0; 4096]);
        put(&git.join("objects/ab/tmp_obj_AbCdEf"), b"");
    }),
    ("what a killed LFS left", "clean", |_, git| put(&git.join("lfs/incomplete/abcd.part"), b"half")),
    ("packed-refs of zeros", "replace", |_, git| zeros(&git.join("packed-refs"))),
    ("an empty branch", "replace", |_, git| put(&git.join("refs/remotes/origin/main"), b"")),
    ("a branch of zeros", "replace", |_, git| put(&git.join("refs/remotes/origin/main"), &[0; 41])),
    ("HEAD of zeros", "replace", |_, git| zeros(&git.join("HEAD"))),
    ("an empty HEAD", "replace", |_, git| put(&git.join("HEAD"), b"")),
    ("no HEAD", "replace", |_, git| fs::remove_file(git.join("HEAD")).unwrap()),
    ("config of zeros", "replace", |_, git| zeros(&git.join("config"))),
    ("an empty config", "clean", |_, git| put(&git.join("config"), b"")),
    ("an index of zeros", "replace", |_, git| zeros(&git.join("index"))),
    ("an index that was cut off", "replace", |_, git| cut(&git.join("index"))),
    ("an empty index", "replace", |_, git| put(&git.join("index"), b"")),
    ("no index", "replace", |_, git| fs::remove_file(git.join("index")).unwrap()),
    ("shallow of zeros", "replace", |_, git| zeros(&git.join("shallow"))),
    ("index.lock", "repairable", |_, git| put(&git.join("index.lock"), b"")),
    ("shallow.lock", "repairable", |_, git| put(&git.join("shallow.lock"), b"")),
    ("config.lock", "repairable", |_, git| put(&git.join("config.lock"), b"")),
    ("packed-refs.lock", "repairable", |_, git| put(&git.join("packed-refs.lock"), b"")),
    ("HEAD.lock", "repairable", |_, git| put(&git.join("HEAD.lock"), b"")),
    ("a lock of a branch", "repairable", |_, git| put(&git.join("refs/remotes/origin/main.lock"), b"")),
    ("root's file", "repairable", |scene, _| fs::write(scene.checkout.join("roots"), "x").unwrap()),
    ("root's directory with a file", "repairable", |scene, _| {
        fs::create_dir(scene.checkout.join("dist")).unwrap();
        fs::write(scene.checkout.join("dist/out"), "x").unwrap();
    }),
    ("root's directory of objects", "repairable", |scene, git| {
        let next = scene.advance();
        let fan = loose(git, &next).parent().unwrap().to_owned();
        fs::create_dir_all(&fan).unwrap();
        chown(&fan, Some(0), Some(0)).unwrap();
        fs::write(git.join("FETCH_HEAD"), "").unwrap();
        chown(git.join("FETCH_HEAD"), Some(0), Some(0)).unwrap();
    }),
    ("a directory without a right to write", "repairable", |scene, _| {
        let closed = scene.checkout.join("closed");
        put(&closed.join("file"), b"x");
        fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    }),
    ("a submodule's HEAD of zeros", "replace", |_, git| zeros(&git.join("modules/lib/module/HEAD"))),
    ("a submodule's clone that was broken off", "replace", |_, git| {
        let module = git.join("modules/lib/module");
        fs::remove_dir_all(module.join("refs")).unwrap();
    }),
    ("a submodule's config of zeros", "replace", |_, git| zeros(&git.join("modules/lib/module/config"))),
    ("a submodule's empty loose object that is wanted next", "replace", |scene, git| {
        fs::write(scene.module.join("src/file-2"), "next\n").unwrap();
        git_ok(&scene.module, &["commit", "-qam", "next"]);
        let next = git_ok(&scene.module, &["rev-parse", "HEAD"]);
        git_ok(&scene.origin.join("lib/module"), &["pull", "-q", "origin", "main"]);
        git_ok(&scene.origin, &["commit", "-qam", "its next"]);
        put(&loose(&git.join("modules/lib/module"), &next), b"");
    }),
    ("a submodule's lock", "repairable", |_, git| put(&git.join("modules/lib/module/index.lock"), b"")),
    ("a clone that a job made, broken", "replace", |scene, _| {
        let clone = format!("file://{}", scene.module.display());
        git_ok(&scene.checkout, &["clone", "-q", &clone, "tools/other"]);
        zeros(&scene.checkout.join("tools/other/.git/packed-refs"));
    }),
    ("a repository that a job's test made", "clean", |scene, _| {
        git_ok(&scene.checkout, &["init", "-q", "fixtures/empty"]);
    }),
];

fn git_ok(dir: &Path, arguments: &[&str]) -> String {
    git(dir, arguments)
}

/// All objects in one pack.
fn super_pack(scene: &Scene) {
    git(&scene.checkout, &["repack", "-qad"]);
}

#[test]
fn a_directory_that_audit_reports_clean_survives_the_next_checkout() {
    if !needs_root("becomes a runner's user") {
        return;
    }
    let mut missed = Vec::new();
    let scene = Scene::new();
    for (what, expected, damage) in DAMAGES {
        scene.restore();
        damage(&scene, &scene.checkout.join(".git"));
        let (verdict, kinds) = scene.audit();
        // Put right as the audit says, the next job goes on in any case.
        let mode = match verdict.as_str() {
            "replace" => Some("reset"),
            "repairable" if kinds.contains("foreign-owner") => Some("chown"),
            "repairable" => Some("unlock"),
            _ => None,
        };
        if let Some(mode) = mode {
            let call = ["remediate", scene.runner.name.as_str(), "app", "--mode", mode, "--apply"];
            let run = scene.host.guard(&call);
            if run.code != Some(0) {
                missed.push(format!("{what}: remediate --mode {mode} exits {:?}", run.code));
            }
            if mode == "reset" {
                fs::create_dir_all(&scene.checkout).unwrap();
                scene.runner.own(&scene.runner.work.join("app"));
            }
        }
        scene.advance();
        let next = scene.next_job();
        if verdict != *expected || next.is_err() {
            missed.push(format!("{what}: {verdict} ({kinds}), expected {expected}; then {next:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The emulation itself can fail: damage that is left alone breaks the next job, and an undamaged checkout is gone on with.
#[test]
fn the_emulated_checkout_fails_for_the_same_reasons_as_the_real_one() {
    if !needs_root("becomes a runner's user") {
        return;
    }
    let scene = Scene::new();
    scene.advance();
    assert_eq!(scene.next_job(), Ok("went on"));
    for what in [
        "an empty loose object that is wanted next",
        "root's directory with a file",
        "a submodule's clone that was broken off",
    ] {
        let (_, _, damage) = DAMAGES.iter().find(|(name, ..)| *name == what).expect("it is listed");
        scene.restore();
        damage(&scene, &scene.checkout.join(".git"));
        assert!(scene.next_job().is_err(), "{what}");
    }
}
