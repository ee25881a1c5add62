#!/usr/bin/env bash
# The host lab: the package on a Debian machine with real systemd, journald and three runners, on a full disk.
#
# The machine is a user-mode Linux kernel: no daemon and no hardware support is needed, its process 1 is systemd, its pid
# namespace is the initial one (which disk-guard insists on, and which no container can offer), memory limits hold, and nothing
# of this computer is mounted, named or left in it. The scenarios are guest.sh, and drain-before.sh with drain-after.sh, which is
# the same machine after a boot.
#
#   tests/lab/run.sh [SCENARIO[,NEXT]...]    as root; with BINARY=path a binary that is built already, with KEEP=1 leaves its files behind
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
cache=${DISK_GUARD_LAB_CACHE:-/var/cache/disk-guard-lab}
time_limit=300

if [ "$(id -u)" != 0 ]; then
    echo "host lab: skipped, needs root"
    exit 0
fi
missing=()
for pair in linux.uml:user-mode-linux mmdebstrap:mmdebstrap mke2fs:e2fsprogs dpkg-deb:dpkg; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "host lab: install ${missing[*]}" >&2
    exit 1
fi

# The base image: made once, never written to afterwards (each run writes into a layer of its own).
packages=systemd,systemd-sysv,dbus,procps,socat,jq,ccache
suite=bookworm
image=$cache/$suite-$( (echo "$packages"; cat "$here/lab.service") | sha256sum | cut -c 1-16).img
base_image() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [ ! -e "$image" ]; then
        echo "host lab: making the base image $image"
        local tree
        tree=$(mktemp -d "$cache/making.XXXXXX")
        # shellcheck disable=SC2064 # the directory as it is now
        trap "rm -rf '$tree'" EXIT
        mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$tree/rootfs.tar"
        mkdir "$tree/rootfs"
        tar -xpf "$tree/rootfs.tar" -C "$tree/rootfs"
        install -D -m 644 "$here/lab.service" "$tree/rootfs/etc/systemd/system/lab.service"
        mkdir -p "$tree/rootfs/etc/systemd/system/multi-user.target.wants" "$tree/rootfs/lab"
        ln -s ../lab.service "$tree/rootfs/etc/systemd/system/multi-user.target.wants/lab.service"
        # One fixed id, no network: nothing waits for either.
        echo 4d1b1ab0000000000000000000000001 >"$tree/rootfs/etc/machine-id"
        truncate -s 900M "$tree/image"
        mke2fs -q -t ext4 -E lazy_itable_init=0,root_owner=0:0 -d "$tree/rootfs" "$tree/image"
        mv "$tree/image" "$image"
        rm -rf "$tree"
        trap - EXIT
        find "$cache" -maxdepth 1 -name '*.img' ! -path "$image" -mtime +30 -delete
    fi
    exec 9>&-
}
base_image

# In memory where that is possible: what the machine flushes to its disk then costs nothing.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
machine=
clean_up() {
    # The kernel and everything in it are one process group of ours.
    [ -z "$machine" ] || kill -KILL -- "-$machine" 2>/dev/null || true
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP INT TERM

# What the machine is given, and where it says how it went.
share=$work/share
mkdir "$share"
cp "$here/lib.sh" "$share"
if [ -z "${BINARY:-}" ]; then
    (cd "$source" && cargo build --release --quiet --bin disk-guard)
    BINARY=$source/target/release/disk-guard
fi
(cd "$source" && cargo build --quiet --example runner-standin)
cp "$source/target/debug/examples/runner-standin" "$share"
export BINARY COMPRESSION=none
"$source/packaging/deb/build.sh" "$share" >/dev/null
mv "$share"/disk-guard_*.deb "$share/first.deb"
VERSION=9.9.9-1 "$source/packaging/deb/build.sh" "$share" >/dev/null
mv "$share"/disk-guard_9.9.9-1_*.deb "$share/second.deb"

truncate -s 256M "$work/runners.img"
mke2fs -q -t ext4 -m 0 "$work/runners.img"

begun=$SECONDS
# One life of the machine, until it powers off. What it wrote to its disk is there in the next one.
boot() { # SCENARIO
    local started=$SECONDS
    cp "$here/$1" "$share/guest.sh"
    rm -f "$share/result"
    set -m
    linux.uml mem=768M "uml_dir=$work/uml/" "umid=lab" "ubd0=$work/layer,$image" "ubd1=$work/runners.img" root=/dev/ubda rw \
        con=null con0=null,fd:1 "lab=$share" TERM=dumb quiet \
        </dev/null >"$work/console" 2>&1 &
    machine=$!
    set +m
    while kill -0 "$machine" 2>/dev/null; do
        if [ $((SECONDS - started)) -gt "$time_limit" ]; then
            echo "host lab: the machine did not finish $1 within $time_limit s" >&2
            break
        fi
        sleep 0.2
    done
    cat "$share/result" 2>/dev/null || true
    if ! tail -n 1 "$share/result" 2>/dev/null | grep -q '^host lab: passed'; then
        echo "host lab: $1 FAILED; the scenario's trace and the console:" >&2
        tail -n 60 "$share/trace" >&2 2>/dev/null || true
        tail -n 30 "$work/console" >&2
        exit 1
    fi
    # A machine that could not end by itself writes no more.
    kill -KILL -- "-$machine" 2>/dev/null || true
    machine=
}
scenarios=("$@")
[ "$#" -gt 0 ] || scenarios=(guest.sh "drain-before.sh,drain-after.sh")
for scenario in "${scenarios[@]}"; do
    # Each on a fresh machine; lives of one and the same are named together.
    rm -f "$work/layer"
    for life in ${scenario//,/ }; do boot "$life"; done
done
echo "host lab: $((SECONDS - begun)) s"
