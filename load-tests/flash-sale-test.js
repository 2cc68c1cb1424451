// Two thousand customers order one product, each again as soon as the previous order is answered. Orders are refused only for
// insufficient stock, and in the end the stock is reduced by the units sold.
//
//   k6 run load-tests/flash-sale-test.js      VUS=2000  DURATION=30s  PRODUCT=1  SLACK=1
//
// k6 needs more processor time than the server: on one machine, k6 determines the response times.
import { key, order, report, slack, summary } from './client.js';

const product = Number(__ENV.PRODUCT || 1);

export const options = {
  ...summary,
  scenarios: {
    sale: { executor: 'constant-vus', vus: Number(__ENV.VUS || 2000), duration: __ENV.DURATION || '30s', gracefulStop: '30s' },
  },
  thresholds: {
    orders_created: ['count>0'],
    orders_other: ['count==0'],
    'http_req_duration{name:order}': [`p(95)<${5000 * slack}`],
  },
};

export default function () {
  order(product, key('sale'), 1 + (__VU % 3));
}

export const handleSummary = report('flash sale');
