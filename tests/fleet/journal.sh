#!/usr/bin/env bash
# disk-guard's events from a host's journald over systemd-journal-upload to systemd-journal-remote.
#
#   tests/fleet/journal.sh BINARY       as root; skipped where systemd-journal-remote is missing
set -euo pipefail

binary=$(realpath "$1")
remote=/lib/systemd/systemd-journal-remote
upload=/lib/systemd/systemd-journal-upload
[ "$(id -u)" = 0 ] || { echo "fleet: skipped, needs root"; exit 0; }
if [ ! -x "$remote" ] || [ ! -x "$upload" ]; then
    echo "fleet: skipped, systemd-journal-remote is missing"
    exit 0
fi

# A /run of our own for a journald of our own.
if [ -z "${DISK_GUARD_OWN_RUN:-}" ]; then
    DISK_GUARD_OWN_RUN=1 exec unshare --mount --propagation private "$0" "$binary"
fi
work=$(mktemp -d)
jobs_of_ours=()
clean_up() {
    for job in "${jobs_of_ours[@]}"; do kill "$job" 2>/dev/null || true; done
    wait
    umount -l /run
    rm -rf "$work"
}
mount -t tmpfs tmpfs /run
trap clean_up EXIT
mkdir -p /run/systemd/journal /run/log/journal
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitBurst=0\n' >"$work/journald.conf"
mount --bind "$work/journald.conf" /etc/systemd/journald.conf
/lib/systemd/systemd-journald &
jobs_of_ours+=($!)
for _ in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done

mkdir -p "$work"/{run/leases,run/requests,run/tickets,state,runners/actions-runner-1/_work,collected}
touch "$work/run/host.lock"
chmod 660 "$work/run/host.lock"
cat >"$work/config.toml" <<CONFIG
[runners]
roots = ["$work/runners/*"]
[paths]
run_dir = "$work/run"
state_dir = "$work/state"
CONFIG
chmod 755 "$work"
"$binary" --config "$work/config.toml" sweep >/dev/null || [ $? = 20 ]
journalctl --sync
here=$(journalctl -D /run/log/journal -t disk-guard DISK_GUARD_EVENT=sweep -o json --output-fields=DISK_GUARD_RUN,MESSAGE_ID | tail -n 1)
[ -n "$here" ] || { echo "fleet: the host's journal has no sweep" >&2; exit 1; }

# A port that another program holds ends the collector at once: then the next one is tried. The upload ends for good when nobody listens yet.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$((20000 + $$ % 10000))
until listens "$port"; do
    if [ -z "${collector:-}" ] || ! kill -0 "$collector" 2>/dev/null; then
        port=$((port + 1))
        if listens "$port"; then continue; fi
        "$remote" --listen-http="127.0.0.1:$port" --output="$work/collected" --split-mode=host >"$work/remote.log" 2>&1 &
        collector=$!
        jobs_of_ours+=("$collector")
    fi
    [ "$SECONDS" -lt 60 ] || { echo "fleet: the collector does not listen" >&2; cat "$work/remote.log" >&2; exit 1; }
    sleep 0.1
done
"$upload" --url="http://127.0.0.1:$port" --directory=/run/log/journal --save-state="$work/upload" >"$work/upload.log" 2>&1 &
jobs_of_ours+=($!)
arrived=
for _ in $(seq 300); do
    arrived=$(journalctl -D "$work/collected" -t disk-guard DISK_GUARD_EVENT=sweep -o json \
        --output-fields=DISK_GUARD_RUN,MESSAGE_ID 2>/dev/null | tail -n 1 || true)
    [ -n "$arrived" ] && break
    sleep 0.1
done
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" <<<"$1"; }
for name in DISK_GUARD_RUN MESSAGE_ID; do
    sent=$(field "$here" "$name")
    if [ -z "$sent" ] || [ "$sent" != "$(field "$arrived" "$name")" ]; then
        echo "fleet: $name did not arrive: here $here, there $arrived" >&2
        cat "$work"/*.log >&2
        exit 1
    fi
done
echo "fleet: a sweep's event arrived at the collector with its fields"
