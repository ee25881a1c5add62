//! Whether anything works in a runner's pod: asked in the pod itself by `kubectl exec`, or of its node.
//!
//! The question in the pod needs only a shell, so that every image can answer it: the names of all processes that are visible in the
//! runner's container. An answer counts only when it is complete, ends as expected, and includes the container's first process.

use super::shapes::text;
use crate::actions_runner::listener;
use crate::reap::program::Tool;
use crate::reap::sources::Objection;
use serde_json::Value;

/// Prints how many processes there are and how many of them are Workers. Its own command line must not look like one.
const QUESTION: &str = r#"n=0 w=0; { for p in /proc/[0-9]*; do IFS= read -r c <"$p/comm" || continue; n=$((n+1)); case $c in Runner.[W]orker*) w=$((w+1));; esac; done; IFS= read -r c </proc/1/comm; } 2>/dev/null && echo "disk-guard $n $w""#;

/// Where a runner's container is.
pub(super) struct ContainerAddress<'a> {
    pub(super) runner: &'a str,
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
    node: &'a str,
}

impl<'a> ContainerAddress<'a> {
    /// The content of an environment's handle.
    pub(super) fn of(handle: &'a Value) -> Option<Self> {
        let part = |key: &str| Some(text(handle, key)).filter(|part| crate::reap::decision::is_plain(part));
        Some(Self {
            runner: part("/place/runner")?,
            namespace: part("/place/namespace")?,
            pod: part("/place/pod")?,
            container: part("/place/container")?,
            node: text(handle, "/place/node"),
        })
    }

    /// The words of a `worker_check`, with their placeholders replaced; none when the node is needed and unknown.
    fn fill(&self, words: &[String]) -> Option<Vec<String>> {
        let needs_node = words.iter().any(|word| word.contains("{node}"));
        if needs_node && !crate::reap::decision::is_plain(self.node) {
            return None;
        }
        let fill = |word: &String| {
            [
                ("{runner}", self.runner),
                ("{namespace}", self.namespace),
                ("{pod}", self.pod),
                ("{node}", self.node),
            ]
            .iter()
            .fold(word.clone(), |word, (name, value)| word.replace(name, value))
        };
        Some(words.iter().map(fill).collect())
    }

    /// The reason against deleting it.
    pub(super) fn objection(&self, kubectl: &Tool, check: &[String]) -> Option<Objection> {
        if check.is_empty() { self.ask_pod(kubectl) } else { self.ask_node(kubectl, check) }
    }

    fn ask_pod(&self, kubectl: &Tool) -> Option<Objection> {
        let call = ["exec", "-n", self.namespace, self.pod, "-c", self.container, "--", "sh", "-c", QUESTION];
        let answer = match kubectl.output(&call) {
            Ok(answer) => answer,
            Err(error) => {
                let why = format!("whether a Runner.Worker runs in its pod cannot be asked: {error}");
                return Some(Objection::CannotTell(why));
            }
        };
        match counted(&answer) {
            Some(0) => None,
            Some(_) => Some(Objection::Works("a Runner.Worker runs in its pod".to_owned())),
            None => Some(Objection::CannotTell("its pod does not list its processes".to_owned())),
        }
    }

    /// The exit codes are those of `disk-guard check`.
    fn ask_node(&self, kubectl: &Tool, check: &[String]) -> Option<Objection> {
        let Some(words) = self.fill(check) else {
            return Some(Objection::CannotTell("the node of its pod is not known".to_owned()));
        };
        let cannot = |why: String| Some(Objection::CannotTell(format!("`worker_check` {why}")));
        match kubectl.with_command(&words).run(&[]) {
            Err(error) => cannot(format!("failed: {error}")),
            Ok(run) if run.is_success() => None,
            Ok(run) => match run.code() {
                Some(10) => Some(Objection::Works("its node reports it as busy".to_owned())),
                Some(11) => cannot("says that it is not known whether it is idle".to_owned()),
                code => cannot(format!(
                    "answered with exit code {}, expected 0, 10 or 11",
                    code.map_or("none".to_owned(), |code| code.to_string())
                )),
            },
        }
    }

    /// Whether the last line of its log reports that its job was gone.
    pub(super) fn lost_its_job(&self, kubectl: &Tool) -> bool {
        let call = ["logs", "-n", self.namespace, self.pod, "-c", self.container, "--tail=500"];
        kubectl.output(&call).is_ok_and(|log| lost_its_job(&String::from_utf8_lossy(&log)))
    }
}

fn lost_its_job(log: &str) -> bool {
    let works = listener::AT_WORK.iter().filter_map(|word| log.rfind(word)).max();
    log.rfind(listener::JOB_GONE).is_some_and(|gone| works.is_none_or(|works| works < gone))
}

/// How many Workers there are, by a whole answer.
fn counted(answer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut words = text.trim().strip_prefix("disk-guard ")?.split(' ');
    let (processes, workers) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
    (processes > 0 && words.next().is_none()).then_some(workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        for (answer, expected) in [
            ("disk-guard 7 0\n", Some(0)),
            ("disk-guard 7 1\n", Some(1)),
            ("disk-guard 0 0", None),
            ("disk-guard 7", None),
            ("disk-guard 7 0 0", None),
            ("disk-guard 7 0\ndisk-guard 7 1", None),
            ("motd\ndisk-guard 7 0", None),
            ("", None),
        ] {
            assert_eq!(counted(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    #[test]
    fn the_question_finds_a_worker_and_not_itself() {
        let temp = tempfile::tempdir().unwrap();
        let ask = || {
            let output = std::process::Command::new("sh").args(["-c", QUESTION]).output().unwrap();
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            counted(&output.stdout).expect("it is whole")
        };
        let worker = temp.path().join("Runner.Worker");
        std::fs::copy("/bin/sleep", &worker).unwrap();
        let before = ask();
        let mut child = std::process::Command::new(&worker).arg("60").spawn().unwrap();
        let during = (0..100).map(|_| ask()).find(|count| *count > before);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(during.is_some(), "it is seen");
    }

    #[test]
    fn a_job_that_was_gone_is_the_last_word() {
        let gone =
            "[RUNNER 2026-03-04 14:43:16Z INFO Runner] Skipping message Job. Job message not found 'e420'.";
        let runs = "2026-03-04 14:44:16Z: Running job: build";
        for (log, expected) in [
            (format!("Listening for Jobs\n{gone}\n"), true),
            (format!("{gone}\n{runs}\n"), false),
            (format!("{runs}\n{gone}\n"), true),
            ("Listening for Jobs\n".to_owned(), false),
        ] {
            assert_eq!(lost_its_job(&log), expected, "{log}");
        }
    }

    #[test]
    fn words_of_a_check_are_filled_in() {
        let handle = serde_json::json!({"place": {"runner": "r", "namespace": "n", "pod": "p", "container": "c", "node": "w"}});
        let place = ContainerAddress::of(&handle).unwrap();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            place.fill(&words("ssh {node} check {runner} {namespace}/{pod}")).unwrap(),
            words("ssh w check r n/p")
        );
        let away = serde_json::json!({"place": {"runner": "r", "namespace": "n", "pod": "p", "container": "c", "node": "-oX"}});
        assert_eq!(ContainerAddress::of(&away).unwrap().fill(&words("ssh {node}")), None);
        let odd =
            serde_json::json!({"place": {"runner": "r;x", "namespace": "n", "pod": "p", "container": "c"}});
        assert!(ContainerAddress::of(&odd).is_none());
    }
}
