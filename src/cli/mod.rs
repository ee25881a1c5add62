//! The command line: clap's types and their help, nothing else. A wrong command line exits 2 (clap's own number).

use crate::config::units::Size;
use crate::model::hygiene::RemediateMode;
use crate::report::exit::Exit;
use crate::report::human::ColorWhen;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use strum::IntoStaticStr;

/// Keeps the disk of a host with many CI runners from filling up, and never breaks a live job to do it.
///
/// A cache is removed only when its runner is provably idle: anything that cannot be read, attributed or recognised counts as
/// in use. `plan` and `sweep` choose by the same rules, so what `plan` prints is what `sweep` would do.
///
/// Examples:
///   disk-guard status                    disks, busy runners, reclaimable caches
///   disk-guard plan                      what a sweep would remove, and why the rest is kept
///   disk-guard why /home/ci/r1/_work/app/app/target
///   disk-guard blame --at 14:20          what the guard did then, or proof that it did nothing
///   disk-guard postmortem --runner ci-3  why its last jobs ended
///   disk-guard check --runner ci-3 && rm -rf /scratch/ci-3
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "disk-guard", version, verbatim_doc_comment, after_help = Exit::TABLE)]
pub struct Cli {
    /// Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// The lowest level of events that are written to the journal, or to standard error if there is none
    #[arg(long, global = true, value_enum, default_value_t, value_name = "LEVEL")]
    pub log_level: LogLevel,

    /// Colour text output; `auto` = on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses this process's command line. Ends the process with 2 when it is wrong, and with 0 after help.
    pub fn of_process() -> Self {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        hook_line(arguments.get(1..).unwrap_or_default()).unwrap_or_else(|| Self::parse_from(arguments))
    }
}

/// The command lines of hook scripts, parsed without clap, which builds the whole tree of commands first: a quarter of the
/// time that a hook itself takes on a healthy disk. Every other line is parsed by clap, also an equivalent one.
fn hook_line(arguments: &[OsString]) -> Option<Cli> {
    let (config, verb) = match arguments {
        [option, path, verb @ ..] if option == "--config" && is_value(path) => (Some(path.into()), verb),
        verb => (None, verb),
    };
    let hook = match verb {
        [hook, when] if hook == "hook" && when == "started" => HookCommand::Started { runner_root: None },
        [hook, when] if hook == "hook" && when == "completed" => HookCommand::Completed { runner_root: None },
        _ => return None,
    };
    Some(Cli {
        config,
        log_level: LogLevel::default(),
        color: Color::default(),
        command: Command::Hook(hook),
    })
}

fn is_value(argument: &OsStr) -> bool {
    !argument.is_empty() && !argument.as_encoded_bytes().starts_with(b"-")
}

