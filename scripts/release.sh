#!/usr/bin/env bash
# Checks and builds a release. VERSION names it, such as v1.2.3; without it, the tag of the commit does.
#
#   check   the tree is clean and tidy, CHANGELOG.md has a section about it, every platform compiles
#   build   check, then dist/: an archive for each platform, a bill of materials for each binary, and checksums
#   notes   prints its section of CHANGELOG.md
set -euo pipefail
cd "$(dirname "$0")/.."

platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)
version="${VERSION:-$(git describe --tags --exact-match 2>/dev/null || true)}"

die() {
	echo "release: $*" >&2
	exit 1
}

notes() {
	awk -v head="## [${version#v}]" 'index($0, "## ") == 1 { on = index($0, head) == 1; next } /^\[/ { on = 0 } on' CHANGELOG.md
}

compile() { # OS/ARCH PATH
	CGO_ENABLED=0 GOOS="${1%/*}" GOARCH="${1#*/}" \
		go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$2" ./cmd/orderflow
}

check() {
	[ -n "$version" ] || die "this commit has no tag such as v1.2.3; say VERSION=v1.2.3 to check before there is one"
	[[ "$version" =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || die "$version is no version such as v1.2.3 or v1.2.3-rc.1"
	[ -z "$(git status --porcelain)" ] || die "the tree has changes that are not committed"
	go mod tidy -diff >/dev/null || die "go.mod is not tidy"
	go mod verify >/dev/null || die "modules are not what go.sum says"
	[ -n "$(notes | tr -d '[:space:]')" ] || die "CHANGELOG.md has no part that begins with ## [${version#v}]"
	local platform
	for platform in "${platforms[@]}"; do
		compile "$platform" /dev/null || die "$platform does not compile"
	done
	echo "$version can be released"
}

build() {
	check
	rm -rf dist
	mkdir dist
	local platform name sbom
	sbom="$(scripts/tool.sh cyclonedx-gomod)"
	for platform in "${platforms[@]}"; do
		name="orderflow_${version#v}_${platform/\//_}"
		mkdir "dist/$name"
		compile "$platform" "dist/$name/orderflow"
		"$sbom" bin -json -std -version "$version" -output "dist/$name.cdx.json" "dist/$name/orderflow"
		git archive HEAD -- LICENSE README.md CONTRIBUTING.md CODE_OF_CONDUCT.md SECURITY.md CHANGELOG.md .env.example docs deploy | tar -C "dist/$name" -xf -
		# The same commit gives the same archive.
		tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -cf - "$name" |
			gzip -9n >"dist/$name.tar.gz"
		rm -r "dist/$name"
	done
	(cd dist && sha256sum -- *.tar.gz *.cdx.json >checksums.txt)
	ls -l dist
}

case "${1:-}" in
check | build | notes) "$1" ;;
*)
	echo "usage: scripts/release.sh check|build|notes" >&2
	exit 2
	;;
esac
