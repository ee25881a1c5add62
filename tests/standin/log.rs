//! `_diag/{Runner,Worker}_yyyyMMdd-HHmmss-utc.log`, line by line as the real ones look.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// One process's log. It may lie on a full disk: what cannot be written is lost, as with the real runner's page files.
pub(crate) struct Log {
    file: Option<Mutex<File>>,
}

impl Log {
    /// Opens a new log; `kind` is `Runner` or `Worker`.
    pub(crate) fn open(root: &Path, kind: &str) -> Self {
        let diag = root.join("_diag");
        let _ = std::fs::create_dir_all(diag.join("pages"));
        let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        let path = diag.join(format!("{kind}_{stamp}-utc.log"));
        Self { file: File::options().create(true).append(true).open(path).ok().map(Mutex::new) }
    }

    /// Writes one line at level INFO.
    pub(crate) fn info(&self, source: &str, message: &str) {
        self.line("INFO", source, message);
    }

    /// Writes one line at level ERR.
    pub(crate) fn error(&self, source: &str, message: &str) {
        self.line("ERR ", source, message);
    }

    /// Writes a line that continues the one before it.
    pub(crate) fn raw(&self, text: &str) {
        if let Some(file) = &self.file {
            let mut file = file.lock().expect("no thread panics while it writes");
            let _ = file.write_all(format!("{text}\n").as_bytes());
        }
    }

    fn line(&self, level: &str, source: &str, message: &str) {
        let stamp = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        if let Some(file) = &self.file {
            let mut file = file.lock().expect("no thread panics while it writes");
            let _ = file.write_all(format!("[{stamp} {level} {source}] {message}\n").as_bytes());
        }
    }
}
