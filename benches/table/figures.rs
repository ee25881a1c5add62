//! Series of measurements, and the table that they end in. An anchor is what the same round has measured of a peer: what counts
//! is the ratio within a round, which a machine's moods leave alone.

use std::time::{Duration, Instant};

/// A number from the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(format!("DISK_GUARD_BENCH_{name}")).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so much of the anchor's time.
    OfAnchor(f64),
    /// At most so much, in the row's unit.
    AtMost(f64),
    /// Nothing: it stands there to compare with.
    None,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    anchor: String,
    anchors: Vec<f64>,
    ours: Vec<f64>,
    unit: &'static str,
    goal: Goal,
}

impl Row {
    /// Times beside those of an anchor, in milliseconds, round by round.
    pub(crate) fn beside(
        what: impl Into<String>,
        anchor: &str,
        anchors: &[Duration],
        ours: &[Duration],
        goal: Goal,
    ) -> Self {
        let ms = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Self {
            what: what.into(),
            anchor: anchor.into(),
            anchors: ms(anchors),
            ours: ms(ours),
            unit: "ms",
            goal,
        }
    }

    /// Figures that stand for themselves.
    pub(crate) fn alone(what: impl Into<String>, unit: &'static str, ours: Vec<f64>, goal: Goal) -> Self {
        Self { what: what.into(), anchor: String::new(), anchors: Vec::new(), ours, unit, goal }
    }

    fn line(&self) -> String {
        let ratios: Vec<f64> =
            self.anchors.iter().zip(&self.ours).map(|(anchor, ours)| ours / anchor).collect();
        let anchor = match self.anchors[..] {
            [] => "-".to_owned(),
            _ => format!("{} {}", self.anchor, figure(quartiles(&self.anchors)[1])),
        };
        let ratio = if ratios.is_empty() { "-".to_owned() } else { spread(&ratios) };
        let [_, ours, _] = quartiles(&self.ours);
        let (goal, is_met) = match self.goal {
            Goal::OfAnchor(most) => {
                (format!("{most:.2} of {}", self.anchor), Some(quartiles(&ratios)[1] <= most))
            }
            Goal::AtMost(most) => (format!("{most} {}", self.unit), Some(ours <= most)),
            Goal::None => ("-".to_owned(), None),
        };
        let verdict = is_met.map_or("", |is_met| if is_met { "met" } else { "missed" });
        let unit = self.unit;
        format!("| {} | {anchor} | {} {unit} | {ratio} | {goal} | {verdict} |", self.what, spread(&self.ours))
    }
}

/// Prints a table of rows as Markdown: medians, with the quartiles in brackets.
pub(crate) fn print(rows: &[Row]) {
    println!("| what | anchor, ms | disk-guard | of the anchor | goal | |\n|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{}", row.line()));
}

fn spread(values: &[f64]) -> String {
    let [low, middle, high] = quartiles(values).map(figure);
    if values.len() < 3 { middle } else { format!("{middle} ({low}-{high})") }
}

fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The first quartile, the median and the third.
pub(crate) fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}

/// How a time grows with a size: the slope of the least squares through the logarithms.
pub(crate) fn exponent(points: &[(f64, Duration)]) -> f64 {
    let logs: Vec<(f64, f64)> =
        points.iter().map(|(size, time)| (size.ln(), time.as_secs_f64().ln())).collect();
    let count = logs.len() as f64;
    let (x, y) =
        (logs.iter().map(|(x, _)| x).sum::<f64>() / count, logs.iter().map(|(_, y)| y).sum::<f64>() / count);
    let covariance: f64 = logs.iter().map(|(a, b)| (a - x) * (b - y)).sum();
    covariance / logs.iter().map(|(a, _)| (a - x).powi(2)).sum::<f64>()
}

/// How long something takes.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The middle one.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
