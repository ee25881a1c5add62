//! Work directories that a hostile user prepares for a repair by root.

use super::{
    USER, audit, checkout, git, kinds, mode, outcome, owner, remediate, repository, scene, set_mode, write,
};
use crate::kit::{self, needs_root};
use std::os::unix::fs::{lchown, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The classic: a job plants a second name of a file that is not its own, and waits for root to give it away.
#[test]
fn nothing_is_given_away_that_has_a_name_elsewhere_or_is_more_than_data() {
    if !needs_root("plants root's files") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    let precious = host.base.join("precious");
    write(&precious, "root's");
    set_mode(&precious, 0o600);
    std::fs::hard_link(&precious, app.join("planted")).unwrap();
    write(&app.join("suid"), "#!/bin/sh\n");
    set_mode(&app.join("suid"), 0o4755);
    nix::sys::stat::mknod(
        &app.join("disk"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::S_IRUSR,
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    let victim = host.base.join("victim");
    std::fs::create_dir(&victim).unwrap();
    write(&victim.join("file"), "outside");
    symlink(&victim, app.join("way-out")).unwrap();
    lchown(app.join("way-out"), Some(USER.0), Some(USER.1)).unwrap();
    write(&app.join("plain"), "to be given back");

    let found = audit(&host, 13);
    assert_eq!(repository(&found, "app")["mode"], "reset", "{found:#}");
    let report = remediate(&host, "app", "chown", 1);
    for (entry, expected) in
        [("planted", "refused"), ("suid", "refused"), ("disk", "refused"), ("plain", "done")]
    {
        assert_eq!(outcome(&report, &format!("app/app/{entry}")), expected, "{entry}");
        assert_eq!(owner(&app.join(entry)), if expected == "done" { USER.0 } else { 0 }, "{entry}");
    }
    for outside in [&precious, &victim, &victim.join("file")] {
        assert_eq!(owner(outside), 0, "{}", outside.display());
    }
    assert_eq!(mode(&app.join("suid")), 0o4755);
    // A fresh clone is what helps, and that harms nothing outside either.
    assert_eq!(remediate(&host, "app", "reset", 0).0["done"], 1);
    assert!(!runner.work.join("app").exists());
    assert_eq!((std::fs::read_to_string(&precious).unwrap(), owner(&precious)), ("root's".into(), 0));
    assert_eq!(std::fs::read_to_string(victim.join("file")).unwrap(), "outside");
    audit(&host, 0);
}

/// Ends the planter, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The same with a racing planter: the second name comes and goes while the repair looks and acts.
#[test]
fn a_fast_planter_of_hard_links_gains_nothing() {
    if !needs_root("plants root's files") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    let precious = host.base.join("precious");
    write(&precious, "root's");
    let (planted, spare) = (app.join("planted"), app.join("spare"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = std::fs::hard_link(&precious, &planted);
                let _ = std::fs::rename(&planted, &spare);
                let _ = std::fs::remove_file(&spare);
                let _ = std::fs::remove_file(&planted);
            }
        });
        let _over = Over(&over);
        for round in 0..8 {
            let plain = app.join(format!("plain-{round}"));
            write(&plain, "to be given back");
            let call = ["remediate", "actions-runner-1", "app", "--mode", "chown", "--apply"];
            host.guard(&call).expect_code(&[0, 1]);
            assert_eq!(owner(&plain), USER.0, "round {round}");
        }
    });
    assert_eq!((owner(&precious), std::fs::read_to_string(&precious).unwrap()), (0, "root's".to_owned()));
}

/// A repository that would run its owner's programs when git looks at it, and would look at others' files.
#[test]
fn a_hostile_repository_runs_nothing_and_git_is_not_root() {
    if !needs_root("is root, which git must not be") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    let (touched, seen) = (host.base.join("touched"), host.base.join("sockets/seen"));
    let script = app.join("evil.sh");
    write(&script, &format!("#!/bin/sh\ntouch {}\n", touched.display()));
    set_mode(&script, 0o755);
    for key in [
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.editor",
        "credential.helper",
    ] {
        git(&app, &["config", key, script.to_str().unwrap()]);
    }
    git(&app, &["config", "core.hooksPath", app.to_str().unwrap()]);
    git(&app, &["config", "include.path", "/etc/shadow"]);
    runner.own(&runner.work);
    // Git, with a witness before it: as whom is it run, and with what.
    let real = String::from_utf8(Command::new("sh").args(["-c", "command -v git"]).output().unwrap().stdout)
        .unwrap();
    let bin = host.base.join("bin");
    std::fs::create_dir(&bin).unwrap();
    write(
        &bin.join("git"),
        &format!("#!/bin/sh\n(id -u; env; ulimit -f) > {} \nexec {} \"$@\"\n", seen.display(), real.trim()),
    );
    set_mode(&bin.join("git"), 0o755);
    let mut host = host;
    host.configure(|settings| {
        settings.extra = format!("programs = [{:?}, \"/usr/bin\", \"/bin\"]\n", bin.display().to_string())
    });
    // The witness cannot write: no file may be. So it is asked for by what it prevents.
    let found = host.guard(&["audit", "--json"]).report().0;
    assert!(!touched.exists(), "the repository's programs ran: {found:#}");
    assert!(!seen.exists() || std::fs::read(&seen).unwrap().is_empty(), "a child of ours wrote a file");
    write(&bin.join("git"), "#!/bin/sh\nid -u >&2\nexit 1\n");
    let found = host.guard(&["audit", "--json"]).report().0;
    let detail = repository(&found, "app")["findings"][0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(&USER.0.to_string()), "as the runner's user: {detail}");
    // A repository that borrows objects is not looked at by git at all.
    write(&app.join(".git/objects/info/alternates"), "/var/lib/secret\n");
    let found = host.guard(&["audit", "--json"]).expect_code(&[0, 12]).report().0;
    assert!(
        repository(&found, "app")["notes"][0].as_str().is_some_and(|note| note.contains("alternates")),
        "{found:#}"
    );
    // One that never ends is ended; a FIFO in the place of a file is not waited for.
    assert!(kinds(repository(&found, "app")).iter().all(|kind| *kind != "broken-git"));
}

#[test]
fn an_unprivileged_user_gives_nothing_away() {
    if !needs_root("becomes another user") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    write(&app.join("roots"), "x");
    let mut call = host.call(&["remediate", "actions-runner-1", "app", "--mode", "chown", "--apply"]);
    call.user = Some((USER.0, kit::SHARED_GID));
    let run = call.run().expect_code(&[1]);
    assert!(run.stderr().contains("only root"), "{}", run.stderr());
    assert_eq!(owner(&app.join("roots")), 0);
    remediate(&host, "app", "chown", 0);
    assert_eq!(owner(&app.join("roots")), USER.0);
}
