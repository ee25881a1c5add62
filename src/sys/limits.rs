//! The limits of this process (setrlimit(2)), which it inherits from whoever started it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More stack than that is never needed; a process without any limit of it would lay out its memory differently.
const STACK: u64 = 8 << 20;

/// Raises each limit that could keep this process from doing its work as far as its user may.
pub fn raise() {
    for resource in [
        Resource::Nofile,
        Resource::Fsize,
        Resource::As,
        Resource::Data,
        Resource::Nproc,
        Resource::Sigpending,
        Resource::Cpu,
    ] {
        raise_to(resource, u64::MAX);
    }
    raise_to(Resource::Stack, STACK);
}

/// Raises one limit to `wanted`, or as far as may be.
fn raise_to(resource: Resource, wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(resource);
    let wanted = wanted.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        let current = (wanted != u64::MAX).then_some(wanted);
        let _ = setrlimit(resource, Rlimit { current, maximum });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::forking;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// In a process of its own: limits are of a whole process.
    #[test]
    fn limits_are_raised_as_far_as_they_may_be_and_no_further() {
        let _forks = forking();
        // SAFETY: the child makes system calls alone.
        #[allow(unsafe_code)]
        let child = match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let low = |maximum| Rlimit { current: Some(0), maximum };
                let _ = setrlimit(Resource::Fsize, low(Some(4096)));
                let _ = setrlimit(Resource::Core, low(Some(4096)));
                raise();
                let is_raised = getrlimit(Resource::Fsize).current == Some(4096);
                let is_let_be = getrlimit(Resource::Core).current == Some(0);
                let code = i32::from(!is_raised) + 2 * i32::from(!is_let_be);
                // SAFETY: it takes a number, and does not return.
                unsafe { nix::libc::_exit(code) }
            }
        };
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    }
}
