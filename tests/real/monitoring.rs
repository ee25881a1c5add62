//! Rules and dashboard, against promtool and against a Prometheus that scrapes real figures through a real node_exporter.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Fs, Host, MIB, until};
use clap::CommandFactory as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether the programs are installed; says so, past the test harness, when one is not.
fn needs(programs: &[&str]) -> bool {
    let is_there = |program: &&&str| {
        ["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        let line = format!(
            "skipped, not installed: {missing:?} (apt-get install prometheus prometheus-node-exporter)\n"
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    missing.is_empty()
}

fn promtool(arguments: &[&str]) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(shipped("prometheus"));
    command.output().expect("promtool runs")
}

#[track_caller]
fn assert_success(output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn rules_are_valid_and_pass_their_tests() {
    if needs(&["promtool"]) {
        assert_success(&promtool(&["check", "rules", "disk-guard.rules.yml"]));
        assert_success(&promtool(&["test", "rules", "disk-guard.rules.test.yml"]));
    }
}

#[test]
fn every_alert_is_tested_and_names_a_command_that_there_is() {
    let (rules, tests) =
        (read("prometheus/disk-guard.rules.yml"), read("prometheus/disk-guard.rules.test.yml"));
    let alerts_page = read("../docs/src/alerts.md");
    let cli = disk_guard::cli::Cli::command();
    let verbs: BTreeSet<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let mut alerts = 0;
    for rule in rules.split("- alert: ").skip(1) {
        alerts += 1;
        let name = rule.lines().next().expect("a name");
        let fires = [
            format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\", "),
            format!("alertname: {name}\n        eval_time: 11m\n        exp_alerts"),
        ];
        assert!(fires.iter().any(|text| tests.contains(text)), "{name} is not seen to fire");
        let runbook = rule.lines().find_map(|line| line.trim().strip_prefix("runbook: ")).expect(name);
        let named: Vec<&str> = runbook
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|command| command.strip_prefix("disk-guard ")?.split(' ').next())
            .collect();
        assert!(!named.is_empty(), "{name}: {runbook}");
        let section = format!("\n## {name}\n");
        assert!(alerts_page.contains(&section), "docs/src/alerts.md has no section {name}");
        let url = rule.lines().find_map(|line| line.trim().strip_prefix("runbook_url: ")).expect(name);
        let installed = "file:///usr/share/doc/disk-guard/docs/src/alerts.md";
        assert_eq!(url, format!("\"{installed}#{}\"", name.to_lowercase()), "{name}");
        for verb in named {
            assert!(verbs.contains(verb), "{name}: there is no `disk-guard {verb}`");
        }
    }
    assert!(alerts >= 10);
    for record in rules.split("- record: ").skip(1) {
        let name = record.lines().next().expect("a name");
        assert!(tests.contains(name), "{name} is not tested");
    }
}

/// The queries of all panels, with the dashboard's variables at "All".
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/disk-guard-fleet.json")).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("queries") {
            let query = target["expr"].as_str().expect("a query");
            let query = query.replace("$instance", ".*").replace("$mountpoint", ".*");
            assert!(!query.contains('$'), "{title}: an unknown variable in {query}");
            queries.push((title.to_owned(), query));
        }
    }
    assert!(queries.len() > 20);
    queries
}

/// The names that begin like ours in some text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("disk_guard_")).collect()
}

#[test]
fn rules_and_dashboard_ask_for_figures_that_there_are() {
    let host = Host::new();
    host.runner("actions-runner-1").build().cache("acme/app", "target", MIB, DAY);
    let told = host.guard(&["metrics"]).expect_code(&[0]).stdout();
    let mut known = names(&told);
    // There after a sweep, after a removal, after some time; or with a reaper, or with runners in control groups of their own.
    let later = [
        "disk_guard_last_sweep_timestamp_seconds",
        "disk_guard_last_sweep_success",
        "disk_guard_last_sweep_duration_seconds",
        "disk_guard_last_sweep_wider_contamination",
        "disk_guard_reclaimed_bytes_total",
        "disk_guard_filesystem_fill_bytes_per_second",
        "disk_guard_filesystem_seconds_to_full",
        "disk_guard_leaked",
        "disk_guard_reap_failures_total",
        "disk_guard_runner_oom_kills",
    ];
    known.extend(later);
    let asked: Vec<String> = queries().into_iter().map(|(_, query)| query).collect();
    let rules = read("prometheus/disk-guard.rules.yml");
    let rules: Vec<&str> = rules.lines().filter(|line| !line.contains("- record:")).collect();
    for text in [asked.join("\n"), rules.join("\n")] {
        let unknown: Vec<&str> = names(&text).difference(&known).copied().collect();
        assert_eq!(unknown, [""; 0], "no verb reports them");
    }
}

