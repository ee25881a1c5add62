#!/bin/bash
# A runner is drained while its job runs, and then the machine goes down. What is left of it is drain-after.sh's.
set -euo pipefail
exec 2>/lab/trace
PS4='+ $LINENO: '
set -x
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive
# shellcheck source=tests/lab/lib.sh
. /lab/lib.sh

# Units that the next boot starts as well. Their Listeners are told what to do by a line that is not there at first.
units=/etc/systemd/system
useradd -m ci-a
for number in 1 2; do
    runner ci-a "$number"
    unit=$units/actions.runner.acme.ci-$number.service
    sed -i -e '/^\[Unit\]/a StartLimitIntervalSec=0' -e '/^\[Service\]/a Restart=always\nRestartSec=1' "$unit"
    ln -s "$unit" "/etc/systemd/system/multi-user.target.wants/${unit##*/}"
done
dpkg -i /lab/first.deb >&2
usermod -aG disk-guard ci-a
systemctl daemon-reload
for number in 1 2; do
    open_line "listener-$number"
    systemctl start "actions.runner.acme.ci-$number.service"
    await "listener-$number" hello
done
begin_job ci-a 1 acme/tool
hook 1 started
disk-guard drain ci-1 >/run/said || fail "a busy runner is marked"
grep -q marked /run/said || fail "it says that it waits for the job: $(cat /run/said)"
systemctl start disk-guard-sweep.service
systemctl is-active --quiet actions.runner.acme.ci-1.service || fail "its job goes on"
pgrep -u ci-a -x Runner.Worker >&2 || fail "its Worker lives"
[ -n "$(ls -A /var/lib/disk-guard/drained)" ] || fail "the mark lies in the state directory"
ok "a runner is drained while its job runs, and the machine goes down"
sync
echo "host lab: passed, $passed of $passed" >>/lab/result
