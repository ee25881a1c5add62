#!/usr/bin/env bash
# The DaemonSet's image, built and run with the manifest's own restrictions; and a runner's image with the hooks in /etc/arc/hooks, in
# which a job begins and ends with the pod's environment. No registry is reached.
#
#   tests/fleet/image.sh BINARY       as root; BINARY is linked statically. Skipped where docker or mmdebstrap are missing
set -euo pipefail

binary=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
kubernetes=$here/../../packaging/fleet/kubernetes
cache=${DISK_GUARD_LAB_CACHE:-/var/cache/disk-guard-lab}
[ "$(id -u)" = 0 ] || { echo "fleet: skipped, needs root"; exit 0; }
for tool in dockerd docker mmdebstrap busybox; do
    command -v "$tool" >/dev/null || { echo "fleet: skipped, $tool is missing"; exit 0; }
done
say() { echo "fleet: $*"; }
fail() { echo "fleet: $*" >&2; tail -n 20 "$work/said" >&2 2>/dev/null || true; exit 1; }

work=$(mktemp -d)
daemon=
clean_up() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        for _ in $(seq 50); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$daemon" 2>/dev/null || true
    fi
    mount | awk -v below="$work/" 'index($3, below) == 1 { print $3 }' | sort -r | xargs -r -n 1 umount -l || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
dockerd --data-root "$work/data" --exec-root "$work/exec" --host "unix://$work/socket" --pidfile "$work/pid" --iptables=false \
    --bridge=none >"$work/daemon" 2>&1 &
daemon=$!
export DOCKER_HOST=unix://$work/socket DOCKER_BUILDKIT=0
for _ in $(seq 150); do docker info >/dev/null 2>&1 && break; sleep 0.2; done
docker info >/dev/null 2>&1 || { tail -n 5 "$work/daemon" >&2; echo "fleet: skipped, no docker daemon runs here"; exit 0; }

"$kubernetes/image.sh" "$binary" disk-guard:test >"$work/said" 2>&1 || fail "the image is built"
docker run --rm --network none disk-guard:test --version >"$work/said" 2>&1 || fail "it runs"

# The manifest's configuration, restrictions and command.
manifest=$kubernetes/daemonset.yaml
sed -n '/^  config.toml: |$/,/^---$/s/^    //p' "$manifest" >"$work/config.toml"
read -ra capabilities < <(sed -n 's/.*add: \[\(.*\)\].*/\1/p' "$manifest" | tr -d '",')
# The journal is the node's; here it is left out.
restricted=(--rm --pid host --read-only --security-opt no-new-privileges --cap-drop ALL "${capabilities[@]/#/--cap-add=}")
mkdir -p "$work"/{pods,run,state,textfile}
target=$work/pods/gone/volumes/kubernetes.io~empty-dir/work/_work/app/app/target
mkdir -p "$target/debug"
echo "Signature: 8a477f597d28d172789f06886806bc55" >"$target/CACHEDIR.TAG"
head -c 4M /dev/zero >"$target/debug/app"
find "$target" -exec touch -d '30 days ago' {} +
volumes=(-v "$work/config.toml:/etc/disk-guard/config.toml:ro" -v "$work/pods:/var/lib/kubelet/pods" -v "$work/run:/run/disk-guard"
    -v "$work/state:/var/lib/disk-guard" -v "$work/textfile:/var/lib/prometheus/node-exporter")
grep -q 'command: \["/bin/sh", "/usr/lib/disk-guard/share.sh"\]' "$manifest" || fail "the manifest's first command has changed: change it here"
for _ in first again; do
    docker run --rm --network none --read-only --security-opt no-new-privileges --cap-drop ALL --cap-add CHOWN --cap-add FSETID \
        -v "$work/run:/run/disk-guard" --entrypoint /bin/sh disk-guard:test /usr/lib/disk-guard/share.sh >"$work/said" 2>&1 || fail "share.sh"
done
[ "$(stat -c '%a %g' "$work/run" "$work/run/host.lock" "$work/run/leases" | paste -sd,)" = "2755 2617,660 2617,1770 2617" ] ||
    fail "the shared directory: $(ls -lan "$work/run")"
docker run "${restricted[@]}" --network none "${volumes[@]}" disk-guard:test check-config >"$work/said" 2>&1 || fail "the manifest's configuration is valid"
grep -q '"/bin/sh", "-c", "while :; do /usr/bin/disk-guard sweep; /usr/bin/disk-guard notify; sleep' "$manifest" || fail "the manifest's command has changed: change it here"
docker run "${restricted[@]}" --network none "${volumes[@]}" --entrypoint /bin/sh disk-guard:test -c '/usr/bin/disk-guard sweep --json; /usr/bin/disk-guard notify >&2; sleep 0' \
    >"$work/said" 2>"$work/errors" || fail "the manifest's command runs: $(cat "$work/errors")"
