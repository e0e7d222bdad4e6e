// Calls portals through a proxy, each at a steady rate whatever the answers, until
// it is killed.
//
//   node load.mjs PROXY PORTAL=CALLS_PER_SECOND...
import { Agent, request } from 'node:http';

const [proxy, ...portals] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const methods = ['crm.deal.list', 'crm.deal.add', 'crm.contact.list', 'crm.deal.get', 'tasks.task.list'];
const keys = ['0123456789abcdef-1', '0123456789abcdef-2', '0123456789abcdef-3']; // of the clients in .ci/draw
let calls = 0;

function call(portal) {
  const headers = { 'B24-Portal': portal, Priority: `u=${[3, 3, 1, 6][calls % 4]}` };
  const sent = request(`${proxy}/rest/1/live/${methods[calls % methods.length]}`, { agent, method: 'POST', auth: `:${keys[calls++ % 3]}`, headers: { ...headers, 'Content-Type': 'application/json' } }, (answer) => answer.resume());
  sent.on('error', () => {}); // the proxy may be away for a moment
  sent.end('{"id":1,"fields":{"TITLE":"a deal"}}');
}

for (const portal of portals) {
  const [name, rate] = portal.split('=');
  setInterval(call, 1000 / Number(rate), name);
}
