//! `stores` for people: what was, or would be, asked of each, and the result; and the line of each in `status`.

use super::screen::{Screen, Tone};
use super::words;
use crate::model::stores::{Collected, StoreReport, StoreResult, StoresRecord, StoresReport};
use crate::report::{escape, store_words};
use std::fmt::Write as _;
use std::time::SystemTime;

/// The report of a run, or of a dry one.
pub fn stores(report: &StoresReport, screen: &Screen) -> String {
    let mut out = String::new();
    if report.stores.is_empty() {
        let text = "no [[store]] is configured, so nothing is collected; see disk-guard.toml(5)";
        screen.paragraph(&mut out, Tone::Plain, "", text);
        return out;
    }
    for store in &report.stores {
        one(store, screen, &mut out);
    }
    if report.dry_run {
        let _ = writeln!(out, "\nDry run: no tool was asked to collect.");
    }
    out
}

fn one(store: &StoreReport, screen: &Screen, out: &mut String) {
    let kind = Some(store.kind.as_str()).filter(|kind| *kind != store.name).map(str::to_owned);
    let about: Vec<String> = kind.into_iter().chain(store.facts.bytes.map(words::size)).collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    let label = format!("Store            {}{about}: ", escape::text(&store.name));
    let would = match store.result {
        StoreResult::Planned => "would be collected, ",
        _ => "",
    };
    let mut text = format!("{would}{}", store_words::why(store));
    if let Some(result) = store_words::result(store) {
        let _ = write!(text, "; {result}");
    }
    let tone = match store.result {
        StoreResult::Failed(_) => Tone::Bad,
        StoreResult::Planned | StoreResult::Collected => Tone::Good,
        StoreResult::Interrupted(_) | StoreResult::Deferred => Tone::Warn,
        StoreResult::Kept if store.is_failed() => Tone::Bad,
        StoreResult::Kept => Tone::Plain,
    };
    screen.paragraph(out, tone, &label, &escape::text(&text));
}

/// The lines of `status` about the last run.
pub fn stores_record(record: Option<&StoresRecord>, now: SystemTime, screen: &Screen, out: &mut String) {
    for store in record.iter().flat_map(|record| &record.stores) {
        let is_failed = matches!(store.outcome.as_str(), "failed");
        let size = store.bytes.map(|bytes| format!("{}; ", words::size(bytes))).unwrap_or_default();
        let mut text = format!("{size}{} {} ago", store.outcome, words::elapsed(store.time, now));
        match store.collected {
            Some(Collected(at, freed)) if at == store.time => {
                let _ = write!(text, ", freed {}", words::size(freed));
            }
            Some(Collected(at, freed)) => {
                let (ago, freed) = (words::elapsed(at, now), words::size(freed));
                let _ = write!(text, "; last collected {ago} ago, freed {freed}");
            }
            None => {}
        }
        if let Some(detail) = &store.detail {
            let _ = write!(text, "; {detail}");
        }
        let kind = if store.kind == store.name {
            String::new()
        } else {
            format!(" ({})", escape::text(&store.kind))
        };
        let label = format!("Store            {}{kind}: ", escape::text(&store.name));
        screen.paragraph(out, if is_failed { Tone::Bad } else { Tone::Plain }, &label, &escape::text(&text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn a_run_at_80_columns() {
        insta::assert_snapshot!(stores(&samples::stores(Execution::Apply), &Screen::plain(80)), @r"
        Store            buildkit (20.0 GiB): its disk lacks space: 4.00 GiB of it;
                                              freed 4.00 GiB in 12 s
        Store            ccache (20.0 GiB): it is larger than `max_size`: 2.00 GiB of
                                            it; its tool reports success, and freed
                                            1 MiB in 12 s
        Store            nix (20.0 GiB): its disk lacks space: 2.00 GiB of it; FAILED:
                                         `nix` failed\x1b[m
        Store            docker-images (20.0 GiB): its disk lacks space: 9.00 GiB of it;
                                                   ended after 12 s: a job has begun:
                                                   its lease is there; freed 1.00 GiB
        Store            go (20.0 GiB): its disk lacks space: everything that its tool
                                        releases; left for the next run: the time of
                                        this one is over
        Store            pnpm (20.0 GiB): a build may be running: runner-1 is busy
        Store            sccache (20.0 GiB): sccache is in none of /usr/bin
        Store            containerd (20.0 GiB): nothing is needed from it
        ");
    }

    #[test]
    fn a_dry_run_and_none_at_all() {
        insta::assert_snapshot!(stores(&samples::stores(Execution::DryRun), &Screen::plain(80)), @r"
        Store            buildkit (20.0 GiB): would be collected, its disk lacks space:
                                              4.00 GiB of it
        Store            ccache (20.0 GiB): would be collected, it is larger than
                                            `max_size`: 2.00 GiB of it
        Store            nix (20.0 GiB): would be collected, its disk lacks space:
                                         2.00 GiB of it
        Store            docker-images (20.0 GiB): would be collected, its disk lacks
                                                   space: 9.00 GiB of it
        Store            go (20.0 GiB): would be collected, its disk lacks space:
                                        everything that its tool releases
        Store            pnpm (20.0 GiB): a build may be running: runner-1 is busy
        Store            sccache (20.0 GiB): sccache is in none of /usr/bin
        Store            containerd (20.0 GiB): nothing is needed from it

        Dry run: no tool was asked to collect.
        ");
        let text = stores(&StoresReport::default(), &Screen::plain(100));
        assert!(text.contains("no [[store]] is configured"), "{text}");
    }

    #[test]
    fn the_line_of_status() {
        let mut out = String::new();
        stores_record(Some(&samples::stores_record()), samples::now(), &Screen::plain(80), &mut out);
        insta::assert_snapshot!(out, @r"
        Store            buildkit: 16.0 GiB; collected 10 min ago, freed 4.00 GiB
        Store            ccache: 20.0 GiB; collected 10 min ago, freed 1 MiB
        Store            nix: 20.0 GiB; failed 10 min ago; `nix` failed\x1b[m
        Store            docker-images: 19.0 GiB; interrupted 10 min ago, freed
                                        1.00 GiB; a job has begun: its lease is there
        Store            go: 20.0 GiB; deferred 10 min ago
        Store            pnpm: 20.0 GiB; kept 10 min ago; a build may be running:
                               runner-1 is busy
        Store            sccache: 20.0 GiB; kept 10 min ago; sccache is in none of
                                  /usr/bin
        Store            containerd: 20.0 GiB; kept 10 min ago; nothing is needed from
                                     it
        ");
    }
}
