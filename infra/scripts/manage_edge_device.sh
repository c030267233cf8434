#!/usr/bin/env bash
# Manages a device's life by the hub's API: see docs/operate/devices.md.
#
#   manage_edge_device.sh ACTION DEVICE_ID      ACTION: provision, update, restart, decommission
#
#   SKERRY_HUB         the hub's address              (http://127.0.0.1:8600)
#   SKERRY_TOKEN_FILE  a file with an API token       (/var/lib/skerry/hub/admin.token)
#   SKERRY_WAIT        seconds to wait for the device (120)
#   IP_ADDRESS, SSH_USER   of a device that is provisioned
#
# Exits with 0 when it is done, or the device will do it when it is back; with 1 when not.
set -euo pipefail

hub=${SKERRY_HUB:-http://127.0.0.1:8600}
token_file=${SKERRY_TOKEN_FILE:-/var/lib/skerry/hub/admin.token}
wait_seconds=${SKERRY_WAIT:-120}
actions="provision, update, restart, decommission"

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

if [[ $# -ne 2 || -z ${1:-} || -z ${2:-} ]]; then
    fail "Usage: $0 [action] [device_id]
Actions: $actions"
fi
action=$1
device=$2

case $action in
provision | update | restart | decommission) ;;
*) fail "Unknown action: $action
Actions: $actions" ;;
esac
[[ $device =~ ^[A-Za-z0-9][A-Za-z0-9-]*$ ]] || fail "Not a device's id or name: $device"
for tool in curl jq; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install it"
done
[[ -r $token_file ]] || fail "Cannot read the token in $token_file: set SKERRY_TOKEN_FILE"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# ask METHOD PATH: leaves the answer in $answer and its status in $status. The token is in no argument.
ask() {
    status=$(curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' \
        --request "$1" --config <(printf 'header = "Authorization: Bearer %s"\n' "$(tr -d '[:space:]' <"$token_file")") \
        "$hub/api/devices/$2") || fail "Cannot reach the hub at $hub"
}

# must METHOD PATH: the same, and anything but success is the end.
must() {
    ask "$1" "$2"
    [[ $status == 2* ]] || fail "The hub answered $status: $(jq -r '.error // "no reason given"' "$answer" 2>/dev/null || true)"
}

field() {
    jq -er "$1" "$answer" || fail "The hub's answer has no $1"
}

quoted() {
    jq -rn --arg text "$1" '$text | @uri'
}

provision() {
    local query="" token_out here ip user
    [[ -z ${IP_ADDRESS:-} ]] || query+="&ip_address=$(quoted "$IP_ADDRESS")"
    [[ -z ${SSH_USER:-} ]] || query+="&ssh_user=$(quoted "$SSH_USER")"
    must POST "$device/provision${query:+?${query#&}}"
    if [[ -z $(jq -r .token "$answer") ]]; then
        echo "Device $device has enrolled already: it is $(field .state)"
        return
    fi
    token_out=$PWD/$device.token
    (umask 077 && field .token >"$token_out")
    echo "Device $device is registered; its token, good until it is used, is in $token_out"
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    must GET "$device"
    ip=$(jq -r .ip_address "$answer")
    user=$(jq -r .ssh_user "$answer")
    if [[ -x $here/edge_deploy.sh && -n $ip && -n $user ]]; then
        "$here/edge_deploy.sh" "$ip" "$user" || fail "edge_deploy.sh $ip $user failed"
    else
        echo "On the device: skerry node enroll --hub ADDRESS --token-file FILE"
    fi
}

restart() {
    local order deadline
    must POST "$device/restart"
    order=$(field .id)
    deadline=$((SECONDS + wait_seconds))
    while ((SECONDS < deadline)); do
        must GET "$device"
        case $(jq -r --arg id "$order" '.commands[] | select(.id == $id) | .state' "$answer") in
        done) return ;;
        failed | expired | unknown) fail "Device $device did not restart: $(jq -c '.commands[0]' "$answer")" ;;
        esac
        if [[ $(field .online) == false ]]; then
            echo "Device $device is offline: it restarts when it is back, if that is soon"
            return
        fi
        sleep 1
    done
    fail "Device $device has not restarted within $wait_seconds s"
}

decommission() {
    local deadline
    must DELETE "$device"
    deadline=$((SECONDS + wait_seconds))
    while [[ $(field .state) != decommissioned ]]; do
        ((SECONDS < deadline)) || fail "Device $device is still draining: $(jq -c '.commands[0].left' "$answer")"
        sleep 1
        must GET "$device"
    done
}

case $action in
provision) echo "Provisioning device $device..." && provision ;;
update) echo "Updating device $device..." && must POST "$device/update" ;;
restart) echo "Restarting device $device..." && restart ;;
decommission) echo "Decommissioning device $device..." && decommission ;;
esac
echo "Action $action completed for device $device"
