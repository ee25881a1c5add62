#!/usr/bin/env bash
# ACTIONS_RUNNER_HOOK_JOB_STARTED: makes room on the disk before a job begins, and never at the cost of a running one.
#
# The runner starts it as `bash -e job-started.sh` and has no time-out for it: disk-guard bounds its own time (hook.time_limit).
# A guard that cannot be started, or dies, is a warning, never a failed job; only `hook.on_exhausted = "refuse"` makes disk-guard
# itself exit with 1. Its job does not begin unfenced: then this script does what disk-guard would have done first.
set +e
# Caught, not ignored: the guard below has its own answer to a signal, and is waited for.
trap : HUP INT TERM

# --- fence: `disk-guard install` puts this part into chain scripts as well
# Another guard may have looked at this runner while it was idle, and be about to take a cache of it. What it would move that to
# goes, so that it fails; and what it has moved already gets a name from which it cannot be put back under the running job.
fence() {
  local place trash slot tree into whose below name number=0 failed=0
  # Whoever started the Listener may have set how its shells read names (SHELLOPTS, BASHOPTS, GLOBIGNORE), and exported functions.
  set +efu
  shopt -u failglob
  unset GLOBIGNORE
  unset -f command mv read set shopt unset
  # There is no lease of this job: claims see by this that one has begun, and look at all processes again.
  command -p touch -c -- /run/disk-guard/leases
  # A claim without a slot has announced the name that it is going to rename to.
  { read -r -d "" whose && read -r -d "" below && read -r name; } </run/disk-guard/host.lock
  for place in "$PWD" "$GITHUB_WORKSPACE" "$RUNNER_WORKSPACE" "$RUNNER_TEMP"; do
    while [ -n "$place" ]; do
      trash=$place/.disk-guard/trash
      if [ -n "$whose" ] && [ "$whose" = "$(command -p stat -c %D- -- "$place/.")$(printf %x "$(command -p stat -c %i -- "$place/.")")" ]; then
        case /$below/$name in
        */../* | */.disk-guard-trash-slot-* | */.disk-guard-trash-*/*) ;;
        */.disk-guard-trash-*)
          tree=$place/${below:-.}/$name
          command -p mkdir -- "$tree" || command -p mv -nT -- "$tree" "$tree-sh-$$"
          ;;
        esac
      fi
      # The last are of checkouts that are subvolumes.
      for slot in "$trash"/slot-* "$trash"/repair-* "$place"/.disk-guard-trash-slot-*; do
        if [ ! -d "$slot" ] || [ -L "$slot" ] || [ -L "$trash" ] || [ -L "$place/.disk-guard" ]; then continue; fi
        command -p rmdir -- "$slot" && continue
        into=$trash
        [ "${slot%/*}" = "$trash" ] || { into=$place/.disk-guard-trash-sh-$$ && command -p mkdir -p -- "$into"; }
        for tree in "$slot"/tree "$slot"/[0-9]*; do
          if [ -e "$tree" ] || [ -L "$tree" ]; then
            number=$((number + 1))
            command -p mv -nT -- "$tree" "$into/fenced-sh-$$-$number"
          fi
        done
        # A claim of several entries would go on filling it.
        command -p rmdir -- "$slot"
        [ ! -d "$slot" ] || failed=1
      done
      place=${place%/*}
    done
  done
  return "$failed"
}
# A filesystem may not answer: the job waits for that a few seconds at most, and what waits for it holds nothing of the job's.
fence_in_time() {
  # Closed, not led elsewhere: there may be no descriptor left for that.
  (exec <&- >&- 2>&- && fence) &
  local fence=$! tick=0
  unset -f command kill
  # Where there is no bash the runner takes sh.
  while [ "$tick" -lt 100 ]; do
    tick=$((tick + 1))
    if ! kill -0 "$fence" 2>&-; then
      wait "$fence" || echo "disk-guard: claims on this runner could not be fenced off: see what holds .disk-guard/trash in its work directory"
      return 0
    fi
    command -p sleep 0.05 <&-
  done
  echo "disk-guard: the runner's trash does not answer after $tick looks; claims on it are not fenced off"
}
# --- end of fence

code=127
# A shell that can start no process ends there, and the job with it: then the guard takes its place.
trap '[ -s /usr/bin/disk-guard ] && exec /usr/bin/disk-guard hook started' EXIT
# A shell runs an empty file, as a full disk leaves it, with success.
[ -x /usr/bin/disk-guard ] && [ -s /usr/bin/disk-guard ] && { /usr/bin/disk-guard hook started; code=$?; }
if [ "$code" = 126 ] || [ "$code" = 127 ]; then
  command -v disk-guard >/dev/null && { disk-guard hook started; code=$?; }
fi
trap - EXIT
case $code in 0 | 1) exit "$code" ;; esac
fence_in_time
case $code in
126 | 127)
  echo "::warning title=disk-guard::disk-guard could not be started: install it, or take ACTIONS_RUNNER_HOOK_JOB_STARTED out of the runner's .env and restart its Listener. The job goes on."
  ;;
*) echo "::warning title=disk-guard::disk-guard ended with exit code $code before it was done. The job goes on." ;;
esac
exit 0
