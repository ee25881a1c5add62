//! Sizes, ages, times and reasons in words, for every sink that people read. All results are escaped.

use super::escape;
pub(crate) use crate::as_json::timestamp;
use crate::model::{
    Action, ActionResult, Aim, Cache, Coverage, Decision, DiskForecast, Evidence, EvidenceKind, JobView,
    KeepReason, Measure, Part, RemoveReason, Shortfall, SpaceHolder, TargetView, Usage, Weight, strongest,
};
use std::time::{Duration, SystemTime};

/// A size with three significant digits, in GiB from one GiB on.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let value = bytes as f64;
    // Each bound is where rounding would print "1024" of the smaller unit.
    if bytes < 1024 {
        format!("{bytes} B")
    } else if value < KIB * 1023.5 {
        format!("{:.0} KiB", value / KIB)
    } else if value < KIB * KIB * 1023.5 {
        format!("{:.0} MiB", value / (KIB * KIB))
    } else if value < KIB * KIB * KIB * 10_000.0 {
        format!("{} GiB", three_digits(value / (KIB * KIB * KIB)))
    } else {
        format!("{} TiB", three_digits(value / (KIB * KIB * KIB * KIB)))
    }
}

fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A cache's size: `?` when it was not measured, `>=` when only a part of it was seen, or it is remembered.
pub(crate) fn cache_size(cache: &Cache) -> String {
    match &cache.measure {
        None => "?".to_owned(),
        Some(Measure { bytes, coverage: Coverage::Whole, .. }) => size(*bytes),
        Some(Measure { bytes, coverage: Coverage::Part | Coverage::Remembered { .. }, .. }) => {
            format!(">= {}", size(*bytes))
        }
    }
}

/// A length of time in its largest unit: `12 s`, `12 min`, `5 h`, `3 d`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago `then` was, as words that follow a noun: "3 d old". A job can set any modification time, so a time after
/// `now` is named as such.
pub(crate) fn old(then: SystemTime, now: SystemTime) -> String {
    now.duration_since(then)
        .map_or_else(|_| "dated in the future".to_owned(), |age| format!("{} old", span(age)))
}

/// How long ago a process or job started. A start after `now` means that the clock was set back.
pub(crate) fn elapsed(since: SystemTime, now: SystemTime) -> String {
    span(now.duration_since(since).unwrap_or_default())
}

/// The time of day in UTC, with its date when it is another day than `now`.
pub(crate) fn clock(then: SystemTime, now: SystemTime) -> String {
    let (then, now) = (timestamp(then), timestamp(now));
    let same_day = then.strftime("%F").to_string() == now.strftime("%F").to_string();
    then.strftime(if same_day { "%H:%M UTC" } else { "%F %H:%M UTC" }).to_string()
}

/// `n thing` or `n things`.
pub(crate) fn count(n: usize, thing: &str) -> String {
    count_u64(n as u64, thing)
}

/// The same for numbers of 64 bits.
pub(crate) fn count_u64(n: u64, thing: &str) -> String {
    match (n, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        _ => format!("{n} {thing}s"),
    }
}

/// One piece of evidence; only its kind if it has no detail.
pub(crate) fn evidence(evidence: &Evidence) -> String {
    if evidence.detail.is_empty() {
        evidence.kind.as_str().replace('-', " ")
    } else {
        escape::text(&evidence.detail).into_owned()
    }
}

/// The strongest piece of evidence, and how many more there are.
pub(crate) fn strongest_of(list: &[Evidence]) -> Option<String> {
    let first = evidence(strongest(list)?);
    Some(match list.len() - 1 {
        0 => first,
        more => format!("{first} (+{more} more)"),
    })
}

/// Whether the strongest piece of evidence is one of `told`: what cannot be seen on the whole host.
pub(crate) fn is_of_the_host(list: &[Evidence], told: &[String]) -> bool {
    strongest(list)
        .is_some_and(|blind| blind.kind == EvidenceKind::Visibility && told.contains(&blind.detail))
}

/// The strongest piece of evidence, in lists that show the host's visibility limits once for all runners: `told` are those reasons.
pub(crate) fn strongest_but(list: &[Evidence], told: &[String]) -> Option<String> {
    if is_of_the_host(list, told) {
        return Some("not every process of the host can be examined: see below".to_owned());
    }
    strongest_of(list)
}

/// The job a runner is busy with, with what proves it.
pub(crate) fn job(view: &JobView, list: &[Evidence], now: SystemTime) -> String {
    let proof = strongest(list)
        .filter(|e| e.weight == Weight::InUse)
        .map(|e| format!(" ({})", evidence(e)))
        .unwrap_or_default();
    format!(
        "job {} #{} `{}` since {}, {}{proof}",
        escape::text(&view.job.repository),
        escape::text(&view.job.run_id),
        escape::text(&view.job.job),
        clock(view.since, now),
        elapsed(view.since, now),
    )
}

