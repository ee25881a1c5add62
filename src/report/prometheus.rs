//! Prometheus' text exposition format (version 0.0.4), which the text file collector of node_exporter reads.
//!
//! A file with the same series twice is refused as a whole. Names of runners come from their own directories and may be anything,
//! including duplicates: every label is escaped, cut, and series that still coincide are added up.

mod families;

pub use families::host;

use super::escape;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The beginning of every name.
const PREFIX: &str = "disk_guard_";

/// The maximum length of a label's value, in characters.
const MAX_LABEL: usize = 200;

/// The type of a family of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricType {
    Gauge,
    Counter,
}

/// Names and values of labels.
type Labels<'a> = Vec<(&'a str, String)>;

/// The document, family by family.
#[derive(Debug, Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    /// A family of plain series; without any it is left out.
    fn family<'a>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for (labels, value) in series {
            *sums.entry(render(&labels)).or_default() += value;
        }
        if sums.is_empty() {
            return;
        }
        let kind = match kind {
            MetricType::Gauge => "gauge",
            MetricType::Counter => "counter",
        };
        self.head(name, help, kind);
        for (labels, value) in sums {
            let _ = writeln!(self.text, "{PREFIX}{name}{labels} {}", number(value));
        }
    }

    /// A family of histograms in seconds: labels, the bounds of the buckets in microseconds, how many lie in each bucket and
    /// beyond the last bound, and the sum in microseconds.
    fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, &'a [u64], &'a [u64], u64)>,
    ) {
        self.head(name, help, "histogram");
        for (labels, bounds, buckets, sum) in series {
            let mut below = 0_u64;
            for (index, count) in buckets.iter().enumerate() {
                below = below.saturating_add(*count);
                let bound = bounds.get(index).map_or(f64::INFINITY, |micros| seconds(*micros));
                let mut labels = labels.clone();
                labels.push(("le", number(bound)));
                let _ = writeln!(self.text, "{PREFIX}{name}_bucket{} {below}", render(&labels));
            }
            let labels = render(&labels);
            let _ = writeln!(self.text, "{PREFIX}{name}_sum{labels} {}", number(seconds(sum)));
            let _ = writeln!(self.text, "{PREFIX}{name}_count{labels} {below}");
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Rust writes numbers as Prometheus reads them, except the infinities.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".into()
    } else if value == f64::NEG_INFINITY {
        "-Inf".into()
    } else {
        value.to_string()
    }
}

/// `{name="value",...}`; nothing without labels. An empty value is no label to Prometheus, and is written all the same, so that a series
/// always has the same form.
fn render(labels: &Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let each: Vec<String> = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", value(text))).collect();
    format!("{{{}}}", each.join(","))
}

/// First for people, as everywhere else, so that the visible text is the real one. Then for the format.
fn value(text: &str) -> String {
    let cut: String = text.chars().take(MAX_LABEL).collect();
    escape::text(&cut).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_escaped_sorted_and_never_there_twice() {
        let mut exposition = Exposition::default();
        let label = |text: &str| vec![("runner", text.to_owned())];
        let series =
            [("b", 1.0), ("a \"x\\\n\u{1b}\u{202e}", 2.5), ("b", 2.0), (&"y".repeat(300), f64::INFINITY)];
        exposition.family(
            MetricType::Gauge,
            "x_bytes",
            "Of \\ and\nmore.",
            series.map(|(text, value)| (label(text), value)),
        );
        exposition.family(MetricType::Counter, "none_total", "Nothing.", []);
        let long = "y".repeat(200);
        let expected = format!(
            r#"# HELP disk_guard_x_bytes Of \\ and\nmore.
# TYPE disk_guard_x_bytes gauge
disk_guard_x_bytes{{runner="a \"x\\\\\\n\\x1b\\u{{202e}}"}} 2.5
disk_guard_x_bytes{{runner="b"}} 3
disk_guard_x_bytes{{runner="{long}"}} +Inf
"#
        );
        assert_eq!(exposition.text, expected);
    }

    #[test]
    fn buckets_are_cumulated_and_end_with_all() {
        let mut exposition = Exposition::default();
        exposition.histograms(
            "wait_seconds",
            "Waits.",
            [(Vec::new(), &[2500, 1_000_000][..], &[3, 0, 1][..], 4_500_000)],
        );
        assert_eq!(
            exposition.text,
            r#"# HELP disk_guard_wait_seconds Waits.
# TYPE disk_guard_wait_seconds histogram
disk_guard_wait_seconds_bucket{le="0.0025"} 3
disk_guard_wait_seconds_bucket{le="1"} 3
disk_guard_wait_seconds_bucket{le="+Inf"} 4
disk_guard_wait_seconds_sum 4.5
disk_guard_wait_seconds_count 4
"#
        );
    }
}
