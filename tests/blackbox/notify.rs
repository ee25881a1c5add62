//! Who is told of incidents: a program of the administrator's, at once, once, bounded in time and rate, and never by a hook or
//! a sweep. The recipes talk to real servers, of the tests' own.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Fs, Host, Run, fill_bytes, needs_root};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Every disk is above critical.
fn critical() -> Host {
    let mut host = Host::new();
    host.runner("actions-runner-1").build();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (1, 0, 1));
    host
}

/// A program in a directory of the host's that root alone can write.
fn program(host: &Host, name: &str, body: &str) -> PathBuf {
    let path = host.base.join("sbin").join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    path
}

/// `[notify]` with this command, and what else stands there. That these hosts have never been swept is told where it is asked for.
fn tell_to(host: &mut Host, command: &[&Path], more: &str) {
    let words: Vec<String> = command.iter().map(|word| format!("{:?}", word.display().to_string())).collect();
    let on = if more.contains("on = ") { "" } else { "on = [\"critical-disk\", \"goal-missed\"]" };
    let extra = format!("[notify]\ncommand = [{}]\n{more}\n{on}\n", words.join(", "));
    host.configure(|settings| settings.extra = extra);
}

/// A host in trouble that appends each message, a line, to a file.
fn listened() -> (Host, PathBuf) {
    let mut host = critical();
    let heard = host.base.join("heard");
    let ear = program(&host, "ear", &format!("cat >>{}", heard.display()));
    tell_to(&mut host, &[&ear], "interval = \"0\"");
    (host, heard)
}

fn messages(heard: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(heard).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a message is a line of JSON")).collect()
}

fn notify(host: &Host) -> Run {
    host.guard(&["notify"])
}

/// What a message tells, as `news kind subject`.
fn told(message: &Value) -> Vec<String> {
    let incidents = message["incidents"].as_array().expect("a list");
    let of = |incident: &Value, key: &str| incident[key].as_str().expect("text").to_owned();
    incidents.iter().map(|incident| format!("{} {}", of(incident, "news"), of(incident, "kind"))).collect()
}

#[test]
fn an_incident_is_notified_once_and_again_when_it_is_over() {
    let (mut host, heard) = listened();
    notify(&host).expect_code(&[0]);
    notify(&host).expect_code(&[0]);
    let first = messages(&heard);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(told(&first[0]), ["new critical-disk"]);
    let incident = &first[0]["incidents"][0];
    assert!(incident["text"].as_str().is_some_and(|text| text.contains("is above critical")), "{incident}");
    assert!(first[0]["text"].as_str().is_some_and(|text| text.contains("`disk-guard status`")), "{first:?}");
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (99, 98, 100));
    notify(&host).expect_code(&[0]);
    notify(&host).expect_code(&[0]);
    let all = messages(&heard);
    assert_eq!((all.len(), told(&all[1])), (2, vec!["over critical-disk".to_owned()]), "{all:?}");
}

#[test]
fn a_dry_run_shows_pending_notifications_and_neither_sends_nor_records_them() {
    let (host, heard) = listened();
    let shown = host.guard(&["notify", "--dry-run"]).expect_code(&[0]).stdout();
    assert!(shown.starts_with("new critical-disk: "), "{shown}");
    let document = host.guard(&["notify", "--dry-run", "--json"]).report();
    assert_eq!(told(&document.0), ["new critical-disk"]);
    assert!(!heard.exists());
    notify(&host).expect_code(&[0]);
    assert_eq!(messages(&heard).len(), 1, "the control");
}

#[test]
fn a_test_message_is_marked_as_one_and_requires_a_program() {
    let (mut host, heard) = listened();
    host.guard(&["notify", "--test"]).expect_code(&[0]);
    let all = messages(&heard);
    assert!(all.len() == 1 && all[0]["test"] == true && told(&all[0]).is_empty(), "{all:?}");
    host.configure(|settings| settings.extra.clear());
    let refused = host.guard(&["notify", "--test"]).expect_code(&[1]).stderr();
    assert!(refused.contains("`command` of [notify] is not set"), "{refused}");
    assert!(notify(&host).expect_code(&[0]).stdout().is_empty(), "nothing to do, nothing to say");
}