/// Why a plan removes or keeps a cache.
pub(crate) fn decision(decision: &Decision) -> String {
    match decision {
        Decision::Remove(RemoveReason::Pressure) => "its disk is under pressure".to_owned(),
        Decision::Remove(RemoveReason::Forecast) => "live jobs are expected to need its space".to_owned(),
        Decision::Remove(RemoveReason::Age) => "older than its rule's max_age".to_owned(),
        Decision::Remove(RemoveReason::Size) => "larger than its rule's max_size".to_owned(),
        Decision::Remove(RemoveReason::Asked) => "a person asked for it".to_owned(),
        Decision::Keep(KeepReason::NotNeeded) => "nothing asks for its space".to_owned(),
        Decision::Keep(KeepReason::Protected(list)) => {
            strongest_of(list).unwrap_or_else(|| "protected".to_owned())
        }
        Decision::Keep(KeepReason::SiblingsOff) => "siblings.claim is \"never\"".to_owned(),
        Decision::Keep(KeepReason::GivesLittle) => {
            "its space would not be freed: snapshots or reflinks hold it".to_owned()
        }
        Decision::Keep(KeepReason::ForeignOwner(why)) => escape::text(why).to_string(),
    }
}

/// Why something was not removed as planned.
pub(crate) fn setback(result: &ActionResult) -> String {
    let name = result.as_str();
    match result {
        ActionResult::Restored(list) => {
            let doubt = strongest_of(list).unwrap_or_else(|| "doubt".to_owned());
            format!("returned after the claim: {doubt}")
        }
        ActionResult::Changed(words) | ActionResult::Failed(words) | ActionResult::Deferred(words) => {
            format!("{name}: {}", escape::text(words))
        }
        ActionResult::Planned | ActionResult::Removed | ActionResult::Kept => name.to_owned(),
    }
}

/// The age of a cache's newest file: "3 d old".
pub(crate) fn newest(cache: &Cache, now: SystemTime) -> Option<String> {
    cache.measure.as_ref()?.newest.map(|time| old(time, now))
}

/// How large something is, as far as it was measured.
pub(crate) fn held(holder: &SpaceHolder) -> String {
    let at_least = if holder.is_whole { "" } else { ">= " };
    let much = if holder.by_inodes { count_u64(holder.inodes, "inode") } else { size(holder.bytes) };
    format!("{at_least}{much}")
}

/// How many inodes are left where there are few; nothing elsewhere.
pub(crate) fn few_inodes(usage: &Usage) -> String {
    const FEW: f64 = 0.1;
    if usage.inodes_free_ratio() >= FEW {
        return String::new();
    }
    format!(", {} of {} inodes free", usage.inodes_free, usage.inodes_total)
}

/// The message that a disk's goal is out of reach, with the lower goal.
pub(crate) fn shortfall(short: &Shortfall) -> String {
    let inodes = |n: u64| count_u64(n, "inode");
    let (lacking, held) = match short.need.bytes > short.reach.bytes {
        true => (size(short.need.bytes), size(short.reach.bytes)),
        false => (inodes(short.need.inodes), inodes(short.reach.inodes)),
    };
    if short.goal == Aim::Jobs {
        let instead = match short.aim {
            Aim::JobsOnAverage => "they are removed, because the expected need of the jobs is within reach",
            _ => "none are removed for that",
        };
        return format!(
            "the room that live jobs may need is out of reach: {lacking} are missing, and all caches there hold {held}; {instead}"
        );
    }
    let instead = match short.aim {
        Aim::Jobs | Aim::JobsOnAverage | Aim::Low | Aim::BelowCritical => {
            "they are removed only as far as that keeps the disk below critical and above pressure.min_free"
        }
        Aim::OffTheBrink => "they are removed only as far as that leaves a job some room",
    };
    format!(
        "pressure.low is out of reach: {lacking} are missing, and all caches there hold {held}; {instead}"
    )
}

/// How much of a target no build uses: "1.10 of 1.80 GiB is in units that no build has used since Monday; a build after it compiles
/// nothing". None where all of it is used.
pub(crate) fn unused(target: &TargetView, now: SystemTime) -> Option<String> {
    let bytes = target.unused_bytes;
    if bytes == 0 {
        return None;
    }
    let since = target.last_used.map(|time| format!(" since {}", day(time, now)));
    Some(format!(
        "{} of {} is in units that no build has used{}; a build after it compiles nothing",
        size(bytes),
        size(target.bytes),
        since.unwrap_or_default()
    ))
}

/// The same for several, in one sentence.
pub(crate) fn unused_in_all(targets: &[TargetView]) -> Option<String> {
    let sum = |of: fn(&TargetView) -> u64| targets.iter().fold(0u64, |sum, it| sum.saturating_add(of(it)));
    let bytes = sum(|target| target.unused_bytes);
    let were = if targets.len() == 1 { "was" } else { "were" };
    (bytes > 0).then(|| {
        format!(
            "{} of {} in {} that {were} read is in units that no build uses; a build after it compiles nothing",
            size(bytes),
            size(sum(|target| target.bytes)),
            count(targets.len(), "cargo target"),
        )
    })
}

