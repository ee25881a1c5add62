#!/bin/sh
# Sends disk-guard's message as text to an incoming web hook of Slack, Mattermost, Rocket.Chat and the like; for `[notify] command`:
#
#   command = ["/usr/local/sbin/notify-chat.sh", "/etc/disk-guard/chat.curl"]
#
# The file is curl's own configuration and root's alone (mode 0600): url = "https://hooks.slack.com/services/..."
# Needs jq. The three characters that Slack gives a meaning to are escaped as it asks for.
set -eu
[ $# = 1 ] || { echo "usage: $0 CURL_CONFIG" >&2; exit 2; }
body=$(jq --compact-output --exit-status \
    '{text: (.text | gsub("&"; "&amp;") | gsub("<"; "&lt;") | gsub(">"; "&gt;"))}')
printf '%s' "$body" | curl -q --silent --show-error --fail --max-time 20 --output /dev/null \
    --header 'Content-Type: application/json' --data-binary @- --config "$1"
