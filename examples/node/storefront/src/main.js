import { once } from 'node:events';
import { hostname } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { storefront } from './server.js';

const { PORT = '8080', HOST = '127.0.0.1', DRAIN_NOTICE_MS = '0' } = process.env;
const { INSTANCE_ID = `storefront-${hostname()}-${PORT}` } = process.env;

const service = storefront(INSTANCE_ID);
service.server.listen(Number(PORT), HOST);
await once(service.server, 'listening');
console.error(`storefront ${INSTANCE_ID} listens on ${HOST}:${PORT}`);

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
service.leave();
// Beside a sidecar 0 is right: callers were told before the signal came. Alone, give whoever checks /healthz time to look.
await setTimeout(Number(DRAIN_NOTICE_MS));
await service.close();
