//! The configuration file of a test.

use std::fmt::Write as _;
use std::path::Path;

/// What tests change. The rest has the product's defaults.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) high: u8,
    pub(crate) low: u8,
    pub(crate) critical: u8,
    pub(crate) min_free: String,
    pub(crate) min_free_inodes: u8,
    pub(crate) roots: Vec<String>,
    pub(crate) programs: Vec<String>,
    pub(crate) allow_unguarded: bool,
    pub(crate) claim: &'static str,
    pub(crate) idle_floor: &'static str,
    pub(crate) max_age: &'static str,
    pub(crate) lock_wait: &'static str,
    pub(crate) time_limit: &'static str,
    pub(crate) on_exhausted: &'static str,
    /// Appended as it is.
    pub(crate) extra: String,
}

impl Settings {
    /// No floor, no age limit, short waits: only the watermarks speak, so that small disks behave like large ones.
    pub(crate) fn quiet(roots: String) -> Self {
        Self {
            high: 85,
            low: 75,
            critical: 95,
            min_free: "0".into(),
            min_free_inodes: 0,
            roots: vec![roots],
            programs: Vec::new(),
            allow_unguarded: false,
            claim: "idle",
            idle_floor: "10min",
            max_age: "0",
            lock_wait: "10s",
            time_limit: "1min",
            on_exhausted: "warn",
            extra: String::new(),
        }
    }

    /// Pressure that nothing relieves: everything that may go is wanted, on any disk.
    pub(crate) fn want_everything(&mut self) {
        (self.high, self.low, self.critical) = (1, 0, 100);
    }

    pub(crate) fn to_toml(&self, run_dir: &Path, state_dir: &Path) -> String {
        let mut text = String::new();
        let roots: Vec<String> = self.roots.iter().map(|root| format!("{root:?}")).collect();
        writeln!(
            text,
            "[pressure]\nhigh = \"{}%\"\nlow = \"{}%\"\ncritical = \"{}%\"\nmin_free = {:?}\nmin_free_inodes = \"{}%\"\n",
            self.high, self.low, self.critical, self.min_free, self.min_free_inodes
        )
        .and_then(|()| {
            writeln!(
                text,
                "[runners]\nroots = [{}]\nprograms = {:?}\nallow_unguarded = {}\n\n[siblings]\nclaim = {:?}\nidle_floor = {:?}\n",
                roots.join(", "),
                self.programs,
                self.allow_unguarded,
                self.claim,
                self.idle_floor
            )
        })
        .and_then(|()| {
            writeln!(
                text,
                "[[cache]]\nname = \"cargo-target\"\nmax_age = {:?}\n\n[hook]\nlock_wait = {:?}\ntime_limit = {:?}\non_exhausted = {:?}\n",
                self.max_age, self.lock_wait, self.time_limit, self.on_exhausted
            )
        })
        .and_then(|()| {
            writeln!(
                text,
                "[paths]\nrun_dir = {:?}\nstate_dir = {:?}\n\n{}",
                run_dir.display().to_string(),
                state_dir.display().to_string(),
                self.extra
            )
        })
        .expect("writing to a string");
        text
    }
}
