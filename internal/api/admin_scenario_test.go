package api_test

import (
	"strings"
	"testing"
)

const (
	lamp     = `{"idempotency_key":"lamp","name":"Désk \"Lamp\"","price":"29.97","stock":40}`
	delivery = `{"idempotency_key":"881","quantity":25,"reason":"delivery 881"}`
)

func productScenarios() []scenario {
	const products, one = "/api/v1/products", "/api/v1/products/2"
	tooLong := strings.Repeat("é", 256)
	return []scenario{
		{
			name: "add a product", method: "POST", target: products, status: 201, once: true,
			body:        strings.Replace(lamp, `"stock"`, `"unknown":[1],"id":77,"currency":"EUR","stock"`, 1),
			want:        []string{`{"data":{"id":6,"name":"Désk \"Lamp\"","price":"29.97","currency":"USD","stock":40,"active":true,"created_at":"20`},
			wantHeaders: []string{"Idempotent-Replayed: -", "Content-Type: application/json"},
		},
		{
			name: "add one by the alias, with the key in the header", method: "POST", target: "/api/products", status: 201, once: true,
			body: `{"name":"N","price":"5","active":false}`, headers: []string{`Idempotency-Key: "a"`},
			want: []string{`"price":"5.00"`, `"stock":0,"active":false`},
		},
		{
			name: "add it again", prepare: asAdmin("POST", products, lamp), method: "POST", target: products, status: 200, body: lamp,
			want: []string{`{"data":{"id":6,`, `"stock":40,`}, wantHeaders: []string{"Idempotent-Replayed: true"},
		},
		{
			name: "add it again spelled otherwise", prepare: asAdmin("POST", products, `{"idempotency_key":"a","name":"N","price":"5"}`),
			method: "POST", target: products, status: 200, body: `{"active":true,"stock":0,"price":"5.00","name":"\u004e"}`,
			headers: []string{"Idempotency-Key: a"}, want: []string{`"id":6,`},
		},
		{
			name: "again, as it is now", prepare: func(t testing.TB, n *server) {
				t.Helper()
				asAdmin("POST", products, lamp)(t, n)
				asAdmin("PATCH", products+"/6", `{"name":"Renamed","active":false}`)(t, n)
			},
			method: "POST", target: products, status: 200, body: lamp, want: []string{`"name":"Renamed"`, `"active":false`},
		},
		{
			name: "the key for another product", prepare: asAdmin("POST", products, lamp), method: "POST", target: products, status: 422,
			body: strings.Replace(lamp, "29.97", "29.98", 1), want: []string{`"error":"idempotency_key_reused"`}, forbid: []string{`"data"`},
		},
		{
			name: "a restock's key is another key", prepare: asAdmin("POST", one+"/restock", delivery), method: "POST", target: products,
			status: 201, once: true, body: strings.Replace(lamp, `"lamp"`, `"881"`, 1),
		},
		{
			name: "no product", method: "POST", target: products, status: 422, body: `{}`,
			want: []string{`"errors":{"idempotency_key":["is required, here or in the Idempotency-Key header"],"name":["is required"],"price":["is required"]}`},
		},
		{
			name: "not an object", method: "POST", target: products, status: 422, body: `[1]`, want: []string{`"body":["must be an object"]`},
		},
		{
			name: "all wrong types", method: "POST", target: products, status: 422,
			body: `{"idempotency_key":7,"name":null,"price":29.97,"stock":"40","active":"yes"}`,
			want: []string{
				`"active":["must be true or false, not a string"]`, `"idempotency_key":["must be a string, not a number"]`,
				`"name":["must be a string, not null"]`, `"price":["must be a string such as \"29.97\", not a number"]`,
				`"stock":["must be a whole number, not a string"]`,
			},
		},
		{
			name: "all out of bounds", method: "POST", target: products, status: 422,
			body: `{"idempotency_key":"","name":"` + tooLong + `","price":"0.00","stock":-1,"active":null}`,
			want: []string{
				`"active":["must be true or false, not null"]`, `"idempotency_key":["must have 1 to 255 characters"]`,
				`"name":["must have 1 to 255 characters"]`, `"price":["must be from 0.01 to 99999999.99"]`,
				`"stock":["must be a whole number from 0 to 1000000000"]`,
			},
		},
		{name: "a price of three decimals", method: "POST", target: products, status: 422, body: strings.Replace(lamp, "29.97", "1.005", 1), want: []string{`"errors":{"price":["must be a decimal number`}},
		{name: "a price beyond all bounds", method: "POST", target: products, status: 422, body: strings.Replace(lamp, "29.97", "100000000", 1), want: []string{`"errors":{"price":["must be a decimal number`}},
		{name: "a price below zero", method: "POST", target: products, status: 422, body: strings.Replace(lamp, "29.97", "-1", 1), want: []string{`"errors":{"price":["must be from`}},
		{name: "stock with a fraction", method: "POST", target: products, status: 422, body: strings.Replace(lamp, "40", "4.5", 1), want: []string{`"errors":{"stock":["must be a whole number, without`}},
		{name: "two keys", method: "POST", target: products, status: 422, body: lamp, headers: []string{"Idempotency-Key: b"}, want: []string{`"errors":{"idempotency_key":["differs from the Idempotency-Key header"]}`}},
		{name: "a product that is not JSON", method: "POST", target: products, status: 400, body: lamp + "}", want: []string{`"error":"malformed_json"`}},
		{name: "a duplicate name", method: "POST", target: products, status: 400, body: `{"price":7,"price":"1"}`, want: []string{`"error":"malformed_json"`, "has a duplicate name"}},
		{name: "a product that is text", method: "POST", target: products, status: 415, body: lamp, headers: []string{"Content-Type: -", "Content-Type: text/plain"}},
		{name: "a product too large", method: "POST", target: products, status: 413, body: `{"x":"` + strings.Repeat("x", 65536) + `"}`},
		{name: "a product for a page of another origin", method: "POST", target: products, status: 403, body: lamp, headers: []string{"Origin: https://evil.example"}, want: []string{`"error":"forbidden"`}},
		{name: "put products", method: "PUT", target: products, status: 405, wantHeaders: []string{"Allow: GET, HEAD, OPTIONS, POST"}},

		{
			name: "another price and name", method: "PATCH", target: one, status: 200, body: `{"price":"24.5","name":"Mouse","currency":"EUR"}`,
			want: []string{`{"data":{"id":2,"name":"Mouse","price":"24.50","currency":"USD","stock":200,"active":true,`},
		},
		{name: "stop a sale", method: "PATCH", target: "/api/products/2", status: 200, body: `{"active":false}`, want: []string{`"price":"29.99"`, `"active":false`}},
		{name: "nothing to change", method: "PATCH", target: one, status: 422, body: `{"colour":"red"}`, want: []string{`"errors":{"body":["must have a name, a price or active"]}`}},
		{
			name: "all wrong in a change", method: "PATCH", target: one, status: 422, body: `{"name":"","price":"x","active":0,"stock":7}`,
			want: []string{`"name":["must have 1 to 255 characters"]`, `"price":["must be a decimal number`, `"active":["must be true or false, not a number"]`, `"stock":["cannot be set;`},
		},
		{name: "change to null", method: "PATCH", target: one, status: 422, body: `{"name":null}`, want: []string{`"errors":{"name":["must be a string, not null"]}`}},
		{name: "change an unknown product", method: "PATCH", target: products + "/77", status: 404, body: `{"active":false}`, want: []string{"Product 77 does not exist."}},
		{name: "change with an invalid id", method: "PATCH", target: products + "/x", status: 404, body: `{"active":false}`, want: []string{"No product has this id"}},
		{name: "a change that is not JSON", method: "PATCH", target: one, status: 400, body: `{`},
		{name: "get a product", method: "GET", target: one, status: 405, wantHeaders: []string{"Allow: OPTIONS, PATCH"}},

		{
			name: "restock", method: "POST", target: one + "/restock", status: 201, once: true, body: delivery,
			want: []string{
				`{"data":{"product":{"id":2,"name":"Wireless Mouse",`, `"stock":225,`,
				`"movement":{"product_id":2,"quantity":25,"reason":"delivery 881","idempotency_key":"881","actor":"token:`, `,"created_at":"20`,
			},
			wantHeaders: []string{"Idempotent-Replayed: -"},
		},
		{
			name: "restock again", prepare: func(t testing.TB, n *server) {
				t.Helper()
				asAdmin("POST", one+"/restock", delivery)(t, n)
				n.place(t, "a", 2, 5)
			},
			method: "POST", target: "/api/products/2/restock", status: 200, body: `{"quantity":25,"reason":"delivery 881"}`,
			headers: []string{"Idempotency-Key: 881"}, want: []string{`"stock":220,`, `"quantity":25,`},
			wantHeaders: []string{"Idempotent-Replayed: true"},
		},
		{
			name: "the key for another restock", prepare: asAdmin("POST", one+"/restock", delivery), method: "POST", target: "/api/products/3/restock",
			status: 422, body: delivery, want: []string{`"error":"idempotency_key_reused"`},
		},
		{
			name: "remove all units", method: "POST", target: "/api/v1/products/5/restock", status: 201, once: true,
			body: `{"idempotency_key":"a","quantity":-1,"reason":"broken"}`, want: []string{`"stock":0,`},
		},
		{
			name: "remove too many units", method: "POST", target: "/api/v1/products/5/restock", status: 409,
			body: `{"idempotency_key":"a","quantity":-2,"reason":"broken"}`,
			want: []string{`"error":"insufficient_stock"`, `"product_id":5,"requested":2,"available":1,`},
		},
		{name: "restock an unknown product", method: "POST", target: products + "/77/restock", status: 404, body: delivery, want: []string{"Product 77 does not exist."}},
		{name: "restock with an invalid id", method: "POST", target: products + "/0/restock", status: 404, body: delivery},
		{
			name: "no restock", method: "POST", target: one + "/restock", status: 422, body: `{}`,
			want: []string{`"errors":{"idempotency_key":["is required, here or in the Idempotency-Key header"],"quantity":["is required"],"reason":["is required"]}`},
		},
		{
			name: "all wrong in a restock", method: "POST", target: one + "/restock", status: 422,
			body: `{"idempotency_key":"` + tooLong + `","quantity":0,"reason":""}`,
			want: []string{`"idempotency_key":[`, `"quantity":["must be a whole number from -1000000000 to 1000000000, and not 0"]`, `"reason":["must have 1 to 255 characters"]`},
		},
		{name: "restock beyond all bounds", method: "POST", target: one + "/restock", status: 422, body: `{"idempotency_key":"a","quantity":99999999999999999999,"reason":"r"}`, want: []string{`"errors":{"quantity":["must be a whole number from`}},
		{name: "get a restock", method: "GET", target: one + "/restock", status: 405, wantHeaders: []string{"Allow: OPTIONS, POST"}},
	}
}

