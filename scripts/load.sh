#!/usr/bin/env bash
# Puts every load test of load-tests/ on a private server and prints their figures as one table, then audits the books.
# The server keeps its data in DATABASE_URL and REDIS_URL, which have to be private too (make load-mysql), else in a
# temporary SQLite file. It ends with this script, by its own process id. Exit code 1 when a threshold failed or the books
# are wrong.
#
#   scripts/load.sh [TEST ...]      such as: oversell flash-sale; all without arguments
#   SOAK=10m VUS=500 scripts/load.sh        what a test reads from its environment is handed on
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
export ORDERFLOW_REALTIME_SECRET="${ORDERFLOW_REALTIME_SECRET:-of the load tests}" # over MySQL it must be said

# start serves on free ports. No payment is declined: that would give the last piece back, and somebody else might have it.
start() {
	: >"$dir/out" # it is read below, maybe before the server's process is there
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

# run runs one test; what it prints for the table is kept.
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
		# What went wrong in words, each kind once with its number: addresses and ids differ, times too.
		sed -nE 's/^time=[^ ]+ level=(error|warning) msg="?(.*)$/\2/p' "$dir/k6" | cut -c 1-160 |
			sed -E 's/[0-9.]+:[0-9]+(->)?//g; s/"trace_id.*//' | sort | uniq -c | sort -rn | head -n 10 >&2
	}
	head="$(grep -m 1 '^test  ' "$dir/k6" || true)"
}

# The race for the last piece needs a product that has one; everything else enough of all.
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
stop || failed+=("the server's end")

printf '\n%s\n' "$head"
cat "$dir"/rows/* 2>/dev/null || true
echo
bin/orderflow audit || failed+=("the audit")
if [ -s "$dir/log" ]; then
	printf '\nthe server said:\n' >&2
	tail -n 20 "$dir/log" >&2
fi
if [ "${#failed[@]}" -gt 0 ]; then
	echo "failed: ${failed[*]}" >&2
	exit 1
fi
