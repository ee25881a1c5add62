use super::super::tests::*;
use super::*;
use crate::model::postmortem::{Complaint, Reported};

fn of(logs: &[&str], job: &str) -> ListenerLog {
    tell(logs).of(job)
}

fn dispatch(second: u64, message: &str) -> String {
    line(second, "JobDispatcher", message)
}

fn receive(second: u64, job: &str) -> String {
    dispatch(second, &format!("Job request 7 for plan 1-2-3 job {job} received."))
        + &dispatch(second, &format!("Start renew job request 7 for job {job}."))
}

fn starts(second: u64, pid: i32) -> String {
    line(
        second,
        "ProcessInvokerWrapper",
        &format!("Process started with process id {pid}, waiting for process exit."),
    )
}

fn exits(second: u64, pid: i32, code: i32) -> String {
    line(
        second,
        "ProcessInvokerWrapper",
        &format!("Finished process {pid} with exit code {code}, and elapsed time 00:00:03."),
    )
}

#[test]
fn a_job_is_identified_by_its_id_across_unrelated_lines() {
    let text = receive(1, A)
        + &starts(1, 70)
        + &receive(2, B)
        + &dispatch(
            3,
            &format!(
                "We are not yet checking the state of jobrequest {A} status. Cancel running worker right away."
            ),
        )
        + &exits(50, 70, 102)
        + &dispatch(50, &format!("finish job request for job {A} with result: Canceled"))
        + &starts(51, 71)
        + &dispatch(100, &format!("Worker finished for job {B}. Code: 137"));
    let first = of(&[&text], A);
    assert_eq!(first.worker_pid, Some(70));
    assert_eq!(first.finished.as_ref().map(|(code, _)| *code), Some(102));
    assert_eq!(first.result.as_ref().map(|(result, _)| *result), Some(Reported::Cancelled));
    assert!(first.cancelled.is_some() && first.is_whole);
    let second = of(&[&text], B);
    assert_eq!((second.worker_pid, second.finished.map(|(code, _)| code)), (Some(71), Some(137)));
    assert_eq!(tell(&[&text]).before(at(1)), Some(B), "a second of slack");
    assert_eq!(of(&[&text], "none"), ListenerLog { is_whole: true, ..ListenerLog::default() });
}

#[test]
fn ends_without_worker_finished_are_ends() {
    for (lines, is_end) in [
        (dispatch(9, &format!("Stop renew job request for job {A}.")), true),
        (dispatch(9, &format!("Job request {A} processed succeed.")), true),
        (dispatch(9, &format!("Worker Dispatch failed with an exception for job request {A}.")), true),
        (dispatch(9, &format!("Stop renew job request for job {B}.")), false),
        (line(9, "Terminal", &format!("Stop renew job request for job {A}.")), false),
        (exits(9, 71, 100), false),
    ] {
        let text = receive(1, A) + &starts(1, 70) + &lines;
        assert_eq!(of(&[&text], A).has_end(), is_end, "{lines}");
    }
}

#[test]
fn the_reasons_for_the_end_of_a_job_are_distinguished() {
    let with = |lines: &str| of(&[&(receive(1, A) + &starts(1, 70) + lines)], A);
    let log = with(&line(9, "HostContext", "Runner will be shutdown for UserCancelled"));
    assert!(log.shutdown.is_some() && log.cancelled.is_none());
    for lost in [
        format!("TaskAgentJobNotFoundException received when renew job {A}, job is no longer valid"),
        "TaskAgentJobTokenExpiredException received renew job request 7, job is no longer valid".into(),
        "Lock renewal has run out of retry, stop renew lock for jobrequest 7.".into(),
    ] {
        assert!(with(&dispatch(9, &lost)).lost_contact.is_some(), "{lost}");
        assert!(with(&dispatch(9, &lost.replace('7', "77").replace(A, B))).lost_contact.is_none());
    }
    for stopped in [
        format!("worker process for job {A} haven't exit within cancellation timout, kill running worker."),
        format!(
            "Job cancel message sending for job {A} failed, kill running worker. System.IO.IOException: Broken pipe"
        ),
    ] {
        assert!(with(&dispatch(9, &stopped)).stopped.is_some(), "{stopped}");
    }
    // Lines behind an end do not explain it.
    let ended = exits(9, 70, 137) + &line(10, "HostContext", "Runner will be shutdown for UserCancelled");
    assert!(with(&ended).shutdown.is_none());
}

