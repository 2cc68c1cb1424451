#!/usr/bin/env bash
# Installs the software that the tests need besides Go: a C compiler for the race detector; curl and openssl for the commands of
# the documents; MariaDB with its client, PostgreSQL, and Redis; promtool for metrics and alert rules; Node.js, a browser and nginx for
# WebSocket clients; nginx, Supervisor and systemd-analyze for the files of deploy. "cluster" adds the software of clusters,
# "contract" adds Python for clients of other projects. The product is built without any of these.
set -euo pipefail
cd "$(dirname "$0")/.."

cc="$(go env CC)"
cc="${cc%% *}"
PATH="$PATH:/usr/sbin:/usr/local/sbin"

# Each need, as "PACKAGES|a test that it works|its name". The servers of ORDERFLOW_TEST_MYSQL, ORDERFLOW_TEST_POSTGRES and
# ORDERFLOW_TEST_REDIS replace private ones, except in tests that kill theirs.
needs=(
	"curl|command -v curl|curl"
	"openssl|command -v openssl|OpenSSL (openssl)"
	"gcc libc6-dev|compiles|a C compiler ($cc) with the headers of the C library"
	"mariadb-server|command -v mariadbd && command -v mariadb-install-db|MariaDB (mariadbd)"
	"mariadb-client|command -v mariadb && command -v mariadb-dump|the client of MariaDB (mariadb, mariadb-dump)"
	"postgresql|postgres|PostgreSQL (postgres, initdb)"
	"redis-server|command -v redis-server|Redis (redis-server)"
	"prometheus|command -v promtool|Prometheus's promtool"
	"nodejs|command -v node|Node.js (node)"
	"npm|command -v npm|npm"
	"chromium|browser|Chromium or Chrome (chromium)"
	"nginx-light|command -v nginx|nginx"
	"supervisor|command -v supervisord|Supervisor (supervisord)"
	"systemd|command -v systemd-analyze|systemd-analyze"
)
case "${1:-}" in
"") ;;
cluster)
	needs+=(
		"galera-4|galera|the Galera library (libgalera_smm.so)"
		"rsync|command -v rsync|rsync"
		"redis-tools|command -v redis-cli|the client of Redis (redis-cli)"
		"redis-sentinel|command -v redis-sentinel|Redis Sentinel (redis-sentinel)"
	)
	;;
contract)
	needs+=("python3 python3-venv|python|Python 3.11 or newer with its modules venv and ensurepip (python3, python3-venv)")
	;;
*)
	echo "usage: scripts/test-deps.sh [cluster|contract]" >&2
	exit 2
	;;
esac

# A compiler needs the headers of the C library: try it.
compiles() {
	command -v "$cc" && echo '#include <stdlib.h>' | "$cc" -E -x c -
}

# Debian installs each version of the server in a folder of its own.
postgres() {
	local initdb
	for initdb in "$(command -v initdb)" /usr/lib/postgresql/*/bin/initdb; do
		[ ! -x "$initdb" ] || return 0
	done
	return 1
}

galera() {
	local dir
	for dir in /usr/lib/galera /usr/lib64/galera-4 /usr/lib/galera-4 /usr/lib64/galera; do
		[ ! -e "$dir/libgalera_smm.so" ] || return 0
	done
	return 1
}

browser() {
	command -v chromium || command -v chromium-browser || command -v google-chrome
}

# Debian's python3 cannot fill a virtual environment without python3-venv.
python() {
	python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
}

# Installs the clients of the lock file.
clients() (
	cd internal/app/testdata/clients
	# npm writes this file when it has finished, so that an interrupted run is repeated.
	if [ node_modules/.package-lock.json -nt package-lock.json ] && [ node_modules/.package-lock.json -nt package.json ]; then
		return
	fi
	npm ci --no-audit --no-fund || {
		echo "The clients that the tests run could not be installed: see the errors of npm above." >&2
		return 1
	}
	touch node_modules/.package-lock.json
)

# Prints the missing packages, or with "names" their names.
missing() {
	local need packages test name
	for need in "${needs[@]}"; do
		IFS='|' read -r packages test name <<<"$need"
		eval "$test" >/dev/null 2>&1 || if [ "${1:-}" = names ]; then echo "$name"; else echo "$packages"; fi
	done
}

# The tests start their own servers, so packages that are installed here must not start theirs.
without_services() {
	local policy=/usr/sbin/policy-rc.d made=
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
		"${as_root[@]}" chmod +x "$policy"
		made=yes
	fi
	local code=0
	"$@" || code=$?
	[ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
	return "$code"
}

read -ra packages <<<"$(missing | xargs)"
if [ "${#packages[@]}" -eq 0 ]; then
	clients
	exit
fi
if ! command -v apt-get >/dev/null; then
	echo "Missing for the tests: $(missing names | paste -sd, | sed 's/,/, /g'). Install it and try again." >&2
	exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "Software for the tests is missing. Run as root: apt-get install ${packages[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}"
}

# The package lists may be missing or old: fetch them only when the first attempt fails.
if ! without_services install; then
	"${as_root[@]}" apt-get update -o DPkg::Lock::Timeout=300
	without_services install
fi

left="$(missing names | paste -sd, | sed 's/,/, /g')"
if [ -n "$left" ]; then
	echo "Installed but not working: $left. Check whether CC names another compiler, or PATH another version." >&2
	exit 1
fi
clients