/// The verbs.
#[derive(Debug, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Run by a runner before and after each job (hooks/job-started.sh, hooks/job-completed.sh)
    #[command(subcommand)]
    Hook(HookCommand),

    /// The timer's pass over all runners: pressure, age and size limits, unfinished trash, dead leases; then stores and the
    /// reaper, where `[[store]]` and `[[reap]]` are configured
    Sweep {
        /// Leave leaked environments to `reap`
        #[arg(long)]
        no_reap: bool,
        /// Leave stores of engines and build tools to `stores`
        #[arg(long)]
        no_stores: bool,
        /// Show what would be done, and do nothing: the same as `plan`
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Delete leaked virtual machines, containers and runner pods, as configured in `[[reap]]`; exits 1 when a delete failed or its object still exists
    Reap {
        /// Show what would be deleted and why the rest is kept, and delete nothing
        #[arg(long)]
        dry_run: bool,
        /// Only the entry of this name; may be given several times
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Make engines and build tools collect their own stores, as configured in `[[store]]`, while every runner is idle; exits 1 when one
    /// failed
    Stores {
        /// Show what would be asked of each and why the rest is left alone, and ask nothing
        #[arg(long)]
        dry_run: bool,
        /// Only the entry of this name; may be given several times
        #[arg(long, value_name = "NAME")]
        store: Vec<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Show what a sweep would remove now, and the reason for everything that it would keep
    Plan {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Show which units of a cargo target directory could be removed, and what the next build would then compile. Deletes nothing:
    /// sweeps and hooks trim targets under pressure, according to their cache rules
    ///
    /// Examples:
    ///   disk-guard trim /home/ci/actions-runner-1/_work/app/app/target
    ///   disk-guard trim target --free 2GiB
    #[command(verbatim_doc_comment)]
    Trim {
        /// The target directory
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// How much to free; without it, everything that costs the next build nothing
        #[arg(long, value_name = "SIZE")]
        free: Option<Size>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Compare ways of making room, on simulated hosts: how many of 1,000 jobs would have died because the disk was full. Or replay
    /// this host's own past, with another configuration or disk
    ///
    /// Examples:
    ///   disk-guard simulate web                           four ways of making room on one simulated host
    ///   disk-guard simulate --history --size 300GiB       the last day of this host, on a smaller disk
    ///   disk-guard simulate --history --against new.toml  the last day with other watermarks
    #[command(verbatim_doc_comment)]
    Simulate {
        /// Only the host of this name; may be given several times [default: all]
        #[arg(value_name = "HOST")]
        hosts: Vec<String>,
        /// The number of seeds that each figure is the mean of
        #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
        seeds: u64,
        /// The number of simulated days
        #[arg(long, value_name = "DAYS", default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
        /// Also vary the conditions: unknown jobs, wrong estimates, two disks
        #[arg(long)]
        sensitivity: bool,
        /// Replay this host's own past instead, from the records of its sweeps
        #[arg(long, conflicts_with_all = ["hosts", "seeds", "days", "sensitivity"])]
        history: bool,
        /// With --history: on disks of this size [default: as they are]
        #[arg(long, value_name = "SIZE", requires = "history")]
        size: Option<Size>,
        /// With --history: with this configuration [default: the effective one]
        #[arg(long, value_name = "PATH", requires = "history")]
        against: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Write one page for a browser, with nothing beside it, to FILE; `-` = standard output
        #[arg(long, value_name = "FILE", conflicts_with = "json")]
        html: Option<PathBuf>,
    },

    /// Show how much room live jobs need (the sizes of their earlier runs, minus their present sizes), and when the disks will be full
    Forecast {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Show the host at a glance: disks, runners with their states and reasons, reclaimable and blocked caches
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Refresh every two seconds, on a screen of its own: arrow and page keys scroll the runners, `q` or Ctrl-C ends it
        #[arg(long)]
        watch: bool,
        /// Write one page for a browser, with nothing beside it, to FILE; `-` = standard output
        #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "watch"])]
        html: Option<PathBuf>,
    },

    /// Report whether a runner or path is provably idle, for other cleaners to ask before they delete: exits 0 idle, 10 busy, 11 unknown
    Check(CheckArgs),

    /// Check whether this host is set up so that the guard can work. Each finding comes with its fix; exits 1 when a check fails
    Doctor {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Find contaminated work directories: foreign or locked entries, git's stale locks and broken metadata, leftovers.
    /// Exits 0 clean, 12 repairable, 13 to be replaced
    Audit {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Repair one repository's work directory, if its runner is provably idle; without --apply only show what would be done
    Remediate(RemediateArgs),

    /// Show what was done to a path, by which run, on which evidence; or proof that nothing was done
    Why {
        /// The path, a runner's name, or an environment's; it need not exist any more
        path: PathBuf,
        /// List the guard's runs since then, instead of around the time at which the path vanished
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        since: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Set the hooks in every discovered runner's .env, keeping all other lines
    Install(SetupArgs),

    /// Restore every .env to its state before `install`
    Uninstall(UninstallArgs),

    /// Take a runner out of service: its running job finishes, then its unit is stopped
    Drain {
        /// The runner, by its name, its root directory or its unit
        runner: String,
    },

    /// Put a drained runner back into service
    Resume {
        /// The runner, by its name, its root directory or its unit
        runner: String,
    },

    /// Show what was done and refused, with sums by rule and runner
    History {
        /// Since when: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday`, `today 14:00` (UTC), `30m`, `1d`, `2h ago`
        #[arg(long, value_name = "TIME", default_value = "24h ago", allow_hyphen_values = true)]
        since: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Show everything that the guard did on this host around a time; or that it did nothing, and its last action before and first after
    Blame {
        /// When: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday 14:00` (UTC), `30m`, `2h ago`
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: String,
        /// How far before and after
        #[arg(long, value_name = "DURATION", default_value = "10min")]
        window: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Print the metrics in Prometheus' text format: disks, runners, caches, and the counts since the first sweep
    ///
    /// A sweep writes the same to `metrics.textfile` for node_exporter. Run it as root: anything that cannot be seen is `unknown`.
    Metrics,
    /// Show why a runner or a job died, with the evidence, the causes that were ruled out, and the sources that could not be read
    Postmortem {
        /// One runner, by its name or its root directory: all of its jobs, those that ended well included
        #[arg(long, value_name = "NAME")]
        runner: Option<String>,
        /// Since when: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday`, `today 14:00` (UTC), `30m`, `1d`, `2h ago`
        #[arg(long, value_name = "TIME", default_value = "24h ago", allow_hyphen_values = true)]
        since: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Report incidents to the administrator's program, as configured in `[notify]`; run by a unit after every sweep
    ///
    /// An incident is reported when it is new, when it has changed, when it has lasted for `notify.repeat`, and when it is over.
    /// Without `notify.command` nothing is reported. Exits 1 when the program could not be run or failed.
    Notify {
        /// Send one message that is marked as a test
        #[arg(long, conflicts_with = "dry_run")]
        test: bool,
        /// Show what would be reported, and report and record nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the message that the program would receive, one JSON document
        #[arg(long)]
        json: bool,
    },

    /// Validate the configuration and print the effective one
    CheckConfig {
        /// The file, instead of --config
        path: Option<PathBuf>,
    },

    /// The names of this host's runners, one a line, for shells' completions
    #[command(hide = true)]
    Names,

    /// Show the guard at work on a throw-away host: nothing of this machine is touched, nothing is left behind
    Demo,

    /// A process of the demo.
    #[command(hide = true)]
    DemoActor(DemoActorArgs),
}

impl Command {
    /// Whether it walks directories that may be on mounts of other hosts or programs.
    pub fn enters_mounts(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::Sweep { .. }
                | Self::Plan { .. }
                | Self::Audit { .. }
                | Self::Check(_)
                | Self::Doctor { .. }
                | Self::Metrics
                | Self::Forecast { .. }
                | Self::Postmortem { .. }
                | Self::Remediate(_)
                | Self::Trim { .. }
        )
    }
}

/// The runner's two hooks.
#[derive(Debug, Subcommand, PartialEq, Eq)]
pub enum HookCommand {
    /// Before a job: write a lease, and make room when the disk is under pressure
    Started {
        /// Names the runner by hand, for use outside a runner
        #[arg(long, value_name = "DIR")]
        runner_root: Option<PathBuf>,
    },
    /// After a job: end the lease
    Completed {
        /// Names the runner by hand, for use outside a runner
        #[arg(long, value_name = "DIR")]
        runner_root: Option<PathBuf>,
    },
}

/// What `check` is asked about.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct CheckArgs {
    /// A runner, by its name or its root directory
    #[arg(long, value_name = "NAME", group = "what")]
    pub runner: Option<String>,
    /// A path in a runner's directory
    #[arg(long, value_name = "PATH", group = "what")]
    pub path: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What to repair, and how.
#[derive(Debug, Args, PartialEq, Eq)]
pub struct RemediateArgs {
    /// The runner, by its name, its root directory or its unit
    pub runner: String,
    /// The repository, by its name or its directory's name in the work directory
    pub repository: OsString,
    /// How; without it the mode that `audit` recommends is shown
    #[arg(long, value_enum)]
    pub mode: Option<RepairMode>,
    /// Do it
    #[arg(long, requires = "mode")]
    pub apply: bool,
    /// Do it although more than one repository of the host is contaminated
    #[arg(long, requires = "apply")]
    pub even_if_widespread: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// How a repository is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepairMode {
    /// Restore the owner's permission bits, and remove git's stale lock files
    Unlock,
    /// Change the owner of other users' entries to the runner's user
    Chown,
    /// Move all of it to trash, so that the next job clones afresh
    Reset,
}

impl From<RepairMode> for RemediateMode {
    fn from(mode: RepairMode) -> Self {
        match mode {
            RepairMode::Unlock => Self::Unlock,
            RepairMode::Chown => Self::Chown,
            RepairMode::Reset => Self::Reset,
        }
    }
}

/// How to wire runners, or to undo it.
#[derive(Debug, Args, PartialEq, Eq)]
pub struct SetupArgs {
    /// Show the exact changes and commands, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Where job-started.sh and job-completed.sh are
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/disk-guard/hooks")]
    pub hooks_dir: PathBuf,
    /// Do not add the runners' users to the group disk-guard
    #[arg(long)]
    pub no_group: bool,
    /// Restart Listeners that do not know the change yet, but only of runners that are provably idle
    #[arg(long)]
    pub restart_idle: bool,
}

/// What is undone, and how.
#[derive(Debug, Args, PartialEq, Eq)]
pub struct UninstallArgs {
    /// As for `install`.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Undo only recorded changes, put runners back into service that a sweep has drained, and record what still names the hooks: the
    /// package's removal runs this
    #[arg(long)]
    pub recorded: bool,
}

/// The arguments of a process of the demo.
#[derive(Debug, Args, PartialEq, Eq)]
pub struct DemoActorArgs {
    /// The started-hook.
    pub hook: PathBuf,
    /// The job's workspace.
    pub workspace: PathBuf,
    /// The job's repository.
    pub repository: String,
    /// Build until standard input ends.
    #[arg(long)]
    pub build: bool,
}

/// The levels of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And every action and refusal.
    #[default]
    Info,
    /// And observations.
    Debug,
}

impl From<LogLevel> for crate::report::journal::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Its value on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<Color> for ColorWhen {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A line that the short way accepts is parsed equally by clap; a line that clap refuses is left to clap.
    #[test]
    fn the_short_way_of_hooks_parses_as_clap_does() {
        let read = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let all = [&["disk-guard".into()], words.as_slice()].concat();
            (hook_line(&words), Cli::try_parse_from(all).ok())
        };
        for line in [
            "hook started",
            "hook completed",
            "--config /etc/x.toml hook started",
            "--config /etc/x.toml hook completed",
        ] {
            let (short, clap) = read(line);
            assert!(short.is_some() && short == clap, "{line}: {short:?} {clap:?}");
        }
        for line in [
            "hook started --runner-root /srv/r",
            "hook started --config /etc/x.toml",
            "--log-level debug hook started",
            "hook",
            "hook begun",
            "hook started now",
            "--config hook started",
            "--config --color hook started",
            "--config  hook started",
            "status",
            "",
        ] {
            assert_eq!(read(line).0, None, "{line}");
        }
    }

    #[test]
    fn check_asks_about_exactly_one_thing() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["disk-guard", "check"], args].concat()).map(drop);
        assert!(parse(&["--runner", "a"]).is_ok());
        assert!(parse(&["--path", "/a", "--json"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--runner", "a", "--path", "/a"]).is_err());
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn every_command_line_of_the_contract_is_accepted() {
        for line in [
            "disk-guard hook started",
            "disk-guard hook started --runner-root /home/ci/runner-1",
            "disk-guard hook completed",
            "disk-guard sweep --dry-run --json",
            "disk-guard plan --json",
            "disk-guard status --json --watch",
            "disk-guard sweep --no-reap --no-stores",
            "disk-guard stores --dry-run --json --store ccache --store nix",
            "disk-guard reap --dry-run --json --source tart --source pods",
            "disk-guard check --runner runner-1 --json",
            "disk-guard why /home/ci/x --json",
            "disk-guard history --since -2h --json",
            "disk-guard blame --at 14:20",
            "disk-guard doctor --json",
            "disk-guard metrics",
            "disk-guard audit --json",
            "disk-guard remediate runner-1 acme/app",
            "disk-guard remediate runner-1 app --mode chown --apply --json",
            "disk-guard install --dry-run",
            "disk-guard uninstall --dry-run",
            "disk-guard drain runner-1",
            "disk-guard resume runner-1",
            "disk-guard postmortem --runner runner-1 --since -2h --json",
            "disk-guard check-config /tmp/c.toml",
            "disk-guard demo",
            "disk-guard --config /tmp/c.toml --log-level debug --color never status",
            "disk-guard status --config /tmp/c.toml --log-level error --color always",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn other_command_lines_are_usage_errors() {
        for line in [
            "disk-guard",
            "disk-guard nonsense",
            "disk-guard hook",
            "disk-guard sweep everything",
            "disk-guard status --color sometimes",
            "disk-guard drain",
            "disk-guard remediate runner-1",
            "disk-guard remediate runner-1 app --apply",
            "disk-guard remediate runner-1 app --mode wipe",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
        }
        assert_eq!(parse("disk-guard --help").expect_err("it is shown").exit_code(), 0);
    }
}
