#!/usr/bin/env bash
# What the DaemonSet meets on a node: a guard in a mount namespace of its own with a read-only root and the manifest's
# capabilities, one runner pod that runs (a mount namespace in which its volume is mounted), and one volume whose pod has gone.
#
#   tests/fleet/pods.sh BINARY       as root, where no Runner.Worker runs
set -euo pipefail

binary=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "fleet: skipped, needs root"; exit 0; }
manifest=$here/../../packaging/fleet/kubernetes/daemonset.yaml

work=$(mktemp -d)
pod=
clean_up() {
    [ -z "$pod" ] || kill "$pod" 2>/dev/null || true
    umount "$work" 2>/dev/null || umount -l "$work" || true
    rmdir "$work"
}
trap clean_up EXIT
mount -t tmpfs -o size=64m tmpfs "$work"

# As the kubelet lays emptyDir volumes out; the runner's work directory is the volume's `_work` (subPath).
volume() { echo "$work/pods/$1/volumes/kubernetes.io~empty-dir/work"; }
for name in running gone; do
    target=$(volume $name)/_work/app/app/target
    mkdir -p "$target/debug"
    echo "Signature: 8a477f597d28d172789f06886806bc55" >"$target/CACHEDIR.TAG"
    head -c 4M /dev/zero >"$target/debug/app"
    find "$target" -exec touch -d '3 days ago' {} +
done
mkdir -p "$work"/{run/leases,run/requests,run/tickets,state,home/_work}
touch "$work/run/host.lock"
chmod 755 "$work"
chmod 660 "$work/run/host.lock"
cat >"$work/config.toml" <<CONFIG
[pressure]
high = "1%"
low = "0%"
min_free = "0"
min_free_inodes = "0%"
[runners]
roots = ["$work/pods/*/volumes/kubernetes.io~empty-dir/work"]
allow_unguarded = true
[[cache]]
name = "cargo-target"
[paths]
run_dir = "$work/run"
state_dir = "$work/state"
CONFIG

# The pod: its volume is mounted at the runner's work directory, and a process lives in that namespace.
mkfifo "$work/ready"
# shellcheck disable=SC2016 # for the inner shell
unshare --mount --propagation private bash -c '
    mount --bind "$1/_work" "$2/home/_work"
    umount -l "$2/pods" 2>/dev/null || true
    echo ready >"$2/ready"
    exec sleep 600' pod "$(volume running)" "$work" &
pod=$!
read -r _ <"$work/ready"

capabilities=$(sed -n 's/.*add: \[\(.*\)\].*/\1/p' "$manifest" | tr -d '" ' | tr 'A-Z,' 'a-z\n' | sed 's/^/+/' | paste -sd,)
guard() {
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --propagation private bash -c '
        mount --bind "$1/pods" "$1/pods"
        mount -o remount,bind,ro /
        exec setpriv --no-new-privs --bounding-set "-all,$2" --inh-caps "-all" "${@:3}"' guard "$work" "$capabilities" \
        "$binary" --config "$work/config.toml" "$@"
}
guard sweep --json >"$work/report" 2>"$work/errors" || [ $? = 20 ] || { cat "$work/errors" >&2; exit 1; }
[ -d "$(volume running)/_work/app/app/target/debug" ] || { echo "fleet: a running pod's cache was taken" >&2; exit 1; }
grep -q mount-inside "$work/report" || { echo "fleet: nothing says why it was kept" >&2; cat "$work/report" >&2; exit 1; }
[ ! -e "$(volume gone)/_work/app/app/target" ] || {
    echo "fleet: what a pod has left was not taken" >&2
    cat "$work/report" >&2
    exit 1
}
kill "$pod"
wait "$pod" || true
pod=
guard sweep --json >"$work/report" 2>"$work/errors" || [ $? = 20 ]
[ ! -e "$(volume running)/_work/app/app/target" ] || { cat "$work/report" >&2; exit 1; }
echo "fleet: a running pod's cache stays, and goes when the pod has gone"
