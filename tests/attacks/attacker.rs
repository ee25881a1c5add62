//! A hostile process: one action of `tests/standin/attack.rs`, over and over, until it is dropped.

use crate::kit::{Holder, standin, until};
use crate::scene::HOSTILE;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A process that races the guard.
#[derive(Debug)]
pub(crate) struct Attacker {
    child: Child,
    out: BufReader<ChildStdout>,
    action: String,
    /// What had succeeded when it was last asked.
    seen: u64,
}

impl Attacker {
    /// Starts it as `user`, who may do no more than a runner's user may. It has succeeded at least once when this returns.
    #[track_caller]
    pub(crate) fn start(user: Option<(u32, u32)>, verb: &str, paths: &[&Path]) -> Self {
        let mut attacker = Self::try_start(user, verb, paths).expect("the attack can begin");
        until(&format!("{} to succeed once", attacker.action), || (attacker.succeeded() > 0).then_some(()));
        attacker.seen = attacker.succeeded();
        attacker
    }

    /// The same; what it says when the machine does not let anybody do such a thing.
    pub(crate) fn try_start(user: Option<(u32, u32)>, verb: &str, paths: &[&Path]) -> Result<Self, String> {
        let mut command = Command::new(standin());
        command.args(["attack", verb]).args(paths).current_dir("/").env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        let mut child = command.spawn().expect("the attacker starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("the attacker speaks");
        let attacker = Self { child, out, action: format!("{verb} {paths:?}"), seen: 0 };
        if line == "racing\n" { Ok(attacker) } else { Err(line) }
    }

    /// How often its action has succeeded so far.
    pub(crate) fn succeeded(&mut self) -> u64 {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("the attacker lives");
        let mut line = String::new();
        self.out.read_line(&mut line).expect("the attacker answers");
        line.trim().parse().unwrap_or_else(|_| panic!("{} answered {line:?}", self.action))
    }

    /// Panics unless it has succeeded since the last time: otherwise nothing has raced with anything.
    #[track_caller]
    pub(crate) fn assert_raced(&mut self) {
        let now = self.succeeded();
        assert!(now > self.seen, "{} has not succeeded even once meanwhile ({now} before)", self.action);
        self.seen = now;
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process of the attacker's that does nothing but hold.
pub(crate) fn hold(what: &str, path: &Path) -> Holder {
    let mut command = Command::new(standin());
    command.args(["hold", what]).arg(path).current_dir("/").uid(HOSTILE.0).gid(HOSTILE.1);
    Holder::run(&mut command)
}
