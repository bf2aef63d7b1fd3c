import { createServer } from 'node:http';
import { call, contextOf, DeadlineError } from './call.js';

/** @typedef {{ status: number, body: Record<string, unknown>, headers?: Record<string, string> }} Answer */
/** @typedef {import('./call.js').Context} Context */

/** What an answer from below brings along when it is passed on: docs/contract.md. */
const PASSED_BACK = ['retry-after', 'x-outrigger-reason', 'x-outrigger-attempts'];

/**
 * @param {string} id
 * @param {Context} context
 * @returns {Promise<Answer>}
 */
async function checkout(id, context) {
  const answer = await call('orders', `/orders/${id}`, context);
  if (!answer.ok) return passedBack(answer);
  return { status: 200, body: { order: await answer.json() } };
}

/**
 * @param {string} service
 * @param {Context} context
 * @returns {Promise<Answer>}
 */
async function ask(service, context) {
  const answer = await call(service, '/whoami', context);
  await answer.arrayBuffer();
  if (!answer.ok) return passedBack(answer);
  return { status: 200, body: { service, answered_by: answer.headers.get('x-served-by') } };
}

/** @param {Response} answer @returns {Promise<Answer>} */
async function passedBack(answer) {
  await answer.body?.cancel().catch(() => {});
  /** @type {Record<string, string>} */
  const headers = {};
  for (const name of PASSED_BACK) {
    const value = answer.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  return { status: answer.status, headers, body: { error: headers['x-outrigger-reason'] ?? 'a service below failed' } };
}

/**
 * @param {string} path
 * @param {Context} context
 * @returns {Promise<Answer>}
 */
async function route(path, context) {
  if (path === '/whoami') return { status: 200, body: { service: 'storefront' } };
  const [, name, argument, rest] = path.split('/');
  if (rest === undefined && argument) {
    if (name === 'checkout' && /^\d{1,18}$/.test(argument)) return checkout(argument, context);
    if (name === 'ask' && /^[a-z][a-z0-9-]{0,62}$/.test(argument)) return ask(argument, context);
  }
  return { status: 404, body: { error: 'no such route' } };
}

/** @param {unknown} error @returns {Answer} */
function broken(error) {
  if (error instanceof DeadlineError) return { status: 504, body: { error: 'deadline' } };
  console.error('a call has no answer:', error);
  return { status: 502, body: { error: 'a service below gave no answer' } };
}

/**
 * The storefront, not yet listening.
 *
 * @param {string} id which instance this is
 */
export function storefront(id) {
  let draining = false;
  const server = createServer(async (request, response) => {
    response.setHeader('x-served-by', id);
    if (request.url === '/healthz') {
      response.writeHead(draining ? 503 : 200, { 'content-type': 'text/plain' });
      response.end(draining ? 'draining' : 'ok');
      return;
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const { pathname } = new URL(request.url ?? '/', 'http://storefront');
    const answer = request.method === 'GET'
      ? await route(pathname, contextOf(request.headers, gone.signal)).catch(broken)
      : { status: 405, headers: { allow: 'GET' }, body: { error: 'only GET' } };
    if (draining) response.setHeader('connection', 'close');
    response.writeHead(answer.status, { ...answer.headers, 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...answer.body, served_by: id }));
  });
  // Longer than any caller's pool keeps an idle connection: the caller closes, and no request meets a closed one.
  server.keepAliveTimeout = 90_000;

  return {
    server,
    /** Not ready from here on, while requests are still served. */
    leave() { draining = true; },
    /** Finishes what is in flight and takes nothing more. @returns {Promise<void>} */
    close: () => new Promise((resolve, reject) => {
      server.close((error) => (error ? reject(error) : resolve()));
      server.closeIdleConnections();
    }),
  };
}
