#!/bin/bash
# The scenario, inside the lab's machine (see run.sh). Results go to /lab/result, the trace to /lab/trace.
set -euo pipefail
exec 2>/lab/trace
PS4='+ $LINENO: '
set -x
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive

# shellcheck source=tests/lab/lib.sh
. /lab/lib.sh

# -- A disk of the runners' own, two users, three runners --------------------------------------------------------------

mkdir -p /mnt/runners
mount /dev/ubdb /mnt/runners
mkdir /mnt/runners/home
mount --bind /mnt/runners/home /home
useradd -m ci-a
useradd -m ci-b
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /lab -o -path /home -o -path /mnt \) -prune -o -print |
    sort >/run/before

runner ci-a 1
runner ci-a 2
runner ci-b 3
systemctl daemon-reload

# -- Installed ----------------------------------------------------------------------------------------------------------

dpkg -i /lab/first.deb >&2
usermod -aG disk-guard ci-a
usermod -aG disk-guard ci-b
[ "$(stat -c '%a %U %G' /run/disk-guard)" = "2755 root disk-guard" ] || fail "/run/disk-guard is $(stat -c '%a %U %G' /run/disk-guard)"
for each in leases requests tickets; do
    [ "$(stat -c '%a %U %G' "/run/disk-guard/$each")" = "1770 root disk-guard" ] || fail "/run/disk-guard/$each"
done
[ "$(stat -c '%a %U %G' /run/disk-guard/host.lock)" = "660 root disk-guard" ] || fail "host.lock"
[ "$(findmnt -n -o FSTYPE /run/disk-guard)" = tmpfs ] || fail "/run/disk-guard is a filesystem of its own"
systemctl is-enabled --quiet 'run-disk\x2dguard.mount' || fail "it is mounted at boot, too"
systemctl is-active --quiet disk-guard-sweep.timer disk-guard-request.path || fail "the timer and the path unit are active"
systemctl is-enabled --quiet disk-guard-sweep.timer disk-guard-request.path || fail "they are enabled"
disk-guard check-config >&2 || fail "the shipped configuration is valid"
ok "the package installs: group, shared directory, timer and path unit"

# The first plan can be read before anything goes.
[ -z "$(systemctl show --property=TimersMonotonic --value disk-guard-sweep.timer)" ] || fail "nothing fires by the time since boot"
first=$(date -d "$(systemctl show --property=NextElapseUSecRealtime --value disk-guard-sweep.timer)" +%s)
[ "$first" -gt "$(date +%s)" ] || fail "the first sweep is to come"
[ $((first % 900)) -le 120 ] || fail "it comes at a quarter of an hour: $(date -d "@$first")"
[ -z "$(journalctl -q -u disk-guard-sweep.service -o cat)" ] || fail "no sweep has begun"
ok "the first sweep comes at the next quarter of an hour, not with the package"

cat >/etc/disk-guard/config.toml <<'CONFIG'
# edited by the administrator
[pressure]
min_free = "0"
CONFIG
for number in 1 2 3; do
    open_line "listener-$number"
    systemctl start "actions.runner.acme.ci-$number.service"
    await "listener-$number" hello
done
disk-guard status --json >/run/status.json
jq -e '[.runners[] | select(.guarded and .state == "idle")] | length == 3' /run/status.json >/dev/null || fail "three guarded idle runners"
ok "three runners of two users are found, guarded and idle"

# -- What the sweep's service sees and may do ----------------------------------------------------------------------------

sed -e 's|^ExecStart=.*|ExecStart=/usr/bin/disk-guard status --json|' -e '/^Type=/a StandardOutput=truncate:/run/from-service.json' \
    -e '/^SuccessExitStatus=/d' /usr/lib/systemd/system/disk-guard-sweep.service >/run/systemd/system/lab-look.service
systemctl daemon-reload
systemctl start lab-look.service || fail "status runs with the sweep's restrictions"
jq -e '.visibility.state == "complete"' /run/from-service.json >/dev/null || fail "full sight from the service: $(jq -c .visibility /run/from-service.json)"
jq -e '[.runners[] | select(.guarded and .state == "idle" and .evidence == [])] | length == 3' /run/from-service.json >/dev/null ||
    fail "the service's own mount namespace is no evidence: $(jq -c '.runners[] | {name, state, evidence}' /run/from-service.json)"
