#!/bin/sh
# Started by the container of nginx. nginx resolves names only once. This script reloads nginx when the addresses of the
# services change. Open connections stay open.
set -eu

# of prints the addresses of a service, and fails when it has none: nginx would then refuse to reload.
of() {
	nslookup "$1" 2>/dev/null | awk '/^Name:/ { answer = 1 } answer && /^Address/ { print $NF; found = 1 } END { exit !found }'
}

addresses() {
	api=$(of app) && realtime=$(of realtime) && printf '%s\n' "$api" / "$realtime" | sort
}

follow() {
	before=$(addresses) || before=
	while sleep 2; do
		if now=$(addresses) && [ "$now" != "$before" ] && nginx -s reload; then
			before=$now
		fi
	done
}

follow &