#[test]
fn a_program_that_fails_or_hangs_is_reported_stopped_in_time_and_retried_after_the_interval() {
    let mut host = critical();
    let heard = host.base.join("heard");
    let fails = program(&host, "fails", "cat >/dev/null; echo no such room >&2; exit 7");
    tell_to(&mut host, &[&fails], "interval = \"0\"");
    let said = notify(&host).expect_code(&[1]).stderr();
    assert!(said.contains("incidents could not be notified") && said.contains("no such room"), "{said}");
    let hangs = program(&host, "hangs", "sleep 600 & exec sleep 600");
    tell_to(&mut host, &[&hangs], "interval = \"0\"\ntimeout = \"1s\"");
    let begun = Instant::now();
    let said = notify(&host).expect_code(&[1]).stderr();
    assert!(said.contains("did not end within 1 s"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let ear = program(&host, "ear", &format!("cat >>{}", heard.display()));
    tell_to(&mut host, &[&ear], "interval = \"1h\"");
    notify(&host).expect_code(&[0]);
    assert!(!heard.exists(), "the last try is too recent");
    tell_to(&mut host, &[&ear], "interval = \"0\"");
    notify(&host).expect_code(&[0]);
    assert_eq!(told(&messages(&heard)[0]), ["new critical-disk"]);
}

#[test]
fn root_runs_no_program_that_others_can_change() {
    if !needs_root("gives a file away") {
        return;
    }
    let (host, heard) = listened();
    let ear = host.base.join("sbin/ear");
    chown(&ear, Some(12_001), None).expect("root gives away");
    let said = notify(&host).expect_code(&[1]).stderr();
    assert!(said.contains("root does not run") && said.contains("12001"), "{said}");
    assert!(!heard.exists());
    chown(&ear, Some(0), None).expect("root takes");
    notify(&host).expect_code(&[0]);
    assert_eq!(messages(&heard).len(), 1, "the control");
}

#[test]
fn neither_a_hook_nor_a_sweep_runs_the_program() {
    let mut host = critical();
    let heard = host.base.join("heard");
    let hangs = program(&host, "hangs", &format!("touch {}; sleep 600", heard.display()));
    tell_to(&mut host, &[&hangs], "");
    let runner = host.runner("actions-runner-2").build();
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    host.guard(&["sweep"]).expect_code(&[0, 20]);
    assert!(!heard.exists());
    let ear = program(&host, "ear", &format!("cat >>{}", heard.display()));
    tell_to(&mut host, &[&ear], "");
    notify(&host).expect_code(&[0]);
    let told = told(&messages(&heard)[0]);
    assert!(told.contains(&"new critical-disk".to_owned()), "{told:?}");
    assert!(told.contains(&"new goal-missed".to_owned()), "the sweep could not free enough: {told:?}");
}

#[test]
fn a_configuration_that_no_sweep_can_use_is_an_incident() {
    let (mut host, heard) = listened();
    let ear = host.base.join("sbin/ear");
    tell_to(&mut host, &[&ear], "interval = \"0\"\non = [\"dead-sweep\"]");
    host.configure(|settings| settings.extra.push_str("\n[pressure2]\nhihg = 5\n"));
    let said = notify(&host).expect_code(&[3]).stderr();
    assert!(said.contains("pressure2"), "{said}");
    let all = messages(&heard);
    assert_eq!(all.len(), 1, "{all:?}");
    let told = told(&all[0]);
    assert!(told.contains(&"new dead-sweep".to_owned()), "{told:?}");
    assert!(all[0]["text"].as_str().is_some_and(|text| text.contains("no sweep can run: ")), "{all:?}");
    notify(&host).expect_code(&[3]);
    assert_eq!(messages(&heard).len(), 1, "told once");
}

#[test]
fn on_a_full_disk_an_incident_is_notified_exactly_once() {
    if !needs_root("fills a filesystem") {
        return;
    }
    let (mut host, heard) = listened();
    let state = host.state_dir();
    host.mount(Fs::Tmpfs { mib: 4, inodes: 200 }, &state);
    fill_bytes(&state.join("ballast"));
    for _ in 0..3 {
        notify(&host).expect_code(&[0]);
    }
    assert_eq!(messages(&heard).len(), 1);
}

/// A server that answers one HTTP request; its head and body.
fn web_server() -> (String, JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("it has one"));
    let serve = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(stream.try_clone().expect("the same socket"));
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("an answer");
        (head, serde_json::from_slice(&body).expect("JSON"))
    });
    (url, serve)
}

/// A recipe where root alone can write, as the administrator copies it; none where a tool that it needs is missing.
fn recipe(host: &Host, name: &str, tools: &[&str]) -> Option<PathBuf> {
    for tool in tools {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("skipped, not installed: {tool}");
            return None;
        }
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes").join(name);
    let to = host.base.join("sbin").join(name);
    std::fs::copy(from, &to).expect("the recipe");
    std::fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).expect("it is ours");
    Some(to)
}

