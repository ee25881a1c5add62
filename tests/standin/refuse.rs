//! Running a program that a filter refuses some system calls: `refuse ERRNO NUMBER[,NUMBER...] PROGRAM ARGUMENTS`.

use nix::libc;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let word = |word: Option<OsString>| word.and_then(|word| word.into_string().ok());
    let errno = word(arguments.next()).and_then(|errno| errno.parse().ok());
    let numbers = word(arguments.next());
    let numbers: Option<Vec<u32>> =
        numbers.and_then(|numbers| numbers.split(',').map(|number| number.parse().ok()).collect());
    let (Some(errno), Some(numbers), Some(program)) = (errno, numbers, arguments.next()) else {
        eprintln!("usage: refuse ERRNO NUMBER[,NUMBER...] PROGRAM ARGUMENTS");
        return ExitCode::FAILURE;
    };
    filter(&numbers, errno);
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// The filter holds for this process and all that it starts (seccomp(2)).
#[allow(unsafe_code, reason = "prctl has no safe form for it")]
fn filter(numbers: &[u32], errno: u32) {
    let statement = |code: u32, value: u32, jump: u8| libc::sock_filter {
        code: u16::try_from(code).expect("16 bits"),
        jt: jump,
        jf: 0,
        k: value,
    };
    // The number of the call comes first in `struct seccomp_data`.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (at, number) in numbers.iter().enumerate() {
        let to_refusal = u8::try_from(numbers.len() - at).expect("a few calls");
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *number, to_refusal));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno, 0));
    let length = u16::try_from(program.len()).expect("a few calls");
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(set, "no filter can be set: {}", std::io::Error::last_os_error());
}
