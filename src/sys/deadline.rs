//! A deadline that interrupts: an [`Alarm`] interrupts a blocking system call of one thread. It has no effect on the kernel's own waits,
//! for example on a mount that does not answer: see [`super::supervise`].

use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::io;
use std::sync::Once;
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

    /// Fires `wait` from now.
    ///
    /// # Errors
    /// The error of timer_create(2).
    pub fn after(wait: Duration) -> io::Result<Self> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // Without SA_RESTART: this signal exists only to interrupt.
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

/// The parent may have blocked signals, which is inherited: an alarm would have no effect.
pub fn unblock_signals() {
    // It fails for no set of signals.
    let _ = SigSet::empty().thread_set_mask();
}
