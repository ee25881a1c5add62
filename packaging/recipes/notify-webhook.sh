#!/bin/sh
# Sends disk-guard's message as it is, JSON, to a web hook; for `[notify] command`:
#
#   command = ["/usr/local/sbin/notify-webhook.sh", "/etc/disk-guard/webhook.curl"]
#
# The file is curl's own configuration and root's alone (mode 0600), so that no secret stands on a command line:
#
#   url = "https://alerts.example.org/hooks/4711"
#   header = "Authorization: Bearer SECRET"
set -eu
[ $# = 1 ] || { echo "usage: $0 CURL_CONFIG" >&2; exit 2; }
exec curl -q --silent --show-error --fail --max-time 20 --output /dev/null \
    --header 'Content-Type: application/json' --data-binary @- --config "$1"
