//! `status --watch` in a real terminal: its own screen, of any size, that leaves nothing behind.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::dying::Dying;
use crate::kit::{Host, needs_root, until};
use std::process::Command;

/// A terminal of tmux's, with a shell in it that runs one command and says how it ended.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// None, and a line that says so, where tmux is not installed.
    fn run(host: &Host, width: u16, height: u16, arguments: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped, not installed: tmux");
            return None;
        }
        let terminal = Self { socket: host.base.join("tmux").display().to_string() };
        let guard = format!("{} --config {}", host.program().display(), host.config().display());
        let script = format!("echo before; {guard} {arguments}; echo ended with $?; exec sleep 1000");
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, "sh", "-c", &script]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket, "-f", "/dev/null"]).args(arguments).env_remove("TMUX");
        // The runner of these tests may have switched colour off.
        let output = command.env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").output().expect("tmux runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn has_screen_of_its_own(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{alternate_on}"]).trim() == "1"
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn resize(&self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    #[track_caller]
    fn shows(&self, what: &str) -> String {
        until(what, || self.screen().contains(what).then(|| self.screen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.args(["-S", &self.socket, "kill-server"]).output();
    }
}

fn farm(runners: usize) -> Host {
    let host = Host::new();
    for number in 0..runners {
        host.runner(&format!("ci-{number:02}")).build();
    }
    host
}

#[test]
fn as_many_runners_as_fit_follow_the_terminals_size_and_q_leaves_it_as_it_was() {
    let host = farm(30);
    let Some(terminal) = Terminal::run(&host, 80, 24, "status --watch") else { return };
    let first = terminal.shows("more below");
    assert!(terminal.has_screen_of_its_own() && !first.contains("before"), "{first}");
    assert!(
        first.contains("30 runners") && first.contains("\nDISK ") && first.contains("\nci-00 "),
        "{first}"
    );
    assert!(!first.contains("ci-29"), "{first}");
    terminal.press("End");
    let end = terminal.shows("ci-29");
    assert!(end.contains("30 runners") && end.contains("\nDISK ") && end.contains("more above"), "{end}");
    terminal.press("Home");
    terminal.shows("\nci-00 ");
    terminal.resize(120, 60);
    let large = terminal.shows("ci-29");
    assert!(large.contains("\nci-00 ") && !large.contains("more below"), "{large}");
    terminal.resize(70, 14);
    let small = terminal.shows("more below");
    assert!(small.contains("\nDISK ") && small.contains("\nci-00 "), "{small}");
    terminal.press("q");
    let after = terminal.shows("ended with 0");
    assert!(!terminal.has_screen_of_its_own(), "{after}");
    assert!(after.contains("before") && !after.contains("ci-00"), "{after}");
}

#[test]
fn ctrl_c_leaves_it_too_and_what_is_new_is_shown() {
    let host = farm(1);
    let Some(terminal) = Terminal::run(&host, 100, 20, "status --watch") else { return };
    terminal.shows("1 runner");
    host.runner("ci-new").build();
    terminal.shows("ci-new");
    terminal.press("C-c");
    let after = terminal.shows("ended with 0");
    assert!(!terminal.has_screen_of_its_own() && after.contains("before"), "{after}");
}

#[test]
fn output_that_is_no_terminal_gets_plain_frames() {
    let host = farm(1);
    let Some(terminal) = Terminal::run(&host, 100, 20, "status --watch | head -n 1") else { return };
    let shown = terminal.shows("ended with");
    assert!(shown.contains("1 runner") && !terminal.has_screen_of_its_own(), "{shown}");
}

/// A runner on a mount that dies in the middle of the first look.
fn beside_a_dying_mount() -> (Host, Dying) {
    let host = farm(1);
    let runner = host.runner("ci-dying").build();
    let dying = Dying::over(&runner.work, 0);
    (host, dying)
}

#[test]
fn a_mount_that_dies_is_shown_among_the_runners_and_q_still_quits() {
    if !needs_root("mounts") {
        return;
    }
    let (host, dying) = beside_a_dying_mount();
    let Some(terminal) = Terminal::run(&host, 120, 30, "status --watch") else { return };
    let shown = terminal.shows("does not answer");
    assert!(dying.is_silent(), "it has died of a look: {shown}");
    assert!(terminal.has_screen_of_its_own() && shown.contains("2 runners"), "{shown}");
    assert!(shown.contains("\nci-00 ") && shown.contains("\nci-dying "), "{shown}");
    // Still looking.
    host.runner("ci-new").build();
    terminal.shows("ci-new");
    terminal.press("q");
    let after = terminal.shows("ended with 0");
    assert!(!terminal.has_screen_of_its_own(), "{after}");
    assert!(after.contains("before") && !after.contains("ci-00"), "{after}");
}

#[test]
fn plain_frames_continue_beside_a_mount_that_dies() {
    if !needs_root("mounts") {
        return;
    }
    let (host, dying) = beside_a_dying_mount();
    let guard = "status --watch --json | grep --line-buffered -m 2 -c 'does not answer'";
    let Some(terminal) = Terminal::run(&host, 100, 20, guard) else { return };
    // Two frames tell of it, then the reader goes.
    let shown = terminal.shows("ended with 0");
    assert!(dying.is_silent() && shown.contains("stopped answering while it was read"), "{shown}");
}
