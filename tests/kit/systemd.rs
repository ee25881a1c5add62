//! A systemd that answers from files and writes down what it is told, and a group file that nobody is really added to.
//!
//! The guard finds these programs because the test's configuration names their directory, never through a variable.

use super::host::Host;
use super::runner::Runner;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const SYSTEMCTL: &str = r#"#!/bin/bash
here="${0%/*}"
case "$1" in
  is-system-running) echo running; exit 0 ;;
  show)
    property="${3#--property=}"
    file="$here/units/$5/$property"
    if [ -e "$file" ]; then cat "$file"; elif [ "$property" = LoadState ]; then echo not-found; fi
    exit 0 ;;
esac
echo "systemctl $*" >>"$here/log"
[ -e "$here/hangs" ] && { for unit in "$@"; do [ -d "$here/units/$unit" ] && echo deactivating >"$here/units/$unit/ActiveState"; done; exit 1; }
verb="$1"
for unit in "$@"; do
  [ -d "$here/units/$unit" ] || continue
  case "$verb" in
    stop) echo inactive >"$here/units/$unit/ActiveState" ;;
    start|restart) echo active >"$here/units/$unit/ActiveState" ;;
  esac
done
exit 0
"#;

const RECORD: &str = "#!/bin/bash\necho \"${0##*/} $*\" >>\"${0%/*}/log\"\n";

/// See the module.
#[derive(Debug)]
pub(crate) struct Systemd {
    pub(crate) directory: PathBuf,
}

impl Systemd {
    /// Puts the programs beside `host`, and their directory into its configuration.
    pub(crate) fn on(host: &mut Host) -> Self {
        let systemd = Self { directory: host.base.join("programs") };
        std::fs::create_dir_all(systemd.directory.join("units")).expect("a directory of the test");
        for (name, text) in [
            ("systemctl", SYSTEMCTL),
            ("usermod", RECORD),
            ("gpasswd", RECORD),
            ("groupadd", RECORD),
            ("systemd-run", RECORD),
        ] {
            let path = systemd.directory.join(name);
            std::fs::write(&path, text).expect("a program of the test");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
        let line = format!("programs = [{:?}, \"/usr/bin\", \"/bin\"]\n", systemd.directory);
        host.configure(|settings| settings.extra.insert_str(0, &line));
        systemd
    }

    /// A unit that is loaded, active, and works in `directory`.
    pub(crate) fn unit(&self, name: &str, directory: &Path) {
        let unit = self.directory.join("units").join(name);
        std::fs::create_dir_all(&unit).expect("a unit of the test");
        for (property, value) in [
            ("LoadState", "loaded"),
            ("ActiveState", "active"),
            ("WorkingDirectory", directory.to_str().expect("UTF-8")),
        ] {
            std::fs::write(unit.join(property), format!("{value}\n")).expect("a property");
        }
    }

    /// The unit of a runner, as `svc.sh` names it; its name.
    pub(crate) fn unit_of(&self, runner: &Runner) -> String {
        let name =
            std::fs::read_to_string(runner.root.join(".service")).expect("a runner has its `.service`");
        self.unit(name.trim(), &runner.root);
        name.trim().to_owned()
    }

    /// Orders and other commands since the last question, one a line.
    pub(crate) fn orders(&self) -> Vec<String> {
        let log = self.directory.join("log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }

    /// From now on a unit that is told to stop does not end, and systemctl gives up.
    pub(crate) fn hangs(&self) {
        std::fs::write(self.directory.join("hangs"), "").expect("a file of the test");
    }

    /// `ActiveState`.
    pub(crate) fn state(&self, unit: &str) -> String {
        let file = self.directory.join("units").join(unit).join("ActiveState");
        std::fs::read_to_string(file).expect("a unit of the test").trim().to_owned()
    }
}