#[test]
fn the_recipe_for_a_web_hook_posts_the_message_with_the_headers_of_its_file() {
    let mut host = critical();
    let Some(script) = recipe(&host, "notify-webhook.sh", &["curl"]) else { return };
    let (url, server) = web_server();
    let file = host.base.join("webhook.curl");
    std::fs::write(&file, format!("url = \"{url}\"\nheader = \"Authorization: Bearer 4711\"\n"))
        .expect("a file");
    tell_to(&mut host, &[&script, &file], "");
    notify(&host).expect_code(&[0]);
    let (head, body) = server.join().expect("it was asked");
    assert!(head.starts_with("POST /hook ") && head.contains("Authorization: Bearer 4711"), "{head}");
    assert_eq!(told(&body), ["new critical-disk"]);
    // Nobody listens any more: that is no success.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (99, 98, 100));
    tell_to(&mut host, &[&script, &file], "interval = \"0\"");
    let said = notify(&host).expect_code(&[1]).stderr();
    assert!(said.contains("could not be notified"), "{said}");
}

#[test]
fn the_recipe_for_a_chat_posts_text_in_which_nothing_is_markup() {
    let mut host = critical();
    let Some(script) = recipe(&host, "notify-chat.sh", &["curl", "jq"]) else { return };
    let (url, server) = web_server();
    let file = host.base.join("chat.curl");
    std::fs::write(&file, format!("url = \"{url}\"\n")).expect("a file");
    tell_to(&mut host, &[&script, &file], "");
    notify(&host).expect_code(&[0]);
    let (_, body) = server.join().expect("it was asked");
    let text = body["text"].as_str().expect("text");
    assert!(text.contains("is above critical"), "{text}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");

    let (url, server) = web_server();
    std::fs::write(&file, format!("url = \"{url}\"\n")).expect("a file");
    let mut child =
        Command::new(&script).arg(&file).stdin(std::process::Stdio::piped()).spawn().expect("it runs");
    let hostile = r#"{"text": "<!channel> a & b"}"#;
    child.stdin.take().expect("piped").write_all(hostile.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let (_, body) = server.join().expect("it was asked");
    assert_eq!(body["text"], "&lt;!channel&gt; a &amp; b");
}

#[test]
fn the_recipe_for_mail_hands_a_whole_mail_to_the_server_for_each_recipient() {
    let mut host = critical();
    let Some(script) = recipe(&host, "notify-mail.sh", &["curl", "jq"]) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = PathBuf::from(format!("smtp://{}", listener.local_addr().expect("it has one")));
    let server = std::thread::spawn(move || smtp(&listener));
    let addresses = ["disk-guard@ci.test", "a@ops.test", "b@ops.test"].map(PathBuf::from);
    let command = [&script, &url, &addresses[0], &addresses[1], &addresses[2]];
    tell_to(&mut host, &command.map(PathBuf::as_path), "");
    notify(&host).expect_code(&[0]);
    let (envelope, mail) = server.join().expect("it was asked");
    assert!(envelope[0].contains("FROM:<disk-guard@ci.test>"), "{envelope:?}");
    assert!(
        envelope[1].contains("TO:<a@ops.test>") && envelope[2].contains("TO:<b@ops.test>"),
        "{envelope:?}"
    );
    assert!(mail.contains("Subject: [disk-guard] ") && mail.contains(": new critical-disk\r\n"), "{mail}");
    assert!(mail.contains("To: a@ops.test, b@ops.test\r\n") && mail.contains("is above critical"), "{mail}");
}

/// One mail: the commands that name people, and the mail.
fn smtp(listener: &TcpListener) -> (Vec<String>, String) {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut reader = BufReader::new(stream.try_clone().expect("the same socket"));
    let (mut envelope, mut mail, mut in_mail) = (Vec::new(), String::new(), false);
    stream.write_all(b"220 test\r\n").expect("a greeting");
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("a line") == 0 {
            return (envelope, mail);
        }
        let answer: &[u8] = match line.trim_end() {
            "." if in_mail => {
                in_mail = false;
                b"250 taken\r\n"
            }
            _ if in_mail => {
                mail += &line;
                continue;
            }
            "DATA" => {
                in_mail = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            other => {
                if other.starts_with("MAIL") || other.starts_with("RCPT") {
                    envelope.push(other.to_owned());
                }
                b"250 fine\r\n"
            }
        };
        stream.write_all(answer).expect("an answer");
    }
}

#[test]
fn a_small_disk_of_its_own_is_named_by_its_mount_point() {
    if !needs_root("mounts a small filesystem") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 2000 });
    host.runner("actions-runner-1").build();
    let heard = host.base.join("heard");
    let ear = program(&host, "ear", &format!("cat >>{}", heard.display()));
    tell_to(&mut host, &[&ear], "interval = \"0\"");
    notify(&host).expect_code(&[0]);
    assert!(!heard.exists(), "a healthy disk");
    fill_bytes(&host.runners().join("ballast"));
    notify(&host).expect_code(&[0]);
    let all = messages(&heard);
    assert_eq!(all[0]["incidents"][0]["subject"], host.runners().display().to_string(), "{all:?}");
}