ok "with all its restrictions the sweep's service sees every process, and its own mounts are no evidence"

# -- What follows a sweep, each in a unit of its own -----------------------------------------------------------------------

cp -a /etc/disk-guard/config.toml /run/config.toml
cat >>/etc/disk-guard/config.toml <<'CONFIG'
[notify]
command = ["/usr/local/sbin/lab-notify"]
interval = "1s"
[[reap]]
name = "machines"
kind = "command"
command = ["/usr/local/sbin/lab-machines"]
match = ["runner-*"]
pause = "0s"
[[store]]
kind = "ccache"
path = "/home/ci-a/ccache"
max_size = "12MiB"
CONFIG
# What each of these programs may write is what its unit leaves to it.
cat >/usr/local/sbin/lab-notify <<'PROGRAM'
#!/bin/sh
cat >>/var/lib/disk-guard/told
PROGRAM
cat >/usr/local/sbin/lab-machines <<'PROGRAM'
#!/bin/bash
cd /run/lab-machines || exit
case $1 in
    list) { echo '{"schema":1,"complete":true,"environments":['; cat -- * | paste -sd ,; echo ']}'; } ;;
    delete) rm -- "$2" ;;
esac
PROGRAM
# A compiler whose objects do not compress.
cat >/usr/local/sbin/gcc <<'PROGRAM'
#!/bin/bash
while [ $# -gt 0 ]; do
    case $1 in -o) out=$2 && shift ;; -E) only=1 ;; *.c) in=$1 ;; *.i) in=$1 ;; esac
    shift