#[test]
fn the_last_words_of_a_worker_follow_its_end() {
    let text = receive(1, A)
        + &dispatch(5, &format!("Worker finished for job {A}. Code: 134"))
        + &dispatch(5, &format!("finish job request for job {A} with result: Failed"))
        + "[2026-01-02 03:04:06Z ERR  JobDispatcher] Unhandled exception happened in worker:\n"
        + "[2026-01-02 03:04:06Z ERR  JobDispatcher] Unhandled exception. System.IO.IOException: No space left on device : '/d'\n";
    let log = of(&[&text], A);
    assert_eq!(log.complaints.len(), 1);
    assert!(log.exception.is_some_and(|line| line.text.starts_with("Unhandled exception. System.IO")));
    let late = text.replace("03:04:06Z ERR", "03:14:06Z ERR");
    assert_eq!(of(&[&late], A).complaints, [], "another story's");
    let next = text.replace(
        "[2026-01-02 03:04:06Z ERR  JobDispatcher] Unhandled exception.",
        &(receive(6, B) + "Unhandled"),
    );
    assert_eq!(of(&[&next], B).complaints.iter().filter(|(what, _)| *what != Complaint::NoSpace).count(), 0);
}

#[test]
fn a_listener_that_restarted_before_the_end_is_reported_and_empty_logs_are_ignored() {
    let begin = |second| line(second, "Listener", "Runner is built for Linux (X64) - linux-x64.");
    let (first, second) = (begin(0) + &receive(1, A), begin(90));
    let log = of(&[&first, "", "", &second], A);
    assert_eq!((log.restarted.unwrap().at, log.finished), (Some(at(90)), None));
    assert_eq!(log.silence, Some((at(1), Duration::from_secs(89))));
    let done = first + &dispatch(5, &format!("Worker finished for job {A}. Code: 100"));
    assert_eq!(of(&[&done, &second], A).restarted, None);
    // The next Listener's lines are not about this job.
    let stop = begin(90) + &line(91, "HostContext", "Runner will be shutdown for UserCancelled");
    assert!(of(&[&(begin(0) + &receive(1, A)), &stop], A).shutdown.is_none());
}

#[test]
fn a_log_that_ends_within_a_line_is_cut() {
    let text = receive(1, A) + &dispatch(5, &format!("Worker finished for job {A}. Code: 134"));
    assert!(of(&[&text], A).is_cut.is_none());
    assert!(of(&[&(text.clone() + "[2026-01-02 03:04:06Z INFO JobDispatcher] ")], A).is_cut.is_some());
    let long_ago = text + &line(3000, "MessageListener", "Get next message.") + "[2026-01-02 04";
    assert!(of(&[&long_ago], A).is_cut.is_none());
}

#[test]
fn logs_before_the_requested_time_are_left_out_except_the_last_two_that_are_not_empty() {
    let temp = tempfile::tempdir().unwrap();
    let diag = temp.path().join("_diag");
    std::fs::create_dir(&diag).unwrap();
    let name = |hour: u32| format!("Runner_20260102-{hour:02}0000-utc.log");
    for hour in 0..3 {
        let id = A.replace('1', &hour.to_string());
        std::fs::write(diag.join(name(hour)), receive(u64::from(hour), &id)).unwrap();
    }
    for empty in 4..20 {
        std::fs::write(diag.join(name(empty)), "").unwrap();
    }
    let root = Dir::resolve(temp.path()).unwrap().0;
    let since = diag_log::begun(OsStr::new(&name(19))).unwrap() + Duration::from_secs(1);
    let stories = LoggedJobs::read(&root, since).unwrap();
    assert_eq!(stories.received().count(), 2);
    let job = A.replace('1', "2");
    assert_eq!(stories.of(&job).empty_logs, 16);
    let raw = String::from_utf8(stories.raw(&root, &job)).unwrap();
    assert!(raw.contains(&job), "{}", cut(&raw));
    // An unreadable log leaves a gap; it is an error when none can be read.
    std::os::unix::fs::symlink("/etc/passwd", diag.join(name(21))).unwrap();
    assert!(!LoggedJobs::read(&root, since).unwrap().of(&job).is_whole);
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("_diag")).unwrap();
    let root = Dir::resolve(temp.path()).unwrap().0;
    assert_eq!(LoggedJobs::read(&root, since).unwrap_err().kind(), io::ErrorKind::NotFound);
}
