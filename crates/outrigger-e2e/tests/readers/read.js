// Tells the passing instances of a service as npm's consul reads them.
import Consul from 'consul';

const at = new URL(process.env.CONSUL_HTTP_ADDR ?? 'http://127.0.0.1:8500');
const consul = new Consul({ host: at.hostname, port: Number(at.port) });
const entries = await consul.health.service({ service: process.argv[2], passing: true });
const found = entries.map(({ Service, Checks }) => ({
  address: Service.Address,
  port: Service.Port,
  status: Checks.every(({ Status }) => Status === 'passing') ? 'passing' : 'critical',
  tags: Service.Tags,
  zone: Service.Meta.zone,
  version: Service.Meta.version,
}));
console.log(JSON.stringify(found));