done
if [ -n "$only" ]; then cat "$in" >"${out:-/dev/stdout}"; else head -c 512K /dev/urandom >"$out"; fi
PROGRAM
chmod 755 /usr/local/sbin/{lab-notify,lab-machines,gcc}
mkdir /run/lab-machines
machine() { # ID JOB
    printf '{"id":"%s","name":"runner-%s","state":"stopped","since":"%s","job":%s}\n' "$1" "$1" "$(date -u -d '3 hours ago' +%FT%TZ)" "$2" >"/run/lab-machines/$1"
}
machine leaked null
machine at-work '"4711"'
# shellcheck disable=SC2016 # the user's shell expands it
runuser -u ci-a -- sh -c 'cd; mkdir ccache; for n in $(seq 32); do echo "int x$n;" >"f$n.c"; CCACHE_DIR=$HOME/ccache ccache /usr/local/sbin/gcc -c "f$n.c" -o f.o; done'
stored() { du -s --block-size=1M /home/ci-a/ccache | cut -f 1; }
[ "$(stored)" -ge 15 ] || fail "the store is full: $(stored) MiB"
disk-guard check-config >&2
followers=(disk-guard-reap.service disk-guard-stores.service disk-guard-notify.service)
has_ended() { ! systemctl list-jobs --no-legend | grep -q disk-guard && ! systemctl is-active --quiet "${followers[@]}"; }
systemctl start disk-guard-sweep.service
within 60 "reap, stores and notify to end" has_ended
! systemctl is-failed --quiet "${followers[@]}" || fail "none of them fails: $(systemctl status --no-pager "${followers[@]}")"
[ ! -e /run/lab-machines/leaked ] || fail "the leaked machine is gone: $(journalctl -q -u disk-guard-reap.service -o cat)"
[ -e /run/lab-machines/at-work ] || fail "the machine with a job stays"
left=$(stored)
if [ "$left" -gt 12 ] || [ "$left" -lt 1 ]; then fail "the store is collected: $left MiB: $(journalctl -q -u disk-guard-stores.service -o cat)"; fi
[ ! -e /var/lib/disk-guard/told ] || fail "there is nothing to tell: $(cat /var/lib/disk-guard/told)"
journalctl --sync
for pair in reaped:reap collected:stores; do
    # Such a run is over within milliseconds: journald may come too late to look up its unit; the user is the kernel's word.
    journalctl -q -o json "DISK_GUARD_EVENT=${pair%:*}" _UID=0 SYSLOG_IDENTIFIER=disk-guard | jq -es 'length == 1' >/dev/null ||
        fail "the event ${pair%:*} is in the journal: $(journalctl -q -u "disk-guard-${pair#*:}.service" -o cat)"
done
# An incident and its end.
head -c "$(($(df --output=avail -m /home | tail -n 1) - 3))M" /dev/zero >/home/filler
systemctl start disk-guard-sweep.service || true
told() { grep -q "\"kind\":\"critical-disk\",\"news\":\"$1\"" /var/lib/disk-guard/told 2>/dev/null; }
within 60 "the program to be told of the full disk" told new
rm /home/filler
within 60 "all of them to end" has_ended
sleep 1
systemctl start disk-guard-sweep.service
within 60 "the program to be told that it is over" told over
within 60 "all of them to end" has_ended
rm -r /usr/local/sbin/{lab-notify,lab-machines,gcc} /run/lab-machines /home/ci-a/{ccache,f*.[co]} /var/lib/disk-guard/told
cp -a /run/config.toml /etc/disk-guard/config.toml
ok "a sweep is followed by reap, stores and notify, each in its restricted unit: a leaked machine goes, a store is collected, the program is told"

# -- A full disk: a live job, leftovers of root, and a hook that may not remove them ------------------------------------------

live=/home/ci-b/actions-runner-3/_work/gadget/gadget/target
left=/home/ci-a/actions-runner-2/_work/widget/widget/target
begin_job ci-b 3 acme/gadget
cache "$live" ci-b:ci-b 30 "3 hours"
hook 3 started
[ "$(find /run/disk-guard/leases -type f | wc -l)" = 1 ] || fail "the live job has a lease"
cache "$left" root:root 110 "3 hours"
install -d -o ci-a -g ci-a "${left%/*}" "${left%/*/*}"
chmod 555 "$left/debug/deps"
before=$(sum_of "$live")
available=$(df --output=avail -m /home | tail -n 1)
head -c "$((available - 5))M" /dev/zero >/home/filler
[ "$(df --output=pcent /home | tail -n 1 | tr -dc 0-9)" -ge 95 ] || fail "the disk is critically full: $(df /home)"
! systemctl is-active --quiet disk-guard-sweep.service || fail "no sweep is under way yet"

begin_job ci-a 1 acme/tool
asked=$(date '+%Y-%m-%d %H:%M:%S.%N')
hook 1 started
took=$(said worker-1 started .milliseconds)
[ ! -e "$left" ] || fail "root's leftovers went: $(cat /run/hook-1-started)"
[ "$took" -lt 30000 ] || fail "the hook took $took ms"
[ "$(sum_of "$live")" = "$before" ] || fail "the live job's tree is as it was"
[ -z "$(find /home/*/actions-runner-*/_work/.disk-guard/trash -mindepth 1 ! -name spare)" ] || fail "no trash is left"
grep -q 'waiting for the privileged sweep' /run/hook-1-started || fail "the job's log tells of the wait"
within 20 "the sweep to end" sh -c '! systemctl is-active --quiet disk-guard-sweep.service disk-guard-request.service'
[ -z "$(ls -A /run/disk-guard/requests)" ] || fail "the request was taken up"
! systemctl is-failed --quiet disk-guard-sweep.service disk-guard-request.service disk-guard-request.path || fail "no unit failed"
journalctl --sync
journalctl -q --since "$asked" -u disk-guard-request.service -o cat | grep -q . || fail "the path unit started it"
ok "a hook's request started the privileged sweep: 110 MiB of root's leftovers gone, the hook took $took ms, the live job untouched"

# -- The journal --------------------------------------------------------------------------------------------------------

journalctl -q -o json DISK_GUARD_EVENT=removed _SYSTEMD_UNIT=disk-guard-sweep.service |
    jq -es --arg path "$left" 'map(select(.DISK_GUARD_PATH == $path and .DISK_GUARD_RUNNER == "ci-2" and ._UID == "0"
        and ._EXE == "/usr/bin/disk-guard" and .SYSLOG_IDENTIFIER == "disk-guard" and (.MESSAGE_ID | length == 32)
        and (.DISK_GUARD_BYTES | tonumber > 100000000))) | length == 1' >/dev/null || fail "the removal is in the journal"
