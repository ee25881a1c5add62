//! The system calls by which a process changes what others find: between two of them a crash makes no difference.

use super::trace::Entry;
use nix::libc;
use std::path::{Path, PathBuf};

/// What a call is about to change, in words; `None` when it only looks, or changes nothing but the process itself.
pub(crate) fn change(call: &Entry) -> Option<String> {
    let text = match call.number {
        libc::SYS_mkdirat => format!("mkdir {}", call.text(1)),
        libc::SYS_renameat2 | libc::SYS_renameat => format!("rename {} to {}", call.text(1), call.text(3)),
        libc::SYS_unlinkat if call.arguments[2] & libc::AT_REMOVEDIR as u64 != 0 => {
            format!("rmdir {}", call.text(1))
        }
        libc::SYS_unlinkat => format!("unlink {}", call.text(1)),
        // The kernel gives no directory a second name: with such a call the guard asks whether a disk takes changes.
        libc::SYS_linkat if Path::new(&call.text(1)).is_dir() => return None,
        libc::SYS_linkat => format!("link {}", call.text(1)),
        libc::SYS_symlinkat => format!("symlink {}", call.text(2)),
        libc::SYS_openat if call.arguments[2] & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0 => {
            format!("create {}", call.text(1))
        }
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_ftruncate
        | libc::SYS_fallocate => {
            // Pipes and sockets are named in brackets, not by a path.
            let file = call.file(0);
            if !file.is_absolute() || file.starts_with("/dev") {
                return None;
            }
            format!("write {}", file.display())
        }
        libc::SYS_fchown | libc::SYS_fchownat => "chown".into(),
        libc::SYS_fchmod | libc::SYS_fchmodat => "chmod".into(),
        libc::SYS_utimensat => "utimes".into(),
        libc::SYS_flock => format!("flock {} {}", call.file(0).display(), call.arguments[1]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir | libc::SYS_rmdir | libc::SYS_unlink | libc::SYS_chmod | libc::SYS_chown => {
            format!("call {} on {}", call.number, call.text(0))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename | libc::SYS_link | libc::SYS_symlink => {
            format!("call {} on {} and {}", call.number, call.text(0), call.text(1))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open if call.arguments[1] & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0 => {
            format!("create {}", call.text(0))
        }
        _ => return None,
    };
    Some(text)
}

/// Where a call changes something: the directory that it names something in, or the file. Empty when it names it by a path alone.
pub(crate) fn place(call: &Entry) -> PathBuf {
    call.file(if call.number == libc::SYS_symlinkat { 1 } else { 0 })
}
