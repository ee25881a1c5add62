//! Sharing of equal blocks between files (FIDEDUPERANGE, ioctl_fideduperange(2)), and the priority that suits it.
//!
//! The kernel locks both ranges, compares them, and shares the blocks only if they are equal: no content changes, whatever is written
//! before or after. The target is opened for reading; owning it, or being allowed to write it, is enough.

#![allow(unsafe_code, reason = "system calls that no dependency of ours wraps")]

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `_IOWR(0x94, 54, struct file_dedupe_range)`.
const FIDEDUPERANGE: libc::c_ulong = 0xC018_9436;

/// The maximum of one call: btrfs processes no more.
pub const CHUNK: u64 = 16 << 20;

#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
    count: u16,
    reserved1: u16,
    reserved2: u32,
    target: i64,
    target_offset: u64,
    bytes: u64,
    status: i32,
    reserved3: u32,
}

/// The kernel's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Both are equal, and this many bytes are shared now.
    Same(u64),
    /// They differ; nothing was changed.
    Differs,
}

/// Shares the blocks of a range at the same place in both files, if they are equal there.
///
/// # Errors
/// The error of ioctl(2): `EOPNOTSUPP` where the filesystem cannot, `EXDEV` for two filesystems, `EPERM` for a file of others.
pub fn share(source: &File, target: &File, offset: u64, length: u64) -> io::Result<Comparison> {
    let mut range = Range {
        offset,
        length,
        count: 1,
        reserved1: 0,
        reserved2: 0,
        target: target.as_raw_fd().into(),
        target_offset: offset,
        bytes: 0,
        status: 0,
        reserved3: 0,
    };
    // SAFETY: the kernel reads and writes a header and as many entries behind it as `count` says, which is what `Range` is.
    if unsafe { libc::ioctl(source.as_raw_fd(), FIDEDUPERANGE, &raw mut range) } < 0 {
        return Err(io::Error::last_os_error());
    }
    match range.status {
        0 => Ok(Comparison::Same(range.bytes)),
        1 => Ok(Comparison::Differs),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Gives this thread the lowest priority for disk and processor.
pub fn be_idle() {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: both take numbers, and 0 means the calling thread.
    unsafe {
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE);
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::extents::are_one;
    use crate::sys::testing::on_filesystems_that_share;
    use std::os::unix::fs::FileExt as _;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn the_structure_is_the_kernels() {
        assert_eq!(size_of::<Range>(), 56);
    }

    /// A process that writes while ranges are compared finds its own data, and the other file is unchanged.
    #[test]
    fn a_concurrent_writer_loses_nothing() {
        on_filesystems_that_share(|at| {
            const BLOCKS: usize = 256;
            let block = |value: u8| vec![value; 4096];
            let whole: Vec<u8> = (0..BLOCKS).flat_map(|n| block(n as u8)).collect();
            for name in ["source", "target"] {
                std::fs::write(at.join(name), &whole).unwrap();
            }
            let source = File::open(at.join("source")).unwrap();
            let target = File::open(at.join("target")).unwrap();
            let writer = File::options().write(true).open(at.join("target")).unwrap();
            let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
            let mut shared = 0;
            let expected = std::thread::scope(|scope| {
                let writing = scope.spawn(|| {
                    let mut expected: Vec<u8> = (0..BLOCKS).map(|n| n as u8).collect();
                    let mut seed = 7_usize;
                    for round in 0.. {
                        // Until each block has been compared twenty times.
                        if calls.load(Ordering::Relaxed) >= 20 * BLOCKS {
                            break;
                        }
                        seed = seed
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let at = (seed >> 33) % BLOCKS;
                        // Every other one makes a block equal again.
                        let value = if round % 2 == 0 { at as u8 } else { (seed >> 20) as u8 };
                        writer.write_all_at(&block(value), at as u64 * 4096).unwrap();
                        expected[at] = value;
                    }
                    done.store(true, Ordering::Relaxed);
                    expected
                });
                while !done.load(Ordering::Relaxed) {
                    for n in 0..BLOCKS as u64 {
                        calls.fetch_add(1, Ordering::Relaxed);
                        if let Ok(Comparison::Same(bytes)) = share(&source, &target, n * 4096, 4096) {
                            shared += bytes;
                        }
                    }
                }
                writing.join().unwrap()
            });
            let found = std::fs::read(at.join("target")).unwrap();
            for (n, value) in expected.iter().enumerate() {
                assert_eq!(found[n * 4096..][..4096], block(*value), "block {n}");
            }
            assert_eq!(std::fs::read(at.join("source")).unwrap(), whole, "the other file");
            assert!(shared > 0, "nothing was shared beside it");
        });
    }

    #[test]
    fn a_program_that_runs_shares_its_blocks_and_runs_on() {
        on_filesystems_that_share(|at| {
            let program = [std::fs::read("/bin/sleep").unwrap(), vec![7; 1 << 20]].concat();
            for name in ["one", "two"] {
                std::fs::write(at.join(name), &program).unwrap();
                std::fs::set_permissions(at.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                    .unwrap();
            }
            let mut running = std::process::Command::new(at.join("two")).arg("600").spawn().unwrap();
            let [one, two] = ["one", "two"].map(|name| File::open(at.join(name)).unwrap());
            let length = program.len() as u64;
            assert_eq!(share(&one, &two, 0, length).unwrap(), Comparison::Same(length));
            assert!(are_one(&one, &two).unwrap());
            assert!(running.try_wait().unwrap().is_none(), "it runs on");
            running.kill().unwrap();
            running.wait().unwrap();
            assert_eq!(std::fs::read(at.join("two")).unwrap(), program);
            drop((one, two));
        });
    }
}
