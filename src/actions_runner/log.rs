//! The runner's logs in `_diag`: their names, and the prefix of each line (src/Runner.Common/HostTraceListener.cs).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::SystemTime;

/// The program that wrote the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// `Runner_*.log`.
    Listener,
    /// `Worker_*.log`: one a job.
    Worker,
}

impl LogKind {
    fn shape(self) -> &'static [u8] {
        match self {
            Self::Listener => b"Runner_00000000-000000-utc.log",
            Self::Worker => b"Worker_00000000-000000-utc.log",
        }
    }

    /// Whether a file has the name of such a log: `Runner_20260102-030405-utc.log`.
    pub fn names(self, name: &[u8]) -> bool {
        let shape = self.shape();
        let fits =
            |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        name.len() == shape.len() && name.iter().zip(shape).all(fits)
    }
}

/// When a log was started, by its name.
pub fn begun(name: &OsStr) -> Option<SystemTime> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?.get(7..22)?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", text).ok()?;
    Some(SystemTime::from(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}

/// The level of a line (src/Runner.Common/HostTraceListener.cs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogSeverity {
    /// `VERB`
    Verbose,
    /// `INFO`
    Information,
    /// `WARN`
    Warning,
    /// `ERR `, padded.
    Error,
    /// `CRIT`
    Critical,
}

/// `[2026-01-02 03:04:05Z INFO JobDispatcher] message`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry<'l> {
    /// Its level.
    pub severity: LogSeverity,
    /// The part of the runner that wrote it.
    pub source: &'l str,
    /// Its text.
    pub message: &'l str,
    /// When.
    pub at: SystemTime,
}

impl<'l> LogEntry<'l> {
    /// None for text without the runner's prefix.
    pub fn parse(line: &'l str) -> Option<Self> {
        const TIME: usize = "2026-01-02 03:04:05Z".len();
        let (header, message) = line.strip_prefix('[')?.split_once("] ")?;
        let (time, rest) = header.split_at_checked(TIME)?;
        let rest = rest.strip_prefix(' ')?;
        // Levels have four characters: `ERR ` is padded.
        let (level, source) = rest.split_at_checked(4)?;
        let severity = match level {
            "CRIT" => LogSeverity::Critical,
            "ERR " => LogSeverity::Error,
            "WARN" => LogSeverity::Warning,
            "INFO" => LogSeverity::Information,
            "VERB" => LogSeverity::Verbose,
            _ => return None,
        };
        let at: jiff::Timestamp = time.parse().ok()?;
        Some(Self { severity, source: source.strip_prefix(' ')?, message, at: SystemTime::from(at) })
    }
}
