// Two thousand buyers on one product, each with the next order as soon as the last one is answered. All are served, none is
// refused but for want of stock, and in the end the stock is less by what was sold.
//
//   k6 run load-tests/flash-sale-test.js      VUS=2000  DURATION=30s  PRODUCT=1  SLACK=1
//
// k6 needs more processor time than the server: on one machine the limit of time is about k6.
import { key, order, report, slack, summary } from './shop.js';

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
