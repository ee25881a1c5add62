#!/usr/bin/env bash
# The Ansible role against a Debian machine with a real systemd and live Listeners, over ssh: lint, first run, second run, a bad
# configuration, and a run when the busy runner is idle. `doctor` judges each: the container is made to look like a whole host.
#
#   tests/fleet/ansible.sh BINARY [SUITE]    as root; skipped where ansible-playbook, systemd-nspawn or ssh are missing. BINARY is
#                                            linked dynamically, for something is preloaded.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1")
suite=${2:-bookworm}
role=$here/../../packaging/fleet/ansible
cache=${DISK_GUARD_LAB_CACHE:-/var/cache/disk-guard-lab}
packages=systemd,systemd-sysv,dbus,procps,python3-minimal,python3-apt,openssh-server

for tool in ansible-playbook ansible-lint systemd-nspawn mmdebstrap ssh-keygen; do
    command -v "$tool" >/dev/null || { echo "fleet: skipped, $tool is missing"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "fleet: skipped, needs root"; exit 0; }

say() { echo "fleet: $*"; }

ansible-lint --offline --profile production "$role" >/dev/null 2>"${TMPDIR:-/tmp}/disk-guard-lint.$$" || {
    cat "${TMPDIR:-/tmp}/disk-guard-lint.$$" >&2
    exit 1
}
rm -f "${TMPDIR:-/tmp}/disk-guard-lint.$$"
say "the role is clean by ansible-lint's production profile"

mkdir -p "$cache"
tar=$cache/fleet-$suite-$(echo "$packages" | sha256sum | cut -c 1-16).tar
if [ ! -e "$tar" ]; then
    say "making $tar"
    mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" "$suite" "$tar.making"
    mv "$tar.making" "$tar"
fi

