#!/bin/bash
# The rpm's own scripts: it comes, is upgraded, and goes while a Listener lives.
# shellcheck source=tests/packages/lib.sh
. /lab/lib.sh

rpm --initdb
# Debian's rpm knows nothing of what Debian's packages provide.
packages() { rpm --nodeps "$@" >/lab/said 2>&1 || fail "rpm $*"; }
useradd -m ci
wired=/home/ci/actions-runner-1
foreign=/home/ci/actions-runner-2
runner "$wired" 'A=1\n'
printf 'echo theirs; exit 7\n' >/home/ci/theirs.sh
runner "$foreign" 'ACTIONS_RUNNER_HOOK_JOB_STARTED=/home/ci/theirs.sh\n'
cp "$foreign/.env" /lab/foreign

packages -i /lab/first.rpm
rpm -V --nodeps --nogroup --nouser disk-guard >/lab/said || fail "rpm -V"
getent group disk-guard >/dev/null || fail "the group is there"
[ "$(stat -c '%a %G' /run/disk-guard/leases)" = "1770 disk-guard" ] || fail "the shared directory: $(ls -la /run/disk-guard)"
for unit in disk-guard-sweep.timer disk-guard-notify.timer disk-guard-request.path; do
    systemctl is-enabled --quiet "$unit" || fail "$unit is enabled"
done
disk-guard install >/lab/said || fail "install"
says 'Summary: 2 runners: 2 wired'
chain=$(sed -n 's/^ACTIONS_RUNNER_HOOK_JOB_STARTED=//p' "$foreign/.env")
[ "$(hook "$hooks/job-started.sh")" = 0 ] || fail "a hook: $(cat /lab/hook)"

echo '# edited' >>/etc/disk-guard/config.toml
systemctl disable --quiet disk-guard-request.path
env=$(cat "$wired/.env" "$foreign/.env")
without_a_gap packages -U /lab/second.rpm
[ "$(rpm -q --queryformat '%{RELEASE}' disk-guard)" = 2 ] || fail "the second one is installed"
[ "$(cat "$wired/.env" "$foreign/.env")" = "$env" ] || fail "an upgrade leaves every .env alone"
grep -qx '# edited' /etc/disk-guard/config.toml || fail "and the configuration"
! systemctl is-enabled --quiet disk-guard-request.path || fail "what was switched off stays off"
systemctl is-enabled --quiet disk-guard-sweep.timer || fail "and what was on stays on"
[ "$(hook "$hooks/job-started.sh")" = 0 ] || fail "the hooks work: $(cat /lab/hook)"

listen "$wired"
listen "$foreign"
without_a_gap packages -e disk-guard
[ ! -e /usr/bin/disk-guard ] || fail "the program is gone"
[ "$(cat "$wired/.env")" = A=1 ] || fail "its .env is as it was"
cmp "$foreign/.env" /lab/foreign || fail "the other one, too"
says 'by hand when it is idle'
for each in started completed; do
    [ "$(hook "$hooks/job-$each.sh")" = 0 ] || fail "a Listener that runs names job-$each.sh, which fails its job: $(cat /lab/hook)"
done
[ "$(hook "$chain")" = 7 ] || fail "the foreign hook's own exit code is the job's: $(cat /lab/hook)"
for unit in disk-guard-sweep.timer disk-guard-notify.timer disk-guard-request.path; do
    ! systemctl is-enabled --quiet "$unit" 2>/dev/null || fail "$unit is gone"
done

# It comes back over what was left; and goes where nothing names its hooks.
packages -i /lab/second.rpm
rpm -V --nodeps --nogroup --nouser disk-guard >/lab/said || fail "rpm -V"
disk-guard install >/lab/said || fail "install"
kill -KILL $(pgrep -x Runner.Listener)
packages -e disk-guard
[ ! -e /usr/lib/disk-guard ] || fail "nothing names the hooks: $(find /usr/lib/disk-guard)"
[ "$(cat "$wired/.env")" = A=1 ] || fail "its .env is as it was"
