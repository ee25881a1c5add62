//! Deadlines that interrupt: an [`Alarm`] breaks one thread out of a blocking system call, a [`Watchdog`] ends the process.

use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Interrupts the calling thread's blocking system calls with `EINTR` from a deadline on, until dropped.
#[derive(Debug)]
pub struct Alarm {
    due: Instant,
    _timer: Timer,
}

impl Alarm {
    /// The signal repeats: one that arrives between the check and the system call would otherwise be lost for ever.
    const REPEAT: Duration = Duration::from_millis(20);

    /// Rings `wait` from now.
    ///
    /// # Errors
    /// What timer_create(2) says.
    pub fn after(wait: Duration) -> io::Result<Self> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // Without SA_RESTART: interrupting is all this signal is for.
            let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler does nothing, which is async-signal-safe, and SIGALRM is not used elsewhere.
            #[allow(unsafe_code)]
            let installed = unsafe { sigaction(Signal::SIGALRM, &action) };
            installed.expect("SIGALRM is a signal that can be handled");
        });
        let to_this_thread = SigEvent::new(SigevNotify::SigevThreadId {
            signal: Signal::SIGALRM,
            thread_id: nix::unistd::gettid().as_raw(),
            si_value: 0,
        });
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, to_this_thread)?;
        // A zero timer would be disarmed.
        let first = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        let repeat = TimeSpec::from_duration(Self::REPEAT);
        timer.set(Expiration::IntervalDelayed(first, repeat), TimerSetTimeFlags::empty())?;
        Ok(Self { due: Instant::now() + wait, _timer: timer })
    }

    /// Whether the time is over.
    pub fn has_rung(&self) -> bool {
        Instant::now() >= self.due
    }
}

extern "C" fn ignore(_: nix::libc::c_int) {}

/// Ends the process with exit code 0 and a warning when it is not dropped in time: a job's hook never hangs a job.
///
/// The exit is immediate, from a signal handler. That is safe at any instant because every step of a run leaves each tree
/// either in place or in trash, and locks and leases die with their holders.
#[derive(Debug)]
pub struct Watchdog {
    _timer: Timer,
}

static WARNING: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static WARNING_LENGTH: AtomicUsize = AtomicUsize::new(0);

impl Watchdog {
    /// Bites after `limit`, writing `warning` to standard output (the job's log).
    ///
    /// # Errors
    /// What timer_create(2) or sigaction(2) says.
    pub fn after(limit: Duration, warning: String) -> io::Result<Self> {
        let warning: &'static mut [u8] = warning.into_bytes().leak();
        WARNING_LENGTH.store(warning.len(), Ordering::SeqCst);
        WARNING.store(warning.as_mut_ptr(), Ordering::SeqCst);
        let action = SigAction::new(SigHandler::Handler(bite), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler calls only write(2) and _exit(2), both async-signal-safe, on memory that is never freed.
        #[allow(unsafe_code)]
        unsafe {
            sigaction(Signal::SIGVTALRM, &action)?;
        }
        let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGVTALRM, si_value: 0 });
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event)?;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(limit)), TimerSetTimeFlags::empty())?;
        Ok(Self { _timer: timer })
    }
}

extern "C" fn bite(_: nix::libc::c_int) {
    let start = WARNING.load(Ordering::SeqCst);
    let length = WARNING_LENGTH.load(Ordering::SeqCst);
    // SAFETY: start and length describe a leaked, initialised buffer, stored before the handler was installed; write and
    // _exit are async-signal-safe.
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::write(1, start.cast(), length);
        nix::libc::_exit(0);
    }
}