work=$(mktemp -d)
container=
clean_up() {
    [ -z "$container" ] || { kill -KILL "$container" 2>/dev/null; wait "$container" 2>/dev/null; } || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

package=$(BINARY=$binary COMPRESSION=none "$here/../../packaging/deb/build.sh" "$work")

# A machine of its own: sshd on a loopback port, and three runners of one user: one idle, one at work, one that does not run.
port=$((20000 + $$ % 20000))
root=$work/root
mkdir "$root"
tar -xpf "$tar" -C "$root"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
install -D -m 600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
printf 'Port %s\nListenAddress 127.0.0.1\n' "$port" >"$root/etc/ssh/sshd_config.d/lab.conf"
ln -sf /lib/systemd/system/ssh.service "$root/etc/systemd/system/multi-user.target.wants/ssh.service"
chroot "$root" useradd -m ci
cc -shared -fPIC -o "$root/usr/lib/whole_host.so" "$here/../whole_host.c"
echo /usr/lib/whole_host.so >"$root/etc/ld.so.preload"
for n in 1 2 3; do
    runner=$root/home/ci/actions-runner-$n
    mkdir -p "$runner"/{bin,_work,_diag}
    # Shells and sleepers by a runner's names: the second one's Listener has a Worker.
    cp "$root/bin/bash" "$runner/bin/Runner.Listener"
    cp "$root/bin/sleep" "$runner/bin/Runner.Worker"
    worker=:
    [ "$n" != 2 ] || worker="/home/ci/actions-runner-2/bin/Runner.Worker 900"
    if [ "$n" != 3 ]; then
        echo "actions.runner.acme.ci-$n.service" >"$runner/.service"
        cat >"$root/etc/systemd/system/actions.runner.acme.ci-$n.service" <<UNIT
[Service]
ExecStart=/home/ci/actions-runner-$n/bin/Runner.Listener -c 'echo "\$(date -u "+[%%Y-%%m-%%d %%H:%%M:%%SZ") INFO Listener] Listening for Jobs" >_diag/Runner_\$(date -u +%%Y%%m%%d-%%H%%M%%S-utc).log; [ -e /home/ci/no-job ] || $worker & while :; do sleep 60; done'
User=ci
WorkingDirectory=/home/ci/actions-runner-$n
[Install]
WantedBy=multi-user.target
UNIT
        ln -s "../actions.runner.acme.ci-$n.service" "$root/etc/systemd/system/multi-user.target.wants/"
    fi
    printf '{"agentId": %s, "agentName": "ci-%s", "workFolder": "_work"}\n' "$n" "$n" >"$runner/.runner"
    echo "LANG=C.UTF-8" >"$runner/.env"
    chroot "$root" chown -R ci:ci "/home/ci/actions-runner-$n"
done
systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --console=pipe </dev/null >"$work/console" 2>&1 &
container=$!
ssh_options="-p $port -i $work/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
# shellcheck disable=SC2086,SC2029 # several words on purpose, expanded here
inside() { ssh $ssh_options root@127.0.0.1 "$@"; }
for _ in $(seq 100); do inside true 2>/dev/null && break; sleep 0.2; done
inside true || { tail -n 20 "$work/console" >&2; exit 1; }

cat >"$work/inventory" <<INVENTORY
[runner_hosts]
lab ansible_host=127.0.0.1 ansible_user=root ansible_ssh_common_args="$ssh_options" ansible_python_interpreter=/usr/bin/python3
INVENTORY
cat >"$work/play.yml" <<PLAY
- hosts: runner_hosts
  roles:
    - role: disk_guard
      vars:
        disk_guard_package: $package
        disk_guard_config: "{{ settings }}"
PLAY
play() { ANSIBLE_ROLES_PATH=$role/roles ansible-playbook -i "$work/inventory" "$work/play.yml" -e "$@" >"$work/log" 2>&1; }
changed() { sed -n 's/^lab .*changed=\([0-9]*\).*/\1/p' "$work/log"; }
or_show() { "$@" || { cat "$work/log" >&2; exit 1; }; }
good='{"settings": {"pressure": {"high": "80%", "low": "70%"}, "cache": [{"name": "cargo-target", "max_age": "3d"}]}}'

inside systemctl is-active actions.runner.acme.ci-{1,2}.service >/dev/null
started() { inside systemctl show --property=ActiveEnterTimestampMonotonic --value "actions.runner.acme.ci-$1.service"; }
before=$(started 1) busy_before=$(started 2)
or_show play "$good"
[ "$(changed)" -ge 4 ] || { cat "$work/log" >&2; exit 1; }
inside disk-guard check-config | grep -q '^high = "80%"'
inside disk-guard check-config | grep -q '^max_age = "3d"'
inside systemctl is-active disk-guard-sweep.timer disk-guard-request.path >/dev/null
inside grep -q '^ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/lib/disk-guard/hooks/job-started.sh' /home/ci/actions-runner-{1,2,3}/.env
inside grep -qx LANG=C.UTF-8 /home/ci/actions-runner-1/.env
[ "$(started 1)" != "$before" ] || { cat "$work/log" >&2; echo "fleet: the idle runner's Listener was not restarted" >&2; exit 1; }
[ "$(started 2)" = "$busy_before" ] || { echo "fleet: a busy runner was restarted" >&2; exit 1; }
inside pgrep -x Runner.Worker >/dev/null
grep -q 'hook:ci-2' "$work/log" || { cat "$work/log" >&2; echo "fleet: the busy runner is not named" >&2; exit 1; }
say "a fresh host is installed, configured, armed and wired, the idle runner's Listener restarted, the busy one named: $(changed) changes"

or_show play "$good"
[ "$(changed)" = 0 ] || { cat "$work/log" >&2; echo "fleet: a second run changed $(changed) things" >&2; exit 1; }
say "a second run changes nothing"

if play '{"settings": {"pressure": {"high": "180%"}}}'; then
    echo "fleet: an invalid configuration was accepted" >&2
    exit 1
fi
inside disk-guard check-config | grep -q '^high = "80%"'
say "an invalid configuration is refused, and the old one stays"

# Its job is over.
inside touch /home/ci/no-job
inside pkill -x Runner.Worker
or_show play "$good"
[ "$(started 2)" != "$busy_before" ] || { cat "$work/log" >&2; echo "fleet: the Listener was not restarted when it was idle" >&2; exit 1; }
! grep -q 'hook:ci-2' "$work/log" || { cat "$work/log" >&2; exit 1; }
inside disk-guard doctor >"$work/log" || { cat "$work/log" >&2; exit 1; }
say "the next run restarts the Listener whose job is over, and doctor has no fault to find"
# The positive control: what is no restart fails the play.
inside chmod 777 /run/disk-guard/leases
! play "$good" || { echo "fleet: a host that is not guarded was called good" >&2; exit 1; }
grep -q 'leases' "$work/log"
say "a finding that no restart puts right fails the play"
inside systemctl poweroff || true
wait "$container" || true
container=
say "passed"
