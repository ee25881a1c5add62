//! `status` for people: disks, runners and why each is in its state, then how much could be freed and what prevents it.

use super::screen::{Screen, Tone, fit};
use super::table::{Align, Cell, Table};
use super::{level_tone, notes, standing_tone, words};
use crate::model::{
    Cache, Coverage, Disk, DiskForecast, FilesystemStatus, HostStatus, Level, Liveness, RunnerStatus,
    Standing, Visibility, Weight,
};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;
use unicode_width::UnicodeWidthStr as _;

/// The blockers that are named; the others are counted.
const NAMED_BLOCKERS: usize = 3;

/// The host at a glance.
pub fn status(host: &HostStatus, screen: &Screen) -> String {
    let mut out = String::new();
    headline(host, screen, &mut out);
    out.push('\n');
    disks(host, screen.width()).render(screen, &mut out);
    out.push('\n');
    runners(host, screen, &mut out);
    totals(host, screen, &mut out);
    if !host.holding.is_empty() {
        out.push('\n');
        super::holding(&mut out, screen, &host.holding);
    }
    super::reap_record(host.reap.as_ref(), host.time, screen, &mut out);
    super::stores_record(host.stores.as_ref(), host.time, screen, &mut out);
    super::dedupe_record(host.dedupe.as_ref(), host.time, screen, &mut out);
    remarks(host, screen, &mut out);
    out
}

fn headline(host: &HostStatus, screen: &Screen, out: &mut String) {
    let time = words::timestamp(host.time).strftime("%F %H:%M:%S UTC");
    let name = escape::text(&host.host);
    let mut plain = words::count(host.runners.len(), "runner");
    let mut painted = plain.clone();
    for (n, (standing, count)) in standings(host).enumerate() {
        let gap = if n == 0 { ": " } else { ", " };
        let words = format!("{count} {}", standing.as_str());
        painted += &format!("{gap}{}", screen.paint(standing_tone(standing), &words));
        plain += &format!("{gap}{words}");
    }
    let has_room = format!("{name}  {time}  {plain}").width() <= screen.width();
    let gap = if has_room { "  " } else { "\n" };
    let _ = writeln!(out, "{}  {time}{gap}{painted}", screen.paint(Tone::Heading, &name));
}

/// How many runners are in each state.
pub(in crate::report) fn standings(host: &HostStatus) -> impl Iterator<Item = (Standing, usize)> {
    let count = |standing| host.runners.iter().filter(|runner| runner.standing() == standing).count();
    Standing::ALL.iter().map(move |standing| (*standing, count(*standing))).filter(|(_, count)| *count > 0)
}

/// The disks.
pub(super) fn disks(host: &HostStatus, width: usize) -> Table {
    // Below 80 columns the bar is dropped first: Use% shows the same.
    let (bar, mount) = match width {
        width @ ..80 => (0, width / 5),
        width => ((width - 68).clamp(10, 30), (width / 4).min(40)),
    };
    let mut table = Table::new(
        [
            ("DISK", Align::Left),
            ("", Align::Left),
            ("USE%", Align::Right),
            ("AVAILABLE", Align::Right),
            ("SIZE", Align::Right),
            ("IUSE%", Align::Right),
            ("LEVEL", Align::Left),
        ],
        "",
    );
    for status in &host.filesystems {
        table.row(guarded_disk(status, mount, bar), "");
    }
    for disk in &host.other_disks {
        table.row(other_disk(disk, mount, bar), "");
    }
    table
}

fn guarded_disk(status: &FilesystemStatus, mount: usize, bar: usize) -> [Cell; 7] {
    let usage = &status.filesystem.usage;
    let tone = level_tone(status.level);
    let inodes = match usage.inodes_total {
        0 => "-".to_owned(),
        _ => format!("{:.0}%", (1.0 - usage.inodes_free_ratio()) * 100.0),
    };
    [
        Cell::plain(fit(&status.filesystem.mount, mount)),
        Cell::new(tone, drawn(usage.used_percent(), bar)),
        Cell::new(tone, format!("{}%", usage.used_percent())),
        Cell::plain(words::size(usage.available_bytes)),
        Cell::plain(words::size(usage.total_bytes)),
        Cell::plain(inodes),
        Cell::new(tone, status.level.as_str()),
    ]
}

