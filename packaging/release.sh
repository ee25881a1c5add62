#!/usr/bin/env bash
# Makes what a release consists of: static binaries, .deb and .rpm, a bill of materials for each binary, the release's notes, and
# the checksums of all of it.
#
#   packaging/release.sh [--twice] [--tag vVERSION] [--only TARGET] [--binary TARGET=FILE]... [OUTPUT-DIRECTORY]   default: target/dist
#
# For x86_64 and aarch64, as far as rustup's target and a linker are here; what is left out is said. --binary takes one that is built
# already (.ci/run does). --twice builds each binary once more, from a copy of the sources in another place, and compares the bytes.
# --tag is for the release itself: the tag has to be the version's, the tree the tag's, and the changelog has to know it.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
cd "$source"
twice='' tag='' output=$source/target/dist
declare -A built=()
targets=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu)
while [ $# -gt 0 ]; do
    case $1 in
    --twice) twice=yes ;;
    --tag) tag=${2:?--tag needs a name}; shift ;;
    --only) targets=("${2:?--only needs a target}"); shift ;;
    --binary) built[${2%%=*}]=$(realpath "${2#*=}"); shift ;;
    -*) echo "$0: unknown option $1" >&2; exit 2 ;;
    *) output=$1 ;;
    esac
    shift
done
say() { echo "release: $*"; }
refuse() { echo "release: $*" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# Of a version that has no section yet: what is unreleased.
section=Unreleased
! grep -q "^## \[\?$version\]\?" CHANGELOG.md || section=$version
if [ -n "$tag" ]; then
    [ "$tag" = "v$version" ] || refuse "the tag is $tag and Cargo.toml says $version"
    [ "$section" = "$version" ] || refuse "CHANGELOG.md has no section for $version"
    [ -z "$(git status --porcelain)" ] || refuse "the tree has changes that are not committed"
    [ "$(git rev-parse "$tag^{commit}" 2>/dev/null)" = "$(git rev-parse HEAD)" ] || refuse "$tag is not what is checked out"
    # Whoever publishes it says where its home is. Names below .invalid never exist.
    ! grep -n '[.]invalid' Cargo.toml packaging/deb/changelog || refuse "the lines above name no real place yet"
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH
rm -rf "$output"
mkdir -p "$output"
output=$(cd "$output" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

declare -A architecture=([x86_64-unknown-linux-gnu]=amd64 [aarch64-unknown-linux-gnu]=arm64)
declare -A linker=([x86_64-unknown-linux-gnu]=x86_64-linux-gnu-gcc [aarch64-unknown-linux-gnu]=aarch64-linux-gnu-gcc)
declare -A machine=([x86_64-unknown-linux-gnu]=X86-64 [aarch64-unknown-linux-gnu]=AArch64)
host=$(rustc --version --verbose | sed -n 's/^host: //p')

# As `cargo packaged` builds it, and with the same flags wherever the sources lie: no path of this machine is in the binary. With a target named, the flags reach
# no build script and no procedural macro.
build() { # TARGET SOURCES TARGET-DIRECTORY: prints the binary's path
    local home=${CARGO_HOME:-$HOME/.cargo} variable=${1^^}
    variable=CARGO_TARGET_${variable//-/_}_LINKER
    (
        cd "$2"
        [ "$1" = "$host" ] || export "$variable=${linker[$1]}"
        RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static --remap-path-prefix=$home=/cargo --remap-path-prefix=$2=/disk-guard" \
            cargo build --release --locked --quiet --bin disk-guard --target "$1" --target-dir "$3"
    )
    echo "$3/$1/release/disk-guard"
}

for target in "${targets[@]}"; do
    debian=${architecture[$target]:-}
    [ -n "$debian" ] || refuse "$target: no release is made for it"
    if [ -n "${built[$target]:-}" ]; then
        binary=${built[$target]}
    elif [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
        say "$target: left out: rustup target add $target"
        continue
    elif [ "$target" != "$host" ] && ! command -v "${linker[$target]}" >/dev/null; then
        say "$target: left out: no ${linker[$target]} (Debian: gcc-${linker[$target]%-gcc})"
        continue
    else
        binary=$(build "$target" "$source" "$source/target/packaged")
        if [ -n "$twice" ]; then
            mkdir -p "$work/elsewhere/sources"
            tar -c --exclude=./target --exclude=./.git . | tar -x -C "$work/elsewhere/sources"
            again=$(build "$target" "$work/elsewhere/sources" "$work/elsewhere/target")
            cmp "$binary" "$again" || refuse "$target: built twice, the bytes differ"
            say "$target: built twice, in two places: the same bytes"
            rm -rf "$work/elsewhere"
        fi
    fi
    headers=$(LC_ALL=C readelf --file-header --program-headers "$binary")
    if [[ $headers == *"Requesting program interpreter"* ]]; then refuse "$binary is not linked statically"; fi
    [[ $headers == *Machine:*"${machine[$target]}"* ]] || refuse "$binary is not for $target"
    name=disk-guard-$version-${target%%-*}-linux
    install -m 755 "$binary" "$output/$name"
    packaging/sbom.py "$target" >"$output/$name.cdx.json"
    if command -v dpkg-deb >/dev/null; then
        BINARY=$output/$name ARCHITECTURE=$debian packaging/deb/build.sh "$output" >/dev/null
    else
        say "$target: no .deb: dpkg-deb is missing"
    fi
    if command -v rpmbuild >/dev/null; then
        # Its macros for systemd are Fedora's and openSUSE's; the scripts that they stand for are written for where they are missing, too.
        rpmbuild -bb packaging/rpm/disk-guard.spec --quiet --nodeps --build-in-place --target "${target%%-*}" \
            --define "_sourcedir $source" --define "_topdir $work/rpm" --define "_sysconfdir /etc" --define "_prefix /usr" \
            --define "prebuilt $output/$name" --define "use_source_date_epoch_as_buildtime 1" --define "_buildhost reproducible" \
            --define "clamp_mtime_to_source_date_epoch 1" --define "__strip /bin/true" >"$work/rpm.log" 2>&1 || { cat "$work/rpm.log" >&2; refuse "$target: rpmbuild"; }
        find "$work/rpm/RPMS" -name '*.rpm' -exec mv -t "$output" {} +
    else
        say "$target: no .rpm: rpmbuild is missing"
    fi
    say "$target: done"
done
awk -v section="$section" '/^## / { of = index($2, section) == 1 || $2 == "[" section "]"; next } of' CHANGELOG.md |
    sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$output/NOTES.md"
[ -s "$output/NOTES.md" ] || refuse "CHANGELOG.md says nothing of $section"
(cd "$output" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum) >"$work/sums"
install -m 644 "$work/sums" "$output/SHA256SUMS"
say "in $output:"
(cd "$output" && ls -l)
