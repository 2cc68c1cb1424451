#!/usr/bin/env bash
# Writes .env, which compose.yaml reads, with a generated secret wherever the example leaves one empty. An existing file is not
# changed: the databases have its passwords.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -e .env ]; then
	echo ".env is there already and stays as it is"
	exit 0
fi
umask 077
draw() { od -An -vtx1 -N24 /dev/urandom | tr -d ' \n'; }
while IFS= read -r line; do
	case "$line" in
	ORDERFLOW_GATEWAY_SECRET=) ;; # comes from the provider
	*_PASSWORD= | *_SECRET=) line+=$(draw) ;;
	esac
	printf '%s\n' "$line"
done <.env.docker.example >.env.new
mv .env.new .env
echo "wrote .env, with secrets of its own"
