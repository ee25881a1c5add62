//! Trees that are too deep, too wide, too large, too strange or too stubborn.

use crate::kit::{Canary, Fs, deadline, grow_old, is_alive, needs_root, process_state, until};
use crate::scene::{DAY, HOSTILE, Scene, bounded};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{CWD, OFlags, mkdirat, openat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Entries of one directory; making them takes longer than deleting them.
const MANY: u64 = 1_000_000;

/// Nests `depth` directories below `tree`, with a file in each hundredth, as old as a cache.
fn nest(tree: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    let mut dir = openat(CWD, tree, flags, mode).expect("the tree opens");
    for level in 0..depth {
        mkdirat(&dir, "d", mode).expect("a directory");
        if level % 100 == 0 {
            let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&dir, "file", file, mode).expect("a file");
            File::from(file).set_modified(std::time::SystemTime::now() - 2 * DAY).expect("it is ours");
        }
        let below = openat(&dir, "d", flags, mode).expect("the next level opens");
        dir = below;
    }
}

#[test]
fn a_tree_of_any_depth_is_deleted_within_bounds() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    let mut scene = Scene::in_memory(400_000);
    let bait = scene.bait("acme/widgets");
    nest(&bait, 100_000);
    assert_eq!(scene.sweep().outcome(&bait), "removed");
    assert!(!bait.exists());
    let doomed = scene.doomed();
    nest(&doomed, 100_000);
    scene.sweep();
    assert!(!doomed.exists(), "the same in trash");
    let trash = scene.hostile.work.join(".disk-guard/trash");
    let left: Vec<_> =
        fs::read_dir(trash).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["spare"], "nothing is left of what had to be moved up");
}

#[test]
fn any_number_of_entries_in_one_directory_is_deleted_within_bounds() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    let mut scene = Scene::in_memory(MANY + 100_000);
    let bait = scene.bait("acme/widgets");
    let flat = bait.join("debug/deps");
    for number in 0..MANY {
        // One file under many names, up to what a filesystem allows: an inode each costs memory that the test has not.
        File::create(flat.join(number.to_string())).expect("a file");
    }
    scene.host.configure(|settings| settings.idle_floor = "0s");
    assert_eq!(scene.sweep().outcome(&bait), "removed");
    assert!(!bait.exists());
}

/// Names that hold every byte a name can, as long as a name can be.
fn names() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let mut names = vec![bytes[..127].to_vec(), bytes[127..].to_vec(), bytes.clone(), vec![b'x'; 255]];
    names.extend(
        [&b"..."[..], b"-rf", b" ", b"*", b"\n", b"\xff\xfe", b"$(reboot)", b"\x1b[2J", b"\xe2\x80\xae"]
            .map(<[u8]>::to_vec),
    );
    names
}

#[test]
fn names_of_any_bytes_and_any_length_are_deleted_and_reported_exactly() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    let mut baits = Vec::new();
    for (number, name) in names().into_iter().enumerate() {
        let inside = scene.bait(&format!("acme/inside{number}")).join("debug");
        fs::create_dir_all(inside.join(OsStr::from_bytes(&name)).join(OsStr::from_bytes(&name)))
            .expect("a directory");
        fs::write(inside.join(OsStr::from_bytes(&name)).join("file"), "x").expect("a file");
        grow_old(&inside, 2 * DAY);
        let mut target = b"target-".to_vec();
        target.extend(name.into_iter().take(248));
        let odd = checkout.join(std::ffi::OsString::from_vec(target));
        fs::rename(scene.hostile.cache("acme/odd", "target", 4096, 2 * DAY), &odd).expect("our own tree");
        baits.extend([odd, inside.parent().expect("a cache").to_owned()]);
    }
    let report = scene.sweep();
    let mut told: Vec<PathBuf> =
        report.0["actions"].as_array().expect("a list").iter().map(path_of).collect();
    let mut wanted: Vec<PathBuf> = baits.clone();
    let [told, wanted] = [&mut told, &mut wanted].map(|paths| {
        paths.retain(|path| path.starts_with(&scene.hostile.root));
        paths.sort();
        &*paths
    });
    assert_eq!(told, wanted);
    assert!(baits.iter().all(|bait| !bait.exists()), "{:#}", report.0);
}

/// An action's path: text, or where that cannot be, exact bytes.
fn path_of(action: &serde_json::Value) -> PathBuf {
    use base64::Engine as _;
    match action["path_bytes"].as_str() {
        Some(bytes) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).expect("base64");
            PathBuf::from(std::ffi::OsString::from_vec(bytes))
        }
        None => PathBuf::from(action["path"].as_str().expect("text")),
    }
}

