//! Ending a run at every boundary.

use crate::also::Also;
use crate::kit::{self, Call, Entry, Image, MIB, MemoryGroup, Run, Stopped, change, place};
use crate::scene::{Scene, is_disturbed};
use crate::soak;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How runs are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// By being killed, by want of memory and by want of power.
    Dead,
    /// Not at all: by being suspended while another sweeps, and woken.
    Suspended,
}

/// In the short form, so many boundaries of what repeats itself are passed by for one at which a run is ended, and for one at
/// which it is ended in every way. The first of each verb is always one of these.
const SAMPLED: usize = 10;
const SAMPLED_IN_EVERY_WAY: usize = 20;

/// How often a run may end before it comes to a boundary that others came to.
const ATTEMPTS: usize = 3;

/// What a guard is about to do.
#[derive(Debug, Clone)]
struct Boundary {
    what: String,
    kind: Kind,
}

impl Boundary {
    fn verb(&self) -> Option<&str> {
        self.what.split(' ').next()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To slots, and to where what is claimed lies.
    Step,
    /// To the host lock, and to leases.
    Word,
    /// To the inside of what has been claimed.
    Deletion,
    /// To the guard's own records, and to locks that are tried for an instant.
    Aside,
}

impl Boundary {
    fn of(host: &Places, entry: &Entry) -> Option<Self> {
        let what = change(entry)?;
        let place = place(entry);
        let is_inside = place.components().any(|part| {
            let part = part.as_os_str().as_encoded_bytes();
            part == b"tree" || part.starts_with(b".disk-guard-trash-")
        });
        let is_one_of = |calls: &[&str]| what.split(' ').next().is_some_and(|call| calls.contains(&call));
        let kind = match () {
            () if place == host.lock || place.starts_with(&host.leases) => Kind::Word,
            () if !place.starts_with(&host.runners) || is_one_of(&["flock"]) => Kind::Aside,
            () if is_inside && is_one_of(&["unlink", "rmdir"]) => Kind::Deletion,
            () => Kind::Step,
        };
        Some(Self { what, kind })
    }
}

/// Where the guard works.
struct Places {
    program: PathBuf,
    runners: PathBuf,
    lock: PathBuf,
    leases: PathBuf,
}

/// A run that stands still at a boundary.
struct Held {
    stopped: Stopped,
    /// The guard itself; below a Worker, and where it has a supervisor, it is not what was started.
    guard: i32,
    whose: Whose,
    when: String,
}

/// For whom it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// For the whole host.
    Nobodys,
    /// Below the Worker whose runner has what may go.
    Its,
    /// Below another's Worker.
    Anothers,
}

impl Scene {
    /// Runs `call` to the boundary `number` of the guard's own changes; a run that ends before is handed back.
    fn hold(&self, call: &Call, number: usize, also: &Also) -> Result<Held, Run> {
        let (at, also) = (Arc::new(Mutex::new(None)), also.clone());
        let (told, mut seen) = (Arc::clone(&at), 0);
        let is_boundary = self.boundaries();
        let stopped = Stopped::try_at(call, move |entry| {
            also.look(entry);
            let Some(boundary) = is_boundary(entry) else { return false };
            seen += 1;
            if seen > number {
                let guard = entry.status("Tgid").and_then(|pid| pid.parse().ok());
                *told.lock().expect("nobody panics") = Some((boundary.what, guard.expect("it has a number")));
            }
            seen > number
        })?;
        let (what, guard) = at.lock().expect("nobody panics").take().expect("it was told");
        let whose = match () {
            () if call.program == self.host.program() => Whose::Nobodys,
            () if call.program.starts_with(&self.runner.root) => Whose::Its,
            () => Whose::Anothers,
        };
        Ok(Held { stopped, guard, whose, when: format!("boundary {number}, before `{what}`") })
    }

    /// What a call is, if it is the guard's own.
    fn boundaries(&self) -> impl Fn(&Entry) -> Option<Boundary> + Send + use<> {
        let places = Places {
            program: self.host.program(),
            runners: self.host.runners(),
            lock: self.host.host_lock(),
            leases: self.host.run_dir().join("leases"),
        };
        move |entry| {
            let boundary = Boundary::of(&places, entry)?;
            let exe = std::fs::read_link(format!("/proc/{}/exe", entry.thread));
            exe.is_ok_and(|exe| exe == places.program).then_some(boundary)
        }
    }

