#!/usr/bin/env bash
# Tests a private server with clients of other projects. Clients that oapi-codegen and ogen generate from the OpenAPI document call
# every operation. Pusher's library for Python publishes. Then schemathesis sends requests made from the document, with an
# administrator's, a user's and no token: those that cover its schemas, then random ones for CONTRACT_TIME seconds each (10). The
# server keeps its data in DATABASE_URL and REDIS_URL, which must be private too (make test-contract), otherwise in a temporary
# SQLite file. The tools are pinned in scripts/tool.sh and scripts/contract/, and fetched into bin on first use. SEED repeats a run.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "contract: $*" >&2
	exit 1
}

# The Python packages are installed again when their list has changed.
venv="$PWD/bin/tools/contract" packages=scripts/contract/requirements.txt
if ! cmp -s "$packages" "$venv/requirements.txt"; then
	echo "installing schemathesis and pusher, once" >&2
	rm -rf "$venv"
	python3 -m venv "$venv" || die "python3 cannot create a virtual environment: run scripts/test-deps.sh contract"
	"$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$packages" ||
		die "schemathesis and pusher cannot be fetched: see the errors of pip above"
	cp "$packages" "$venv/requirements.txt"
fi
oapi="$PWD/$(scripts/tool.sh oapi-codegen)" && ogen="$PWD/$(scripts/tool.sh ogen)" || die "the generators cannot be built: see the errors of go above"

# The clients are generated beside the program that calls them, in a module of its own.
document="$PWD/internal/api/docs/openapi.json" work="$PWD/bin/contract"
rm -rf "$work"
mkdir -p "$work/oapi"
cp scripts/contract/*.go scripts/contract/go.{mod,sum} "$work/"
"$oapi" -generate types,client -package oapi -o "$work/oapi/client.go" "$document"
"$ogen" --loglevel error --target "$work/ogen" --package ogen "$document"
(cd "$work" && GOFLAGS='' go build -o contract .) || die "the generated clients do not compile"

dir="$(mktemp -d)"
server=
stop() {
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || true
	wait "$server" || true
}
trap 'stop; rm -rf "$dir"' EXIT
export DATABASE_URL="${DATABASE_URL:-sqlite:$dir/contract.db}" REDIS_URL="${REDIS_URL:-}"
export ORDERFLOW_REALTIME_SECRET="of the contract tests" # required over MySQL
: >"$dir/out" # the loop below may read it before the server has started
bin/orderflow serve --samples --addr 127.0.0.1:0 --realtime-addr 127.0.0.1:0 --rate-limit off --admin-rate-limit off --auth optional \
	--log-level warn >"$dir/out" 2>"$dir/log" &
server=$!
url=
for _ in $(seq 300); do
	url="$(sed -nE 's/.* is ready on (http:[^ ]+).*/\1/p' "$dir/out")"
	if [ -n "$url" ] || ! kill -0 "$server" 2>/dev/null; then
		break
	fi
	sleep 0.1
done
[ -n "$url" ] || die "the server did not start: $(cat "$dir/out" "$dir/log")"
realtime="$(sed -nE 's/^ *WebSockets +(ws:[^ ]+).*/\1/p' "$dir/out")"
admin="$(bin/orderflow token create --admin | tail -n 1)"
user="$(bin/orderflow token create --user 1 | tail -n 1)"

CONTRACT_TOKEN="$admin" "$work/contract" "$url" || die "a generated client cannot use the server: see its errors above"
"$venv/bin/python" scripts/contract/publish.py "$realtime" || die "Pusher's library cannot use the realtime server: see its errors above"

failed=() config="$PWD/scripts/contract/schemathesis.toml"
# Logging out would revoke the token of this run.
properties() {
	local run phases
	echo "== schemathesis over ${DATABASE_URL%%:*} with $1" >&2
	for run in "examples,coverage" "fuzzing,stateful --max-time ${CONTRACT_TIME:-10}"; do
		read -ra phases <<<"$run"
		(cd "$dir" && "$venv/bin/schemathesis" --config-file "$config" run "$url/openapi.json" "${@:2}" --checks all --mode all \
			--phases "${phases[@]}" --seed "${SEED:-1}" --continue-on-failure --exclude-operation-id logOut --no-color) >"$dir/report" 2>&1 || {
			failed+=("$1, ${phases[0]}")
			cat "$dir/report" >&2
		}
		grep -E '^  [0-9]+ generated' "$dir/report" >&2 || true
	done
}
properties "an admin's token" -H "Authorization: Bearer $admin"
properties "a user's token" -H "Authorization: Bearer $user"
properties "no token"

if grep -q '"level":"ERROR"' "$dir/log"; then
	failed+=("the server's log")
	grep '"level":"ERROR"' "$dir/log" >&2
fi
kill "$server" 2>/dev/null && wait "$server" || failed+=("stopping the server")
server=
bin/orderflow audit >"$dir/report" || {
	failed+=("the audit")
	cat "$dir/report" >&2
}
[ "${#failed[@]}" -eq 0 ] || die "failed: ${failed[*]}"
