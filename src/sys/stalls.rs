//! `/proc/pressure`: how long tasks wait for the processor, for memory and for disks.

use super::process::Proc;

/// The share of the time that has passed, in per cent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Averages {
    /// Of the last minute.
    pub minute: f64,
    /// Of the last five.
    pub five_minutes: f64,
}

/// How long tasks wait for one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stalls {
    /// At least one task waited.
    pub some: Averages,
    /// All tasks waited: nothing was done. For the processor this has no meaning on a whole host, and it is absent before Linux 5.13.
    pub full: Averages,
}

/// The stalls of `cpu`, `memory` or `io` on the whole host; none if the kernel was built or started without them.
pub fn of(proc: &Proc, resource: &str) -> Option<Stalls> {
    let text = std::fs::read_to_string(proc.root().join("pressure").join(resource)).ok()?;
    let averages = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let field = |name: &str| {
            line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        Some(Averages { minute: field("avg60")?, five_minutes: field("avg300")? })
    };
    Some(Stalls { some: averages("some")?, full: averages("full").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stall_times_are_read_and_missing_ones_are_none() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("pressure")).unwrap();
        let tell = |resource: &str, text: &str| {
            std::fs::write(temp.path().join("pressure").join(resource), text).unwrap();
            of(&Proc::new(temp.path()), resource)
        };
        let some = Averages { minute: 1.25, five_minutes: 0.93 };
        let full = Averages { minute: 0.45, five_minutes: 12.58 };
        let text = "some avg10=0.60 avg60=1.25 avg300=0.93 total=2\nfull avg10=0.01 avg60=0.45 avg300=12.58 total=9\n";
        assert_eq!(tell("io", text), Some(Stalls { some, full }));
        let alone = text.lines().next().unwrap();
        assert_eq!(tell("cpu", alone), Some(Stalls { some, full: Averages::default() }));
        assert_eq!(tell("memory", "some avg60=x"), None);
        assert_eq!(of(&Proc::new(temp.path()), "irq"), None);
    }
}
