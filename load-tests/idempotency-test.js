// Fifty clients send the same order under the same key at once: one creates it, 49 receive the existing order.
//
//   k6 run load-tests/idempotency-test.js     PRODUCT=1
import { check } from 'k6';
import { order, report, run, summary } from './client.js';

const product = Number(__ENV.PRODUCT || 1);

export const options = {
  ...summary,
  scenarios: { race: { executor: 'per-vu-iterations', vus: 50, iterations: 1, maxDuration: '1m' } },
  thresholds: {
    orders_created: ['count==1'],
    orders_replayed: ['count==49'],
    orders_other: ['count==0'],
    checks: ['rate==1'],
    'http_req_duration{name:order}': ['max<10000'],
  },
};

// setup creates the key that all clients use.
export function setup() {
  return { key: `${run}-same` };
}

export default function (data) {
  const answer = order(product, data.key);
  check(answer, {
    'is an order under this key': (a) => a.json('data.idempotency_key') === data.key,
    'says whether it is a replay': (a) => (a.status === 200) === (a.headers['Idempotent-Replayed'] === 'true'),
  });
}

export const handleSummary = report('idempotency');
