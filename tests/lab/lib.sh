# shellcheck shell=bash
# What the lab's scenarios have in common: results in /lab/result, runners of stand-ins, and lines to them. Sourced.

passed=0
ok() {
    passed=$((passed + 1))
    echo "ok $passed - $* ($(cut -d . -f 1 /proc/uptime) s)" >>/lab/result
}
fail() {
    {
        echo "NOT OK - $*"
        disk-guard status 2>&1 | head -n 60 || true
        journalctl --no-pager -b -n 60 -o short-monotonic || true
    } >>/lab/result
    exit 1
}
trap 'echo "NOT OK - line $LINENO: $BASH_COMMAND" >>/lab/result' ERR
within() { # SECONDS WHAT COMMAND...: until the command succeeds
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || fail "in time: $what"
        sleep 0.2
    done
}

lines=/run/lab-lines
mkdir -m 777 "$lines"

runner() { # USER NUMBER
    local root=/home/$1/actions-runner-$2
    mkdir -p "$root"/{bin.2.336.0,externals,_diag/pages,_work/{_temp,_tool,_actions}}
    ln -s bin.2.336.0 "$root/bin"
    install -m 755 /lab/runner-standin "$root/bin.2.336.0/Runner.Listener"
    ln "$root/bin.2.336.0/Runner.Listener" "$root/bin.2.336.0/Runner.Worker"
    printf '\xef\xbb\xbf{"agentId": %s, "agentName": "ci-%s", "workFolder": "_work"}\n' "$2" "$2" >"$root/.runner"
    echo "actions.runner.acme.ci-$2.service" >"$root/.service"
    cat >"$root/.env" <<ENV
ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/lib/disk-guard/hooks/job-started.sh
ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/usr/lib/disk-guard/hooks/job-completed.sh
ENV
    chown -R "$1:$1" "$root"
    cat >"${units:-/run/systemd/system}/actions.runner.acme.ci-$2.service" <<UNIT
[Unit]
Description=GitHub Actions Runner (acme.ci-$2)
[Service]
ExecStart=$root/bin/Runner.Listener run --startuptype service
User=$1
WorkingDirectory=$root
Environment=STANDIN_CONTROL=$lines/listener-$2
KillMode=process
KillSignal=SIGTERM
UNIT
}

# A line to a part of a runner: what it is told goes into NAME.in, what it says is found in NAME.out.
open_line() {
    mkfifo "$lines/$1.in"
    : >"$lines/$1.out"
    socat -t 999 "UNIX-LISTEN:$lines/$1,mode=666" "SYSTEM:exec 3<&0; cat <&3 >>$lines/$1.out & exec cat 0<>$lines/$1.in" &
    within 5 "a line to $1" test -S "$lines/$1"
}
tell() { echo "$2" >"$lines/$1.in"; }
heard() { jq -es --arg event "$2" 'map(select(.event == $event)) | length > 0' "$lines/$1.out" >/dev/null 2>&1; }
await() { within "${3:-20}" "$1 to say $2" heard "$1" "$2"; }
said() { jq -rs --arg event "$2" "map(select(.event == \$event)) | last | $3" "$lines/$1.out"; }

begin_job() { # USER NUMBER REPOSITORY: up to the point where the started-hook is due
    open_line "worker-$2"
    tell "listener-$2" '{"do":"receive","id":"job-'"$2"'","request":1}'
    await "listener-$2" received
    tell "listener-$2" '{"do":"run","id":"job-'"$2"'","name":"build","socket":"'"$lines/worker-$2"'"}'
    await "worker-$2" hello
    tell "worker-$2" '{"do":"prepare","work":"/home/'"$1/actions-runner-$2"'/_work","repository":"'"$3"'","id":"job-'"$2"'","name":"build","run_id":"90'"$2"'","runner":"ci-'"$2"'"}'
    await "worker-$2" prepared
}
hook() { # NUMBER WHICH
    tell "worker-$1" '{"do":"hook","which":"'"$2"'"}'
    await "worker-$1" "$2" 90
    [ "$(said "worker-$1" "$2" .code)" = 0 ] || fail "ci-$1's $2 hook ends with $(said "worker-$1" "$2" .code)"
    said "worker-$1" "$2" '(.stdout + "")' | base64 -d >"/run/hook-$1-$2"
    cat "/run/hook-$1-$2" >&2
}

cache() { # DIRECTORY OWNER MEBIBYTES AGE
    mkdir -p "$1/debug/deps"
    echo 'Signature: 8a477f597d28d172789f06886806bc55' >"$1/CACHEDIR.TAG"
    : >"$1/debug/.cargo-lock"
    head -c "${3}M" /dev/zero | tr '\0' x >"$1/debug/deps/libwidget.rlib"
    chown -R "$2" "$1"
    find "$1" -exec touch -h -d "$4 ago" {} +
}
sum_of() { find "$1" -type f -exec sha256sum {} + | sort | sha256sum; }
