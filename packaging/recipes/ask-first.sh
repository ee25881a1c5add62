#!/bin/sh
# Runs a command that deletes a runner, or something in it, only when disk-guard proves that nobody uses it.
#
#   ask-first.sh RUNNER -- COMMAND [ARGUMENT...]      a runner, by its name or its root directory
#   ask-first.sh --path PATH -- COMMAND [ARGUMENT...]  a path in a runner's directory
#
# Exit code: that of COMMAND when it ran; 10 the runner is busy, 11 it cannot be told, 1 it could not be asked, 2 usage. COMMAND
# runs on 0 alone: an error, a guard that is missing or one that does not answer in time all mean "leave it".
#
# CHECK_TIMEOUT: how long the answer may take, in seconds (120). DISK_GUARD: the program (disk-guard).
set -u

usage() {
    echo "usage: $0 (RUNNER | --path PATH) -- COMMAND [ARGUMENT...]" >&2
    exit 2
}

case "${1-}" in
'' | --) usage ;;
--path) [ $# -ge 4 ] || usage; question=--path subject=$2; shift 2 ;;
-*) usage ;;
*) question=--runner subject=$1; shift ;;
esac
[ "${1-}" = -- ] || usage
shift
[ $# -ge 1 ] || usage

why=$(timeout -k 5 "${CHECK_TIMEOUT:-120}" "${DISK_GUARD:-disk-guard}" check "$question" "$subject" 2>&1)
answer=$?
case $answer in
0) exec "$@" ;;
10) verdict=busy ;;
11) verdict=unknown ;;
124 | 137) verdict="not answered in time" answer=1 ;;
126 | 127) verdict="not answered: disk-guard cannot be run" answer=1 ;;
*) verdict="not answered (exit $answer)" answer=1 ;;
esac
printf '%s: left alone, %s\n%s\n' "$subject" "$verdict" "$why" >&2
exit "$answer"