    /// A run to its end, and its boundaries.
    fn trace(&self, call: &Call, also: &Also) -> (Vec<Boundary>, Run) {
        let found = Arc::new(Mutex::new(Vec::new()));
        let (is_boundary, also, seen) = (self.boundaries(), also.clone(), Arc::clone(&found));
        let run = Stopped::try_at(call, move |entry| {
            also.look(entry);
            seen.lock().expect("nobody panics").extend(is_boundary(entry));
            false
        });
        let Err(run) = run else { unreachable!("no call is held") };
        let found = found.lock().expect("nobody panics").clone();
        (found, run.expect_code(&[0, 20]))
    }

    /// Ends `call` at every boundary, in every way; what those were, and the run that came to its end.
    pub(crate) fn end_everywhere(
        &self,
        call: &Call,
        ends: Ends,
        also: impl Fn() -> Also,
    ) -> (Vec<String>, Run) {
        let group = (ends == Ends::Dead).then(|| MemoryGroup::of(8 * MIB)).flatten();
        let begun = Instant::now();
        let (all, run) = loop {
            // This takes long enough for others to have come.
            kit::wait_for_strangers();
            let mut disk = self.afresh();
            let (all, run) = self.trace(call, &also());
            disk.unmount();
            if !is_disturbed(&run) {
                break (all, run);
            }
        };
        let (mut ended, mut missed, mut tally) = (Vec::new(), 0, Tally::default());
        for (number, boundary) in all.iter().enumerate() {
            let is_protocol = matches!(boundary.kind, Kind::Step | Kind::Word);
            let is_first = !all[..number].iter().any(|earlier| earlier.verb() == boundary.verb());
            let is_thorough = soak() || is_protocol || is_first || number % SAMPLED_IN_EVERY_WAY == 0;
            let is_sampled = boundary.kind == Kind::Deletion && ends == Ends::Dead && number % SAMPLED == 0;
            if !is_thorough && !is_sampled {
                continue;
            }
            // A disk that has not changed since has nothing new to lose.
            let before = number.checked_sub(1).map(|before| all[before].kind);
            let has_changed = boundary.kind != Kind::Word || before.is_none_or(|kind| kind != Kind::Word);
            let mut loses_power = is_thorough && (soak() || has_changed);
            // By the kernel, where there is such a group, or by a signal.
            let killers = match group.as_ref().filter(|_| is_thorough) {
                Some(group) if soak() => vec![Some(group), None],
                group => vec![group.filter(|_| number % 2 == 0)],
            };
            for killer in killers {
                let Some((held, disk, also)) = self.hold_afresh(call, number, &also) else {
                    missed += 1;
                    continue;
                };
                ended.push(held.when.clone());
                match ends {
                    Ends::Suspended => self.suspend_and_wake(held, disk, also, &mut tally),
                    Ends::Dead => {
                        let loses_power = std::mem::take(&mut loses_power);
                        self.end_for_good(held, disk, also, (loses_power, killer), &mut tally);
                    }
                }
            }
        }
        assert!(missed * 20 <= all.len(), "{missed} of {} boundaries were not met again", all.len());
        if soak() {
            let took = begun.elapsed().as_secs();
            println!("{} ends at {} boundaries in {took} s: {tally:?}", ended.len(), all.len());
        }
        (ended, run)
    }

    /// The same on a disk as it was at the beginning. How deletion goes about its work differs from run to run: `None` when a few
    /// did not come so far.
    fn hold_afresh(
        &self,
        call: &Call,
        number: usize,
        also: &impl Fn() -> Also,
    ) -> Option<(Held, Image, Also)> {
        (0..ATTEMPTS).find_map(|_| {
            kit::wait_for_strangers();
            let disk = self.afresh();
            let also = also();
            self.hold(call, number, &also).ok().map(|held| (held, disk, also))
        })
    }

    fn end_for_good(
        &self,
        held: Held,
        mut disk: Image,
        also: Also,
        (loses_power, group): (bool, Option<&MemoryGroup>),
        tally: &mut Tally,
    ) {
        let when = held.when.clone();
        let copies = if loses_power { self.lose_power(&disk) } else { Vec::new() };
        match group {
            Some(group) if held.whose == Whose::Nobodys => {
                group.end(held.guard);
                assert_eq!(held.stopped.release().signal, Some(libc::SIGKILL), "{when}");
            }
            Some(group) => self.end_below_a_living_worker(held, group),
            None => assert_eq!(held.stopped.kill().signal, Some(libc::SIGKILL), "{when}"),
        }
        drop(also);
        self.check(&when);
        self.finish(&when);
        disk.unmount();
        tally.out_of_memory += usize::from(group.is_some());
        tally.killed += usize::from(group.is_none());
        tally.without_power += copies.len();
        for (mut copy, how) in copies {
            let when = format!("{how} at {when}");
            self.reboot();
            copy.check();
            copy.mount(&self.host.runners());
            self.check(&when);
            self.finish(&when);
            copy.unmount();
        }
    }

