#!/bin/bash
# The machine of drain-before.sh has booted again: the mark holds. Then a unit that hangs in its stop.
set -euo pipefail
exec 2>/lab/trace
PS4='+ $LINENO: '
set -x
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive
# shellcheck source=tests/lab/lib.sh
. /lab/lib.sh

unit() { echo "actions.runner.acme.ci-$1.service"; }
is_stopped() { ! systemctl is-active --quiet "$(unit "$1")"; }
open_line listener-1
open_line listener-2
# The first sweep after boot may be faster than this script.
systemctl start disk-guard-sweep.service
within 30 "the drained runner's unit to be stopped again" is_stopped 1
await listener-2 hello 30
systemctl is-active --quiet "$(unit 2)" || fail "the other one takes jobs"
[ -n "$(ls -A /var/lib/disk-guard/drained)" ] || fail "the mark holds"
systemctl start disk-guard-sweep.service
is_stopped 1 || fail "it stays out of service"
rm -f "$lines/listener-1" "$lines/listener-1".{in,out}
open_line listener-1
disk-guard resume ci-1 >&2 || fail "it is resumed"
await listener-1 hello 30
[ -z "$(ls -A /var/lib/disk-guard/drained)" ] || fail "the mark is gone"
ok "a drained runner stays out of service after a boot, and comes back by resume"

# A stop that does not end by itself is systemd's to end.
mkdir -p "/etc/systemd/system/$(unit 2).d"
printf '[Service]\nExecStop=/bin/sleep 600\nTimeoutStopSec=5\n' >"/etc/systemd/system/$(unit 2).d/hang.conf"
systemctl daemon-reload
begun=$SECONDS
timeout 60 disk-guard drain ci-2 >/run/said || fail "a unit that hangs in its stop is drained: $(cat /run/said)"
[ $((SECONDS - begun)) -lt 40 ] || fail "drain waited $((SECONDS - begun)) s"
within 30 "systemd to end it" is_stopped 2
[ -n "$(ls -A /var/lib/disk-guard/drained)" ] || fail "it is marked"
systemctl start disk-guard-sweep.service
is_stopped 2 || fail "it stays out of service"
systemctl is-active --quiet "$(unit 1)" || fail "and the other one in it"
ok "a unit that hangs in its stop is ended by systemd and stays drained"

# One that systemd is still waiting for: nobody else waits, and resume is taken up after it.
rm -f "$lines/listener-2" "$lines/listener-2".{in,out}
open_line listener-2
disk-guard resume ci-2 >&2 || fail "it is resumed"
await listener-2 hello 30
sed -i 's/^TimeoutStopSec=.*/TimeoutStopSec=15/' "/etc/systemd/system/$(unit 2).d/hang.conf"
systemctl daemon-reload
systemctl stop --no-block "$(unit 2)"
within 10 "the unit to hang" sh -c "[ \"\$(systemctl show -p ActiveState --value $(unit 2))\" = deactivating ]"
begun=$SECONDS
disk-guard drain ci-2 >/run/said || fail "it is drained"
[ $((SECONDS - begun)) -lt 10 ] || fail "drain waited $((SECONDS - begun)) s"
grep -q 'has not ended yet' /run/said || fail "drain says so: $(cat /run/said)"
rm -f "$lines/listener-2" "$lines/listener-2".{in,out}
open_line listener-2
disk-guard resume ci-2 >/run/said || fail "it is resumed meanwhile"
await listener-2 hello 60
ok "drain and resume do not wait for a stop that hangs"
echo "host lab: passed, $passed of $passed" >>/lab/result
