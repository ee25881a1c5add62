#!/usr/bin/env bash
# Builds the Debian package with dpkg-deb alone: the same files and scripts as `cargo deb` would take from Cargo.toml.
#
#   packaging/deb/build.sh [OUTPUT-DIRECTORY]     default: target/debian; prints the package's path
#
# BINARY=path takes a binary that is built already. VERSION=1.2.3-1 overrides the version, ARCHITECTURE=arm64 this machine's.
# COMPRESSION=none is for tests. SOURCE_DATE_EPOCH is the time of every file in it: the same binary then makes the same package.
set -euo pipefail

source=$(cd "$(dirname "$0")/../.." && pwd)
output=${1:-$source/target/debian}
if [ -z "${BINARY:-}" ]; then
    # What the hooks' benches measure: linked statically.
    (cd "$source" && cargo packaged)
    BINARY=$source/target/packaged/release/disk-guard
fi
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source/Cargo.toml" | head -n 1)-1}
architecture=${ARCHITECTURE:-$(dpkg --print-architecture)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/disk-guard
"$source/packaging/stage.sh" "$tree" "$BINARY"

# Of another architecture: its own toolchain's, where that is here.
strip="strip"
[ "$architecture" = "$(dpkg --print-architecture)" ] || strip=$(dpkg-architecture -f -a "$architecture" -q DEB_HOST_GNU_TYPE)-strip
"$strip" --strip-all --remove-section=.comment --remove-section=.note "$tree/usr/bin/disk-guard"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
documents=$tree/usr/share/doc/disk-guard
install -m 644 "$source/packaging/deb/copyright" "$documents/copyright"
install -D -m 644 "$source/packaging/deb/lintian-overrides" "$tree/usr/share/lintian/overrides/disk-guard"
gzip -9nc "$source/CHANGELOG.md" >"$documents/changelog.gz"
gzip -9nc "$source/packaging/deb/changelog" >"$documents/changelog.Debian.gz"
find "$tree" -type d -exec chmod 755 {} +

# What the binary is linked against, with versions, where dpkg-dev can tell.
depends=libc6
if ! LC_ALL=C readelf --program-headers "$tree/usr/bin/disk-guard" | grep -q 'Requesting program interpreter'; then
    depends=
elif command -v dpkg-shlibdeps >/dev/null; then
    mkdir "$work/debian"
    printf 'Source: disk-guard\n\nPackage: disk-guard\nArchitecture: any\n' >"$work/debian/control"
    depends=$(cd "$work" && dpkg-shlibdeps -O "$tree/usr/bin/disk-guard" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
fi

mkdir "$tree/DEBIAN"
install -m 755 "$source"/packaging/deb/{postinst,prerm,postrm} "$tree/DEBIAN"
echo /etc/disk-guard/config.toml >"$tree/DEBIAN/conffiles"
# Without -z it would escape the backslash in a unit's name, which dpkg --verify cannot read.
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum -z | tr '\0' '\n') >"$tree/DEBIAN/md5sums"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: disk-guard
Version: $version
Architecture: $architecture
Maintainer: $(sed -n 's/^ -- \(.*>\)  .*/\1/p' "$source/packaging/deb/changelog" | head -n 1)
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
Depends: ${depends:+$depends, }systemd
Section: admin
Priority: optional
$(cat "$source/packaging/deb/description")
CONTROL
chmod 644 "$tree"/DEBIAN/{control,conffiles,md5sums}

[ -z "${SOURCE_DATE_EPOCH:-}" ] || find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$output"
package=$output/disk-guard_${version}_$architecture.deb
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$tree" "$package" >/dev/null
echo "$package"
