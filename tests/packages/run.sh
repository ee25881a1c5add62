#!/usr/bin/env bash
# The Debian package comes, is upgraded and goes, on the Debian releases that it is for: in a root directory of its own, with
# live Listeners and without. What a job meets afterwards is the point: no hook may fail it.
#
#   tests/packages/run.sh [SUITE]...     as root; BINARY=path is a binary that is built already; bookworm and trixie by default
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
cache=${DISK_GUARD_LAB_CACHE:-/var/cache/disk-guard-lab}

if [ "$(id -u)" != 0 ]; then
    echo "packages: skipped, needs root"
    exit 0
fi
for tool in mmdebstrap dpkg-deb unshare; do
    command -v "$tool" >/dev/null || { echo "packages: $tool is missing" >&2; exit 1; }
done
suites=("$@")
[ "$#" -gt 0 ] || suites=(bookworm trixie)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
if [ -z "${BINARY:-}" ]; then
    (cd "$source" && cargo build --quiet --bin disk-guard)
    BINARY=$source/target/debug/disk-guard
fi
export BINARY COMPRESSION=none
mkdir "$work/packages"
mv "$("$source/packaging/deb/build.sh" "$work/packages")" "$work/packages/first.deb"
mv "$(VERSION=9.9.9-1 "$source/packaging/deb/build.sh" "$work/packages")" "$work/packages/second.deb"

include=systemd,procps
mkdir -p "$cache"
for suite in "${suites[@]}"; do
    tar=$cache/packages-$suite-$(echo "$include" | sha256sum | cut -c 1-8).tar
    if [ ! -e "$tar" ]; then
        echo "packages: making $tar"
        mmdebstrap --quiet --format=tar --variant=minbase --include="$include" "$suite" "$tar.making.$$"
        mv "$tar.making.$$" "$tar"
    fi
    for scenario in coming-and-going going-at-leisure; do
        mkdir "$work/root"
        tar -xpf "$tar" -C "$work/root"
        mkdir "$work/root/lab"
        cp "$work/packages"/*.deb "$here"/{lib,"$scenario"}.sh "$work/root/lab"
        # A pid namespace of its own: what the scenario starts ends with it.
        # shellcheck disable=SC2016 # for the inner shell
        unshare --mount --pid --fork --kill-child --propagation private bash -c '
            mount -t proc proc "$1/proc"
            mount -t tmpfs tmpfs "$1/run"
            mount --rbind /dev "$1/dev"
            exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive bash "/lab/$2.sh"
        ' "$scenario" "$work/root" "$scenario" || { echo "packages: $scenario failed on $suite" >&2; exit 1; }
        rm -rf --one-file-system "$work/root"
        echo "packages: $suite: $scenario passed"
    done
done
