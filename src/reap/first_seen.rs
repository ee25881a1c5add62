//! Since when an environment has had its present state.
//!
//! Most tools report what an environment is doing but not since when. So every listing is compared with the remembered one: the time
//! counts while an environment is listed in the same idle state with the same mark, and starts anew when either changes, or when it was
//! not listed for a while. Unreadable data is dropped, which only makes everything look younger. Two listings cannot detect an environment
//! that ran in between and came back under the same id with the same mark; sources put everything into the mark that would show that.

use crate::model::reap::{Environment, EnvironmentState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A larger file was not written by the guard: a hundred thousand environments take a quarter of it.
pub const MAX_BYTES: u64 = 64 << 20;

/// What the runs of one configured entry have seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// By id.
    seen: BTreeMap<String, IdleSince>,
}

/// An idle environment as it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IdleSince {
    state: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mark: String,
    /// Seconds since 1970.
    first: u64,
}

impl FirstSeen {
    /// The remembered times; nothing if they cannot be parsed.
    pub fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The data to be remembered.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers serialise")
    }

    /// Records a whole listing: anything that is not in it is dropped.
    pub fn observe(&mut self, listing: &[Environment], now: SystemTime) {
        let before = std::mem::take(&mut self.seen);
        for environment in listing.iter().filter(|environment| is_idle(&environment.state)) {
            let (state, mark) = (environment.state.as_str().to_owned(), environment.mark.clone());
            let same = before.get(&environment.id).filter(|seen| seen.state == state && seen.mark == mark);
            // A clock that was set back leaves times in the future: they begin anew.
            let first = same.map(|seen| seen.first).filter(|first| *first <= seconds(now));
            let seen = IdleSince { state, mark, first: first.unwrap_or_else(|| seconds(now)) };
            self.seen.insert(environment.id.clone(), seen);
        }
    }

    /// Since when it has its present state: `now` when it was not seen so before.
    pub fn since(&self, environment: &Environment, now: SystemTime) -> SystemTime {
        let same = self
            .seen
            .get(&environment.id)
            .filter(|seen| seen.state == environment.state.as_str() && seen.mark == environment.mark);
        let first = same.and_then(|seen| UNIX_EPOCH.checked_add(Duration::from_secs(seen.first)));
        first.filter(|first| *first <= now).unwrap_or(now)
    }
}

fn is_idle(state: &EnvironmentState) -> bool {
    matches!(state, EnvironmentState::Stopped | EnvironmentState::NeverStarted | EnvironmentState::Idle)
}

/// Rounded up: nothing looks older than it was seen.
fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_clock_runs_while_nothing_changes() {
        let stopped = Environment::new("a", "a", EnvironmentState::Stopped);
        let running = Environment::new("a", "a", EnvironmentState::Running);
        let used = Environment { mark: "2".into(), ..stopped.clone() };
        for (what, listings, since) in [
            ("seen three times", vec![(10, Some(&stopped)), (20, Some(&stopped)), (30, Some(&stopped))], 10),
            ("ran in between", vec![(10, Some(&stopped)), (20, Some(&running)), (30, Some(&stopped))], 30),
            ("was away in between", vec![(10, Some(&stopped)), (20, None), (30, Some(&stopped))], 30),
            ("was used in between", vec![(10, Some(&used)), (20, Some(&stopped)), (30, Some(&stopped))], 20),
            (
                "the clock was set back",
                vec![(50, Some(&stopped)), (20, Some(&stopped)), (30, Some(&stopped))],
                20,
            ),
        ] {
            let mut seen = FirstSeen::default();
            for (time, listed) in listings {
                seen.observe(&listed.cloned().into_iter().collect::<Vec<_>>(), at(time));
                seen = FirstSeen::parse(&seen.to_bytes());
            }
            assert_eq!(seen.since(&stopped, at(30)), at(since), "{what}");
        }
    }

    #[test]
    fn another_state_or_mark_or_a_stranger_is_new() {
        let stopped = Environment::new("a", "a", EnvironmentState::Stopped);
        let mut seen = FirstSeen::default();
        seen.observe(std::slice::from_ref(&stopped), at(10));
        assert_eq!(seen.since(&stopped, at(99)), at(10), "the control");
        let never = Environment::new("a", "a", EnvironmentState::NeverStarted);
        let used = Environment { mark: "2".into(), ..stopped.clone() };
        let stranger = Environment::new("b", "a", EnvironmentState::Stopped);
        for other in [never, used, stranger] {
            assert_eq!(seen.since(&other, at(99)), at(99), "{other:?}");
        }
        assert_eq!(seen.since(&stopped, at(5)), at(5), "a time in the future is none");
    }

    #[test]
    fn a_damaged_record_is_discarded() {
        for text in ["", "{", "[]", "{\"seen\":{\"a\":1}}", "{\"seen\":{\"a\":{\"state\":\"stopped\"}}}"] {
            assert_eq!(FirstSeen::parse(text.as_bytes()), FirstSeen::default(), "{text}");
        }
    }
}
