// Shared by the load tests: requests, counters of their answers, and the report. Nothing is fetched from another host.
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const base = (__ENV.BASE_URL || 'http://127.0.0.1:8000').replace(/\/$/, '');
const json = { 'Content-Type': 'application/json' };

// Answers to orders. other counts what no test expects: errors, time-outs, broken connections.
export const created = new Counter('orders_created');
export const replayed = new Counter('orders_replayed');
export const soldOut = new Counter('orders_sold_out');
export const other = new Counter('orders_other');
export const again = new Counter('orders_asked_again');

// Each VU of each run has its own keys, so that a test may be repeated on the same server.
export const run = `k6-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e9).toString(36)}`;

// key differs for each call of each VU; name distinguishes the orders of one iteration.
export function key(name) {
  return `${run}-${name}-${__VU}-${__ITER}`;
}

// order places an order of one unit and counts the answer. Without an answer it retries with the same key: a busy k6 may send
// nothing for five seconds, and the server then closes the connection.
export function order(product, idempotencyKey, user) {
  const body = JSON.stringify({ user_id: user || 1, idempotency_key: idempotencyKey, items: [{ product_id: product, quantity: 1 }] });
  const ask = () => http.post(`${base}/api/v1/orders`, body, { headers: json, tags: { name: 'order' } });
  let answer = ask();
  for (let tries = 1; answer.status === 0 && tries < 3; tries++) {
    again.add(1);
    answer = ask();
  }
  if (answer.status === 201) created.add(1);
  else if (answer.status === 200) replayed.add(1);
  else if (answer.status === 409 && answer.json('error') === 'insufficient_stock') soldOut.add(1);
  else {
    other.add(1);
    console.error(`an order was answered ${answer.status} ${answer.error || answer.body}`);
  }
  return answer;
}

// get reads a path of the API; name groups paths in the figures of k6.
export function get(path, name) {
  return http.get(`${base}${path}`, { tags: { name: name } });
}

export function post(path, name) {
  return http.post(`${base}${path}`, null, { tags: { name: name } });
}

// slack extends the time limits on a shared machine: SLACK=4 allows four times as long.
export const slack = Number(__ENV.SLACK || 1);

// products lists the active products; a server that does not answer ends the test with a clear message.
export function products() {
  const answer = get('/api/v1/products', 'products');
  if (answer.status !== 200) {
    throw new Error(`${base} does not answer as Orderflow does (status ${answer.status}): set BASE_URL, and --rate-limit off`);
  }
  return answer.json('data');
}

// pick returns a random member of a list.
export function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}

const columns = [
  ['test', 12, 'padEnd'], ['requests', 10], ['a second', 10], ['created', 9], ['replayed', 9], ['sold out', 9], ['other', 7], ['again', 7],
  ['p95 ms', 9], ['p99 ms', 9], ['max ms', 9], ['result', 10],
];
const row = (cells) => columns.map(([, width, pad], i) => String(cells[i])[pad || 'padStart'](width)).join('');

// report returns a test's handleSummary: a row for the table, and below it each failed threshold. With ROW_FILE the row is also
// written to that file, so that a script can combine the rows of several tests.
export function report(test) {
  return (data) => {
    const values = (metric) => (data.metrics[metric] ? data.metrics[metric].values : {});
    const count = (metric) => values(metric).count || 0;
    const took = values('http_req_duration{name:order}');
    const ms = (name) => (took[name] === undefined ? '-' : took[name].toFixed(1));
    const failed = [];
    for (const [metric, m] of Object.entries(data.metrics)) {
      for (const [threshold, state] of Object.entries(m.thresholds || {})) {
        if (!state.ok) failed.push(`  failed: ${metric} ${threshold}, is ${JSON.stringify(m.values)}`);
      }
    }
    const line = row([
      test, count('http_reqs'), Math.round(values('http_reqs').rate || 0), count('orders_created'), count('orders_replayed'),
      count('orders_sold_out'), count('orders_other'), count('orders_asked_again'), ms('p(95)'), ms('p(99)'), ms('max'),
      failed.length ? 'FAILED' : 'ok',
    ]);
    const out = { stdout: `${[row(columns.map(([title]) => title)), line, ...failed].join('\n')}\n` };
    if (__ENV.ROW_FILE) out[__ENV.ROW_FILE] = `${[line, ...failed].join('\n')}\n`;
    return out;
  };
}

// summary holds the options that all tests share: the percentiles of the report.
export const summary = { summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'] };
