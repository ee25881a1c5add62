//! Nothing is lost, whatever ends a guard and whenever: killed, out of memory, without power, or suspended and woken, at every
//! boundary between two changes that it makes to files and locks of others.
//!
//! The boundaries are not guessed: each run is traced, and ended at its first changing system call, at its second, and so on,
//! until a run comes to its end. After each, the cache is whole in its place, or what is left of it lies in trash; nothing else
//! has been touched; the dead hold neither lock nor lease; and the next run finishes.
//!
//! A power loss is a copy of the disk's image at that instant, once as it is and once with all written out that was on its way.
//! `DISK_GUARD_SOAK` makes the tree larger and ends every run in every way; without it, deletion, which repeats itself, loses
//! its power and its memory at every tenth boundary only.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod kit;

use kit::{Call, Entry, Holder, Host, Image, MIB, MemoryGroup, Run, Runner, Stopped, change};
use nix::libc;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const TRASH: &str = ".disk-guard";

fn soak() -> bool {
    std::env::var_os("DISK_GUARD_SOAK").is_some()
}

fn cache_bytes() -> u64 {
    if soak() { 16 * MIB } else { 4096 }
}

/// Everything below a directory, by its path in it: what a touch would change.
type Listing = BTreeMap<PathBuf, (u64, u32, u32, Option<i64>, u64)>;

fn list(top: &Path, below: &Path, listing: &mut Listing) {
    for entry in std::fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        let Ok(now) = path.symlink_metadata() else { continue };
        let mut content = DefaultHasher::new();
        // The runners' programs are large, and who touches them changes their time.
        if now.is_file() && now.len() < MIB {
            std::fs::read(&path).unwrap_or_default().hash(&mut content);
        }
        // What is made in a directory, or goes, changes its time: the entries are looked at instead.
        let modified = (!now.is_dir()).then_some(now.mtime());
        listing.insert(below.clone(), (now.ino(), now.mode(), now.uid(), modified, content.finish()));
        if now.is_dir() {
            list(top, &below, listing);
        }
    }
}

