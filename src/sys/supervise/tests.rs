//! The ends of workers, and what is passed on of them.

use super::watch::{BRIEF, GIVE_UP};
use super::*;
use crate::sys::testing::forking;
use nix::libc;
use std::thread::sleep;

const LONG: Duration = Duration::from_secs(60);

/// To this thread alone: tests have others.
fn tell(signal: Signal) {
    // SAFETY: the numbers are this process's, this thread's and a signal's; it is blocked here.
    #[allow(unsafe_code)]
    let told = unsafe {
        libc::syscall(libc::SYS_tgkill, getpid().as_raw(), nix::unistd::gettid().as_raw(), signal as i32)
    };
    assert_eq!(told, 0);
}

/// The worker's word, in what a test's process can see: a mark.
fn run(limit: Duration, work: impl FnOnce(Link) -> Option<u8>) -> (WorkerEnd, Link, Duration) {
    let mut supervisor = Supervisor::new().unwrap();
    let begun = Instant::now();
    let end = supervisor.run(limit, work).unwrap();
    (end, supervisor.link(), begun.elapsed())
}

#[test]
fn a_proper_end_is_one_that_the_worker_declares() {
    let _forks = forking();
    let (end, link, _) = run(LONG, |link| {
        link.mark(4);
        Some(7)
    });
    assert_eq!((end, link.has(4), link.has(2)), (WorkerEnd::Proper(7), true, false));
    assert_eq!(run(LONG, |_| None).0, WorkerEnd::Died(None));
    assert_eq!(
        run(LONG, |_| std::process::exit(0)).0,
        WorkerEnd::Died(None),
        "an exit code is no declaration"
    );
    let killed = run(LONG, |_| {
        let _ = kill(getpid(), Signal::SIGKILL);
        Some(0)
    });
    assert_eq!(killed.0, WorkerEnd::Died(Some(Signal::SIGKILL)));
    // Not at once: then it is watched closely.
    let slow = run(LONG, |_| {
        sleep(BRIEF * 3);
        Some(1)
    });
    assert_eq!(slow.0, WorkerEnd::Proper(1));
}

#[test]
fn a_worker_has_the_time_that_it_allows_itself_and_no_more() {
    let _forks = forking();
    let (limit, short) = (Duration::from_millis(300), Duration::from_secs(1));
    let (end, _, took) = run(limit, |_| {
        sleep(LONG);
        Some(0)
    });
    assert_eq!(end, WorkerEnd::TimedOut(limit));
    assert!(took >= limit && took < LONG / 2, "{took:?}");
    let longer = run(short, |link| {
        link.limit(LONG);
        sleep(short / 2 * 3);
        Some(0)
    });
    assert_eq!(longer.0, WorkerEnd::Proper(0));
    let shorter = run(LONG, |link| {
        link.limit(short);
        sleep(LONG);
        Some(0)
    });
    assert_eq!(shorter.0, WorkerEnd::TimedOut(short));
}

#[test]
fn an_abandoned_worker_is_ended_and_marks_are_cleared_for_the_next() {
    let _forks = forking();
    let mut supervisor = Supervisor::new().unwrap();
    let link = supervisor.link();
    let work = |link: Link| {
        link.mark(2);
        sleep(LONG);
        Some(0)
    };
    assert_eq!(supervisor.run_until(LONG, work, &mut |_| link.has(2)).unwrap(), WorkerEnd::GivenUp);
    link.clear();
    let brief = |_| {
        sleep(GIVE_UP * 2);
        Some(3)
    };
    assert_eq!(supervisor.run_until(LONG, brief, &mut |_| link.has(2)).unwrap(), WorkerEnd::Proper(3));
}

#[test]
fn a_supervisor_that_is_terminated_stops_its_worker() {
    let _forks = forking();
    let mut supervisor = Supervisor::new().unwrap();
    tell(Signal::SIGTERM);
    let begun = Instant::now();
    let work = |_| {
        sleep(LONG);
        Some(0)
    };
    assert_eq!(supervisor.run(LONG, work).unwrap(), WorkerEnd::Signalled(Signal::SIGTERM));
    assert!(begun.elapsed() < LONG / 2);
    supervisor.ignore_signals();
    tell(Signal::SIGHUP);
    assert_eq!(supervisor.run(LONG, |_| Some(0)).unwrap(), WorkerEnd::Proper(0));
}

#[test]
fn a_group_that_is_open_is_known_however_it_came() {
    let _forks = forking();
    let mut supervisor = Supervisor::new().unwrap();
    for (text, is_open) in [
        ("::gro", false),
        ("up::x\nline", true),
        ("\n::group\n", true),
        ("::endgroup::\nx ::group::\n", false),
    ] {
        supervisor.note(text.as_bytes());
        assert_eq!(supervisor.is_in_group, is_open, "{text}");
    }
}
