// Two thousand buyers on one product, each with the next order as soon as the last one is answered. All are served, none is
// refused but for want of stock, and in the end the stock is less by what was sold.
//
//   k6 run load-tests/flash-sale-test.js      VUS=2000  DURATION=30s  PRODUCT=1  P95=5000 (ms; k6 needs a core or two for itself)
import { key, order, report, summary } from './shop.js';

const product = Number(__ENV.PRODUCT || 1);

export const options = {
  ...summary,
  scenarios: {
    sale: { executor: 'constant-vus', vus: Number(__ENV.VUS || 2000), duration: __ENV.DURATION || '30s', gracefulStop: '30s' },
  },
  thresholds: {
    orders_created: ['count>0'],
    orders_other: ['count==0'],
    'http_req_duration{name:order}': [`p(95)<${Number(__ENV.P95 || 5000)}`],
  },
};

export default function () {
  order(product, key('sale'), 1 + (__VU % 3));
}

export const handleSummary = report('flash sale');
