#!/usr/bin/env bash
# Installs what the tests need besides Go: a C compiler, for the race detector, and curl, since the README's commands are
# run. The product itself is built without either.
set -euo pipefail

cc="$(go env CC)"
cc="${cc%% *}"

# A compiler without the C library's headers is no use: try it.
works() {
	command -v curl >/dev/null && command -v "$cc" >/dev/null && echo '#include <stdlib.h>' | "$cc" -E -x c - >/dev/null 2>&1
}

if works; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "The tests need curl, a C compiler ($cc) and the headers of the C library. Install them and try again." >&2
	exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "The tests need curl and a C compiler. As root: apt-get install curl gcc libc6-dev" >&2
		exit 1
	fi
	as_root=(sudo)
fi

export DEBIAN_FRONTEND=noninteractive
install() {
	"${as_root[@]}" apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 curl gcc libc6-dev
}

# The lists of packages may be missing or old: fetch them only when the first try fails.
if ! install; then
	"${as_root[@]}" apt-get update -o DPkg::Lock::Timeout=300
	install
fi

if ! works; then
	echo "curl and a C compiler were installed, but one of them ($cc) still does not work. Is CC set to something else?" >&2
	exit 1
fi
