//! What this kernel supports, and whether its clock is synchronised.

#![allow(unsafe_code, reason = "two system calls that no dependency of ours wraps")]

use std::io;

/// The Landlock ABI (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION).
///
/// # Errors
/// `ENOSYS` when the kernel has none, `EOPNOTSUPP` when it is switched off.
pub fn landlock_abi() -> io::Result<u32> {
    const VERSION: libc::c_uint = 1;
    use nix::libc;
    // SAFETY: with this flag the kernel takes no attributes, reads no memory of ours and makes no descriptor.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION)
    };
    if abi < 0 { Err(io::Error::last_os_error()) } else { Ok(abi as u32) }
}

/// Whether the clock is synchronised (adjtimex(2): `STA_UNSYNC` is not set).
///
/// # Errors
/// The error of adjtimex(2).
pub fn clock_is_kept() -> io::Result<bool> {
    use nix::libc;
    // SAFETY: `timex` is plain numbers, for which zeros are valid; `modes` 0 only reads.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `timex` of ours, which the call fills.
    let state = unsafe { libc::adjtimex(&mut timex) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok(timex.status & libc::STA_UNSYNC == 0) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_changes_nothing_and_answers() {
        assert!(super::landlock_abi().is_ok_and(|abi| abi >= 1) || super::landlock_abi().is_err());
        let _ = super::clock_is_kept();
    }
}