if [ -e "$target" ]; then
    # A Worker of somebody else on this machine protects everything: then the sweep has to say so.
    grep -qE 'unattributed-worker|visibility' "$work/said" || fail "what a pod has left goes"
    say "the image sweeps; something on this machine protects what it would take"
else
    say "the image sweeps with the manifest's restrictions: what a pod has left is gone"
fi

# A message, by the command that the manifest shows.
command=$(sed -n 's/^ *# command = \(\["[^"]*notify.sh", "[^"]*"\]\)$/\1/p' "$manifest")
[ -n "$command" ] || fail "the manifest shows how to be told"
printf '[notify]\ncommand = %s\n' "$command" >>"$work/config.toml"
mkdir "$work/messages"
docker run "${restricted[@]}" --network none "${volumes[@]}" -v "$work/messages:/messages" disk-guard:test notify --test >"$work/said" 2>&1 ||
    fail "a test message is sent"
grep -q '"test":true' "$work/messages"/message-*.json || fail "it lies there: $(ls -la "$work/messages")"
[ "$(find "$work/messages" -type f | wc -l)" = 1 ] || fail "and nothing else: $(ls -la "$work/messages")"
touch "$work/messages"/{1..99}.json
! docker run "${restricted[@]}" --network none "${volumes[@]}" -v "$work/messages:/messages" disk-guard:test notify --test >"$work/said" 2>&1 ||
    fail "messages that nobody fetches are not piled up"
say "the image leaves messages about incidents to a container beside it"

# A runner's image, in the shape of ARC's, from Debian.
tar=$cache/packages-bookworm-$(echo systemd,procps | sha256sum | cut -c 1-8).tar
[ -e "$tar" ] || { mkdir -p "$cache"; mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,procps bookworm "$tar.making.$$"; mv "$tar.making.$$" "$tar"; }
docker import "$tar" arc-base >/dev/null
mkdir -p "$work/base/hooks"
for which in started completed; do
    # ARC's own: every program of the directory in turn, and the first that fails fails the job.
    # shellcheck disable=SC2016 # for the hook's shell
    printf '#!/usr/bin/env bash\nset -Eeuo pipefail\nfor hook in /etc/arc/hooks/job-%s.d/*; do "$hook" "$@"; done\n' "$which" >"$work/base/hooks/job-$which.sh"
done
chmod 755 "$work/base/hooks"/*.sh
cat >"$work/base/Containerfile" <<'FILE'
FROM arc-base
COPY hooks /etc/arc/hooks
RUN mkdir -p /etc/arc/hooks/job-started.d /etc/arc/hooks/job-completed.d /runner/bin /runner/_work/_temp \
    && cp /bin/bash /runner/bin/Runner.Listener && cp /bin/bash /runner/bin/Runner.Worker \
    && echo '{"agentId": 1, "agentName": "pod-1", "workFolder": "_work"}' >/runner/.runner && chown -R 1001:1001 /runner
FILE
docker build --network none --tag arc-runner --file "$work/base/Containerfile" "$work/base" >"$work/said" 2>&1 || fail "a runner's image"
docker build --network none --build-arg GUARD=disk-guard:test --build-arg RUNNER=arc-runner --tag arc-guarded "$kubernetes/arc" \
    --file "$kubernetes/arc/Containerfile" >"$work/said" 2>&1 || fail "the recipe's image is built"
group=$(sed -n 's/.*supplementalGroups: \[\(.*\)\].*/\1/p' "$kubernetes/arc/runnerdeployment.yaml")
# shellcheck disable=SC2016 # for the shells of the pod
docker run --rm --network none --user 1001 --group-add "$group" -v "$work/run:/run/disk-guard" \
    -e ACTIONS_RUNNER_HOOK_JOB_STARTED=/etc/arc/hooks/job-started.sh -e ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/etc/arc/hooks/job-completed.sh \
    -e GITHUB_REPOSITORY=example/widgets -e GITHUB_RUN_ID=1 -e GITHUB_JOB=build -e GITHUB_WORKSPACE=/runner/_work/widgets/widgets \
    -e RUNNER_NAME=pod-1 -e RUNNER_TEMP=/runner/_work/_temp -w /runner --entrypoint /runner/bin/Runner.Listener arc-guarded -c '
        /runner/bin/Runner.Worker -c "
            cd /runner
            bash -e \$ACTIONS_RUNNER_HOOK_JOB_STARTED || exit 11
            ls /run/disk-guard/leases | grep -q . || { echo no lease; exit 12; }
            bash -e \$ACTIONS_RUNNER_HOOK_JOB_COMPLETED || exit 13
            ! ls /run/disk-guard/leases | grep -q . || { echo a lease is left; exit 14; }
            exit 0" spawnclient 1 2
        exit $?' >"$work/said" 2>&1 || fail "a job begins and ends in the pod: $?"
say "in a pod with ARC's hook directory a job begins with a lease and ends without one"
