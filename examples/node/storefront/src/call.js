import { performance } from 'node:perf_hooks';

/** What a request passes on to the requests that are made for it: docs/contract.md. */
const PASSED_ON = [
  'traceparent', 'tracestate', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-sampled',
  'baggage', 'x-request-id', 'x-outrigger-attempt',
];
const DEADLINE = 'x-outrigger-deadline-ms';
const PATIENCE_MS = 10_000;

/**
 * What the calls made for one request have in common: whom they are traced to, and how long they may take.
 *
 * @typedef {object} Context
 * @property {Record<string, string>} headers
 * @property {() => number} left milliseconds until nobody waits any more
 * @property {boolean} bounded whether the caller named a deadline
 * @property {AbortSignal} gone aborted when the caller hangs up
 */

/**
 * @param {import('node:http').IncomingHttpHeaders} received
 * @param {AbortSignal} gone
 * @returns {Context}
 */
export function contextOf(received, gone) {
  const began = performance.now();
  const told = Number(received[DEADLINE] || NaN);
  const bounded = Number.isFinite(told) && told >= 0;
  const span = bounded ? Math.min(told, PATIENCE_MS) : PATIENCE_MS;
  /** @type {Record<string, string>} */
  const headers = {};
  for (const name of PASSED_ON) {
    const value = received[name];
    if (value !== undefined) headers[name] = String(value);
  }
  return { headers, bounded, gone, left: () => Math.floor(span - (performance.now() - began)) };
}

/**
 * Where a service is found: `ORDERS_URL`, else its bare name, for a proxy or DNS to resolve.
 *
 * @param {string} service
 * @param {NodeJS.ProcessEnv} [env]
 */
export function locate(service, env = process.env) {
  return env[`${service.toUpperCase().replaceAll('-', '_')}_URL`] || `http://${service}`;
}

/** The caller's time is over. */
export class DeadlineError extends Error {}

/**
 * @param {string} service
 * @param {string} path
 * @param {Context} context
 * @returns {Promise<Response>}
 */
export async function call(service, path, context) {
  const left = context.left();
  if (left <= 0) throw new DeadlineError('deadline');
  const headers = context.bounded ? { ...context.headers, [DEADLINE]: String(left) } : context.headers;
  const signal = AbortSignal.any([context.gone, AbortSignal.timeout(left)]);
  try {
    return await fetch(new URL(path, locate(service)), { headers, signal, redirect: 'manual' });
  } catch (error) {
    throw context.left() <= 0 ? new DeadlineError('deadline', { cause: error }) : error;
  }
}
