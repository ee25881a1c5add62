//! `status --html`, `simulate --html`: one page that needs nothing else, for a wiki or an incident's ticket. It has no script, loads
//! nothing, and forbids both to itself; light and dark are the reader's choice.
//!
//! Names from disk are hostile: maud escapes every text that is put in, after control characters have been spelled out.

mod simulation;

pub use simulation::{past, simulation};

use super::human::{cause, reason, standings};
use super::words;
use crate::model::{Coverage, FilesystemStatus, HostStatus, Level, RunnerStatus, Standing, Visibility};
use crate::report::escape;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::time::SystemTime;

const STYLE: &str = include_str!("html/style.css");

/// The host.
pub fn status(host: &HostStatus) -> String {
    let standings = html! {
        (words::count(host.runners.len(), "runner")) @for (standing, count) in standings(host) { " " span class={"state " (standing.as_str())} { (count) " " (standing.as_str()) } }
    };
    page(
        &escape::text(&host.host),
        host.time,
        &standings,
        &html! { (disks(host)) (runners(host)) (rest(host)) },
    )
}

/// A page: its title, when it was made, a line below that, and its content.
fn page(title: &str, time: SystemTime, line: &Markup, told: &Markup) -> String {
    let time = words::timestamp(time);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "disk-guard: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { time datetime=(time.strftime("%FT%TZ")) { (time.strftime("%F %H:%M:%S UTC")) } " · disk-guard " (env!("CARGO_PKG_VERSION")) }
                    p { (line) }
                }
                main { (told) }
            }
        }
    };
    page.into_string() + "\n"
}

fn disks(host: &HostStatus) -> Markup {
    html! {
        section {
            h2 { "Disks" }
            table {
                thead { tr { th { "Disk" } th { "Used" } th class="number" { "Use%" } th class="number" { "Available" } th class="number" { "Size" } th class="number" { "Inodes" } th { "Level" } } }
                tbody {
                    @for status in &host.filesystems { (disk(status)) }
                    @for disk in &host.other_disks {
                        tr class="other" {
                            td { (escape::path(&disk.mount)) } td {} td {}
                            td class="number" { (words::size(disk.usage.available_bytes)) }
                            td class="number" { (words::size(disk.usage.total_bytes)) }
                            td {} td { "no runner" }
                        }
                    }
                }
            }
        }
    }
}

fn disk(status: &FilesystemStatus) -> Markup {
    let usage = &status.filesystem.usage;
    let level: &str = status.level.as_str();
    let inodes = match usage.inodes_total {
        0 => "-".to_owned(),
        _ => format!("{:.0}%", (1.0 - usage.inodes_free_ratio()) * 100.0),
    };
    html! {
        tr {
            td { (escape::path(&status.filesystem.mount)) }
            td { meter class=(level) min="0" max="100" value=(usage.used_percent()) { (usage.used_percent()) "%" } }
            td class="number" { (usage.used_percent()) "%" }
            td class="number" { (words::size(usage.available_bytes)) }
            td class="number" { (words::size(usage.total_bytes)) }
            td class="number" { (inodes) }
            td { span class={"level " (level)} { (level) } }
        }
    }
}

fn runners(host: &HostStatus) -> Markup {
    html! {
        section {
            h2 { "Runners" }
            @if host.runners.is_empty() {
                p { "No runner found. Looked in: " @for (n, root) in host.root_matches.iter().enumerate() { @if n > 0 { ", " } code { (escape::text(&root.pattern)) } } }
            } @else {
                table {
                    thead { tr { th { "Runner" } th { "State" } th class="number" { "Caches" } th class="number" { "Reclaimable" } th { "Why" } } }
                    tbody { @for status in &host.runners { (runner(status, host)) } }
                }
            }
        }
    }
}

fn runner(status: &RunnerStatus, host: &HostStatus) -> Markup {
    let known = status.caches.iter().all(|c| c.measure.is_some_and(|m| m.coverage == Coverage::Whole));
    let bytes = status.caches.iter().map(crate::model::Cache::bytes).sum();
    let standing: Standing = status.standing();
    html! {
        tr {
            td title=(escape::path(&status.runner.root)) { (escape::text(&status.runner.name)) }
            td {
                span class={"state " (standing.as_str())} { (standing.as_str()) }
                @if !status.guarded.is_guarded() { " " span class="state unguarded" { "unguarded" } }
            }
            td class="number" { @if status.caches.is_empty() { "-" } @else { @if !known { "≥ " } (words::size(bytes)) } }
            td class="number" { @if status.reclaimable_bytes == 0 { "-" } @else { (words::size(status.reclaimable_bytes)) } }
            td { (reason(status, host.time, &[])) }
        }
    }
}

