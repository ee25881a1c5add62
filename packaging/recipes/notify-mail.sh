#!/bin/sh
# Sends disk-guard's message as a mail, by SMTP to a server that takes it from this host; for `[notify] command`:
#
#   command = ["/usr/local/sbin/notify-mail.sh", "smtp://localhost", "disk-guard@example.org", "oncall@example.org"]
#
# Needs jq and curl. By SMTP rather than by sendmail(8): the unit gives nobody new privileges, and sendmail's queue needs some.
set -eu
[ $# -ge 3 ] || { echo "usage: $0 SMTP_URL FROM TO..." >&2; exit 2; }
server=$1 from=$2
shift 2
recipients=$(printf '%s, ' "$@")
mail=$(jq --raw-output --exit-status --arg from "$from" --arg to "${recipients%, }" '
    ([.incidents[] | .news + " " + .kind] | join(", ")) as $what |
    "From: \($from)\nTo: \($to)\n" +
    "Subject: [disk-guard] \(.host | gsub("[^ -~]"; "?")): \(if .test then "test" else $what end)\n" +
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + .text')
for recipient; do
    shift
    set -- "$@" --mail-rcpt "$recipient"
done
printf '%s\n' "$mail" | curl -q --silent --show-error --max-time 20 --crlf --upload-file - --mail-from "$from" "$@" "$server"
