//! Exit codes: what they can mean, and what they cannot.
//!
//! The Listener logs its Worker's exit code as .NET reports it: a process that was killed by a signal has 128 + the signal's number, and
//! no other code comes from a signal. A literal 9 is therefore the return value of a program, never SIGKILL. The Worker's own codes are
//! 100 to 105 (src/Runner.Common/Util/TaskResultUtil.cs, v2.336.0).

/// The kernel's numbers of real-time signals (signal(7)).
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The Worker reported a result: it ended normally.
    Result(&'static str),
    /// This signal ended it, as a fault of its own.
    Fault(&'static str),
    /// SIGABRT: .NET aborts after an uncaught exception.
    Abort,
    /// This signal ended it, sent by a process.
    Signal(&'static str),
    /// It ended itself with an error.
    Error,
}

/// The meaning of `code`, as the Listener logged it, for its Worker.
pub fn ending(code: i32) -> Ending {
    match code {
        100 => Ending::Result("succeeded"),
        101 => Ending::Result("succeeded with issues"),
        102 => Ending::Result("failed"),
        103 => Ending::Result("cancelled"),
        104 => Ending::Result("skipped"),
        105 => Ending::Result("abandoned"),
        132 => Ending::Fault("SIGILL"),
        133 => Ending::Fault("SIGTRAP"),
        134 => Ending::Abort,
        135 => Ending::Fault("SIGBUS"),
        136 => Ending::Fault("SIGFPE"),
        139 => Ending::Fault("SIGSEGV"),
        159 => Ending::Fault("SIGSYS"),
        _ => signal(code).map_or(Ending::Error, Ending::Signal),
    }
}

/// The signal that a code above 128 stands for.
fn signal(code: i32) -> Option<&'static str> {
    let number = code.checked_sub(128)?;
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => Some(signal.as_str()),
        Err(_) => REAL_TIME.contains(&number).then_some("a real-time signal"),
    }
}

/// Whether a code stands for a signal that the kernel sends as well, for no fault: a pipe without a reader, a timer, a limit on time or on
/// the size of files (SIGPIPE, SIGALRM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO).
pub fn may_be_the_kernels(code: i32) -> bool {
    matches!(code, 141 | 142 | 152..=155 | 157)
}

/// Whether a code stands for a signal that a mapped file sends: SIGBUS, where its disk has no block for a page or cannot read it.
pub fn may_be_a_mapped_files(code: i32) -> bool {
    code == 135
}

/// Whether an exception can have ended the Worker: directly, or by the abort that .NET makes of one.
pub fn may_be_an_exception(code: i32) -> bool {
    matches!(ending(code), Ending::Error | Ending::Abort)
}

/// The meaning of the number, and what it cannot mean, in words.
pub fn meaning(code: i32) -> String {
    match (ending(code), code) {
        (Ending::Result(result), _) => format!("{code}: the Worker reported that the job {result}"),
        (Ending::Signal(name), 137) => format!(
            "137 = 128 + 9: ended by {name}, which no process can catch. The kernel sends it when memory runs out, systemd when a stop takes too long, and any user with permission to; the code does not show the sender"
        ),
        (Ending::Signal(name), _) => format!("{code} = 128 + {}: ended by {name}", code - 128),
        (Ending::Abort, _) => {
            "134 = 128 + 6: SIGABRT; .NET aborts after an unhandled exception, for example on a full disk"
                .to_owned()
        }
        (Ending::Fault(name), _) => {
            format!(
                "{code} = 128 + {}: {name}, a fault of the process itself, unless another process sent the signal",
                code - 128
            )
        }
        (Ending::Error, 1..=64) => format!(
            "{code} is the exit code that the Worker returned itself. It is not a signal: signal {code} would have been recorded as {}",
            128 + code
        ),
        (Ending::Error, _) => {
            format!("{code} is not an exit code of the Worker and corresponds to no usual signal")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_from_128_are_signals_and_a_literal_9_is_not() {
        for (code, expected) in [
            (100, Ending::Result("succeeded")),
            (102, Ending::Result("failed")),
            (105, Ending::Result("abandoned")),
            (137, Ending::Signal("SIGKILL")),
            (143, Ending::Signal("SIGTERM")),
            (131, Ending::Signal("SIGQUIT")),
            (140, Ending::Signal("SIGUSR2")),
            (141, Ending::Signal("SIGPIPE")),
            (162, Ending::Signal("a real-time signal")),
            (193, Ending::Error),
            (128, Ending::Error),
            (i32::MIN, Ending::Error),
            (139, Ending::Fault("SIGSEGV")),
            (134, Ending::Abort),
            (9, Ending::Error),
            (1, Ending::Error),
            (0, Ending::Error),
            (255, Ending::Error),
            (-1, Ending::Error),
        ] {
            assert_eq!(ending(code), expected, "{code}");
        }
        assert!(meaning(9).contains("would have been recorded as 137"), "{}", meaning(9));
        assert!(meaning(137).contains("SIGKILL") && meaning(134).contains("exception"));
        assert!(meaning(i32::MIN).contains("not an exit code of the Worker"));
    }
}
