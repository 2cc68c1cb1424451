#!/usr/bin/env bash
# Builds the product from the commit BASE and from the working tree, and compares the processor time an order of both; see
# cmd/bench-guard and docs/performance.md. BASE is built in a git worktree in a temporary folder, which is removed at
# the end, also after an interrupt. Exit code 0: no slower; 3: slower; 4: not known; 1: not measured; 2: wrong arguments.
#
#   scripts/bench-guard.sh BASE [FLAG ...]      such as: main --loads sqlite; the flags are those of cmd/bench-guard
set -euo pipefail
cd "$(dirname "$0")/.."

if ! base="$(git rev-parse --verify --quiet "${1:-}^{commit}")"; then
	echo "Name a commit to compare with: make bench-guard BASE=main" >&2
	exit 2
fi
shift

dir="$(mktemp -d)"
child=
clean() {
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null || true
		wait "$child" || true
	fi
	git worktree remove --force "$dir/base" 2>/dev/null || true
	rm -rf "$dir"
	git worktree prune
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Both with the same flags and without a version, so that equal sources give equal binaries.
build() { (cd "$1" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/$2" "$3"); }

echo "Building $(git log -1 --format='%h (%s)' "$base") and the working tree." >&2
git worktree add --quiet --detach "$dir/base" "$base"
build "$dir/base" base-orderflow ./cmd/orderflow
build . work-orderflow ./cmd/orderflow
build . guard ./cmd/bench-guard

# In the background, since the shell handles signals while it waits, but not while a command in the foreground runs.
"$dir/guard" --base "$dir/base-orderflow" --work "$dir/work-orderflow" "$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
