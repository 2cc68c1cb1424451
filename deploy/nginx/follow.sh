#!/bin/sh
# Started with nginx by its container. nginx looks names up once, so when a server comes back with another address, or one
# is added, it has to be told to look again. Connections that are open stay open.
set -eu

# The addresses of a service; an error when it has none at the moment, for nginx would refuse to look then.
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
