//! The line to the test: JSON values, one a line, commands in and events out.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;

/// Names the socket to connect to.
pub(crate) const SOCKET: &str = "STANDIN_CONTROL";

/// The connection; shared by the threads of one process.
pub(crate) struct Control {
    stream: Mutex<UnixStream>,
}

impl Control {
    /// Connects to the test that listens at `socket` and hands back the commands that come from there.
    pub(crate) fn connect(socket: &Path) -> std::io::Result<(Self, impl Iterator<Item = Value> + use<>)> {
        let stream = UnixStream::connect(socket)?;
        let commands = BufReader::new(stream.try_clone()?).lines().map_while(|line| {
            let line = line.ok()?;
            Some(serde_json::from_str(&line).expect("the test sends JSON"))
        });
        Ok((Self { stream: Mutex::new(stream) }, commands))
    }

    /// Reports `event`. A test that has gone needs no report.
    pub(crate) fn tell(&self, event: &Value) {
        let mut stream = self.stream.lock().expect("no thread panics while it writes");
        let _ = writeln!(stream, "{event}");
    }
}

/// The text under `key`, which the command must have.
pub(crate) fn text<'a>(command: &'a Value, key: &str) -> &'a str {
    command[key].as_str().unwrap_or_else(|| panic!("the command {command} lacks `{key}`"))
}