/// A host whose runners lie on an image, and how it was at the beginning.
struct Scene {
    host: Host,
    pristine: Image,
    runner: Runner,
    cache: PathBuf,
    before: Listing,
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        host.configure(|settings| {
            settings.want_everything();
            settings.lock_wait = "2s";
        });
        let mut pristine = Image::make(&host.base.join("pristine.img"), if soak() { 64 } else { 28 });
        pristine.mount(&host.runners());
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", cache_bytes(), 2 * DAY);
        // A shell by the Worker's name runs a hook below it.
        use_small_programs(&runner, "/bin/bash");
        // Too young to go: the guard has a reason to look at it and none to touch it.
        let other = host.runner("actions-runner-2").build();
        other.cache("acme/app", "target", 4096, Duration::ZERO);
        use_small_programs(&other, "/bin/true");
        let mut before = Listing::new();
        list(&host.runners(), Path::new(""), &mut before);
        pristine.unmount();
        Self { host, pristine, runner, cache, before }
    }

    /// The host as it was at the beginning.
    fn afresh(&self) -> Image {
        let mut disk = self.pristine.copy(&self.host.base.join("disk.img"));
        disk.mount(&self.host.runners());
        disk
    }

    fn sweep(&self) -> Call {
        self.host.call(&["sweep", "--json"])
    }

    /// The hook below a Worker.
    fn hook(&self) -> Call {
        let (program, config) = (self.host.program(), self.host.config());
        let script = format!("{} --config {} hook started; exit $?", program.display(), config.display());
        let worker = self.runner.bin.join("Runner.Worker");
        Call { program: worker, arguments: vec!["-c".into(), script.into()], user: None }
    }

    /// Nothing is lost and nothing else touched. True when the cache is in its place.
    #[track_caller]
    fn check(&self, when: &str) -> bool {
        let mut now = Listing::new();
        list(&self.host.runners(), Path::new(""), &mut now);
        let below = self.cache.strip_prefix(self.host.runners()).expect("it lies there");
        let is_in_place = self.cache.exists();
        let mut left = self.before.clone();
        if !is_in_place {
            left.retain(|path, _| !path.starts_with(below));
        }
        let is_trash =
            |path: &Path| path.iter().any(|part| part.as_encoded_bytes().starts_with(TRASH.as_bytes()));
        now.retain(|path, _| !is_trash(path));
        let lost: Vec<_> = left.iter().filter(|(path, what)| now.get(*path) != Some(what)).collect();
        assert!(lost.is_empty(), "{when}: lost or touched: {lost:#?}");
        let new: Vec<_> = now.keys().filter(|path| !left.contains_key(*path)).collect();
        assert!(new.is_empty(), "{when}: neither in its place nor in trash: {new:#?}");
        is_in_place
    }

    /// The next run finishes what the dead have begun.
    #[track_caller]
    fn finish(&self, when: &str) {
        let run = self.host.guard(&["sweep", "--json"]);
        let (code, errors) = (run.code, run.stderr());
        // 75 would be a lock that the dead still hold.
        assert!(matches!(code, Some(0 | 20)), "{when}: the next run ends with {code:?}: {errors}");
        let shown = format!("{when}: {:#}", run.report().0);
        assert!(!self.check(&shown), "the cache has gone: {shown}");
        let trash = self.runner.work.join(".disk-guard/trash");
        let left: Vec<_> = std::fs::read_dir(trash).into_iter().flatten().flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "spare"), "{left:?}: {shown}");
        let beside: Vec<_> = std::fs::read_dir(self.cache.parent().expect("the checkout"))
            .expect("it is kept")
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(TRASH.as_bytes()))
            .collect();
        assert!(beside.is_empty(), "{beside:?}: {shown}");
        let leases = self.host.leases().into_iter().filter(|lease| !is_draft(lease)).collect::<Vec<_>>();
        assert!(leases.is_empty(), "leases of the dead: {leases:?}: {shown}");
    }

    /// Runs `call` to the boundary `number` of the guard's own changes; a run that ends before is handed back. `also` sees every
    /// call.
    fn hold(
        &self,
        call: &Call,
        number: usize,
        mut also: impl FnMut(&Entry) + Send + 'static,
    ) -> Result<(Stopped, String), Run> {
        let program = self.host.program();
        let what = Arc::new(Mutex::new(String::new()));
        let (told, mut seen) = (Arc::clone(&what), 0);
        let stopped = Stopped::try_at(call, move |entry| {
            also(entry);
            let Some(change) = change(entry) else { return false };
            if std::fs::read_link(format!("/proc/{}/exe", entry.thread)).ok().as_ref() != Some(&program) {
                return false;
            }
            seen += 1;
            *told.lock().expect("nobody panics") = change;
            seen > number
        })?;
        let what = what.lock().expect("nobody panics").clone();
        Ok((stopped, format!("boundary {number}, before `{what}`")))
    }

    /// Ends `call` at every boundary, in every way; what the boundaries are, and the run that came to its end.
    fn end_everywhere(&self, call: &Call, ends: Ends, also: impl Fn() -> Also) -> (Vec<String>, Run) {
        let group = (ends == Ends::Every).then(|| MemoryGroup::of(8 * MIB)).flatten();
        let mut boundaries = Vec::new();
        loop {
            // This takes long enough for others to have come.
            kit::wait_for_strangers();
            let number = boundaries.len();
            let mut disk = self.afresh();
            let mut also = also();
            let (stopped, when) = match self.hold(call, number, also.look.take().expect("once")) {
                Ok(held) => held,
                Err(run) => {
                    drop(also);
                    disk.unmount();
                    return (boundaries, run.expect_code(&[0, 20]));
                }
            };
            if ends == Ends::Suspend {
                if soak() || number % 10 == 0 || !is_one_of_many(&when) {
                    self.suspend_and_wake(stopped, &when);
                } else {
                    stopped.kill();
                }
                drop(also);
                self.finish(&when);
                disk.unmount();
                boundaries.push(when);
                continue;
            }
            let thorough = ends == Ends::Every && (soak() || number % 10 == 0 || !is_one_of_many(&when));
            let copies = if thorough { self.lose_power(&disk) } else { Vec::new() };
            let out_of_memory = group.as_ref().filter(|_| thorough && (soak() || number % 2 == 0));
            let end = match out_of_memory {
                Some(group) => {
                    group.end(stopped.pid());
                    stopped.release()
                }
                None => stopped.kill(),
            };
            assert_eq!(end.signal, Some(libc::SIGKILL), "{when}");
            drop(also);
            self.check(&when);
            self.finish(&when);
            disk.unmount();
            for (mut copy, how) in copies {
                let when = format!("{how} at {when}");
                copy.check();
                copy.mount(&self.host.runners());
                self.check(&when);
                self.finish(&when);
                copy.unmount();
            }
            boundaries.push(when);
        }
    }

    /// While one guard stands still another sweeps, and has to wait no longer than it was told to; then the first goes on
    /// with what it knew.
    fn suspend_and_wake(&self, stopped: Stopped, when: &str) {
        let pid = nix::unistd::Pid::from_raw(stopped.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it lives");
        let other = self.host.guard(&["sweep", "--json"]);
        assert!(
            matches!(other.code, Some(0 | 20 | 75)),
            "{when}: beside it {:?}: {}",
            other.code,
            other.stderr()
        );
        self.check(&format!("{when}, suspended"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("it lives");
        let woken = stopped.release();
        assert!(
            matches!(woken.code, Some(0 | 20 | 75)),
            "{when}: woken {:?}: {}",
            woken.code,
            woken.stderr()
        );
        self.check(&format!("{when}, woken"));
    }

    /// What the disk holds if the power goes now, and if it goes when all has been written out.
    fn lose_power(&self, disk: &Image) -> Vec<(Image, &'static str)> {
        let at_once = disk.copy(&self.host.base.join("at-once.img"));
        disk.sync();
        let later = disk.copy(&self.host.base.join("later.img"));
        vec![(at_once, "power lost"), (later, "power lost, with all written out,")]
    }
}

/// So that images are small.
fn use_small_programs(runner: &Runner, worker: &str) {
    for (name, program) in [("Runner.Worker", worker), ("Runner.Listener", "/bin/true")] {
        let path = runner.bin.join(name);
        std::fs::remove_file(&path).expect("our own file");
        std::fs::copy(program, &path).expect("a program can be copied");
    }
}

/// What was to become a record.
fn is_draft(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Deletion and records repeat themselves.
fn is_one_of_many(when: &str) -> bool {
    ["`unlink", "`rmdir", "`write"].iter().any(|kind| when.contains(kind))
}

/// How runs are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// By being killed, by want of memory and by want of power.
    Every,
    /// By being killed, with all that it was started by.
    Kill,
    /// Not at all: by being suspended while another sweeps, and woken.
    Suspend,
}

/// A look at every call of a guard.
type Look = Box<dyn FnMut(&Entry) + Send>;

/// What happens besides, while a guard runs.
struct Also {
    look: Option<Look>,
    _holder: Arc<Mutex<Option<Holder>>>,
}

impl Also {
    fn nothing() -> Self {
        Self { look: Some(Box::new(|_| {})), _holder: Arc::default() }
    }

    /// A build takes its lock as soon as the cache has been renamed into its slot below `work`: doubt arises.
    fn builds_in_the_claimed(work: PathBuf) -> Self {
        let holder: Arc<Mutex<Option<Holder>>> = Arc::default();
        let (held, mut claims) = (Arc::clone(&holder), false);
        let look = move |entry: &Entry| {
            if claims {
                claims = false;
                let slots = std::fs::read_dir(work.join(".disk-guard/trash")).into_iter().flatten().flatten();
                let tree = slots.map(|slot| slot.path().join("tree")).find(|tree| tree.exists());
                let tree = tree.expect("it has been claimed");
                // From a thread of its own: what the tracer starts, the tracer takes for its own.
                let start = move || Holder::new("flock", &tree.join("debug/.cargo-lock"));
                let started = std::thread::spawn(start).join().expect("it takes the lock");
                *held.lock().expect("nobody panics") = Some(started);
            }
            claims = entry.number == libc::SYS_renameat2 && entry.text(1) == "target";
        };
        Self { look: Some(Box::new(look)), _holder: holder }
    }
}

/// A boundary of each kind has been met, so that not being lost means something.
#[track_caller]
fn assert_met(boundaries: &[String], kinds: &[&str]) {
    for kind in kinds {
        assert!(boundaries.iter().any(|when| when.contains(kind)), "no {kind}: {boundaries:#?}");
    }
}

#[test]
fn whatever_ends_a_sweep_nothing_is_lost_and_the_next_one_finishes() {
    if !kit::needs_root("mounts an image of a disk") {
        return;
    }
    let scene = Scene::new();
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Every, Also::nothing);
    assert_eq!(run.report().outcome(&scene.cache), "removed");
    assert_met(
        &boundaries,
        &[
            "`flock",
            "`mkdir trash",
            "`mkdir slot-",
            "`rename target",
            "`unlink",
            "`rmdir tree",
            "`rmdir slot-",
        ],
    );
}

#[test]
fn whatever_ends_a_sweep_that_puts_a_tree_back_nothing_is_lost() {
    if !kit::needs_root("mounts an image of a disk") {
        return;
    }
    let scene = Scene::new();
    let work = scene.runner.work.clone();
    let (boundaries, run) =
        scene.end_everywhere(&scene.sweep(), Ends::Every, || Also::builds_in_the_claimed(work.clone()));
    assert_eq!(run.report().outcome(&scene.cache), "restored");
    assert_met(&boundaries, &["`rename target to tree", "`rename tree to target", "`rmdir slot-"]);
}

#[test]
fn wherever_a_sweep_is_suspended_it_goes_on_without_harm_and_another_beside_it() {
    if !kit::needs_root("mounts an image of a disk") {
        return;
    }
    let scene = Scene::new();
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Suspend, Also::nothing);
    assert_eq!(run.report().outcome(&scene.cache), "removed");
    assert_met(&boundaries, &["`flock", "`mkdir slot-", "`rename target", "`unlink", "`rmdir slot-"]);
}

#[test]
fn whatever_ends_a_hook_and_its_worker_nothing_is_lost_and_its_lease_protects_nobody() {
    if !kit::needs_root("mounts an image of a disk") {
        return;
    }
    let scene = Scene::new();
    let (boundaries, _) = scene.end_everywhere(&scene.hook(), Ends::Kill, Also::nothing);
    assert_met(&boundaries, &["/leases/.", "`rename target to tree", "`unlink", "`rmdir slot-"]);
    // Some have died while they wrote: that goes as soon as it is old.
    kit::grow_old(&scene.host.run_dir().join("leases"), DAY);
    let _disk = scene.afresh();
    scene.host.sweep();
    assert!(scene.host.leases().is_empty(), "{:?}", scene.host.leases());
}