#[test]
fn hard_links_to_files_outside_take_nothing_from_them() {
    if !needs_root("links files of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let outside = scene.hostile.work.join("_tool/outside");
    fs::create_dir(&outside).expect("a directory");
    for file in 0..200 {
        fs::write(outside.join(file.to_string()), format!("content {file}")).expect("a file");
    }
    let bait = scene.bait("acme/widgets");
    let precious = scene.precious.join("widgets/widgets/target/CACHEDIR.TAG");
    fs::hard_link(&precious, bait.join("debug/precious")).expect("root links anything");
    for file in 0..200 {
        fs::hard_link(outside.join(file.to_string()), bait.join(format!("debug/deps/{file}")))
            .expect("a link");
    }
    grow_old(&outside, 2 * DAY);
    scene.hostile.own(&bait);
    scene.hostile.own(&outside);
    // The link itself and the change of owner are the attacker's doing; content, mode and times are what must not change.
    let before = fs::metadata(&precious).expect("it is there").permissions();
    let control = scene.control();
    let ran = bounded(&scene.host.call(&["sweep", "--json"]));
    ran.assert_modest();
    let report = ran.run.report();
    for cache in [&control, &bait] {
        assert_eq!(report.outcome(cache), "removed", "{:#}", report.0);
    }
    for file in 0..200 {
        let text = fs::read_to_string(outside.join(file.to_string())).expect("it is there");
        assert_eq!(text, format!("content {file}"));
    }
    assert_eq!(fs::metadata(&precious).expect("it is there").permissions(), before);
    assert!(fs::read_to_string(&precious).expect("it is there").starts_with(crate::kit::SIGNATURE));
}

fn chattr(flag: &str, path: &Path) {
    let status = Command::new("chattr").arg(flag).arg(path).status().expect("chattr runs");
    assert!(status.success(), "chattr {flag} {}", path.display());
}

/// Takes the flags back, also on a panic: otherwise nobody could remove the files.
struct Flagged(Vec<(&'static str, PathBuf)>);

impl Drop for Flagged {
    fn drop(&mut self) {
        for (flag, path) in &self.0 {
            let _ = Command::new("chattr").arg(flag).arg(path).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn immutable_and_append_only_entries_are_kept_and_reported_and_the_rest_is_deleted() {
    if !needs_root("sets file attributes") {
        return;
    }
    let mut scene = Scene::on(Fs::Ext4 { mib: 64, inodes: 8_000 });
    let [file, append, directory, itself] =
        ["file", "append", "directory", "itself"].map(|name| scene.bait(&format!("acme/{name}")));
    let mut flags = Flagged(Vec::new());
    for (flag, undo, path) in [
        ("+i", "-i", file.join("debug/deps/libwidget-0000.rlib")),
        ("+a", "-a", append.join("debug/deps/libwidget-0000.rlib")),
        ("+i", "-i", directory.join("debug/deps")),
        ("+a", "-a", itself.clone()),
    ] {
        chattr(flag, &path);
        flags.0.push((undo, path));
    }
    let report = scene.sweep();
    for cache in [&file, &append, &directory, &itself] {
        assert_eq!(report.outcome(cache), "failed", "{:#}", report.0);
        let detail = report.action(cache)["detail"].as_str().expect("text");
        assert!(detail.contains("cannot ") || detail.contains("could not "), "{detail}");
    }
    assert!(
        itself.exists() && !file.exists(),
        "what cannot be moved stays in its place, the rest is claimed"
    );
    // A second run tries again, in trash, and is no slower for it.
    scene.sweep();
    let trash = scene.hostile.work.join(".disk-guard/trash");
    let slots =
        || fs::read_dir(&trash).expect("it is there").flatten().filter(|slot| slot.file_name() != "spare");
    for slot in slots() {
        let (deps, tree) = (slot.path().join("tree/debug/deps"), slot.path().join("tree"));
        for path in [deps.join("libwidget-0000.rlib"), deps, tree] {
            if path.exists() {
                let _ = Command::new("chattr").args(["-i", "-a"]).arg(&path).status();
            }
        }
    }
    chattr("-a", &itself);
    assert_eq!(scene.sweep().outcome(&itself), "removed", "without the flag, it goes");
    assert_eq!(slots().count(), 0, "and so does the rest");
}

#[test]
fn fifos_and_devices_are_removed_and_never_opened() {
    if !needs_root("makes device nodes") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let bait = scene.bait("acme/widgets");
    // As a container job can make them; 254 is for experiments, and nobody answers there.
    let device =
        |path: &Path, kind| mknod(path, kind, Mode::S_IRWXU, makedev(254, 7)).expect("root makes devices");
    let fifo = |path: &Path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).expect("a FIFO");
    device(&bait.join("debug/char"), SFlag::S_IFCHR);
    device(&bait.join("debug/block"), SFlag::S_IFBLK);
    fifo(&bait.join("debug/fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(bait.join("debug/socket")).expect("a socket");
    grow_old(&bait.join("debug"), 2 * DAY);
    let report = scene.sweep();
    assert_eq!(report.outcome(&bait), "removed", "{:#}", report.0);

    // Where the guard does read: a marker, and cargo's lock. Somebody waits at each FIFO for a reader to come.
    let marked = scene.bait("acme/marked");
    fs::remove_file(marked.join("CACHEDIR.TAG")).expect("our own file");
    fifo(&marked.join("CACHEDIR.TAG"));
    let locked = scene.bait("acme/locked");
    fs::remove_file(locked.join("debug/.cargo-lock")).expect("our own file");
    fifo(&locked.join("debug/.cargo-lock"));
    grow_old(&locked, 2 * DAY);
    let config = scene.hostile.root.join(".service");
    fs::remove_file(&config).expect("our own file");
    fifo(&config);
    let fifos = [marked.join("CACHEDIR.TAG"), locked.join("debug/.cargo-lock"), config];
    let mut waiting: Vec<_> = fifos
        .iter()
        .map(|fifo| {
            scene.hostile.own(fifo);
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "exec 3>\"$0\""]).arg(fifo).current_dir("/").uid(HOSTILE.0).gid(HOSTILE.1);
            let child = command.spawn().expect("a shell starts");
            let call = format!("{} ", nix::libc::SYS_openat);
            until("a shell to wait for a reader", || {
                let doing = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
                (doing.starts_with(&call) && process_state(child.id() as i32)?.0 == 'S').then_some(())
            });
            child
        })
        .collect();
    let canaries = [Canary::of(&marked.join("debug"))];
    let report = scene.sweep();
    assert!(!report.with_outcome("removed").contains(&marked), "it has no marker: {:#}", report.0);
    assert_ne!(report.outcome(&locked), "removed", "its lock cannot be tried: {:#}", report.0);
    canaries.iter().for_each(Canary::assert_intact);
    let alive: Vec<bool> = waiting.iter().map(|child| is_alive(child.id() as i32)).collect();
    // It would have been noticed: a reader that does come ends the wait.
    let _reader =
        File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifos[0]).expect("a FIFO");
    let noticed = waiting[0].wait().expect("it is our child").success();
    for child in &mut waiting {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(noticed);
    assert_eq!(alive, [true; 3], "nobody came to read: whoever opens a device may set it going");
}

#[test]
fn sparse_files_as_large_as_can_be_are_counted_by_what_they_take() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    for (fs, end) in [
        (Fs::Tmpfs { mib: 256, inodes: 100_000 }, i64::MAX as u64),
        (Fs::Xfs { mib: 320 }, i64::MAX as u64),
        (Fs::Ext4 { mib: 64, inodes: 8_000 }, (4 << 40) - 4096),
    ] {
        if matches!(fs, Fs::Xfs { .. }) && Command::new("mkfs.xfs").arg("-V").output().is_err() {
            continue;
        }
        let mut scene = Scene::on(fs);
        let bait = scene.bait("acme/widgets");
        for number in 0..50 {
            let file = File::create(bait.join(format!("debug/deps/sparse{number}"))).expect("a file");
            file.write_all_at(b"x", 0).expect("the first byte");
            file.set_len(end).unwrap_or_else(|error| panic!("{fs:?}: {error}"));
        }
        grow_old(&bait, 2 * DAY);
        scene.hostile.own(&bait);
        let report = scene.sweep();
        assert_eq!(report.outcome(&bait), "removed", "{fs:?}: {:#}", report.0);
        let bytes = report.action(&bait)["bytes"].as_u64().expect("a figure");
        assert!(bytes < 64 << 20, "{fs:?}: what it frees, not what it seems to hold: {bytes}");
    }
}

#[test]
fn directories_that_nobody_may_enter_are_entered_by_root_and_by_their_owner() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let close = |cache: &Path| {
        for (below, mode) in
            [("debug/build", 0o600), ("debug/deps", 0o000), ("debug/.fingerprint", 0o300), ("debug", 0o500)]
        {
            fs::set_permissions(cache.join(below), PermissionsExt::from_mode(mode)).expect("it is ours");
        }
    };
    let bait = scene.bait("acme/widgets");
    close(&bait);
    assert_eq!(scene.sweep().outcome(&bait), "removed", "root");
    // In trash, which the owner's own hook empties: what is closed to him he opens again.
    let tree = scene.doomed();
    fs::create_dir_all(tree.join("closed/inner")).expect("a directory");
    fs::write(tree.join("closed/inner/file"), "x").expect("a file");
    scene.hostile.own(&tree);
    for below in ["closed/inner", "closed", "."] {
        fs::set_permissions(tree.join(below), PermissionsExt::from_mode(0o000)).expect("it is ours");
    }
    let root = scene.hostile.root.display().to_string();
    let mut hook = scene.host.call(&["hook", "started", "--runner-root", &root]);
    hook.user = Some(HOSTILE);
    let began = Instant::now();
    let ran = bounded(&hook);
    ran.assert_modest();
    let run = ran.run.expect_code(&[0]);
    assert!(!tree.exists(), "{}{}", run.stdout(), run.stderr());
    assert!(began.elapsed() < deadline());
    // Its own caches go as well; without x on the way to one it cannot be examined, so it stays.
    let (own, hidden) = (scene.bait("acme/own"), scene.bait("acme/hidden"));
    let above = hidden.parent().expect("a checkout");
    fs::set_permissions(above, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let run = bounded(&hook).run.expect_code(&[0]);
    fs::set_permissions(above, PermissionsExt::from_mode(0o755)).expect("it is ours");
    assert!(!own.exists() && hidden.join("CACHEDIR.TAG").exists(), "{}{}", run.stdout(), run.stderr());
}
