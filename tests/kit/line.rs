//! The test's end of a stand-in's control socket.

use super::wait::deadline;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A socket on which one stand-in is expected.
#[derive(Debug)]
pub(crate) struct Expected {
    listener: UnixListener,
    pub(crate) path: PathBuf,
}

impl Expected {
    /// Listens at `path`; any user may connect.
    pub(crate) fn at(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("a socket can be made");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("it is ours");
        Self { listener, path }
    }

    /// Waits for the connection and its `hello`.
    pub(crate) fn arrive(self) -> (Line, Value) {
        self.listener.set_nonblocking(true).expect("a socket can be polled");
        let stream = super::wait::until("a stand-in to connect", || match self.listener.accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("no stand-in connects: {error}"),
        });
        stream.set_nonblocking(false).expect("a socket can block");
        let mut line = Line::new(stream);
        let hello = line.expect("hello");
        (line, hello)
    }
}

/// Commands out, events in.
#[derive(Debug)]
pub(crate) struct Line {
    reader: BufReader<UnixStream>,
    /// Events that came while another one was awaited.
    early: VecDeque<Value>,
    /// The start of an event of which the rest has not come.
    partial: String,
}

impl Line {
    fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream), early: VecDeque::new(), partial: String::new() }
    }

    pub(crate) fn send(&mut self, command: &Value) {
        writeln!(self.reader.get_mut(), "{command}").expect("the stand-in is there");
    }

    /// Waits for the event of this name.
    #[track_caller]
    pub(crate) fn expect(&mut self, event: &str) -> Value {
        self.wait(event, deadline()).unwrap_or_else(|| panic!("the stand-in never reported `{event}`"))
    }

    /// Whether the event of this name comes within `time`.
    #[track_caller]
    pub(crate) fn wait(&mut self, event: &str, time: Duration) -> Option<Value> {
        if let Some(at) = self.early.iter().position(|early| early["event"] == event) {
            return self.early.remove(at);
        }
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(left)).expect("not zero");
            match self.reader.read_line(&mut self.partial) {
                Ok(0) => panic!("the stand-in went away before `{event}`"),
                Ok(_) => {
                    let text = std::mem::take(&mut self.partial);
                    let value: Value = serde_json::from_str(&text).expect("the stand-in speaks JSON");
                    if value["event"] == event {
                        return Some(value);
                    }
                    self.early.push_back(value);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => panic!("the stand-in went away before `{event}`: {error}"),
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// Lets go: the stand-in sees the end and leaves.
    pub(crate) fn hang_up(&self) {
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
    }
}

/// The next free socket name below `directory`.
pub(crate) fn next_socket(directory: &Path) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    directory.join(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string())
}
