#!/usr/bin/env bash
# ACTIONS_RUNNER_HOOK_JOB_STARTED: makes room on the disk before a job begins, and never at the cost of a running one.
#
# The runner starts it as `bash --noprofile --norc -e -o pipefail job-started.sh` and has no time-out for it: disk-guard
# bounds its own time (hook.time_limit). A guard that cannot be started is a warning, never a failed job, hence `set +e`
# and execfail; only `hook.on_exhausted = "refuse"` makes disk-guard itself exit with 1.
set +e
shopt -s execfail
[ -x /usr/bin/disk-guard ] && exec /usr/bin/disk-guard hook started
command -v disk-guard >/dev/null && exec disk-guard hook started
echo "disk-guard could not be started: install it, or take ACTIONS_RUNNER_HOOK_JOB_STARTED out of the runner's .env"
exit 0