/// A disk that the guard does not act on has no level.
fn other_disk(disk: &Disk, mount: usize, bar: usize) -> [Cell; 7] {
    let percent = disk.usage.used_percent();
    [
        Cell::new(Tone::Faint, fit(&disk.mount, mount)),
        Cell::new(Tone::Faint, drawn(percent, bar)),
        Cell::new(Tone::Faint, format!("{percent}%")),
        Cell::new(Tone::Faint, words::size(disk.usage.available_bytes)),
        Cell::new(Tone::Faint, words::size(disk.usage.total_bytes)),
        Cell::new(Tone::Faint, "-"),
        Cell::new(Tone::Faint, "no runner"),
    ]
}

/// `[######....]`. Any use above zero shows, and only a full disk fills the bar. Nothing without room.
pub(super) fn drawn(percent: u8, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let share = usize::from(percent.min(100)) * width;
    let filled = match percent {
        0 => 0,
        100.. => width,
        _ => (share / 100).clamp(1, width - 1),
    };
    format!("[{}{}]", "#".repeat(filled), ".".repeat(width - filled))
}

fn runners(host: &HostStatus, screen: &Screen, out: &mut String) {
    if host.runners.is_empty() {
        no_runner(host, screen, out);
        return;
    }
    table(host, screen.width()).render(screen, out);
    if host.runners.iter().any(|r| !r.guarded.is_guarded()) {
        screen.paragraph(out, Tone::Faint, "! ", UNGUARDED);
    }
}

/// The meaning of the sign behind a runner's state.
pub(super) const UNGUARDED: &str =
    "its jobs do not run disk-guard's hook; until they do, its caches are left alone (see `doctor`)";

/// The runners. An idle one takes one line at every width: there may be many of them, and the reason does not matter. So does one whose
/// reason is the whole host's.
pub(super) fn table(host: &HostStatus, width: usize) -> Table {
    let name = (width / 4).min(40);
    let mut table = Table::new(
        [
            ("RUNNER", Align::Left),
            ("STATE", Align::Left),
            ("CACHES", Align::Right),
            ("RECLAIMABLE", Align::Right),
            ("NEWEST", Align::Right),
        ],
        "WHY",
    );
    for status in &host.runners {
        let mark = if status.guarded.is_guarded() { "" } else { " !" };
        let standing = status.standing();
        let cells = [
            Cell::plain(fit(&status.runner.name, name)),
            Cell::new(standing_tone(standing), format!("{}{mark}", standing.as_str())),
            Cell::plain(caches_size(&status.caches)),
            match status.reclaimable_bytes {
                0 => Cell::new(Tone::Faint, "-"),
                bytes => Cell::new(Tone::Good, words::size(bytes)),
            },
            Cell::plain(newest(&status.caches, host.time)),
        ];
        let told: &[String] = match &host.visibility {
            Visibility::Partial(reasons) => reasons,
            Visibility::Complete => &[],
        };
        let why = reason(status, host.time, told);
        match status.state {
            Liveness::Idle => table.short_row(cells, [vec![why], in_short(status)].concat()),
            // The same for every runner, and explained below.
            Liveness::Unknown if words::is_of_the_host(&status.evidence, told) => {
                table.short_row(cells, vec![why, "see below".to_owned()]);
            }
            Liveness::Busy | Liveness::Unknown => table.row(cells, why),
        }
    }
    table
}

fn no_runner(host: &HostStatus, screen: &Screen, out: &mut String) {
    if host.are_roots_closed {
        let text = "this user may not search everybody's directories: run as root";
        return screen.paragraph(out, Tone::Warn, "No runner found: ", text);
    }
    let globs: Vec<String> =
        host.root_matches.iter().map(|m| escape::text(&m.pattern).into_owned()).collect();
    let text = format!("searched {}; add their directories to `runners.roots`", globs.join(", "));
    screen.paragraph(out, Tone::Warn, "No runner found: ", &text);
}