# A hook is over within milliseconds: journald may come too late to look up its unit; the user is the kernel's word.
journalctl -q -o json DISK_GUARD_EVENT=lease _UID="$(id -u ci-b)" |
    jq -es 'map(select(.DISK_GUARD_REPOSITORY == "acme/gadget" and .DISK_GUARD_RUN_ID == "903" and .DISK_GUARD_JOB == "build")) | length >= 1' >/dev/null || fail "the lease is in the journal"
journalctl -q -o json DISK_GUARD_EVENT=kept _SYSTEMD_UNIT=disk-guard-sweep.service |
    jq -es --arg path "$live" 'map(select(.DISK_GUARD_PATH == $path and (.DISK_GUARD_EVIDENCE | test("worker-process")))) | length >= 1' \
        >/dev/null || fail "why the live job's tree was kept is in the journal"
if compgen -G '/usr/lib/systemd/catalog/disk-guard*' >/dev/null; then
    journalctl -q -x -o short -n 5 DISK_GUARD_EVENT=removed | grep -q '^-- ' || fail "the catalog explains the event"
fi
ok "journalctl shows the removal, the lease and the refusal, with the trusted _UID, and the sweep's with _EXE and _SYSTEMD_UNIT"

# -- What is no request ---------------------------------------------------------------------------------------------------

sweeps() { journalctl -q -u disk-guard-sweep.service -o json DISK_GUARD_EVENT=sweep | wc -l; }
count=$(sweeps)
runuser -u ci-a -- mkdir -p /run/disk-guard/requests/stuck/deep
within 30 "a sweep for what looks like a request" sh -c "[ \"\$(journalctl -q -u disk-guard-sweep.service -o json DISK_GUARD_EVENT=sweep | wc -l)\" -gt $count ]"
within 20 "the sweep to end" sh -c '! systemctl is-active --quiet disk-guard-sweep.service disk-guard-request.service'
sleep 2
[ "$(sweeps)" = $((count + 1)) ] || fail "a directory in a request's place makes one sweep, not $(($(sweeps) - count))"
systemctl is-active --quiet disk-guard-request.path || fail "the path unit goes on"
ok "a directory that a runner's user leaves among the requests starts one sweep and no loop"

# -- A sweep that fails -----------------------------------------------------------------------------------------------------

cp -a /etc/disk-guard/config.toml /run/config.toml
echo 'nonsense = 1' >>/etc/disk-guard/config.toml
runuser -u ci-a -- touch /run/disk-guard/requests/again
within 20 "the sweep to fail" systemctl is-failed --quiet disk-guard-sweep.service
asked=$(date '+%Y-%m-%d %H:%M:%S')
sleep 3
[ "$(journalctl -q --since "$asked" -u disk-guard-sweep.service | grep -c 'Failed with result')" -le 1 ] || fail "a failing sweep is not tried again and again"
systemctl is-active --quiet disk-guard-request.path || fail "the path unit goes on"
cp -a /run/config.toml /etc/disk-guard/config.toml
systemctl stop disk-guard-request.service
within 20 "the next sweep to take the request up" test ! -e /run/disk-guard/requests/again
within 20 "the sweep to end" sh -c '! systemctl is-active --quiet disk-guard-sweep.service disk-guard-request.service'
ok "a sweep that fails keeps the request and is not tried without end; the next one takes it up"

# -- Capabilities: each one is needed ---------------------------------------------------------------------------------------

unit=/usr/lib/systemd/system/disk-guard-sweep.service
trash=/home/ci-a/actions-runner-2/_work/.disk-guard/trash
# An old one with a closed directory, and a sticky one in which another user has left a file.
hard_cache() {
    cache "$left" ci-a:ci-a 1 "8 days"
    mkdir -p "$left/debug/closed" "$left/debug/sticky"
    : >"$left/debug/closed/file"
    : >"$left/debug/sticky/file"
    chown -R ci-a:ci-a "$left/debug"
    chown ci-b:ci-b "$left/debug/sticky/file"
    chmod 1777 "$left/debug/sticky"
    chmod 500 "$left/debug/closed"
    find "$left" -exec touch -h -d "8 days ago" {} +
}
is_clean() { [ ! -e "$left" ] && [ -z "$(find "$trash" -mindepth 1 ! -name spare)" ]; }
read -ra capabilities < <(sed -n 's/^CapabilityBoundingSet=//p' "$unit")
for capability in "${capabilities[@]}"; do
    # It adds evidence: without it a sweep asks less, and does its work (observe::openers).
    [ "$capability" != CAP_LEASE ] || continue
    [ -e "$left" ] || hard_cache
    rm -rf "${trash%/trash}"
    sed "s/^\(CapabilityBoundingSet=.*\)$capability/\1/" "$unit" >/run/systemd/system/lab-less.service
    systemctl daemon-reload
    systemctl start lab-less.service || true
    ! is_clean || fail "without $capability the sweep does its work just as well"
