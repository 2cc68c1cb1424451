// A steady rate for a long time: orders are created, paid, cancelled and read, and at the end the server uses no more memory,
// goroutines or open files than at the beginning.
//
//   k6 run load-tests/soak-test.js            SOAK=30s  RATE=50 (orders a second)  SLACK=1
import { check, sleep } from 'k6';
import { get, key, order, pick, post, products, report, slack, summary } from './client.js';

export const options = {
  ...summary,
  scenarios: {
    steady: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 50),
      timeUnit: '1s',
      duration: __ENV.SOAK || '30s',
      preAllocatedVUs: 100,
      maxVUs: 500,
      gracefulStop: '30s',
    },
  },
  thresholds: {
    dropped_iterations: ['count==0'],
    orders_other: ['count==0'],
    checks: ['rate==1'],
    'http_req_duration{name:order}': [`p(95)<${500 * slack}`, `p(99)<${1000 * slack}`],
  },
  setupTimeout: '5m',
};

// state reads the server's own metrics.
function state() {
  const lines = get('/metrics', 'metrics').body.split('\n');
  const value = (series) => Number((lines.find((line) => line.startsWith(`${series} `)) || '').split(' ')[1]);
  return {
    pending: value('orderflow_orders_open{status="pending"}'),
    memory: value('process_resident_memory_bytes'),
    goroutines: value('go_goroutines'),
    files: value('process_open_fds'),
    failedJobs: value('orderflow_failed_jobs'),
  };
}

// setup waits until earlier orders are finished, so that the orders of this test are first in the queue.
export function setup() {
  for (let tries = 0; tries < 40 && state().pending > 0; tries++) sleep(5);
  return { ids: products().filter((p) => p.active && p.stock > 1000).map((p) => p.id), before: state() };
}

export default function (data) {
  const user = 1 + (__VU % 3);
  const placed = order(pick(data.ids), key('soak'), user);
  if (!check(placed, { 'the order was taken': (a) => a.status === 201 })) return;
  const path = `/api/v1/orders/${placed.json('data.id')}`;
  if (Math.random() < 0.05) {
    // A worker may have been faster: then the order cannot be cancelled.
    check(post(`${path}/cancel`, 'cancel'), {
      'cancelled, or too late': (a) => a.status === 200 || (a.status === 422 && a.json('error') === 'order_not_cancellable'),
    });
  }
  if (Math.random() < 0.05) check(get(path, 'show'), { 'the order is there': (a) => a.status === 200 });
  if (Math.random() < 0.02) finished(path);
}

// finished waits until the order is finished: payments keep up with orders.
function finished(path) {
  let status = '';
  for (let tries = 0; tries < 60 && !['PAID', 'FAILED', 'CANCELLED'].includes(status); tries++) {
    sleep(0.25);
    status = get(path, 'show').json('data.status');
  }
  check(status, { 'paid, failed or cancelled within 15 s': (s) => ['PAID', 'FAILED', 'CANCELLED'].includes(s) });
}

export function teardown(data) {
  const now = state(); // k6 keeps up to one connection for each VU: the bounds allow for them
  check(now, {
    'memory did not grow beyond bounds': (n) => n.memory < 2 * data.before.memory + 200e6,
    'no goroutines were left behind': (n) => n.goroutines < data.before.goroutines + 600,
    'no files were left open': (n) => n.files < data.before.files + 600,
    'no failed jobs': (n) => n.failedJobs === data.before.failedJobs,
  });
}

export const handleSummary = report('soak');