/// All of a runner's caches, shown as a lower bound when one of them is unknown.
fn caches_size(caches: &[Cache]) -> String {
    if caches.is_empty() {
        return "-".to_owned();
    }
    let known = caches.iter().all(|c| c.measure.is_some_and(|m| m.coverage == Coverage::Whole));
    let bytes = words::size(caches.iter().map(Cache::bytes).sum());
    if known { bytes } else { format!(">= {bytes}") }
}

/// The age of the newest file in any cache.
fn newest(caches: &[Cache], now: SystemTime) -> String {
    let newest = caches.iter().filter_map(|c| c.measure.as_ref()?.newest).max();
    newest.map_or_else(|| "-".to_owned(), |t| now.duration_since(t).map_or("future".to_owned(), words::span))
}

/// Why a runner is in its state: its job, else the strongest evidence.
pub(in crate::report) fn reason(status: &RunnerStatus, now: SystemTime, told: &[String]) -> String {
    if let (Liveness::Idle, Some(out)) = (status.state, status.drained) {
        let back = if out.by_hand {
            "`disk-guard resume` returns it to service"
        } else {
            "a sweep returns it to service"
        };
        return format!("out of service for {}; {back}", words::elapsed(out.since, now));
    }
    if let (Liveness::Busy, Some(view)) = (status.state, &status.job) {
        return words::job(view, &status.evidence, now);
    }
    words::strongest_but(&status.evidence, told).unwrap_or_else(|| {
        match status.state {
            Liveness::Idle => "not in use",
            Liveness::Busy => "in use",
            Liveness::Unknown => "its use cannot be determined",
        }
        .to_owned()
    })
}

/// The same in few words, for an idle one.
fn in_short(status: &RunnerStatus) -> Vec<String> {
    match (status.drained, status.evidence.is_empty()) {
        (Some(out), _) => vec![if out.by_hand { "by hand" } else { "by a sweep" }.to_owned()],
        (None, true) => Vec::new(),
        (None, false) => vec![cause(status)],
    }
}

fn totals(host: &HostStatus, screen: &Screen, out: &mut String) {
    out.push('\n');
    let reclaimable: u64 = host.runners.iter().map(|r| r.reclaimable_bytes).sum();
    let tone = if reclaimable > 0 { Tone::Good } else { Tone::Plain };
    let from = host.runners.iter().filter(|r| r.reclaimable_bytes > 0).count();
    let from = if from == 0 { String::new() } else { format!(" in {}", words::count(from, "runner")) };
    let size = screen.paint(tone, &words::size(reclaimable));
    let _ = writeln!(out, "Reclaimable now  {size}{from}");
    if let Some(text) = blocked(host) {
        screen.paragraph(out, Tone::Plain, "Blocked          ", &text);
    }
    if host.trash_bytes > 0 {
        let text = format!("{}, deleted by the next sweep", words::size(host.trash_bytes));
        screen.paragraph(out, Tone::Plain, "Trash            ", &text);
    }
    if let Some(text) = words::unused_in_all(&host.targets) {
        screen.paragraph(out, Tone::Plain, "Targets          ", &text);
    }
    let is_of_interest =
        |disk: &&DiskForecast| !disk.jobs.is_empty() || disk.trend.is_some_and(|t| t.bytes_per_second > 0.0);
    for disk in host.forecasts.iter().filter(is_of_interest) {
        let tone = if disk.lacking_bytes() > 0 { Tone::Warn } else { Tone::Plain };
        let mount = escape::path(&disk.filesystem.mount);
        let text = format!("{mount}: {}", super::forecast::said(disk));
        screen.paragraph(out, tone, "Forecast         ", &text);
    }
    let tone =
        if host.capacity.limits.iter().any(|l| l.level > Level::Ok) { Tone::Warn } else { Tone::Plain };
    screen.paragraph(out, tone, "Limits           ", &escape::text(&host.capacity.verdict));
    let held = host.capacity.holdings.iter().filter(|held| held.is_notable);
    let held: Vec<_> = held.map(|held| escape::text(&held.said)).collect();
    if !held.is_empty() {
        screen.paragraph(out, Tone::Plain, "Beside caches    ", &held.join("; "));
    }
    if host.lock.held {
        screen.paragraph(out, Tone::Plain, "Lock             ", &holders(host));
    }
}