done
[ -e "$left" ] || hard_cache
systemctl start disk-guard-sweep.service
is_clean || fail "with its capabilities the sweep leaves nothing: $(find "$left" "$trash" 2>&1 | head -n 20)"
ok "none of the sweep's capabilities can be spared: ${capabilities[*]}"

# A runner at work is marked, not stopped: a stop would cancel its job.
unit() { echo "actions.runner.acme.ci-$1.service"; }
disk-guard drain ci-1 >&2 || fail "a busy runner is marked for draining"
systemctl is-active --quiet "$(unit 1)" || fail "a busy runner's unit runs on"

hook 1 completed
hook 3 completed
[ -z "$(ls -A /run/disk-guard/leases)" ] || fail "completed hooks end their leases"
for number in 1 3; do
    tell "worker-$number" '{"do":"finish","code":100}'
    await "listener-$number" finished
done
[ "$(sum_of "$live")" = "$before" ] || fail "the live job's tree is as it was, to its end"
ok "the jobs end with their trees whole and their leases gone"

# -- Out of service, by the runners' own units --------------------------------------------------------------------------

within 10 "no Worker of ci-1" sh -c '! pgrep -u ci-a -x Runner.Worker >/dev/null'
systemctl start disk-guard-sweep.service
! systemctl is-active --quiet "$(unit 1)" || fail "with all its restrictions the sweep stops the drained runner whose job is over"
systemctl is-active --quiet "$(unit 2)" || fail "and no other"
disk-guard drain ci-2 >&2 || fail "an idle runner is drained"
! systemctl is-active --quiet "$(unit 2)" || fail "an idle runner's unit is stopped at once"
# For the timer below, before these Listeners start: whether one that is older than a step of the clock has read its .env is not known.
now=$(date +%s)
# Forward by five minutes at least: a rate from less than that tells nothing.
date -s "@$((now + 300 + (1450 - now % 900) % 900))" >&2
# Every sweep notes how the clocks stand: this one shows that the step came before these Listeners.
systemctl start disk-guard-sweep.service
for number in 1 2; do
    rm -f "$lines/listener-$number" "$lines/listener-$number".{in,out}
    open_line "listener-$number"
    disk-guard resume "ci-$number" >&2 || fail "ci-$number is resumed"
    await "listener-$number" hello
    systemctl is-active --quiet "$(unit "$number")" || fail "ci-$number takes jobs again"
done
ok "drain stops an idle runner at once and a busy one after its job; resume brings them back"

# -- The timer ----------------------------------------------------------------------------------------------------------

rm /home/filler
cache "$left" root:root 5 "8 days"
mkdir -p /run/systemd/system/disk-guard-sweep.timer.d
printf '[Timer]\nRandomizedDelaySec=0\nAccuracySec=100ms\n' >/run/systemd/system/disk-guard-sweep.timer.d/lab.conf
systemctl daemon-reload
systemctl restart disk-guard-sweep.timer
# The next quarter of an hour is less than a minute away.
within 90 "the timer's sweep to remove what is older than max_age" test ! -e "$left"
within 20 "the sweep to end" sh -c '! systemctl is-active --quiet disk-guard-sweep.service'
[ "$(sum_of "$live")" = "$before" ] || fail "younger caches stay without pressure"
systemctl show -p LastTriggerUSec --value disk-guard-sweep.timer | grep -q . || fail "the timer says when it fired"
ok "the timer fired: a cache older than max_age is gone, a younger one stays"

# -- A disk that fills fast -----------------------------------------------------------------------------------------------

