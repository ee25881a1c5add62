#!/usr/bin/env bash
# Writes docs/src/screens.md: every screen of the real program on a staged host, at 80 and at 120 columns.
#
#   docs/captures.sh [BINARY]        (target/debug/disk-guard)
#
# Needs root and tmux. The host is a file system in memory at /srv, in namespaces of this script's own: nothing of this machine is
# touched, and nothing of it shows but its other disks.
set -euo pipefail

if [ "${CAPTURES_INSIDE-}" != 1 ]; then
    cd "$(dirname "$0")/.."
    binary=$(realpath "${1:-target/debug/disk-guard}")
    page=$PWD/docs/src/screens.md
    CAPTURES_INSIDE=1 unshare --uts --mount --propagation private "$PWD/docs/captures.sh" "$binary" >"$page.new"
    mv "$page.new" "$page"
    exit
fi

binary=$1
hostname ci-host-07
mount -t tmpfs -o size=400m,mode=0755 ci /srv
mkdir -p /srv/state /srv/run /srv/hooks /srv/bin
ln -s "$binary" /srv/bin/disk-guard
export PATH=/srv/bin:$PATH TERM=xterm-256color LC_ALL=C.UTF-8 NO_COLOR=1
unset COLUMNS
cat >/srv/config.toml <<'TOML'
[pressure]
high = "80%"
low = "60%"
critical = "85%"
min_free = "0"

[runners]
roots = ["/srv/ci-*"]
allow_unguarded = true

[paths]
run_dir = "/srv/run/disk-guard"
state_dir = "/srv/state/disk-guard"

[[reap]]
name = "vms"
kind = "command"
command = ["/bin/sh", "-c", "cat /srv/vms.json"]
match = ["vm-*"]

[notify]
command = ["/bin/true"]
on = ["critical-disk", "goal-missed"]
TOML
cat >/srv/vms.json <<'JSON'
{"schema": 1, "complete": true, "environments": [
  {"id": "vm-4711", "state": "stopped", "since": "2026-01-01T00:00:00Z", "bytes": 8589934592},
  {"id": "vm-4712", "state": "running", "job": "acme/app #4712"}]}
JSON
for script in job-started.sh job-completed.sh; do
    printf '#!/bin/sh\nexec /srv/bin/disk-guard --config /srv/config.toml hook %s\n' "${script:4:-3}" >/srv/hooks/$script
    chmod 755 /srv/hooks/$script
done

cache() { # RUNNER REPOSITORY MIB AGE
    local target=/srv/$1/_work/$2/$2/target
    local unit=$target/debug/.fingerprint/app-0123456789abcdef
    mkdir -p "$target/debug/deps" "$unit"
    printf 0123456789abcdef >"$unit/lib-app"
    printf '{"deps": [], "profile": 1}' >"$unit/lib-app.json"
    : >"$unit/invoked.timestamp"
    printf 'Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by cargo.\n' >"$target/CACHEDIR.TAG"
    : >"$target/debug/.cargo-lock"
    head -c "${3}M" /dev/zero >"$target/debug/deps/libapp-0123456789abcdef.rlib"
    find "/srv/$1/_work/$2" -exec touch -d "$4" {} +
}
runner() {
    mkdir -p "/srv/$1/bin" "/srv/$1/_work" "/srv/$1/_diag"
    printf '{"agentName": "%s", "workFolder": "_work"}\n' "$1" >"/srv/$1/.runner"
    printf '#!/bin/sh\n' >"/srv/$1/bin/Runner.Listener"
}
for number in 1 2 3 4 5; do runner "ci-$number"; done
cache ci-1 app 120 '3 days ago'
cache ci-2 app 90 '2 hours ago'
cache ci-3 site 70 'now'
cache ci-4 tools 60 '9 days ago'
mkdir -p /srv/ci-5/_work/app/app/.git
: >/srv/ci-5/_work/app/app/.git/index.lock
touch -d '2 days ago' /srv/ci-5/_work/app/app/.git/index.lock
guard() { disk-guard --config /srv/config.toml "$@"; }

tmux() { command tmux -S /srv/tmux -f /dev/null "$@"; }
# What a person sees of a command at a terminal of so many columns.
capture() { # WIDTH COMMAND...
    local width=$1
    shift
    printf '\n```text\n$ disk-guard %s\n' "$*"
    COLUMNS=$width guard "$@" 2>/srv/events | sed -E 's/[[:space:]]*$//; s/Linux [0-9][^ ]*/Linux 6.12/' || true
    printf '```\n'
}
watched() {
    local width=$1
    tmux new-session -d -x "$width" -y 18 "disk-guard --config /srv/config.toml status --watch"
    for _ in $(seq 100); do
        if tmux capture-pane -p | grep -q reclaimable; then break; fi
        sleep 0.1
    done
    printf '\n```text\n$ disk-guard status --watch\n'
    tmux capture-pane -p | sed 's/[[:space:]]*$//'
    printf '```\n'
    tmux send-keys q
    tmux kill-server 2>/dev/null || true
}
each() {
    printf '\n## %s\n' "$1"
    capture 80 "$@"
    capture 120 "$@"
}

cat <<'TEXT'
# Screens

Every screen at 80 and at 120 columns, of a small host that is made for it. `docs/captures.sh` runs the real program and writes this
page; colour is left out. `COLUMNS` is the width where the output is no terminal.
TEXT
each status
printf '\n## status --watch\n'
watched 80
watched 120
each plan
each check --runner ci-3
each trim /srv/ci-1/_work/app/app/target
each audit
each remediate ci-5 app
each doctor
each install --dry-run --hooks-dir /srv/hooks
each uninstall --dry-run --hooks-dir /srv/hooks
each reap --dry-run
each stores --dry-run
each forecast
each notify --dry-run
# Once each: what is gone is gone.
printf '\n## sweep\n'
capture 80 sweep --no-reap --no-stores
cache ci-1 app 120 '3 days ago'
capture 120 sweep --no-reap --no-stores
each why /srv/ci-1/_work/app/app/target
each history
each blame --at '1min ago'
each postmortem
each simulate --days 2 --seeds 1
