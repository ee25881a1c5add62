#!/usr/bin/env bash
# Cargo starts whatever it runs through this (.cargo/config.toml). A test of tests/ that root runs gets a machine of its own: its own
# processes, mounts, /tmp and /etc. So Workers of real runners on this host do not disturb it, tests of one program
# run side by side, and what a test leaves goes with it. Everything else is executed as it is.
#
#   tests/apart.sh PROGRAM [ARGUMENT...]
#
# DISK_GUARD_TESTS_TOGETHER=1 runs tests as they are, too.
set -euo pipefail

# In the new namespaces, as their first process: it reaps what others leave.
inside() {
    local own=$1
    shift
    detach_foreign "$tests" "$(realpath "$1")" /usr
    # The guard shall believe that it sees the whole host, which it tells by the number of its pid namespace.
    # A copy and no overlay: of that the guard knows as little as of a network's filesystem, and watches over it.
    mount -t tmpfs -o mode=755 tmpfs "$own/etc"
    cp -a /etc/. "$own/etc"
    cp "$own/whole_host.so" "$own/etc/whole-host.so"
    echo /etc/whole-host.so >"$own/etc/ld.so.preload"
    stat --dereference --format=%i /proc/self/ns/pid >"$own/etc/whole-host"
    mount --bind "$own/etc" /etc
    # The checkout, and what was built from it, may lie below the old one.
    local kept
    for kept in "$tests/.." "${1%/deps/*}"; do
        [ ! -d "$kept" ] || kept=$(realpath "$kept")
        case $kept in /tmp/*) mkdir -p "$own$kept" && mount --rbind "$kept" "$own$kept" ;; esac
    done
    mount --rbind "$own/tmp" /tmp
    cd "$PWD"
    TMPDIR=/tmp "$@" || exit
}

# Detaches the mounts that another host or a program of this one serves, but not those in which the arguments lie. Beside such a mount
# the guard works with a supervisor, and a test says itself when it wants that.
detach_foreign() {
    local point needed
    while read -r point; do
        printf -v point %b "$point"
        for needed in "$@"; do case $needed/ in "${point%/}"/*) continue 2 ;; esac done
        umount --lazy "$point" 2>/dev/null || true
    done < <(sed -nE 's/^([^ ]+ ){4}([^ ]+) .* - (fuse|fuseblk|9p|virtiofs|nfs|nfs4|cifs|smb3|ceph|autofs)(\.[^ ]*)? .*/\2/p' /proc/self/mountinfo)
}

# Runs a command on a machine of its own.
apart() {
    local own code=0
    own=$(mktemp -d "${TMPDIR:-/tmp}/disk-guard-test.XXXXXX")
    chmod 755 "$own"
    mkdir -m 1777 "$own/tmp"
    mkdir "$own/etc"
    ln "$whole_host" "$own/whole_host.so" 2>/dev/null || cp "$whole_host" "$own/whole_host.so"
    unshare --mount --pid --fork --kill-child --propagation private --mount-proc "$0" --inside "$own" "$@" || code=$?
    rm -rf --one-file-system "$own"
    return "$code"
}

# One test of a program, and a line about it. What it said is kept for the end where it has failed.
one() {
    local program=$1 said=$2 name=$3 number
    number=$(mktemp "$said/XXXXXX")
    local begun=$SECONDS code=0 result=ok
    apart "$program" --exact "$name" --nocapture --test-threads=1 >"$number" 2>&1 </dev/null || code=$?
    if [ "$code" != 0 ]; then
        result=FAILED
        { printf -- '\n---- %s ----\n' "$name" && cat "$number"; } >"$number.failed"
    elif grep -q '^test result: ok\. 0 passed; 0 failed; 1 ignored' "$number"; then
        result=ignored
    elif ! grep -q '^test result: ok\. 1 passed' "$number"; then
        # A program that says nothing about a test has not run it.
        result=FAILED
        { printf -- '\n---- %s ----\n' "$name" && cat "$number"; } >"$number.failed"
    fi
    grep '^skipped' "$number" >&2 || true
    printf 'test %s ... %s\n' "$name" "$result"
    echo "$result" >"$number.result"
    echo "$((SECONDS - begun)) s $name" >"$number.took"
}

# Every test of a program, half as many again at a time as there are processors: many of them wait for a time-out of the guard's.
all() {
    local program=$1 said names width begun=$SECONDS
    width=$((($(nproc) * 3 + 1) / 2))
    said=$(mktemp -d "${TMPDIR:-/tmp}/disk-guard-said.XXXXXX")
    # shellcheck disable=SC2064 # its name now
    trap "rm -rf '$said'" EXIT
    names=$("$program" --list --format terse | sed -n 's/: test$//p')
    printf '\nrunning %d tests\n' "$(grep -c . <<<"$names" || true)"
    tr '\n' '\0' <<<"$names" | xargs --null --no-run-if-empty --max-args=1 --max-procs="$width" "$0" --one "$program" "$said" || true
    local results passed failed ignored
    results=$(cat "$said"/*.result 2>/dev/null || true)
    count() { grep -cx "$1" <<<"$results" || true; }
    passed=$(count ok) ignored=$(count ignored)
    failed=$(($(grep -c . <<<"$names" || true) - passed - ignored))
    cat "$said"/*.failed 2>/dev/null || true
    printf '\nslowest: %s\n' "$(sort -rn "$said"/*.took | head -n 3 | paste -sd ';' | sed 's/;/, /g')"
    # As the test harness writes it, for programs that read it.
    printf '\ntest result: %s. %d passed; %d failed; %d ignored; 0 measured; 0 filtered out; finished in %d.00s\n\n' \
        "$([ "$failed" = 0 ] && echo ok || echo FAILED)" "$passed" "$failed" "$ignored" $((SECONDS - begun))
    [ "$failed" = 0 ]
}

# Whether a program is one of tests/ that wants a machine of its own.
wants_it() {
    local program=$1 name
    shift
    [[ "$program" == */deps/* && " $* " != *" --bench "* ]] || return
    name=${program##*/}
    name=${name%-*}
    # What these read the kernel says with the numbers that processes have in its first namespace.
    [ "$name" != deaths ] || return
    [ -e "$tests/$name.rs" ] || [ -e "$tests/$name/main.rs" ]
}

# The library that is preloaded, made once.
make_whole_host() {
    if [ ! "$whole_host" -nt "$tests/whole_host.c" ]; then
        cc -O2 -shared -fPIC -o "$whole_host.$$" "$tests/whole_host.c" && mv -f "$whole_host.$$" "$whole_host"
    fi
}

# A shell that has put the tests into the background lets them ignore these signals. By that a hook tells that nobody waits for it.
if grep -q '^SigIgn:.*[2367abef]$' /proc/self/status && env --default-signal=INT,QUIT true 2>/dev/null; then
    exec env --default-signal=INT,QUIT "$0" "$@"
fi

tests=$(dirname "$(realpath "$0")")
case "${1:-}" in
    --inside) shift && inside "$@" && exit ;;
esac
program=$1
if [ "$program" = --one ]; then program=$2; fi
whole_host=${program%/deps/*}/whole-host.so
if [ "$1" = --one ]; then
    shift
    one "$@"
    exit
fi
if [ -n "${DISK_GUARD_TESTS_TOGETHER:-}" ] || [ "$(id -u)" != 0 ] || ! wants_it "$@" || ! make_whole_host || ! apart true 2>/dev/null; then
    exec "$@"
fi
if [ "${*:2}" = "" ] || [ "${*:2}" = --quiet ]; then all "$1"; else apart "$@"; fi
