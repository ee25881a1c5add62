#!/bin/bash
# Nothing runs any more, or not when it is purged: then nothing is left. And a removal that is called off.
# shellcheck source=tests/packages/lib.sh
. /lab/lib.sh

useradd -m ci
root=/home/ci/actions-runner-1
runner "$root" 'A=1\n'
everything() { find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /lab -o -path /home \) -prune -o -print | sort; }
everything >/lab/before
package -i /lab/first.deb
disk-guard install >/lab/said || fail "install"
package -P disk-guard
[ "$(cat "$root/.env")" = A=1 ] || fail "its .env is as it was: $(cat "$root/.env")"
everything >/lab/after
# dpkg's and systemd's own bookkeeping is not the package's.
strays=$(comm -13 /lab/before /lab/after | grep -vE '^/(var/log/|var/lib/dpkg/|var/cache|tmp|var/tmp|etc/(passwd|group|shadow|gshadow|subuid|subgid)-|var/lib/systemd/)' || true)
[ -z "$strays" ] || fail "purged files: $strays"
! getent group disk-guard >/dev/null || fail "the group is gone"

# Removed while a Listener runs, purged when it has ended.
package -i /lab/first.deb
disk-guard install >/lab/said || fail "install"
listen "$root"
package -r disk-guard
[ "$(hook $hooks/job-started.sh)" = 0 ] || fail "its hook: $(cat /lab/hook)"
kill -KILL "$listener"
wait "$listener" 2>/dev/null || true
package -P disk-guard
for place in /usr/lib/disk-guard /var/lib/disk-guard; do
    [ ! -e "$place" ] || fail "nothing is left: $(find "$place")"
done

# `uninstall` by hand, the Listener not restarted: it knows the hooks although nothing is recorded any more.
package -i /lab/first.deb
disk-guard install >/lab/said || fail "install"
listen "$root"
sleep 3
disk-guard uninstall >/lab/said || fail "uninstall"
package -P disk-guard
[ "$(hook $hooks/job-started.sh)" = 0 ] || fail "its hook: $(cat /lab/hook)"
kill -KILL "$listener"

# A configuration that cannot be read, and records that cannot be understood: jobs go on all the same.
package -i /lab/first.deb
disk-guard install >/lab/said || fail "install"
echo nonsense >/etc/disk-guard/config.toml
package -r disk-guard
says 'WARNING'
grep -q "$hooks/job-started.sh" "$root/.env" || fail "it could not be undone"
[ "$(hook $hooks/job-started.sh)" = 0 ] || fail "its hook: $(cat /lab/hook)"
package -P disk-guard
[ "$(hook $hooks/job-started.sh)" = 0 ] || fail "its hook after the purge: $(cat /lab/hook)"
