//! What happens besides, while a guard runs.

use crate::kit::{Entry, Holder, Runner};
use nix::libc;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Look = dyn FnMut(&Entry) + Send;

/// A look at every call of a guard, and what it has begun, which lasts until this is dropped.
#[derive(Clone)]
pub(crate) struct Also {
    look: Arc<Mutex<Look>>,
    _holder: Arc<Mutex<Option<Holder>>>,
}

impl Also {
    pub(crate) fn nothing() -> Self {
        Self { look: Arc::new(Mutex::new(|_: &Entry| {})), _holder: Arc::default() }
    }

    /// A build takes its lock as soon as the runner's cache has been renamed: doubt arises.
    pub(crate) fn builds_in_what_is_claimed(runner: &Runner) -> Self {
        let (trash, checkout) = (runner.work.join(".disk-guard/trash"), runner.work.join("widgets/widgets"));
        Self::holds_after(
            |name| name == "target",
            move || {
                let in_slot = entries(&trash).map(|slot| slot.join("tree"));
                let is_beside = |path: &PathBuf| path.to_string_lossy().contains("/.disk-guard-trash-");
                let beside = entries(&checkout).filter(is_beside);
                in_slot.chain(beside).map(|tree| tree.join("debug/.cargo-lock")).find(|lock| lock.exists())
            },
        )
    }

    /// Somebody locks the slot as soon as a log has been renamed into it: doubt arises.
    pub(crate) fn locks_the_slot(runner: &Runner) -> Self {
        let trash = runner.root.join(".disk-guard/trash");
        Self::holds_after(|name| name.ends_with(".log"), move || entries(&trash).find(|slot| slot.is_dir()))
    }

    /// When what `is_meant` by its name has been renamed, what `find` finds is locked.
    fn holds_after(is_meant: fn(&str) -> bool, find: impl Fn() -> Option<PathBuf> + Send + 'static) -> Self {
        let holder: Arc<Mutex<Option<Holder>>> = Arc::default();
        let (held, mut renaming) = (Arc::clone(&holder), None);
        let look = move |entry: &Entry| {
            // Its thread's next call: the rename has returned. Calls of other threads come in between.
            let has_renamed = renaming.take_if(|thread| *thread == entry.thread).is_some();
            // What it renamed may have been gone.
            if has_renamed
                && held.lock().expect("nobody panics").is_none()
                && let Some(what) = find()
            {
                // From a thread of its own: what the tracer starts, the tracer takes for its own.
                let start = move || Holder::new("flock", &what);
                let started = std::thread::spawn(start).join().expect("it takes the lock");
                *held.lock().expect("nobody panics") = Some(started);
            }
            if entry.number == libc::SYS_renameat2 && is_meant(&entry.text(1)) {
                renaming = Some(entry.thread);
            }
        };
        Self { look: Arc::new(Mutex::new(look)), _holder: holder }
    }

    pub(crate) fn look(&self, entry: &Entry) {
        (self.look.lock().expect("nobody panics"))(entry);
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
