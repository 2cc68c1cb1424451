#!/usr/bin/env bash
# Fuzzes every target of the module, one after the other, for the given time (such as 30s). A new failing input stays
# below the package's testdata/fuzz. Keep it: it is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

time="${1:-30s}"
count=0
while IFS= read -r file; do
	package="./$(dirname "$file")"
	while IFS= read -r target; do
		count=$((count + 1))
		echo "== $package $target"
		# Minimising an input has little time: otherwise it would use up the time for finding more.
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 2s
	done < <(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file")
done < <(find cmd internal -name '*_test.go' -not -path '*/testdata/*' -exec grep -lE '^func Fuzz' {} + | sort)

if [ "$count" -eq 0 ]; then
	echo "no fuzz targets found" >&2
	exit 1
fi
