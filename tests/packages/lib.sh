# shellcheck shell=bash
# What the scenarios have in common. Sourced, inside of a root directory of their own.
set -euo pipefail
trap 'echo "NOT OK - line $LINENO: $BASH_COMMAND" >&2; cat /lab/said >&2 2>/dev/null || true' ERR

hooks=/usr/lib/disk-guard/hooks
fail() {
    echo "NOT OK - $*" >&2
    cat /lab/said >&2 2>/dev/null || true
    exit 1
}
runner() { # ROOT ENV: a runner of the user ci, with this `.env`
    mkdir -p "$1"/{bin,_work/_temp,_diag}
    cp /bin/sleep "$1/bin/Runner.Listener"
    cp /bin/sleep "$1/bin/Runner.Worker"
    printf '{"agentId": 1, "agentName": "%s", "workFolder": "_work"}\n' "${1##*/}" >"$1/.runner"
    printf '%b' "$2" >"$1/.env"
    chown -R ci:ci "$1"
}
listen() { # ROOT: its Listener runs; sets $listener
    (cd "$1" && exec setpriv --reuid ci --regid ci --clear-groups "$1/bin/Runner.Listener" 900) &
    # shellcheck disable=SC2034 # for whoever sources this
    listener=$!
    sleep 0.3
}
# As the runner runs a hook.
hook() { # SCRIPT: its exit code
    local code=0
    (cd /home/ci && setpriv --reuid ci --regid ci --clear-groups bash -e "$1") >/lab/hook 2>&1 || code=$?
    echo "$code"
}
package() { # ARGUMENT...: dpkg, with all that is said in /lab/said
    dpkg "$@" >/lab/said 2>&1 </dev/null || fail "dpkg $*"
}
says() { tr -s ' \n' ' ' </lab/said | grep -qF -- "$1" || fail "it should say: $1"; }
# Watches that the hooks never are away while a command runs.
without_a_gap() {
    (while :; do for each in started completed; do [ -r "$hooks/job-$each.sh" ] || echo "$each" >>/lab/gaps; done; done) &
    local watch=$!
    "$@"
    kill -KILL "$watch"
    wait "$watch" 2>/dev/null || true
    [ ! -s /lab/gaps ] || fail "a hook was away for a while: $(sort /lab/gaps | uniq -c)"
}