# Sweeps see how fast it fills: it would be full in minutes, so the next one is due before the quarter of an hour.
early=disk-guard-sweep-early
systemctl start disk-guard-sweep.service
sleep 2
available=$(df --output=avail -m /home | tail -n 1)
head -c "$((available * 3 / 4))M" /dev/zero >/home/growing
asked=$(date '+%Y-%m-%d %H:%M:%S')
systemctl start disk-guard-sweep.service
systemctl is-active --quiet "$early.timer" || fail "a sweep of systemd's starts a timer for the next one: $(journalctl -q -o cat -u disk-guard-sweep.service -n 20)"
journalctl --sync
before=$(journalctl -q --since "$asked" -u disk-guard-sweep.service -o json DISK_GUARD_EVENT=sweep | wc -l)

# -- Upgrade ------------------------------------------------------------------------------------------------------------

systemctl disable --now --quiet disk-guard-request.path
dpkg -i /lab/second.deb >&2 </dev/null
[ "$(dpkg-query -W -f '${Version}' disk-guard)" = 9.9.9-1 ] || fail "the second version is installed"
head -n 1 /etc/disk-guard/config.toml | grep -q 'edited by the administrator' || fail "the edited configuration is kept"
! systemctl is-enabled --quiet disk-guard-request.path || fail "what was switched off stays off"
systemctl is-active --quiet disk-guard-sweep.timer || fail "the timer goes on"
ok "an upgrade keeps the edited configuration and what was switched off"

swept() { journalctl -q --since "$asked" -u disk-guard-sweep.service -o json DISK_GUARD_EVENT=sweep | wc -l; }
more_swept() { [ "$(swept)" -gt "$before" ]; }
systemctl is-active --quiet "$early.timer" || fail "the timer outlives the upgrade"
# What the timer starts when it is due.
systemctl start "$early.service"
within 20 "the early sweep" more_swept
within 20 "the sweep to end" sh -c '! systemctl is-active --quiet disk-guard-sweep.service'
rm -f /home/growing
ok "a disk that fills fast is swept again sooner, by a timer of the sweep's own that outlives an upgrade"

# -- Gone ---------------------------------------------------------------------------------------------------------------

for number in 1 2 3; do systemctl kill --signal=KILL "actions.runner.acme.ci-$number.service"; done
# All are wired by `install`; two are out of service, one by a person and one as if by a sweep.
rm /home/*/actions-runner-*/.env
echo LANG=C >/home/ci-a/actions-runner-1/.env
disk-guard install >&2 || true
disk-guard drain ci-2 >&2
sed -i 's/"hand"/"auto"/' /var/lib/disk-guard/drained/*.json
disk-guard drain ci-1 >&2
rm -f "$lines/listener-2" "$lines/listener-2".{in,out}
open_line listener-2
dpkg -P disk-guard >/run/purge 2>&1
[ "$(cat /home/ci-a/actions-runner-1/.env)" = LANG=C ] || fail "its .env is as it was"
[ ! -e /home/ci-b/actions-runner-3/.env ] || fail "a .env that install has made goes"
await listener-2 hello
systemctl is-active --quiet "$(unit 2)" || fail "what a sweep has drained is started: $(cat /run/purge)"
! systemctl is-active --quiet "$(unit 1)" || fail "what a person has drained stays so"
grep -q "systemctl start $(unit 1)" /run/purge || fail "and is named: $(cat /run/purge)"
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /lab -o -path /home -o -path /mnt \) -prune -o -print | sort >/run/after
# dpkg's, journald's and systemd's own bookkeeping is not the package's.
strays=$(comm -13 /run/before /run/after | grep -vE '^/(var/log/(journal|dpkg.log)|var/lib/dpkg/(available|status|.*-old|info/.*)|var/cache|tmp|var/tmp|etc/(passwd|group|shadow|gshadow)-|var/lib/systemd/(random-seed|timers/stamp-(apt|dpkg|e2scrub|fstrim|systemd)))' || true)
[ -z "$strays" ] || fail "purged files: $strays"
[ ! -e /run/disk-guard ] || fail "/run/disk-guard is gone"
! getent group disk-guard >&2 || fail "the group is gone"
! systemctl list-unit-files --no-legend 'disk-guard*' 'run-disk*' | grep -q . || fail "no unit is left"
ok "purge leaves nothing: no file, no unit, no group; every .env is as it was, a drained runner is back, another one named"

echo "host lab: passed, $passed of $passed" >>/lab/result
