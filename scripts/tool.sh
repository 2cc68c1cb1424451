#!/usr/bin/env bash
# Prints the path of a development tool in the version pinned here, and builds it into bin/tools if the machine does not have
# it. Only this file names the tools and their versions.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
golangci-lint) module=github.com/golangci/golangci-lint/v2 package=$module/cmd/golangci-lint version=v2.15.0 ;;
actionlint) module=github.com/rhysd/actionlint package=$module/cmd/actionlint version=v1.7.12 ;;
cyclonedx-gomod) module=github.com/CycloneDX/cyclonedx-gomod package=$module/cmd/cyclonedx-gomod version=v1.10.0 ;;
deadcode) module=golang.org/x/tools package=$module/cmd/deadcode version=v0.52.0 ;;
govulncheck) module=golang.org/x/vuln package=$module/cmd/govulncheck version=v1.9.0 ;;
oapi-codegen) module=github.com/oapi-codegen/oapi-codegen/v2 package=$module/cmd/oapi-codegen version=v2.8.2 ;;
ogen) module=github.com/ogen-go/ogen package=$module/cmd/ogen version=v1.25.0 ;;
k6) module=go.k6.io/k6 package=$module version=v1.8.1 ;;
*)
	echo "usage: scripts/tool.sh golangci-lint|deadcode|govulncheck|actionlint|cyclonedx-gomod|oapi-codegen|ogen|k6" >&2
	exit 2
	;;
esac

# A linter parses the source with the Go that built it, so it must be built by the current Go.
fits() {
	go version -m "$1" 2>/dev/null | awk -v go="$(go env GOVERSION)" -v module="$module" -v version="$version" '
		NR == 1 { right_go = $NF == go }
		$1 == "mod" { right_version = $2 == module && $3 == version }
		END { exit !(right_go && right_version) }'
}

gobin="$(go env GOBIN)"
for candidate in "bin/tools/$1" "${gobin:-$(go env GOPATH)/bin}/$1" "$(command -v "$1" || true)"; do
	if [ -n "$candidate" ] && [ -x "$candidate" ] && fits "$candidate"; then
		echo "$candidate"
		exit 0
	fi
done

echo "building $1 $version, once" >&2
GOBIN="$PWD/bin/tools" GOFLAGS='' CGO_ENABLED=0 go install "$package@$version" >&2
echo "bin/tools/$1"