/// How much must be kept, and because of which runners: the largest first.
fn blocked(host: &HostStatus) -> Option<String> {
    let mut blockers: Vec<&RunnerStatus> = host.runners.iter().filter(|r| r.blocked_bytes > 0).collect();
    blockers.sort_by_key(|r| std::cmp::Reverse(r.blocked_bytes));
    let total: u64 = blockers.iter().map(|r| r.blocked_bytes).sum();
    let mut by: Vec<String> = blockers
        .iter()
        .take(NAMED_BLOCKERS)
        .map(|r| {
            format!("{} by {} ({})", words::size(r.blocked_bytes), escape::text(&r.runner.name), cause(r))
        })
        .collect();
    if let Some(more @ 1..) = blockers.len().checked_sub(NAMED_BLOCKERS) {
        by.push(format!("and {}", words::count(more, "more runner")))
    }
    (total > 0).then(|| format!("{}: {}", words::size(total), by.join(", ")))
}

/// One word for what blocks a runner: its state, or for an idle one what forbids a claim.
pub(in crate::report) fn cause(status: &RunnerStatus) -> String {
    let forbidding = status.evidence.iter().find(|e| e.weight == Weight::Forbids);
    match (status.state, forbidding) {
        (Liveness::Idle, Some(evidence)) => evidence.kind.as_str().replace('-', " "),
        (state, _) => state.as_str().to_owned(),
    }
}

fn holders(host: &HostStatus) -> String {
    let holders: Vec<String> = host
        .lock
        .holders
        .iter()
        .map(|h| {
            let since = h
                .since
                .map(|t| format!(", started {} ago", words::elapsed(t, host.time)))
                .unwrap_or_default();
            format!("{} (pid {}{since})", escape::text(&h.process), h.pid)
        })
        .collect();
    if holders.is_empty() {
        "held by a process that is not visible from here".to_owned()
    } else {
        format!("held by {}", holders.join(", "))
    }
}