/// A day in words: today, a weekday of the last six days, or its date.
fn day(then: SystemTime, now: SystemTime) -> String {
    let age = now.duration_since(then).unwrap_or_default().as_secs() / 86_400;
    let (then, now) = (timestamp(then), timestamp(now));
    match then.strftime("%F").to_string() == now.strftime("%F").to_string() {
        true => "earlier today".to_owned(),
        false => then.strftime(if age < 6 { "%A" } else { "%F" }).to_string(),
    }
}

/// The need of live jobs on a disk, and the available space.
pub(crate) fn room(disk: &DiskForecast) -> String {
    format!(
        "{} on {} may need {} more ({} expected), and {} are available",
        count(disk.jobs.len(), "live job"),
        escape::path(&disk.filesystem.mount),
        size(disk.room.need),
        size(disk.room.expected),
        size(disk.filesystem.usage.available_bytes)
    )
}

/// What a plan would remove or has removed: runner, rule, reason, age.
pub(crate) fn removal(action: &Action, now: SystemTime) -> String {
    let used = action.cache.used.map(|time| format!("; last job {} ago", elapsed(time, now)));
    let newest = newest(&action.cache, now).map(|age| format!("; newest file {age}"));
    let age = format!("{}{}", used.unwrap_or_default(), newest.unwrap_or_default());
    let (runner, rule) = (escape::text(&action.runner.name), escape::text(&action.cache.rule));
    let files = match &action.cache.part {
        Part::Whole => String::new(),
        Part::Files(files) => format!("{} of it, ", count(files.len(), "file")),
        Part::Units(trim) => format!("{} of it, ", count(trim.units, "unit")),
    };
    format!("{runner}, {rule}: {files}{}{age}", decision(&action.decision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_never_reach_the_next_unit() {
        const G: u64 = 1 << 30;
        for (bytes, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            ((1 << 20) - 1, "1 MiB"),
            (300 << 20, "300 MiB"),
            (G - 1, "1.00 GiB"),
            (G + G / 2, "1.50 GiB"),
            (10 * G - 1, "10.0 GiB"),
            (12 * G + G / 3, "12.3 GiB"),
            (100 * G - 1, "100 GiB"),
            (234 * G, "234 GiB"),
            (2048 * G, "2048 GiB"),
            (20_480 * G, "20.0 TiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn ages_are_rounded_down_to_their_unit() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (47 * 3600, "47 h"),
            (48 * 3600, "2 d"),
            (400 * 86_400, "400 d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn times_beyond_the_calendar_cause_no_panic() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
        let distant = SystemTime::UNIX_EPOCH - Duration::from_secs(i64::MAX as u64);
        assert_eq!(old(far, now), "dated in the future");
        assert_eq!(elapsed(far, now), "0 s");
        assert_eq!(clock(far, now), "9999-12-30 22:00 UTC");
        assert_eq!(clock(distant, now), "0000-01-01 00:00 UTC");
        assert_eq!(clock(now, now), "08:00 UTC");
        assert_eq!(clock(now - Duration::from_secs(86_400), now), "2027-01-14 08:00 UTC");
    }

    #[test]
    fn unused_units_are_reported_with_the_day_of_their_last_use() {
        // A Wednesday, 2026-03-04.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_634_310);
        let target = |last_used| TargetView {
            path: "/t".into(),
            runner: "r".into(),
            tiers: vec![
                (crate::model::TrimTier::Broken, 1 << 29),
                (crate::model::TrimTier::Unused, 3 << 29),
                (crate::model::TrimTier::Live, 4 << 30),
            ],
            bytes: 6 << 30,
            unused_bytes: 2 << 30,
            last_used,
        };
        let days = |days: u64| Some(now - Duration::from_secs(days * 86_400));
        for (last_used, words) in [
            (days(0), "used since earlier today;"),
            (days(2), "used since Monday;"),
            (days(30), "used since 2026-02-02;"),
            (None, "used;"),
        ] {
            let said = unused(&target(last_used), now).unwrap();
            assert!(said.contains(words) && said.starts_with("2.00 GiB of 6.00 GiB is in units"), "{said}");
        }
        let all_used = TargetView { tiers: Vec::new(), unused_bytes: 0, ..target(None) };
        assert_eq!((unused(&all_used, now), unused_in_all(&[all_used])), (None, None));
        let both = unused_in_all(&[target(None), target(None)]).unwrap();
        assert!(both.starts_with("4.00 GiB of 12.0 GiB in 2 cargo targets that were read"), "{both}");
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(count(0, "cache"), "0 caches");
        assert_eq!(count(1, "directory"), "1 directory");
        assert_eq!(count(2, "directory"), "2 directories");
    }
}
