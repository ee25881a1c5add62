//! Whether anybody has a file open, asked of the kernel by a lease (`F_SETLEASE`, fcntl(2)).
//!
//! A write lease is granted only to a process that has the only open file of an inode. So one question detects every process that has it
//! open, mapped it, executes it, passes it through a socket or has given it to io_uring, a loop device or the swap: including users that
//! `/proc` does not show. It is granted to the file's owner and to `CAP_LEASE`; others, and filesystems without leases, get no answer.

use nix::libc;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsRawFd as _;

/// include/uapi/asm-generic/fcntl.h
const F_SETSIG: libc::c_int = 10;

/// Whether another process has the file open that `file` is a read-only handle of; `None` if the kernel does not answer.
///
/// A process that opens the file between the question and its end waits for that long, or fails if it opens without waiting. So it is
/// asked only of files that nobody can find by their old names.
pub fn is_open_elsewhere(file: &File) -> Option<bool> {
    let fd = file.as_raw_fd();
    let fcntl = |command: libc::c_int, argument: libc::c_int| {
        // SAFETY: these commands take an integer and touch none of our memory; the descriptor is open for as long as `file` lives.
        #[allow(unsafe_code)]
        let result = unsafe { libc::fcntl(fd, command, argument) };
        if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // If a process opens it meanwhile the kernel sends this signal, which is ignored unless handled; SIGIO would kill this process.
    fcntl(F_SETSIG, libc::SIGURG).ok()?;
    match fcntl(libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => {
            // Closing the file would end the lease as well, but only when its last handle is closed.
            let _ = fcntl(libc::F_SETLEASE, libc::F_UNLCK);
            Some(false)
        }
        Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => Some(true),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::without_forks;
    use std::fs::write;
    use std::os::unix::net::UnixDatagram;

    fn ask(path: &std::path::Path) -> Option<bool> {
        is_open_elsewhere(&File::open(path).unwrap())
    }

    /// Puts a handle of the file into a message that is never received.
    fn send(socket: &UnixDatagram, file: &File) {
        let mut byte = [0_u8];
        let mut data = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
        let mut control = [0_u64; 4];
        // SAFETY: the message is all zeroes but for pointers to buffers that live until sendmsg has returned, with their lengths; the
        // control buffer is aligned for, and has room for, one header with one descriptor.
        #[allow(unsafe_code)]
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
            (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(file.as_raw_fd());
            libc::sendmsg(socket.as_raw_fd(), &raw const message, 0)
        };
        assert_eq!(sent, 1);
    }

    #[test]
    fn an_open_file_is_found_even_without_a_visible_process() {
        let _open_files = without_forks();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lib.rlib");
        write(&path, "content").unwrap();
        if ask(&path).is_none() {
            // A filesystem without leases.
            return;
        }
        assert_eq!(ask(&path), Some(false), "no process has it");
        let reader = File::open(&path).unwrap();
        assert_eq!(ask(&path), Some(true), "a reader");
        drop(reader);
        let writer = File::options().append(true).open(&path).unwrap();
        assert_eq!(ask(&path), Some(true), "a writer");
        drop(writer);

        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let sent = File::open(&path).unwrap();
        send(&ours, &sent);
        drop(sent);
        assert_eq!(ask(&path), Some(true), "a descriptor in flight");
        drop((ours, theirs));
        assert_eq!(ask(&path), Some(false), "the control: nobody has it any more");
    }

    #[test]
    fn a_process_that_executes_the_file_is_found() {
        let _open_files = without_forks();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("program");
        // By another process: while this one had it open for writing, a thread could fork, and keep it open.
        let copied = std::process::Command::new("cp").arg("/bin/sleep").arg(&path).status().unwrap();
        assert!(copied.success());
        if ask(&path).is_none() {
            return;
        }
        let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
        assert_eq!(ask(&path), Some(true));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ask(&path), Some(false));
    }
}
