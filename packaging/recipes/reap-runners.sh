#!/bin/sh
# For cron: runs one command for each runner that is provably idle, and leaves the others for the next time.
#
#   reap-runners.sh DELETE RUNNER...        calls `DELETE RUNNER` for each
#
#   */15 * * * * root /usr/local/sbin/reap-runners.sh /usr/local/sbin/delete-runner ci-1 ci-2 ci-3
#
# Each runner is asked about right before its own delete. Exit code: 0 when each was deleted or is in use; 1 when one could not be
# asked about, or its delete failed.
set -u

[ $# -ge 2 ] || { echo "usage: $0 DELETE RUNNER..." >&2; exit 2; }
delete=$1
shift
here=$(dirname "$0")
failed=0
for runner in "$@"; do
    "$here/ask-first.sh" "$runner" -- true
    case $? in
    0) "$delete" "$runner" || { echo "$runner: its delete failed" >&2; failed=1; } ;;
    10 | 11) ;;
    *) failed=1 ;;
    esac
done
exit "$failed"
