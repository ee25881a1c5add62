#!/usr/bin/env bash
# Lays out what a package installs, for the .deb, the .rpm, and anybody who installs by hand:
#
#   packaging/stage.sh DESTDIR [BINARY]
#
# BINARY is target/release/disk-guard unless it is named. What is generated (man pages, completions) is checked in.
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: $0 DESTDIR [BINARY]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
destination=$(cd "$1" && pwd)
binary=${2:-$source/target/release/disk-guard}

put() { install -D -m "$1" "$2" "$destination/$3"; }

put 755 "$binary" usr/bin/disk-guard
for hook in "$source"/hooks/*.sh; do put 755 "$hook" "usr/lib/disk-guard/hooks/${hook##*/}"; done
for unit in "$source"/systemd/*.{service,timer,path,mount}; do put 644 "$unit" "usr/lib/systemd/system/${unit##*/}"; done
put 644 "$source/systemd/tmpfiles.d/disk-guard.conf" usr/lib/tmpfiles.d/disk-guard.conf
put 644 "$source/systemd/sysusers.d/disk-guard.conf" usr/lib/sysusers.d/disk-guard.conf
for page in "$source"/packaging/man/*.[0-9]; do put 644 "$page" "usr/share/man/man${page##*.}/${page##*/}"; done
put 644 "$source/packaging/completions/disk-guard.bash" usr/share/bash-completion/completions/disk-guard
put 644 "$source/packaging/completions/_disk-guard" usr/share/zsh/vendor-completions/_disk-guard
put 644 "$source/packaging/completions/disk-guard.fish" usr/share/fish/vendor_completions.d/disk-guard.fish
# Straight onto a host: what the administrator has written stays.
[ -e "$destination/etc/disk-guard/config.toml" ] || put 644 "$source/packaging/config.toml" etc/disk-guard/config.toml
for catalog in "$source"/packaging/journal/*.catalog; do
    [ -e "$catalog" ] && put 644 "$catalog" "usr/lib/systemd/catalog/${catalog##*/}"
done
for rules in "$source"/packaging/prometheus/*.yml; do put 644 "$rules" "usr/share/disk-guard/prometheus/${rules##*/}"; done
put 644 "$source/packaging/grafana/disk-guard-fleet.json" usr/share/disk-guard/grafana/disk-guard-fleet.json
for schema in "$source"/packaging/schema/*.json; do put 644 "$schema" "usr/share/disk-guard/schema/${schema##*/}"; done
put 644 "$source/README.md" usr/share/doc/disk-guard/README.md
for page in "$source"/docs/src/*.md; do put 644 "$page" "usr/share/doc/disk-guard/docs/src/${page##*/}"; done
for recipe in "$source"/packaging/recipes/*.sh; do put 755 "$recipe" "usr/share/doc/disk-guard/recipes/${recipe##*/}"; done
put 644 "$source/packaging/recipes/cronjob.yaml" usr/share/doc/disk-guard/recipes/cronjob.yaml
for rules in "$source"/packaging/rules/*.toml; do put 644 "$rules" "usr/share/doc/disk-guard/rules/${rules##*/}"; done
