import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, beforeEach, test } from 'node:test';
import { locate } from '../src/call.js';
import { storefront } from '../src/server.js';

/** @typedef {import('node:http').RequestListener} RequestListener */

/** @type {(() => Promise<unknown>)[]} */
let endings = [];
/** @type {import('node:http').IncomingMessage[]} */
let asked = [];
/** @type {RequestListener} */
let orders;
/** @type {string} */
let base;

/** @param {import('node:http').Server} server */
async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return `http://127.0.0.1:${port}`;
}

beforeEach(async () => {
  orders = (_, response) => response.end(JSON.stringify({ id: 7 }));
  asked = [];
  const peer = createServer((request, response) => {
    asked.push(request);
    orders(request, response);
  });
  process.env.ORDERS_URL = await listen(peer);
  const service = storefront('storefront-1');
  base = await listen(service.server);
  endings = [() => service.close(), async () => { peer.close(); peer.closeAllConnections(); }];
});

afterEach(() => Promise.all(endings.map((end) => end())));

test('a checkout shows the order and who served it', async () => {
  const answer = await fetch(`${base}/checkout/7`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('x-served-by'), 'storefront-1');
  assert.deepEqual(await answer.json(), { order: { id: 7 }, served_by: 'storefront-1' });
});

test('the headers of the contract are passed on, the time left is less, the caller is not', async () => {
  const headers = {
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    baggage: 'outrigger.attempt=1', 'x-outrigger-attempt': '1',
    'x-outrigger-deadline-ms': '5000', 'x-outrigger-caller': 'mallory', 'x-secret': '1',
  };
  await fetch(`${base}/checkout/7`, { headers });
  const sent = asked[0]?.headers ?? {};
  for (const name of /** @type {const} */ (['traceparent', 'baggage', 'x-outrigger-attempt'])) {
    assert.equal(sent[name], headers[name]);
  }
  assert.ok(Number(sent['x-outrigger-deadline-ms']) <= 5000);
  assert.equal(sent['x-outrigger-caller'], undefined);
  assert.equal(sent['x-secret'], undefined);
});

test('a refusal below is answered with its reason and its tries', async () => {
  orders = (_, response) => response
    .writeHead(503, { 'x-outrigger-reason': 'circuit_open', 'x-outrigger-attempts': '2', 'retry-after': '3' })
    .end('no');
  const answer = await fetch(`${base}/checkout/7`);
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get('x-outrigger-reason'), 'circuit_open');
  assert.equal(answer.headers.get('x-outrigger-attempts'), '2');
  assert.equal(answer.headers.get('retry-after'), '3');
});

test('a deadline that passes is a 504, and is not waited beyond', async () => {
  orders = () => {};
  const answer = await fetch(`${base}/checkout/7`, { headers: { 'x-outrigger-deadline-ms': '50' } });
  assert.equal(answer.status, 504);
});

test('asking a service tells which instance answered', async () => {
  orders = (_, response) => response.setHeader('x-served-by', 'orders-2').end('ok');
  const answer = await fetch(`${base}/ask/orders`);
  assert.deepEqual(await answer.json(), { service: 'orders', answered_by: 'orders-2', served_by: 'storefront-1' });
  assert.equal(asked[0]?.url, '/whoami');
  assert.deepEqual(await (await fetch(`${base}/whoami`)).json(), { service: 'storefront', served_by: 'storefront-1' });
});

test('what is no route is refused', async () => {
  assert.equal((await fetch(`${base}/checkout/x`)).status, 404);
  assert.equal((await fetch(`${base}/ask/..%2fetc`)).status, 404);
  assert.equal((await fetch(`${base}/checkout/7`, { method: 'POST' })).status, 405);
});

test('a service is found by its variable, else by its name', () => {
  assert.equal(locate('price-list', { PRICE_LIST_URL: 'http://127.0.0.1:1' }), 'http://127.0.0.1:1');
  assert.equal(locate('inventory', {}), 'http://inventory');
});

test('SIGTERM lets the request in flight finish, then ends with 0', async () => {
  /** @type {() => void} */
  let answer = () => {};
  const held = new Promise((resolve) => {
    orders = (_, response) => {
      answer = () => response.end('{"id":7}');
      resolve(undefined);
    };
  });
  const probe = createServer();
  const port = new URL(await listen(probe)).port;
  await new Promise((resolve) => probe.close(resolve));
  const child = spawn(process.execPath, ['src/main.js'], { env: { ...process.env, PORT: port }, stdio: ['ignore', 'ignore', 'pipe'] });
  await once(child.stderr, 'data');
  const inFlight = fetch(`http://127.0.0.1:${port}/checkout/7`);
  await held;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  answer();
  assert.equal((await inFlight).status, 200);
  assert.deepEqual(await ended, [0, null]);
});
