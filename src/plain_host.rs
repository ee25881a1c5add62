//! A host of plain files, for unit tests of what goes through the configuration and the runners' directories.

#![expect(clippy::disallowed_methods, reason = "tests build their own files")]

use crate::config::Config;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// A directory with a run directory in it; it is removed when this is dropped.
pub(crate) struct PlainHost {
    /// Its real path.
    pub(crate) base: PathBuf,
    _temp: tempfile::TempDir,
}

impl PlainHost {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        fs::create_dir(base.join("run")).unwrap();
        fs::set_permissions(base.join("run"), fs::Permissions::from_mode(0o750)).unwrap();
        Self { base, _temp: temp }
    }

    /// A runner of this name in `directory`, and its root.
    pub(crate) fn runner(&self, directory: &str, name: &str) -> PathBuf {
        let root = self.base.join(directory);
        fs::create_dir_all(root.join("_work")).unwrap();
        let settings = format!(r#"{{"agentName":"{name}","workFolder":"_work"}}"#);
        fs::write(root.join(".runner"), settings).unwrap();
        root
    }

    /// The runner `runner-1` in `runner` with a cargo target of 10,000 bytes, and that target.
    pub(crate) fn runner_with_a_cache(&self) -> PathBuf {
        let cache = self.runner("runner", "runner-1").join("_work/app/app/target");
        fs::create_dir_all(cache.join("debug")).unwrap();
        fs::write(cache.join("debug/lib.rlib"), [7; 10_000]).unwrap();
        fs::write(cache.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
        cache
    }

    /// The configuration with runners at the glob `roots` below the directory, and `more`, which begins within `[paths]`.
    pub(crate) fn config(&self, roots: &str, more: &str) -> Config {
        let text = format!(
            "[runners]\nroots = [\"{0}/{roots}\"]\n[paths]\nrun_dir = \"{0}/run\"\nstate_dir = \"{0}/state\"\n{more}",
            self.base.display()
        );
        Config::parse(&text).unwrap()
    }
}