func failedJobScenarios() []scenario {
	retried := func(t testing.TB, n *server) {
		t.Helper()
		createFailedJob(t, n)
		asAdmin("POST", "/api/v1/failed-jobs/1/retry", "")(t, n)
	}
	return []scenario{
		{name: "no failed jobs", method: "GET", target: "/api/v1/failed-jobs", status: 200, want: []string{`{"data":[],"meta":{"current_page":1,"per_page":15,"total":0,"last_page":1}}`}},
		{
			name: "failed jobs", prepare: createFailedJob, method: "GET", target: "/api/failed-jobs?per_page=50", status: 200,
			want: []string{
				`{"data":[{"id":1,"order_id":1,"attempts":1,"error":"no answer in time","failed_at":"20`, `"resolved_at":null,"resolution":null}]`,
				`"meta":{"current_page":1,"per_page":50,"total":1,"last_page":1}`,
			},
		},
		{name: "resolved jobs", prepare: retried, method: "GET", target: "/api/v1/failed-jobs", status: 200, want: []string{`"resolved_at":"20`, `"resolution":"retried"`}},
		{name: "a page of jobs too far", prepare: createFailedJob, method: "GET", target: "/api/v1/failed-jobs?page=2&per_page=", status: 200, want: []string{`"data":[],"meta":{"current_page":2,`, `"total":1`}},
		{name: "wrong parameters of jobs", method: "GET", target: "/api/v1/failed-jobs?page=0&per_page=51", status: 422, want: []string{`"errors":{"page":["must be a whole number from 1 to 10000"],"per_page":["must be a whole number from 1 to 50"]}`}},
		{name: "unknown parameters of jobs", method: "GET", target: "/api/v1/failed-jobs?page=0&status=open", status: 422, want: []string{`"errors":{"page":["must be a whole number from 1 to 10000"],"status":["is not a parameter of this address, which takes per_page, page"]}`}},
		{name: "a malformed query of jobs", method: "GET", target: "/api/v1/failed-jobs?page=%zz", status: 422, want: []string{`"errors":{"query":`}},
		{
			name: "retry", prepare: createFailedJob, method: "POST", target: "/api/v1/failed-jobs/1/retry", status: 200, once: true,
			want: []string{`{"data":{"id":1,`, `"status":"PROCESSING"`, `"items":[{"product_id":2,`},
		},
		{name: "retry again", prepare: retried, method: "POST", target: "/api/v1/failed-jobs/1/retry", status: 409, want: []string{`"error":"job_in_progress"`}},
		{name: "retry nothing", method: "POST", target: "/api/v1/failed-jobs/7/retry", status: 404, want: []string{"Failed job 7 does not exist."}},
		{name: "retry with an invalid id", method: "POST", target: "/api/v1/failed-jobs/x/retry", status: 404, want: []string{"No failed job has this id"}},
		{name: "retry for a page of another origin", prepare: createFailedJob, method: "POST", target: "/api/v1/failed-jobs/1/retry", status: 403, headers: []string{"Origin: https://evil.example"}},
		{
			name: "abandon", prepare: createFailedJob, method: "POST", target: "/api/v1/failed-jobs/1/abandon", status: 200, once: true,
			want: []string{`"status":"FAILED"`, `"items":[{"product_id":2,`},
		},
		{name: "abandon a retried job", prepare: retried, method: "POST", target: "/api/v1/failed-jobs/1/abandon", status: 409, want: []string{`"error":"job_in_progress"`}},
		{name: "abandon nothing", method: "POST", target: "/api/v1/failed-jobs/7/abandon", status: 404},
		{
			name: "figures", prepare: placed, method: "GET", target: "/api/v1/stats", status: 200,
			want: []string{
				`{"data":{"orders":{"total":1,"by_status":{"PENDING":1,"PROCESSING":0,"PAID":0,"FAILED":0,"CANCELLED":0},"due":1,"overdue":0,"longest_overdue_ms":0},` +
					`"failed_jobs":{"open":0},"outbox":{"unpublished":1,"owed":1,"oldest_ms":`, `},"products":{"total":5,"sold_out":0},"timestamp":"20`,
			},
		},
		{
			name: "audit", prepare: placed, method: "POST", target: "/api/v1/audit", status: 200,
			want: []string{`"holds": true`, `"number": 8`, `"in orders": 2`},
		},
		{name: "audit for a page of another origin", method: "POST", target: "/api/v1/audit", status: 403, headers: []string{"Origin: https://evil.example"}},
		{name: "get an audit", method: "GET", target: "/api/v1/audit", status: 405, wantHeaders: []string{"Allow: OPTIONS, POST"}},
	}
}

func TestAdminScenarios(t *testing.T) {
	for _, s := range append(productScenarios(), failedJobScenarios()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := open(t)
			if s.prepare != nil {
				s.prepare(t, n)
			}
			a := n.do(t, s.method, s.target, s.body, append(s.headers, n.admin(t))...)
			a.expect(t, s.status, s.want, s.forbid...)
			for _, h := range s.wantHeaders {
				name, value, _ := strings.Cut(h, ": ")
				if got := strings.Join(a.header.Values(name), ", "); got != strings.TrimPrefix(value, "-") {
					t.Errorf("header %s is %q, want %q", name, got, value)
				}
			}
			if a.status >= 400 {
				a.expect(t, s.status, []string{`"trace_id":"` + a.header.Get("X-Trace-Id") + `"`, `"message":"`})
			}
			n.checkInvariants(t)
		})
	}
}