/// Content without a table: sums, limits, remarks.
fn rest(host: &HostStatus) -> Markup {
    let sum = |of: fn(&RunnerStatus) -> u64| host.runners.iter().map(of).sum::<u64>();
    let (reclaimable, blocked) = (sum(|runner| runner.reclaimable_bytes), sum(|runner| runner.blocked_bytes));
    let mut blockers: Vec<&RunnerStatus> = host.runners.iter().filter(|r| r.blocked_bytes > 0).collect();
    blockers.sort_by_key(|runner| std::cmp::Reverse(runner.blocked_bytes));
    let is_short = host.capacity.limits.iter().any(|limit| limit.level > Level::Ok);
    html! {
        section {
            h2 { "Space" }
            dl {
                dt { "Reclaimable now" } dd { (words::size(reclaimable)) }
                @if blocked > 0 {
                    dt { "Blocked" }
                    dd { (words::size(blocked)) ul { @for runner in blockers { li { (words::size(runner.blocked_bytes)) " by " (escape::text(&runner.runner.name)) " (" (cause(runner)) ")" } } } }
                }
                @if let Some(record) = &host.dedupe { dt { "Shared blocks" } dd { (words::size(record.sharing_bytes)) " of " (words::size(record.pair_bytes)) " in second copies are stored once" } }
                @if host.trash_bytes > 0 { dt { "Trash" } dd { (words::size(host.trash_bytes)) ", deleted by the next sweep" } }
                @if !host.holding.is_empty() {
                    dt { "What holds the disk" }
                    dd { ul { @for holder in &host.holding { li { (words::held(holder)) " " code { (escape::path(&holder.path)) } " " (holder.class.in_words()) ": " (escape::text(&holder.remedy)) } } } }
                }
                dt { "Limits" } dd class=[is_short.then_some("short")] { (escape::text(&host.capacity.verdict)) }
                @for held in host.capacity.holdings.iter().filter(|held| held.is_notable) { dt { "Beside caches" } dd { (escape::text(&held.said)) } }
            }
        }
        @if matches!(host.visibility, Visibility::Partial(_)) || !host.notes.is_empty() {
            section {
                h2 { "Notes" }
                ul {
                    @if let Visibility::Partial(reasons) = &host.visibility {
                        @for reason in reasons { li { "Visibility is partial: " (escape::text(reason)) ". What cannot be seen counts as in use." } }
                    }
                    @for note in &host.notes { li { (escape::text(note)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn names_from_disk_are_text_and_the_page_needs_nothing_else() {
        let mut host = samples::host();
        let hostile = "</td><script>alert(1)</script>\" onload='x' \u{202e}&\u{1b}[31m";
        host.host = hostile.into();
        host.runners[0].runner.name = hostile.into();
        host.runners[0].runner.root = format!("/srv/{hostile}").into();
        host.notes = vec![hostile.into()];
        host.filesystems[0].filesystem.mount = format!("/mnt/{hostile}").into();
        host.capacity.verdict = hostile.into();
        let page = status(&host);
        assert!(!page.contains("<script") && !page.contains("onload='x' \u{202e}"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 6, "it is shown: {page}");
        assert!(!page.chars().any(|c| c != '\n' && escape::is_deceptive(c)), "{page}");
        for needs in ["http://", "https://", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(needs), "{needs}");
        }
    }

    #[test]
    fn the_page_contains_everything_that_status_reports() {
        let page = status(&samples::host());
        for told in [
            "ci-host-07",
            "2026-03-04 14:25:10 UTC",
            "1 drained",
            "/srv/ci",
            "critical",
            "≥ 18.0 GiB",
            "job acme/app #1234567890",
            "36.3 GiB",
            "the real limit: 9800 of 10000 open files",
            "runner-9 vanished",
            "Visibility is partial",
        ] {
            assert!(page.contains(told), "{told} is missing in:\n{page}");
        }
        let mut empty = samples::host();
        empty.runners.clear();
        assert!(status(&empty).contains("No runner found. Looked in: <code>/home/*/*runner*</code>"));
    }
}
