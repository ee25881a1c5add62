#!/usr/bin/env bash
# The Debian package comes, is upgraded and goes, on the Debian releases that it is for: in a root directory of its own, with
# live Listeners and without. What a job meets afterwards is the point: no hook may fail it. The .rpm does so on a Debian with rpm.
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

if command -v rpmbuild >/dev/null; then
    for number in 1 2; do
        cd "$source"
        rpmbuild -bb packaging/rpm/disk-guard.spec --quiet --nodeps --build-in-place --define "_sourcedir $source" --define "dist %{nil}" \
            --define "_topdir $work/rpm$number" --define "_sysconfdir /etc" --define "_prefix /usr" --define "prebuilt $BINARY" \
            --define "release_number $number" --define "__strip /bin/true" --define "_binary_payload w.ufdio" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
    done
    mv "$work"/rpm1/RPMS/*/*.rpm "$work/packages/first.rpm"
    mv "$work"/rpm2/RPMS/*/*.rpm "$work/packages/second.rpm"
else
    echo "packages: the .rpm is skipped, rpmbuild is missing"
fi

mkdir -p "$cache"
# A scenario on a release, with these packages.
try() {
    local suite=$1 scenario=$2 include=$3 tar
    tar=$cache/packages-$suite-$(echo "$include" | sha256sum | cut -c 1-8).tar
    if [ ! -e "$tar" ]; then
        echo "packages: making $tar"
        mmdebstrap --quiet --format=tar --variant=minbase --include="$include" "$suite" "$tar.making.$$"
        mv "$tar.making.$$" "$tar"
    fi
    mkdir "$work/root"
    tar -xpf "$tar" -C "$work/root"
    mkdir "$work/root/lab"
    cp "$work/packages"/* "$here"/{lib,"$scenario"}.sh "$work/root/lab"
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
}
for suite in "${suites[@]}"; do
    for scenario in coming-and-going going-at-leisure; do try "$suite" "$scenario" systemd,procps; done
done
[ ! -e "$work/packages/first.rpm" ] || try bookworm rpm systemd,procps,rpm
