//! The memory that a supervisor and its workers share.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Memory that a worker and its supervisor share: nothing has to be sent, so nothing can block.
#[derive(Debug, Clone, Copy)]
pub struct Link(&'static Shared);

#[derive(Debug)]
struct Shared {
    /// Milliseconds since the worker's start; 0 as long as it has set no limit.
    limit: AtomicU64,
    /// The exit code of a proper end, plus one.
    end: AtomicU32,
    /// Bits that mean what both agree on.
    marks: AtomicU32,
    /// The worker's descriptor of a lock under which it only looks, plus one.
    lock: AtomicU32,
}

impl Link {
    pub(super) fn make() -> io::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Shared>()).expect("it has fields");
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, which aliases nothing.
        #[allow(unsafe_code)]
        let page = unsafe { mmap_anonymous(None, length, protection, flags)? };
        // SAFETY: the page is large enough, aligned, never unmapped, and zero, which is a value of each field; all of them are
        // atomic, so that two processes may use them at once.
        #[allow(unsafe_code)]
        Ok(Self(unsafe { page.cast::<Shared>().as_ref() }))
    }

    /// For the worker: sets its time limit, counted from its start.
    pub fn limit(self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        self.0.limit.store(millis, Ordering::Relaxed);
    }

    /// For the worker: leaves a mark, which workers after it find as well.
    pub fn mark(self, mark: u32) {
        self.0.marks.fetch_or(mark, Ordering::Relaxed);
    }

    /// For the supervisor: no worker has left a mark.
    pub fn clear(self) {
        self.0.marks.store(0, Ordering::Relaxed);
    }

    /// Whether a worker has left this mark.
    pub fn has(self, mark: u32) -> bool {
        self.0.marks.load(Ordering::Relaxed) & mark == mark
    }

    /// For the supervisor: a new worker has set no limit, holds no lock and has not ended.
    pub(super) fn reset(self) {
        self.0.limit.store(0, Ordering::Relaxed);
        self.0.end.store(0, Ordering::Relaxed);
        self.0.lock.store(0, Ordering::Relaxed);
    }

    /// The limit that the worker has set.
    pub(super) fn own_limit(self) -> Option<Duration> {
        match self.0.limit.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// For the worker: records that it ends regularly, with this exit code.
    pub(super) fn declare_end(self, code: u8) {
        self.0.end.store(u32::from(code) + 1, Ordering::Relaxed);
    }

    /// The exit code of a worker that ended regularly.
    pub(super) fn proper_end(self) -> Option<u8> {
        u8::try_from(self.0.end.load(Ordering::Relaxed).checked_sub(1)?).ok()
    }

    /// For the worker: the lock under which it only looks.
    pub(super) fn note_lock(self, lock: Option<BorrowedFd<'_>>) {
        let number = lock.map_or(0, |lock| lock.as_raw_fd().unsigned_abs() + 1);
        self.0.lock.store(number, Ordering::Relaxed);
    }

    /// The worker's descriptor of a lock under which it only looks, plus one; 0 for none.
    pub(super) fn noted_lock(&self) -> &AtomicU32 {
        &self.0.lock
    }
}