fn remarks(host: &HostStatus, screen: &Screen, out: &mut String) {
    let mut remarks = String::new();
    if let Visibility::Partial(reasons) = &host.visibility {
        let reasons: Vec<_> = reasons.iter().map(|r| escape::text(r)).collect();
        let text = format!("{}. What cannot be seen counts as in use.", reasons.join("; "));
        screen.paragraph(&mut remarks, Tone::Warn, "visibility is partial: ", &text);
    }
    notes(&mut remarks, screen, &host.notes);
    if !remarks.is_empty() {
        out.push('\n');
        out.push_str(&remarks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LockView, RootMatches};
    use crate::report::samples;

    #[test]
    fn at_100_columns() {
        insta::assert_snapshot!(status(&samples::host(), &Screen::plain(100)), @r"
        ci-host-07  2026-03-04 14:25:10 UTC  5 runners: 1 busy, 2 idle, 1 unknown, 1 drained

        DISK                                       USE%  AVAILABLE      SIZE  IUSE%  LEVEL
        /home    [###########################...]   92%   21.0 GiB   234 GiB    12%  high
        /srv/ci  [#############################.]   98%   2.00 GiB   100 GiB    12%  critical
        /        [#######.......................]   26%   37.0 GiB  50.0 GiB      -  no runner

        RUNNER                     STATE         CACHES  RECLAIMABLE  NEWEST  WHY
        runner-1                   busy        12.3 GiB            -   2 min
            job acme/app #1234567890 `build` since 14:02 UTC, 23 min (Worker pid 4711)
        runner-2                   drained     8.42 GiB     8.42 GiB     3 d  by hand
        runner-3                   unknown  >= 18.0 GiB            -     5 h
            process 991 of uid 1002 cannot be examined: its open files may lie here
        build-farm-...2-runner-04  idle        4.00 GiB            -   3 min  recent content
        日本\u{202e}語\n::error::  idle !      2.00 GiB            -  40 min  unguarded
        ! its jobs do not run disk-guard's hook; until they do, its caches are left alone (see `doctor`)

        Reclaimable now  8.42 GiB in 1 runner
        Blocked          36.3 GiB: 18.0 GiB by runner-3 (unknown), 12.3 GiB by runner-1 (busy), 4.00 GiB by
                         build-farm-frankfurt-rack-12-runner-04 (recent content), and 1 more runner
        Trash            1.20 GiB, deleted by the next sweep
        Limits           the real limit: 9800 of 10000 open files of the whole host (`Too many open files in
                         system`, ENFILE); also short: bytes of /home
        Beside caches    java (pid 4242) holds 14.0 GiB of deleted files open on /home, the largest
                         /home/ci/\x1b[31mheap.bin: df counts them, du does not
        Lock             held by disk-guard (pid 77, started 3 s ago)

        visibility is partial: processes of uid 1002 are not readable: run as root. What cannot be seen
                               counts as in use.
        note: runner-9 vanished while it was looked at
        ");
    }

    #[test]
    fn at_80_columns() {
        insta::assert_snapshot!(status(&samples::host(), &Screen::plain(80)), @r"
        ci-host-07  2026-03-04 14:25:10 UTC
        5 runners: 1 busy, 2 idle, 1 unknown, 1 drained

        DISK                     USE%  AVAILABLE      SIZE  IUSE%  LEVEL
        /home    [###########.]   92%   21.0 GiB   234 GiB    12%  high
        /srv/ci  [###########.]   98%   2.00 GiB   100 GiB    12%  critical
        /        [###.........]   26%   37.0 GiB  50.0 GiB      -  no runner

        RUNNER                STATE         CACHES  RECLAIMABLE  NEWEST  WHY
        runner-1              busy        12.3 GiB            -   2 min
            job acme/app #1234567890 `build` since 14:02 UTC, 23 min (Worker pid 4711)
        runner-2              drained     8.42 GiB     8.42 GiB     3 d  by hand
        runner-3              unknown  >= 18.0 GiB            -     5 h
            process 991 of uid 1002 cannot be examined: its open files may lie here
        build-fa...runner-04  idle        4.00 GiB            -   3 min  recent content
        日本\u{2...::error::  idle !      2.00 GiB            -  40 min  unguarded
        ! its jobs do not run disk-guard's hook; until they do, its caches are left
          alone (see `doctor`)

        Reclaimable now  8.42 GiB in 1 runner
        Blocked          36.3 GiB: 18.0 GiB by runner-3 (unknown), 12.3 GiB by runner-1
                         (busy), 4.00 GiB by build-farm-frankfurt-rack-12-runner-04
                         (recent content), and 1 more runner
        Trash            1.20 GiB, deleted by the next sweep
        Limits           the real limit: 9800 of 10000 open files of the whole host
                         (`Too many open files in system`, ENFILE); also short: bytes of
                         /home
        Beside caches    java (pid 4242) holds 14.0 GiB of deleted files open on /home,
                         the largest /home/ci/\x1b[31mheap.bin: df counts them, du does
                         not
        Lock             held by disk-guard (pid 77, started 3 s ago)

        visibility is partial: processes of uid 1002 are not readable: run as root. What
                               cannot be seen counts as in use.
        note: runner-9 vanished while it was looked at
        ");
    }

    #[test]
    fn at_140_columns() {
        insta::assert_snapshot!(status(&samples::host(), &Screen::plain(140)), @r"
        ci-host-07  2026-03-04 14:25:10 UTC  5 runners: 1 busy, 2 idle, 1 unknown, 1 drained

        DISK                                       USE%  AVAILABLE      SIZE  IUSE%  LEVEL
        /home    [###########################...]   92%   21.0 GiB   234 GiB    12%  high
        /srv/ci  [#############################.]   98%   2.00 GiB   100 GiB    12%  critical
        /        [#######.......................]   26%   37.0 GiB  50.0 GiB      -  no runner

        RUNNER                               STATE         CACHES  RECLAIMABLE  NEWEST  WHY
        runner-1                             busy        12.3 GiB            -   2 min  job acme/app #1234567890 `build` since 14:02 UTC, 23 min
                                                                                        (Worker pid 4711)
        runner-2                             drained     8.42 GiB     8.42 GiB     3 d  by hand
        runner-3                             unknown  >= 18.0 GiB            -     5 h  process 991 of uid 1002 cannot be examined: its open files
                                                                                        may lie here
        build-farm-frank...ack-12-runner-04  idle        4.00 GiB            -   3 min  newest content is 3 min old, the idle floor is 10 min
        日本\u{202e}語\n::error::            idle !      2.00 GiB            -  40 min  /home/ci/x/.env names no hook of ours
        ! its jobs do not run disk-guard's hook; until they do, its caches are left alone (see `doctor`)

        Reclaimable now  8.42 GiB in 1 runner
        Blocked          36.3 GiB: 18.0 GiB by runner-3 (unknown), 12.3 GiB by runner-1 (busy), 4.00 GiB by build-farm-frankfurt-rack-12-runner-04
                         (recent content), and 1 more runner
        Trash            1.20 GiB, deleted by the next sweep
        Limits           the real limit: 9800 of 10000 open files of the whole host (`Too many open files in system`, ENFILE); also short: bytes of
                         /home
        Beside caches    java (pid 4242) holds 14.0 GiB of deleted files open on /home, the largest /home/ci/\x1b[31mheap.bin: df counts them, du
                         does not
        Lock             held by disk-guard (pid 77, started 3 s ago)

        visibility is partial: processes of uid 1002 are not readable: run as root. What cannot be seen counts as in use.
        note: runner-9 vanished while it was looked at
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for width in [60, 72, 80, 100, 120, 200] {
            let text = status(&samples::host(), &Screen::plain(width));
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colour_is_an_addition_only() {
        let plain = status(&samples::host(), &Screen::plain(100));
        assert!(!plain.contains('\u{1b}'));
        let coloured = status(&samples::host(), &Screen::coloured(100));
        assert!(coloured.contains("\u{1b}[31m") || coloured.contains("\u{1b}[1m\u{1b}[31m"), "{coloured:?}");
    }

    #[test]
    fn a_host_without_runners_lists_the_directories_that_were_searched() {
        let mut host = samples::host();
        host.runners.clear();
        host.notes.clear();
        host.visibility = Visibility::Complete;
        host.lock = LockView::default();
        host.trash_bytes = 0;
        host.root_matches = vec![RootMatches { pattern: "/opt/actions-runner*".into(), runners: 0 }];
        insta::assert_snapshot!(status(&host, &Screen::plain(80)), @r"
        ci-host-07  2026-03-04 14:25:10 UTC  0 runners

        DISK                     USE%  AVAILABLE      SIZE  IUSE%  LEVEL
        /home    [###########.]   92%   21.0 GiB   234 GiB    12%  high
        /srv/ci  [###########.]   98%   2.00 GiB   100 GiB    12%  critical
        /        [###.........]   26%   37.0 GiB  50.0 GiB      -  no runner

        No runner found: searched /opt/actions-runner*; add their directories to
                         `runners.roots`

        Reclaimable now  0 B
        Limits           the real limit: 9800 of 10000 open files of the whole host
                         (`Too many open files in system`, ENFILE); also short: bytes of
                         /home
        Beside caches    java (pid 4242) holds 14.0 GiB of deleted files open on /home,
                         the largest /home/ci/\x1b[31mheap.bin: df counts them, du does
                         not
        ");
    }

    #[test]
    fn a_user_who_may_not_search_is_told_so_and_spared_the_globs() {
        let mut host = samples::host();
        host.runners.clear();
        host.root_matches = vec![RootMatches { pattern: "/opt/actions-runner*".into(), runners: 0 }];
        assert!(status(&host, &Screen::plain(80)).contains("searched /opt/actions-runner*"), "the control");
        host.are_roots_closed = true;
        let text = status(&host, &Screen::plain(80));
        assert!(
            text.contains("No runner found: this user may not search") && !text.contains("/opt/"),
            "{text}"
        );
    }

    #[test]
    fn a_bar_shows_the_first_byte_and_is_full_only_when_full() {
        for (percent, bar) in [
            (0, "[..........]"),
            (1, "[#.........]"),
            (50, "[#####.....]"),
            (99, "[#########.]"),
            (100, "[##########]"),
        ] {
            assert_eq!(drawn(percent, 10), bar);
        }
    }
}
