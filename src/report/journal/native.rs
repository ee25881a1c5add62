//! The journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one entry is one datagram of fields.
//!
//! Written here because a sender has to be non-blocking: two limits can make it wait for a stopped journald, the queue of
//! journald's socket and the budget of the sender's own (`net.core.wmem_default`), and no other socket can tell how much
//! of the second is left. Nothing here ever waits.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::field::{Field, Visit};

/// The longest name of a field that journald takes.
const LONGEST_NAME: usize = 64;

/// One entry under way.
#[derive(Debug, Default)]
pub(super) struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    /// Adds a field; a value may hold anything, also line breaks. A name that journald would drop is made one it takes.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        let is_wanted = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let name: String = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_uppercase();
        self.bytes.extend(name.chars().filter(is_wanted).take(LONGEST_NAME).map(|c| c as u8));
        self.bytes.push(b'\n');
        self.bytes.extend((value.len() as u64).to_le_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put(field.name(), &text);
    }
}

/// A connection to journald.
#[derive(Debug)]
pub(super) struct Socket(UnixDatagram);

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends one entry.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the journal takes nothing at the moment; whatever else keeps it from its place.
    pub(super) fn send(&self, entry: &Entry) -> io::Result<()> {
        let sent = self.0.send(&entry.bytes).map(drop);
        match sent.as_ref().map_err(Errno::from_io_error) {
            Err(Some(Errno::MSGSIZE | Errno::NOBUFS)) => self.send_large(entry),
            _ => sent,
        }
    }

    /// What is too large for a datagram travels in sealed memory.
    fn send_large(&self, entry: &Entry) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut memory = File::from(rustix::fs::memfd_create("journal-entry", flags)?);
        memory.write_all(&entry.bytes)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let handles = [memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&handles));
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&[])], &mut control, SendFlags::empty())?;
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_its_name_its_length_and_its_value() {
        let mut entry = Entry::default();
        entry.put("message", "two\nlines");
        entry.put("_pid.of-r#type", "");
        entry.put(&"X".repeat(70), "é");
        let long = "X".repeat(LONGEST_NAME);
        let expected = [
            &b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n"[..],
            b"PIDOFRTYPE\n\0\0\0\0\0\0\0\0\n",
            long.as_bytes(),
            b"\n\x02\0\0\0\0\0\0\0\xc3\xa9\n",
        ];
        assert_eq!(entry.bytes, expected.concat());
    }

    #[test]
    fn a_socket_without_a_journald_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert_eq!(Socket::connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(UnixDatagram::bind(&path).unwrap());
        assert_eq!(Socket::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
