// Fifty customers order the last unit at once: one gets it, 49 receive 409 insufficient_stock.
//
//   k6 run load-tests/oversell-test.js        PRODUCT=5, the sample product with one unit
//
// A declined payment returns the unit, and the next order may take it. Run the server with --simulated-success 1, or without a
// worker.
import { fail } from 'k6';
import { key, order, products, report, summary } from './client.js';

const product = Number(__ENV.PRODUCT || 5);

export const options = {
  ...summary,
  scenarios: { race: { executor: 'per-vu-iterations', vus: 50, iterations: 1, maxDuration: '1m' } },
  thresholds: {
    orders_created: ['count==1'],
    orders_sold_out: ['count==49'],
    orders_other: ['count==0'],
    'http_req_duration{name:order}': ['max<10000'],
  },
};

export function setup() {
  const found = products().find((p) => p.id === product);
  if (!found || found.stock !== 1) {
    fail(`product ${product} must have one piece left; has ${found ? found.stock : 'never existed'}`);
  }
}

export default function () {
  order(product, key('last'));
}

export const handleSummary = report('oversell');
