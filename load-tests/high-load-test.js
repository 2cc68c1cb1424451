// Up to fifty customers who read products, order, read their order and sometimes list their orders.
//
//   k6 run load-tests/high-load-test.js       RAMP=30s  HOLD=10s  SLACK=1
import { check } from 'k6';
import { get, key, order, pick, products, report, slack, summary } from './client.js';

const quick = [`p(95)<${500 * slack}`, `p(99)<${1000 * slack}`];

export const options = {
  ...summary,
  scenarios: {
    buyers: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: __ENV.RAMP || '30s', target: 50 },
        { duration: __ENV.HOLD || '10s', target: 50 },
        { duration: '2s', target: 0 },
      ],
      gracefulRampDown: '10s',
    },
  },
  thresholds: {
    http_req_duration: quick,
    'http_req_duration{name:order}': quick,
    http_req_failed: ['rate<0.001'],
    orders_created: ['count>0'],
    orders_other: ['count==0'],
    checks: ['rate==1'],
  },
};

export function setup() {
  return products().filter((p) => p.active && p.stock > 1000).map((p) => p.id);
}

export default function (ids) {
  const user = 1 + (__VU % 3);
  const placed = order(pick(ids), key('buy'), user);
  if (!check(placed, { 'the order was taken': (a) => a.status === 201 })) return;
  check(get(`/api/v1/orders/${placed.json('data.id')}`, 'show'), { 'the order is there at once': (a) => a.status === 200 });
  if (__ITER % 10 === 0) {
    check(get(`/api/v1/orders?user_id=${user}`, 'list'), { 'the list comes': (a) => a.status === 200 });
  }
  if (__ITER % 20 === 0) products();
}

export const handleSummary = report('high load');