/// A process that ends with the test.
struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("setpriv is part of util-linux"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

/// An exporter that reads the host's text file, and a Prometheus that scrapes it every second.
struct Monitoring {
    url: String,
    _servers: [Server; 2],
}

impl Monitoring {
    fn start(host: &Host, textfiles: &Path) -> Self {
        let (exporter, prometheus) = (free_port(), free_port());
        let storage = host.base.join("prometheus");
        std::fs::create_dir(&storage).expect("our own");
        let config = storage.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n  - {}\nscrape_configs:\n  - job_name: node\n    static_configs:\n      - targets: ['127.0.0.1:{exporter}']\n",
            shipped("prometheus/disk-guard.rules.yml").display()
        );
        std::fs::write(&config, text).expect("our own");
        let servers = [
            Server::start(
                "prometheus-node-exporter",
                &[
                    format!("--web.listen-address=127.0.0.1:{exporter}"),
                    "--collector.disable-defaults".into(),
                    "--collector.textfile".into(),
                    format!("--collector.textfile.directory={}", textfiles.display()),
                ],
            ),
            Server::start(
                "prometheus",
                &[
                    format!("--web.listen-address=127.0.0.1:{prometheus}"),
                    format!("--config.file={}", config.display()),
                    format!("--storage.tsdb.path={}", storage.join("data").display()),
                ],
            ),
        ];
        Self { url: format!("http://127.0.0.1:{prometheus}"), _servers: servers }
    }

    /// What an instant query answers, line by line; `None` while the server does not.
    fn query(&self, query: &str) -> Option<Vec<String>> {
        let output = promtool(&["query", "instant", &self.url, query]);
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        // No series is one empty line.
        let lines = answer.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        output.status.success().then(|| lines.collect())
    }

    /// The value of a query for one series.
    fn value(&self, query: &str) -> Option<f64> {
        let answer = self.query(query)?;
        answer.first()?.rsplit_once("=> ")?.1.split(' ').next()?.parse().ok()
    }

    /// Waits until the last sweep has arrived twice: increases need two samples.
    fn catches_up(&self, host: &Host) {
        let told = host.guard(&["metrics"]).expect_code(&[0]).stdout();
        let name = "disk_guard_lock_wait_seconds_count{mode=\"shared\"}";
        let counted =
            told.lines().find_map(|line| line.strip_prefix(name)).expect("always there").trim().to_owned();
        let query =
            format!("min_over_time({name}[2500ms]) == {counted} and count_over_time({name}[2500ms]) >= 2");
        until("Prometheus to have the last sweep's figures", || {
            self.query(&query).filter(|lines| !lines.is_empty())
        });
    }
}

/// What the sweeps have seen becomes an hour older.
fn age_samples(host: &Host) {
    let file = host.state_dir().join("counters/totals.json");
    let mut totals: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("a sweep was there")).expect("JSON");
    for sample in totals["samples"]
        .as_object_mut()
        .expect("samples")
        .values_mut()
        .flat_map(|list| list.as_array_mut().expect("a list"))
    {
        sample[0] = (sample[0].as_u64().expect("a time") - 3600).into();
    }
    std::fs::write(&file, totals.to_string()).expect("our own");
}

#[test]
fn every_panel_shows_something_of_a_host_that_works() {
    if !kit::sees_everything() || !needs(&["promtool", "prometheus", "prometheus-node-exporter"]) {
        return;
    }
    let mut host = Host::on(Fs::Ext4 { mib: 96, inodes: 8192 });
    let textfiles = host.base.join("textfile");
    std::fs::create_dir(&textfiles).expect("our own");
    let file = textfiles.join("disk-guard.prom");
    host.configure(|settings| {
        settings.want_everything();
        settings.extra = format!("[metrics]\ntextfile = {file:?}\n");
    });
    let (own, idle, busy) = (
        host.runner("actions-runner-1").build(),
        host.runner("actions-runner-2").build(),
        host.runner("actions-runner-3").build(),
    );
    host.sweep();
    age_samples(&host);
    let monitoring = Monitoring::start(&host, &textfiles);
    until("Prometheus to answer", || monitoring.query("vector(1)"));
    monitoring.catches_up(&host);

    let mut listeners = [own.listen(), busy.listen()];
    let busy_job = listeners[1].begin_job("acme/widgets");
    busy.cache("acme/widgets", "target", 4 * MIB, DAY);
    for round in 0..2 {
        own.cache("acme/other", "target", 6 * MIB, DAY);
        idle.cache("acme/app", "target", 4 * MIB, DAY);
        let mut job = listeners[0].begin_job("acme/app");
        job.hook_started().expect_ok();
        job.hook_completed().expect_ok();
        job.finish(&mut listeners[0]);
        own.cache("acme/left", "target", (round + 2) * MIB, DAY);
        host.sweep();
        monitoring.catches_up(&host);
    }

    assert_eq!(monitoring.value("node_textfile_scrape_error"), Some(0.0));
    for (title, query) in queries() {
        let answer = monitoring.query(&query).unwrap_or_else(|| panic!("{title}: {query} is refused"));
        assert!(!answer.is_empty(), "{title} is empty: {query}");
        let numbers = answer.iter().filter(|line| !line.contains("=> NaN"));
        assert!(numbers.count() > 0, "{title} shows no number: {query}\n{answer:#?}");
    }
    let reclaimed = r#"sum(disk_guard_reclaimed_bytes_total{reason="pressure"})"#;
    assert!(monitoring.value(reclaimed).is_some_and(|bytes| bytes > 20.0 * MIB as f64));
    assert!(monitoring.value("sum(disk_guard_blocked_bytes)").is_some_and(|bytes| bytes >= 4.0 * MIB as f64));
    assert!(
        monitoring.value("sum(increase(disk_guard_refusals_total[1h]))").is_some_and(|count| count > 0.0)
    );
    let rate =
        monitoring.value("disk_guard_filesystem_fill_bytes_per_second").expect("samples are old enough");
    assert!(rate.is_finite(), "{rate}");
    until("the recording rules to be evaluated", || {
        monitoring.value("instance:disk_guard_blocked_bytes:sum")
    });
    drop(busy_job);
}
