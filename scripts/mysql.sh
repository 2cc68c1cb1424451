#!/usr/bin/env bash
# Prints the folder of a MySQL server for tests: DIR/mysqld starts it, DIR/data is an initialized data directory to copy.
# The first run fetches the server with its libraries from the newest suite of the machine's own package mirror (Debian's
# sid, Ubuntu's devel). Later runs use the copy in the user's cache directory. Nothing is installed on the system, and root
# is not needed. "scripts/mysql.sh fresh" fetches the current version again.
set -euo pipefail

dir="${XDG_CACHE_HOME:-${HOME:?}/.cache}/orderflow/mysql"
case "${1:-}" in
"") [ ! -e "$dir/data" ] || { echo "$dir" && exit 0; } ;;
fresh) ;;
*)
	echo "usage: scripts/mysql.sh [fresh]" >&2
	exit 2
	;;
esac

fail() {
	echo "MySQL for tests: $1" >&2
	[ ! -s "$log" ] || tail -n 20 "$log" >&2
	exit 1
}

log=/dev/null
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || fail "$tool is missing. The server comes from packages of Debian or Ubuntu: run this there."
done

mkdir -p "$(dirname "$dir")"
work="$(mktemp -d "$dir.XXXXXX")"
trap 'rm -rf "$work" "$work.old"' EXIT
log="$work/log"
apt="$work/apt" root="$work/root"
mkdir -p "$apt"/{parts,state/lists/partial,cache/archives/partial} "$root"
: >"$apt/status"

# The mirror of this machine's release, from the sources of apt, also has the newest suite.
release="$(. /etc/os-release && echo "${ID:-}|${VERSION_CODENAME:-}")"
case "$release" in
debian\|*) suite=sid keyring=/usr/share/keyrings/debian-archive-keyring ;;
ubuntu\|*) suite=devel keyring=/usr/share/keyrings/ubuntu-archive-keyring ;;
*) fail "this is neither Debian nor Ubuntu. Set ORDERFLOW_TEST_MYSQLD to a folder with a server as scripts/mysql.sh describes it." ;;
esac
mirror="$(apt-get indextargets --format '$(RELEASE)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>>"$log" |
	awk -F '|' -v release="${release#*|}" '$1 == release && $2 == "main" { print $3; exit }')"
[ -n "$mirror" ] || fail "apt's sources do not name a mirror of ${release#*|}."
signed=""
for file in "$keyring.pgp" "$keyring.gpg"; do
	[ ! -e "$file" ] || signed="[signed-by=$file] "
done
echo "deb $signed$mirror $suite main" >"$apt/sources.list"

# apt uses a separate state, so that the system's package lists and database do not change.
private_apt() {
	apt-get -q -y -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/parts" \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Update::Error-Mode=any "$@" >>"$log" 2>&1
}

echo "fetching MySQL from ${suite}, once" >&2
private_apt update || fail "the package lists of $suite could not be fetched."
private_apt --no-install-recommends --download-only install mysql-server-core ||
	fail "the package mysql-server-core of $suite could not be fetched."
for package in "$apt"/cache/archives/*.deb; do
	case "$package" in
	*/perl* | */libperl*) ;; # only scripts of the packages need it
	*) dpkg-deb -x "$package" "$root" ;;
	esac
done
rm -rf "$apt"

libraries="$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")"
loader="$(find "$root" -name 'ld-linux*.so.*' -type f | head -n 1)"
[ -x "$root/usr/sbin/mysqld" ] && [ -n "$loader" ] || fail "the packages do not hold a server with its C library."

# The server runs with its own C library, which is newer than the system's. The script finds the files beside it by its own path.
cat >"$work/mysqld" <<END
#!/bin/sh
dir="\$(dirname "\$0")"
exec "\$dir${loader#"$work"}" --library-path "\$dir${libraries#"$work"}" "\$dir/root/usr/sbin/mysqld" --no-defaults \\
	--basedir="\$dir/root/usr" --lc-messages-dir="\$dir/root/usr/share/mysql" --character-sets-dir="\$dir/root/usr/share/mysql/charsets" \\
	--user="\$(id -un)" --secure-file-priv=NULL --mysqlx=OFF "\$@"
END
chmod +x "$work/mysqld"
"$work/mysqld" --version >>"$log" 2>&1 || fail "the server does not run on this machine."

# Initialisation takes long, so it is done once; each server gets a copy with its own identity. A server that does not resolve
# names would not find the account root@localhost.
echo "CREATE USER root@'127.0.0.1'; GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;" >"$work/accounts.sql"
"$work/mysqld" --initialize-insecure --init-file="$work/accounts.sql" --datadir="$work/initial" --innodb-redo-log-capacity=64M >>"$log" 2>&1 ||
	fail "the data directory could not be initialized."
rm -f "$work/initial/auto.cnf"
"$work/mysqld" --version >"$work/version"
mv "$work/initial" "$work/data"
chmod 755 "$work"
if [ -e "$dir" ] && { [ "${1:-}" = fresh ] || [ ! -e "$dir/data" ]; }; then mv -T "$dir" "$work.old"; fi
mv -T "$work" "$dir" 2>>"$log" || [ -e "$dir/data" ] # another run was faster
cat "$dir/version" >&2
echo "$dir"
