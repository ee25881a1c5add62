#!/bin/bash
# Runners of every kind are wired, the package is upgraded, and goes while Listeners and a job live.
# shellcheck source=tests/packages/lib.sh
. /lab/lib.sh

useradd -m ci
plain=/home/ci/actions-runner-1
chained=/home/ci/actions-runner-2
gone=/home/ci/actions-runner-3
edited=/home/ci/actions-runner-4
by_hand=/home/ci/actions-runner-5
linked=/home/ci/actions-runner-6
elsewhere="/data/ci/a [b] runner"
runner "$plain" 'LANG=C.UTF-8\r\nSECRET="a b"  '
printf 'echo theirs; exit 7\n' >/home/ci/theirs.sh
runner "$chained" 'ACTIONS_RUNNER_HOOK_JOB_STARTED=/home/ci/theirs.sh\nX=1\n'
runner "$gone" 'A=1\n'
runner "$edited" 'A=1\n'
runner "$by_hand" "ACTIONS_RUNNER_HOOK_JOB_STARTED=$hooks/job-started.sh\n"
runner "$linked" 'A=1\n'
runner "$elsewhere" ''
rm "$elsewhere/.env"
mkdir /lab/before
for root in "$plain" "$chained"; do cp "$root/.env" "/lab/before/${root##*/}"; done

package -i /lab/first.deb
says 'the first sweep comes at the next quarter of an hour'
printf '[runners]\nroots = ["/home/*/actions-runner*", "/data/*/*"]\n' >/etc/disk-guard/config.toml
disk-guard install >/lab/said || fail "install"
says 'Summary: 7 runners: 7 wired'
# By now no glob names it any more.
printf '[runners]\nroots = ["/home/*/actions-runner*"]\n' >/etc/disk-guard/config.toml
wired=$(cat "$plain/.env" "$chained/.env" "$elsewhere/.env")
chain=$(sed -n 's/^ACTIONS_RUNNER_HOOK_JOB_STARTED=//p' "$chained/.env")
[ "${chain#/var/lib/disk-guard/hooks/}" != "$chain" ] || fail "a chain script: $chain"

without_a_gap package -i /lab/second.deb
[ "$(cat "$plain/.env" "$chained/.env" "$elsewhere/.env")" = "$wired" ] || fail "an upgrade leaves every .env alone"
[ "$(find /var/lib/disk-guard/wired -name '*.json' | wc -l)" = 7 ] || fail "and every record"
[ "$(hook "$hooks/job-started.sh")" = 0 ] || fail "and the hooks work: $(cat /lab/hook)"

# The Listeners read it now, and one has a job.
listen "$plain"
plain_listener=$listener
listen "$chained"
(cd "$plain/_work" && exec setpriv --reuid ci --regid ci --clear-groups "$plain/bin/Runner.Worker" 900) &
worker=$!
sleep 1
rm -r "$gone"
echo B=2 >>"$edited/.env"
ln "$linked/.env" "$linked/second-name"

without_a_gap package -r disk-guard
[ ! -e /usr/bin/disk-guard ] || fail "the program is gone"
for root in "$plain" "$chained"; do cmp "$root/.env" "/lab/before/${root##*/}" || fail "$root/.env is as it was"; done
[ "$(cat "$edited/.env")" = $'A=1\nB=2' ] || fail "what the user has written stays: $(cat "$edited/.env")"
[ ! -e "$elsewhere/.env" ] || fail "what was made goes, and no glob is needed for that"
[ "$(cat "$by_hand/.env")" = "ACTIONS_RUNNER_HOOK_JOB_STARTED=$hooks/job-started.sh" ] || fail "what install has not written is left alone"
says 'actions-runner-5: /home/ci/actions-runner-5/.env names our hooks, and not by our record'
says 'actions-runner-3: unchanged'
says 'its directory is gone'
says 'actions-runner-6: blocked'
says 'more than one name'
says "restart its Listener (pid $plain_listener) by hand when it is idle"
kill -0 "$worker" || fail "the job lives"
for each in started completed; do
    [ "$(hook "$hooks/job-$each.sh")" = 0 ] || fail "a Listener that runs names job-$each.sh, which fails its job: $(cat /lab/hook)"
done
[ "$(hook "$chain")" = 7 ] || fail "the chained hook's own exit code is the job's"
grep -qx theirs /lab/hook || fail "the hook that ours was chained with runs: $(cat /lab/hook)"
[ -z "$(dpkg-divert --list '*disk-guard*')" ] || fail "no diversion stays: $(dpkg-divert --list '*disk-guard*')"

without_a_gap package -P disk-guard
says 'these are left'
[ "$(hook "$hooks/job-started.sh")" = 0 ] || fail "after a purge a hook fails its job: $(cat /lab/hook)"
[ "$(hook "$chain")" = 7 ] || fail "a chain script goes on"
[ ! -e /etc/disk-guard ] || fail "the configuration is gone"
[ ! -e /var/lib/disk-guard/wired ] || fail "the records are gone"

# It comes back, over what was left.
package -i /lab/second.deb
dpkg --verify disk-guard >/lab/said || fail "dpkg --verify"
[ ! -s /lab/said ] || fail "every file is the package's again"