    /// The kernel ends the guard alone. Its supervisor lives on, and leaves a lease and fences if it did not come to that; and so
    /// does its Worker, and its job: what was not claimed before stays where it is, whoever sweeps.
    fn end_below_a_living_worker(&self, held: Held, group: &MemoryGroup) {
        let Held { stopped, guard, whose, when } = held;
        let living = self.keep_workers();
        let supervisor = parent_of(guard);
        group.end(guard);
        stopped.let_go();
        kit::until("the hook's end", || (!is_alive(supervisor)).then_some(()));
        let (is_in_place, leases) = (self.check(&when), self.leases());
        assert_eq!(leases.len(), 1, "{when}: its job begins with a lease");
        let other = self.host.guard(&["sweep", "--json"]);
        assert!(matches!(other.code, Some(0 | 20)), "{when}: beside a living Worker {other:?}");
        let still_in_place = self.check(&format!("{when}, its Worker alive"));
        if whose == Whose::Its {
            assert_eq!(still_in_place, is_in_place, "{when}: a sweep took a living job's cache: {other:?}");
        }
        let left = self.leases();
        let lost: Vec<_> = leases.iter().filter(|lease| !left.contains(lease)).collect();
        assert!(lost.is_empty(), "{when}: a living Worker's lease is gone: {lost:?}");
        drop(living);
        assert_eq!(stopped.release().code, Some(0), "{when}: its job begins");
    }

    /// While one guard stands still another sweeps, and has to wait no longer than it was told to; then the first goes on
    /// with what it knew.
    fn suspend_and_wake(&self, held: Held, mut disk: Image, also: Also, tally: &mut Tally) {
        let Held { stopped, guard, whose, when } = held;
        let is_in_place = self.check(&when);
        kill(Pid::from_raw(guard), Signal::SIGSTOP).expect("it lives");
        let other = self.impatient_sweep().run();
        assert!(matches!(other.code, Some(0 | 20 | 75)), "{when}: beside it {other:?}");
        let still_in_place = self.check(&format!("{when}, suspended"));
        if whose == Whose::Its {
            assert_eq!(still_in_place, is_in_place, "{when}: a sweep took a living job's cache: {other:?}");
            if other.code == Some(75) {
                tally.locked_out += 1;
                let hook = self.impatient_hook(&self.third).run();
                assert_eq!(hook.code, Some(0), "{when}: another hook beside it {hook:?}");
                self.check(&format!("{when}, another hook beside it"));
            }
        }
        kill(Pid::from_raw(guard), Signal::SIGCONT).expect("it lives");
        let look = also.clone();
        let goes_on = stopped.to_next(move |entry| {
            look.look(entry);
            false
        });
        assert!(!goes_on, "nothing holds it");
        let woken = stopped.release();
        let good: &[i32] = if whose == Whose::Nobodys { &[0, 20, 75] } else { &[0] };
        assert!(woken.code.is_some_and(|code| good.contains(&code)), "{when}: woken {woken:?}");
        self.check(&format!("{when}, woken"));
        drop(also);
        self.finish(&when);
        disk.unmount();
        tally.suspended += 1;
    }

    /// What the disk holds if the power goes now, and if it goes when all has been written out.
    fn lose_power(&self, disk: &Image) -> Vec<(Image, &'static str)> {
        let at_once = self.copy_of(disk, "at-once");
        disk.sync();
        let later = self.copy_of(disk, "later");
        vec![(at_once, "power lost"), (later, "power lost, with all written out,")]
    }
}

fn stat(pid: i32) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn parent_of(pid: i32) -> i32 {
    stat(pid).expect("it lives").1
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// How many runs ended how, for people.
#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    out_of_memory: usize,
    without_power: usize,
    suspended: usize,
    locked_out: usize,
}

/// A boundary of each kind has been met, so that not being lost means something.
#[track_caller]
pub(crate) fn assert_met(boundaries: &[String], kinds: &[&str]) {
    for kind in kinds {
        assert!(boundaries.iter().any(|when| when.contains(kind)), "no {kind}: {boundaries:#?}");
    }
}
