#!/usr/bin/env bash
# Runs every load test of load-tests/ on a private server, prints their figures as one table, and ends with the audit. The
# server keeps its data in DATABASE_URL and REDIS_URL, which must be private too (make load-mysql), otherwise in a temporary
# SQLite file. This script stops it by its process id. Exit code 1 when a threshold or the audit failed.
#
#   scripts/load.sh [TEST ...]      such as: oversell flash-sale; all without arguments
#   SOAK=10m VUS=500 scripts/load.sh        variables of a test are passed on
set -euo pipefail
cd "$(dirname "$0")/.."

tests=("$@")
[ "${#tests[@]}" -gt 0 ] || tests=(oversell idempotency high-load flash-sale soak)
for test in "${tests[@]}"; do
	[ -f "load-tests/$test-test.js" ] || {
		echo "there is no load-tests/$test-test.js" >&2
		exit 2
	}
done

k6="$(scripts/tool.sh k6)"
export K6_NO_USAGE_REPORT=true
dir="$(mktemp -d)"
server=
stop() {
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || true
	wait "$server" || return 1
	server=
}
trap 'stop || true; rm -rf "$dir"' EXIT
export DATABASE_URL="${DATABASE_URL:-sqlite:$dir/load.db}"
export ORDERFLOW_REALTIME_SECRET="${ORDERFLOW_REALTIME_SECRET:-of the load tests}" # required over MySQL

# start starts the server on free ports. No payment is declined: that would return the last unit, and another order might take it.
start() {
	: >"$dir/out" # the loop below may read it before the server has started
	bin/orderflow serve --addr 127.0.0.1:0 --realtime-addr 127.0.0.1:0 --rate-limit off --auth optional \
		--simulated-success 1 --log-level warn >"$dir/out" 2>>"$dir/log" &
	server=$!
	url=
	for _ in $(seq 300); do
		url="$(sed -nE 's/.* is ready on (http:[^ ]+).*/\1/p' "$dir/out")"
		[ -z "$url" ] || return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	echo "the server did not start:" >&2
	cat "$dir/out" "$dir/log" >&2
	return 1
}

# run runs one test and keeps its row of the table.
failed=()
run() {
	echo "== $1" >&2
	"$k6" inspect "load-tests/$1-test.js" >/dev/null
	local args=() name
	for name in RAMP HOLD VUS DURATION SOAK RATE SLACK; do
		[ -z "${!name:-}" ] || args+=(-e "$name=${!name}")
	done
	"$k6" run --quiet --no-color -e BASE_URL="$url" -e ROW_FILE="$dir/rows/$2-$1" "${args[@]}" "load-tests/$1-test.js" >"$dir/k6" 2>&1 || {
		failed+=("$1")
		# The errors, each kind once with its number, without addresses, ids and times.
		sed -nE 's/^time=[^ ]+ level=(error|warning) msg="?(.*)$/\2/p' "$dir/k6" | cut -c 1-160 |
			sed -E 's/[0-9.]+:[0-9]+(->)?//g; s/"trace_id.*//' | sort | uniq -c | sort -rn | head -n 10 >&2
	}
	head="$(grep -m 1 '^test  ' "$dir/k6" || true)"
}

# The race for the last unit needs a product with one unit; all other tests need enough of every product.
mkdir "$dir/rows"
n=0 head='' stocked=
bin/orderflow seed --stock 1 >/dev/null
start
for test in "${tests[@]}"; do
	if [ "$test" != oversell ] && [ -z "$stocked" ]; then
		stop
		bin/orderflow seed --stock 10000000 --products 100 >/dev/null
		start
		stocked=yes
	fi
	n=$((n + 1))
	run "$test" "$n"
done
stop || failed+=("stopping the server")

printf '\n%s\n' "$head"
cat "$dir"/rows/* 2>/dev/null || true
echo
bin/orderflow audit || failed+=("the audit")
if [ -s "$dir/log" ]; then
	printf '\nlog of the server:\n' >&2
	tail -n 20 "$dir/log" >&2
fi
if [ "${#failed[@]}" -gt 0 ]; then
	echo "failed: ${failed[*]}" >&2
	exit 1
fi
