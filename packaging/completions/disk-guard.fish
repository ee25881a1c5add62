# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_disk_guard_global_optspecs
    string join \n config= log-level= color= h/help V/version
end

function __fish_disk_guard_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_disk_guard_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_disk_guard_using_subcommand
    set -l cmd (__fish_disk_guard_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c disk-guard -n "__fish_disk_guard_needs_command" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_needs_command" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_needs_command" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -s V -l version -d 'Print version'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "hook" -d 'Run by a runner before and after each job (hooks/job-started.sh, hooks/job-completed.sh)'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "sweep" -d 'The timer\'s pass over all runners: pressure, age and size limits, unfinished trash, dead leases; then stores and the reaper, where `[[store]]` and `[[reap]]` are configured'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "reap" -d 'Delete leaked virtual machines, containers and runner pods, as configured in `[[reap]]`; exits 1 when a delete failed or its object still exists'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "stores" -d 'Make engines and build tools collect their own stores, as configured in `[[store]]`, while every runner is idle; exits 1 when one failed'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "plan" -d 'Show what a sweep would remove now, and the reason for everything that it would keep'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "trim" -d 'Show which units of a cargo target directory could be removed, and what the next build would then compile. Deletes nothing: sweeps and hooks trim targets under pressure, according to their cache rules'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "simulate" -d 'Compare ways of making room, on simulated hosts: how many of 1,000 jobs would have died because the disk was full. Or replay this host\'s own past, with another configuration or disk'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "forecast" -d 'Show how much room live jobs need (the sizes of their earlier runs, minus their present sizes), and when the disks will be full'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "status" -d 'Show the host at a glance: disks, runners with their states and reasons, reclaimable and blocked caches'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "check" -d 'Report whether a runner or path is provably idle, for other cleaners to ask before they delete: exits 0 idle, 10 busy, 11 unknown'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "doctor" -d 'Check whether this host is set up so that the guard can work. Each finding comes with its fix; exits 1 when a check fails'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "audit" -d 'Find contaminated work directories: foreign or locked entries, git\'s stale locks and broken metadata, leftovers. Exits 0 clean, 12 repairable, 13 to be replaced'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "remediate" -d 'Repair one repository\'s work directory, if its runner is provably idle; without --apply only show what would be done'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "why" -d 'Show what was done to a path, by which run, on which evidence; or proof that nothing was done'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "install" -d 'Set the hooks in every discovered runner\'s .env, keeping all other lines'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "uninstall" -d 'Restore every .env to its state before `install`'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "drain" -d 'Take a runner out of service: its running job finishes, then its unit is stopped'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "resume" -d 'Put a drained runner back into service'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "history" -d 'Show what was done and refused, with sums by rule and runner'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "blame" -d 'Show everything that the guard did on this host around a time; or that it did nothing, and its last action before and first after'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "metrics" -d 'Print the metrics in Prometheus\' text format: disks, runners, caches, and the counts since the first sweep'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "postmortem" -d 'Show why a runner or a job died, with the evidence, the causes that were ruled out, and the sources that could not be read'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "notify" -d 'Report incidents to the administrator\'s program, as configured in `[notify]`; run by a unit after every sweep'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "check-config" -d 'Validate the configuration and print the effective one'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "demo" -d 'Show the guard at work on a throw-away host: nothing of this machine is touched, nothing is left behind'
complete -c disk-guard -n "__fish_disk_guard_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -f -a "started" -d 'Before a job: write a lease, and make room when the disk is under pressure'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -f -a "completed" -d 'After a job: end the lease'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and not __fish_seen_subcommand_from started completed help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from started" -l runner-root -d 'Names the runner by hand, for use outside a runner' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from started" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from started" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from started" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from started" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from completed" -l runner-root -d 'Names the runner by hand, for use outside a runner' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from completed" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from completed" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from completed" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from completed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from help" -f -a "started" -d 'Before a job: write a lease, and make room when the disk is under pressure'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from help" -f -a "completed" -d 'After a job: end the lease'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand hook; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l no-reap -d 'Leave leaked environments to `reap`'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l no-stores -d 'Leave stores of engines and build tools to `stores`'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l dry-run -d 'Show what would be done, and do nothing: the same as `plan`'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand sweep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l source -d 'Only the entry of this name; may be given several times' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l dry-run -d 'Show what would be deleted and why the rest is kept, and delete nothing'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand reap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l store -d 'Only the entry of this name; may be given several times' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l dry-run -d 'Show what would be asked of each and why the rest is left alone, and ask nothing'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand stores" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand plan" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand plan" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand plan" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand plan" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -l free -d 'How much to free; without it, everything that costs the next build nothing' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand trim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l seeds -d 'The number of seeds that each figure is the mean of' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l days -d 'The number of simulated days' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l size -d 'With --history: on disks of this size [default: as they are]' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l against -d 'With --history: with this configuration [default: the effective one]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l html -d 'Write one page for a browser, with nothing beside it, to FILE; `-` = standard output' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l sensitivity -d 'Also vary the conditions: unknown jobs, wrong estimates, two disks'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l history -d 'Replay this host\'s own past instead, from the records of its sweeps'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand forecast" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand forecast" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand forecast" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand forecast" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand forecast" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l html -d 'Write one page for a browser, with nothing beside it, to FILE; `-` = standard output' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -l watch -d 'Refresh every two seconds, on a screen of its own: arrow and page keys scroll the runners, `q` or Ctrl-C ends it'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l runner -d 'A runner, by its name or its root directory' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l path -d 'A path in a runner\'s directory' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand doctor" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand doctor" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand doctor" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand doctor" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand audit" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand audit" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand audit" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand audit" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l mode -d 'How; without it the mode that `audit` recommends is shown' -r -f -a "unlock\t'Restore the owner\'s permission bits, and remove git\'s stale lock files'
chown\t'Change the owner of other users\' entries to the runner\'s user'
reset\t'Move all of it to trash, so that the next job clones afresh'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l apply -d 'Do it'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l even-if-widespread -d 'Do it although more than one repository of the host is contaminated'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -l since -d 'List the guard\'s runs since then, instead of around the time at which the path vanished' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l hooks-dir -d 'Where job-started.sh and job-completed.sh are' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l dry-run -d 'Show the exact changes and commands, and do nothing'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l no-group -d 'Do not add the runners\' users to the group disk-guard'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -l restart-idle -d 'Restart Listeners that do not know the change yet, but only of runners that are provably idle'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand install" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l hooks-dir -d 'Where job-started.sh and job-completed.sh are' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l dry-run -d 'Show the exact changes and commands, and do nothing'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l no-group -d 'Do not add the runners\' users to the group disk-guard'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l restart-idle -d 'Restart Listeners that do not know the change yet, but only of runners that are provably idle'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -l recorded -d 'Undo only recorded changes, put runners back into service that a sweep has drained, and record what still names the hooks: the package\'s removal runs this'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand uninstall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand drain" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand drain" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand drain" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand resume" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand resume" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand resume" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -l since -d 'Since when: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday`, `today 14:00` (UTC), `30m`, `1d`, `2h ago`' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l at -d 'When: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday 14:00` (UTC), `30m`, `2h ago`' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l window -d 'How far before and after' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand blame" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand metrics" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand metrics" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand metrics" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l runner -d 'One runner, by its name or its root directory: all of its jobs, those that ended well included' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l since -d 'Since when: an RFC 3339 time, `2026-03-04 14:25`, `14:25`, `yesterday`, `today 14:00` (UTC), `30m`, `1d`, `2h ago`' -r
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l json -d 'Print one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l test -d 'Send one message that is marked as a test'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l dry-run -d 'Show what would be reported, and report and record nothing'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -l json -d 'Print the message that the program would receive, one JSON document'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand notify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check-config" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check-config" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check-config" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand demo" -l config -d 'Configuration file [default: /etc/disk-guard/config.toml; absent = defaults]' -r -F
complete -c disk-guard -n "__fish_disk_guard_using_subcommand demo" -l log-level -d 'The lowest level of events that are written to the journal, or to standard error if there is none' -r -f -a "error\t'Errors'
warn\t'And warnings'
info\t'And every action and refusal'
debug\t'And observations'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand demo" -l color -d 'Colour text output; `auto` = on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c disk-guard -n "__fish_disk_guard_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "hook" -d 'Run by a runner before and after each job (hooks/job-started.sh, hooks/job-completed.sh)'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "sweep" -d 'The timer\'s pass over all runners: pressure, age and size limits, unfinished trash, dead leases; then stores and the reaper, where `[[store]]` and `[[reap]]` are configured'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "reap" -d 'Delete leaked virtual machines, containers and runner pods, as configured in `[[reap]]`; exits 1 when a delete failed or its object still exists'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "stores" -d 'Make engines and build tools collect their own stores, as configured in `[[store]]`, while every runner is idle; exits 1 when one failed'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "plan" -d 'Show what a sweep would remove now, and the reason for everything that it would keep'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "trim" -d 'Show which units of a cargo target directory could be removed, and what the next build would then compile. Deletes nothing: sweeps and hooks trim targets under pressure, according to their cache rules'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "simulate" -d 'Compare ways of making room, on simulated hosts: how many of 1,000 jobs would have died because the disk was full. Or replay this host\'s own past, with another configuration or disk'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "forecast" -d 'Show how much room live jobs need (the sizes of their earlier runs, minus their present sizes), and when the disks will be full'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "status" -d 'Show the host at a glance: disks, runners with their states and reasons, reclaimable and blocked caches'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "check" -d 'Report whether a runner or path is provably idle, for other cleaners to ask before they delete: exits 0 idle, 10 busy, 11 unknown'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "doctor" -d 'Check whether this host is set up so that the guard can work. Each finding comes with its fix; exits 1 when a check fails'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "audit" -d 'Find contaminated work directories: foreign or locked entries, git\'s stale locks and broken metadata, leftovers. Exits 0 clean, 12 repairable, 13 to be replaced'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "remediate" -d 'Repair one repository\'s work directory, if its runner is provably idle; without --apply only show what would be done'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "why" -d 'Show what was done to a path, by which run, on which evidence; or proof that nothing was done'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "install" -d 'Set the hooks in every discovered runner\'s .env, keeping all other lines'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "uninstall" -d 'Restore every .env to its state before `install`'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "drain" -d 'Take a runner out of service: its running job finishes, then its unit is stopped'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "resume" -d 'Put a drained runner back into service'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "history" -d 'Show what was done and refused, with sums by rule and runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "blame" -d 'Show everything that the guard did on this host around a time; or that it did nothing, and its last action before and first after'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "metrics" -d 'Print the metrics in Prometheus\' text format: disks, runners, caches, and the counts since the first sweep'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "postmortem" -d 'Show why a runner or a job died, with the evidence, the causes that were ruled out, and the sources that could not be read'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "notify" -d 'Report incidents to the administrator\'s program, as configured in `[notify]`; run by a unit after every sweep'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "check-config" -d 'Validate the configuration and print the effective one'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "demo" -d 'Show the guard at work on a throw-away host: nothing of this machine is touched, nothing is left behind'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and not __fish_seen_subcommand_from hook sweep reap stores plan trim simulate forecast status check doctor audit remediate why install uninstall drain resume history blame metrics postmortem notify check-config demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and __fish_seen_subcommand_from hook" -f -a "started" -d 'Before a job: write a lease, and make room when the disk is under pressure'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand help; and __fish_seen_subcommand_from hook" -f -a "completed" -d 'After a job: end the lease'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand drain" -f -a "(disk-guard names 2>/dev/null)" -d 'Runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand resume" -f -a "(disk-guard names 2>/dev/null)" -d 'Runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand remediate" -f -a "(disk-guard names 2>/dev/null)" -d 'Runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand why" -a "(disk-guard names 2>/dev/null)" -d 'Runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand check" -l runner -x -a "(disk-guard names 2>/dev/null)" -d 'Runner'
complete -c disk-guard -n "__fish_disk_guard_using_subcommand postmortem" -l runner -x -a "(disk-guard names 2>/dev/null)" -d 'Runner'
