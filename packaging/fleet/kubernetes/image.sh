#!/usr/bin/env bash
# Builds the image that the DaemonSet runs, without a registry: from a static binary (packaging/release.sh, `cargo packaged`) and a
# static busybox (Debian: busybox-static), whose shell waits between the sweeps.
#
#   packaging/fleet/kubernetes/image.sh BINARY [NAME:TAG]     DOCKER=podman for another tool; BUSYBOX=path for another busybox
set -euo pipefail

binary=$(realpath "$1")
name=${2:-disk-guard:$(sed -n 's/^version = "\(.*\)"$/\1/p' "$(dirname "$0")/../../../Cargo.toml" | head -n 1)}
here=$(cd "$(dirname "$0")" && pwd)
busybox=$(realpath "${BUSYBOX:-$(command -v busybox || echo /bin/busybox)}")
for program in "$binary" "$busybox"; do
    [ -x "$program" ] || { echo "$program is not there: build or install it first" >&2; exit 1; }
    if LC_ALL=C readelf --program-headers "$program" | grep -q 'Requesting program interpreter'; then
        echo "$program is not linked statically: nothing in the image could load it" >&2
        exit 1
    fi
done
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
install -D -m 755 "$binary" "$root/usr/bin/disk-guard"
install -D -m 755 "$busybox" "$root/bin/busybox"
for tool in sh sleep mkdir chgrp chmod cat mv date; do ln -s busybox "$root/bin/$tool"; done
for hook in "$here"/../../../hooks/*.sh; do install -D -m 755 "$hook" "$root/usr/lib/disk-guard/hooks/${hook##*/}"; done
install -m 755 "$here"/{share,notify}.sh "$root/usr/lib/disk-guard"
mkdir -p "$root"/{etc/disk-guard,run,proc,var/lib,tmp}
chmod 1777 "$root/tmp"
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
# Runner pods join it by this number (supplementalGroups), to take the lock and leave leases.
printf 'root:x:0:\ndisk-guard:x:2617:\n' >"$root/etc/group"
cp "$here/Containerfile" "$context"
"${DOCKER:-docker}" build --tag "$name" --file "$context/Containerfile" "$context"
