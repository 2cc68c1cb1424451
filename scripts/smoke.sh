#!/usr/bin/env bash
# Places orders at a running installation until one is paid: scripts/smoke.sh http://127.0.0.1:8000
set -euo pipefail

base="${1:?name the installation, such as http://127.0.0.1:8000}"
die() {
	echo "smoke: $*" >&2
	exit 1
}

curl -fsS "$base/api/health"
curl -fsS "$base/api/products" | grep -q Headphones || die "there are no products: run orderflow seed"

# The simulated gateway declines one charge in five, so several orders are placed. Each must be finished within 20 seconds.
paid=
for n in 1 2 3 4 5 6 7 8; do
	answer="$(curl -fsS "$base/api/orders" -H 'Content-Type: application/json' \
		-d "{\"user_id\": 1, \"idempotency_key\": \"smoke-$$-$RANDOM-$n\", \"items\": [{\"product_id\": 2, \"quantity\": 1}]}")"
	id="$(sed -nE 's/.*"data":\{"id":([0-9]+),.*/\1/p' <<<"$answer")"
	[ -n "$id" ] || die "the order was not created: $answer"
	# The stream ends when the order is finished.
	events="$(curl -fsSN --max-time 20 -H 'Accept: text/event-stream' "$base/api/v1/orders/$id/events" | sed -n 's/^event: //p' | xargs)"
	echo "order $id: $events"
	case "$events" in
	*OrderPaid) paid=yes ;;
	*OrderFailed) ;;
	*) die "order $id was not finished" ;;
	esac
	[ -z "$paid" ] || break
done
[ -n "$paid" ] || die "no order was paid for"
curl -fsS "$base/api/orders/$id" | grep '"status":"PAID"'
