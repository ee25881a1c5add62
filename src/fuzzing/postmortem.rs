use super::contains;
use crate::model::postmortem::{HostDeed, KernelEvent, OomScope};
use crate::observe::diag_log::Tail;
use crate::postmortem::observe::journal::{self, Whom};
use crate::postmortem::observe::{kernel, logs};
use std::ffi::OsStr;
use std::time::SystemTime;

/// An id that other lines of a log contain only if they are about this job.
const JOB: &str = "5d4c8a52-77f1-4d0e-9a3b-0c1f6e2d9b84";

/// The maximum length of a kept line of a log: the bound of [`logs::cut`], and its dots.
const LINE: usize = 403;

/// A Worker's log and a Listener's: the kept text is bounded, no text before a job or after its end belongs to the job, and text that
/// continues a line at INFO is no complaint.
pub fn diag_log(noise: &[u8]) {
    let worker = |bytes: &[u8]| logs::worker::tell(OsStr::new("Worker.log"), &tail(bytes));
    let told = worker(noise);
    assert!(told.complaints.len() <= 8);
    let lines = told.complaints.iter().map(|(_, line)| line).chain(&told.last).chain(&told.completed);
    assert!(lines.into_iter().all(|line| line.text.chars().count() <= LINE));

    // Two Workers that started in the same second share a file.
    let begun = |id: &str| format!("\n[2026-01-02 03:04:05Z INFO JobRunner] Job ID {id}\n");
    let told = worker(&[begun("1").as_bytes(), noise, begun(JOB).as_bytes()].concat());
    assert_eq!(told.job_id.as_deref(), Some(JOB));
    assert!(told.completed.is_none() && told.cancelled.is_none() && told.complaints.is_empty());

    // The job message, which the job controls except for its line breaks (src/Runner.Worker/Worker.cs).
    let text = String::from_utf8_lossy(noise);
    let message: String = text.lines().map(|line| format!("  \"{line}\",\n")).collect();
    let told = worker(format!("[2026-01-02 03:04:05Z INFO Worker] Job message:\n{message}").as_bytes());
    assert!(told.complaints.is_empty(), "{:?}", told.complaints);

    let dispatcher = "[2026-01-02 03:04:05Z INFO JobDispatcher]";
    let received = format!("\n{dispatcher} Job request 7 for plan 1-2-3 job {JOB} received.\n");
    let listener = |parts: &[&str]| logs::listener::tell(&[parts.concat().as_str()]).of(JOB);
    let before = listener(&[text.as_ref(), received.as_str()]);
    if !contains(noise, JOB.as_bytes()) {
        assert!(before.received.is_some() && !before.has_end() && before.complaints.is_empty());
        let behind = listener(&[received.as_str(), text.as_ref()]);
        assert!(behind.received.is_some() && behind.result.is_none());
        assert!(behind.stopped.is_none() && behind.cancelled.is_none());
        assert!(behind.complaints.len() <= 8);
        assert!(listener(&[text.as_ref()]).received.is_none(), "it was told of a job that no line names");
    }
}

/// An entry of the journal counts for a death only if it names the Worker, its unit or its runner, or concerns the whole host. A writer
/// other than root or the service itself is not trusted.
pub fn host_entry(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let groups = vec!["/system.slice/actions.runner.a.b.service"];
    let whom = Whom { worker: Some(4711), unit: Some("actions.runner.a.b.service"), groups, runner: "ci-1" };
    let _ = journal::entry(&text, &whom);
    for service in ["earlyoom", "systemd-oomd", "systemd", "kubelet", "sudo"] {
        let entry = |identifier: &str, more: serde_json::Value| {
            let mut entry = more;
            entry["MESSAGE"] = text.as_ref().into();
            entry["SYSLOG_IDENTIFIER"] = identifier.into();
            entry["__REALTIME_TIMESTAMP"] = "1700000000000000".into();
            journal::entry(&entry.to_string(), &whom)
        };
        let by_somebody = entry(service, serde_json::json!({"_UID": "1000"}));
        assert!(by_somebody.as_ref().is_none_or(|line| !line.is_trusted), "{by_somebody:?}");
        let by_root = entry(service, serde_json::json!({"_UID": "0"}));
        assert_eq!(by_root.as_ref().map(|line| line.deed), by_somebody.map(|line| line.deed));
        let named = ["4711", "actions.runner.a.b.service", "ci-1", "unner"];
        if let Some(line) = by_root.filter(|_| !named.iter().any(|name| text.contains(name))) {
            let of_the_host = line.deed == HostDeed::GoingDown || text.contains("svc.sh");
            assert!(of_the_host, "{line:?}");
        }
    }
}

fn tail(bytes: &[u8]) -> Tail {
    Tail { bytes: bytes.to_vec(), is_whole: true }
}

/// A kernel message concerns the process that the kernel means, for any names of the process and its files.
pub fn kernel_message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (kernel::event(&text), kernel::entry(&text), kernel::ring_record(&text, SystemTime::UNIX_EPOCH));

    let (comm, file) = names(bytes);
    let is_odd = ["process '", "traps: "].iter().any(|start| comm.starts_with(start));
    let fault = Some(KernelEvent::Fault { pid: 77, comm: comm.clone() });
    let end = format!("in {file}[167ad8,7fa544044000+156000]");
    for line in [
        format!("{comm}[77]: segfault at 0 ip 00007fa544185ad8 sp 00007ffe4b399758 error 4 {end}"),
        format!("traps: {comm}[77] general protection fault ip:7f sp:7f error:0 {end}"),
        format!("traps: {comm}[77] trap invalid opcode ip:7f sp:7f error:0 {end}"),
        format!("{comm}[77]: unhandled exception: DABT (lower EL), ESR 0x92000006, level 2 {end}"),
    ] {
        // The name of a process that looks like the beginning of another message changes nothing.
        let event = kernel::event(&line);
        assert!(event == fault || event.is_none() && is_odd, "{line}");
    }

    let memory = |scope, group: Option<&str>| {
        let group = group.map(str::to_owned);
        Some(KernelEvent::OomKill { pid: 77, comm: comm.clone(), scope, group })
    };
    let decided = format!(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task={comm},pid=77,uid=0"
    );
    assert_eq!(kernel::event(&decided), memory(OomScope::Group("/a".into()), Some("/a/b")));
    let killed =
        format!("Out of memory: Killed process 77 ({comm}) total-vm:49460kB, anon-rss:39412kB, UID:0");
    assert_eq!(kernel::event(&killed), memory(OomScope::Host, None));
    let alone = format!("Killed process 77 ({comm}) total-vm:49460kB, anon-rss:39412kB, file-rss:0kB");
    assert_eq!(kernel::event(&alone), memory(OomScope::Unknown, None));
    // A process that was chosen may not have been killed.
    let chosen = format!("Out of memory: Kill process 77 ({comm}) score 68 or sacrifice child");
    assert_eq!(kernel::event(&chosen), Some(KernelEvent::OomChoice { pid: 77, scope: OomScope::Host }));

    for line in [
        format!("{comm}: page allocation failure: order:0, mode:0x0(GFP_ATOMIC), nodemask=(null)"),
        format!("{comm} (77): drop_caches: 3"),
        format!("process '{file}' started with executable stack"),
    ] {
        assert_eq!(kernel::event(&line), None, "{line}");
    }
}

/// Bytes that are possible in the name of a process, and in a file's.
fn names(bytes: &[u8]) -> (String, String) {
    let (comm, file) = bytes.split_at(bytes.len().min(15));
    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(['\0', '\n'], "?");
    (plain(comm), plain(&file[..file.len().min(255)]).replace('/', "?"))
}
