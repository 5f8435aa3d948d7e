// Broken packets for a stub: drawn by a seed from real ones, with bytes changed, cut and glued. Those that have the machine
// execute, or end the connection, are left out: what they do is right.

import fc from 'fast-check';
import { expect } from 'vitest';
import { escaped } from '../../src/gdb/packet.ts';
import type { Client } from './client.ts';

const REAL = [
  ...[
    'g',
    'p10',
    'pffffffff',
    'm0,4',
    'mffffffff81000000,40',
    'xffffffff81000000,40',
    'Z0,ffffffff81000000,1',
  ],
  ...[
    'z0,ffffffff81000000,1',
    'Z2,ffffffff81000000,8',
    'z2,ffffffff81000000,8',
    'Hg1',
    'Hc-1',
    'T1',
    'qC',
    '?',
  ],
  ...['qXfer:features:read:target.xml:0,fff', 'qXfer:threads:read::0,fff', 'qXfer:libraries:read::0,fff'],
  ...['qXfer:memory-map:read::0,fff', 'vFile:setfs:0', 'vFile:open:2f6b6c70656d752f766d6c696e7578,0,1c0'],
  ...[
    'vFile:pread:3,1000,0',
    'vFile:fstat:3',
    'vFile:close:3',
    'qThreadExtraInfo,1',
    'qfThreadInfo',
    'qRcmd,776879',
  ],
  ...[
    'qSupported:swbreak+',
    'vCont?',
    'vMustReplyEmpty',
    'P0=00',
    'G00',
    'M0,1:00',
    'X0,0:',
    'vAttach;1',
    '!',
  ],
];
/** Would have the machine execute something, change its history, or end it. */
const ACTS = /^(vCont;|vKill|[cCsSkDR]|b[sc]|QStartNoAckMode|qRcmd,676f746f)/;

const packets = fc
  .record({
    base: fc.constantFrom(...REAL),
    at: fc.nat(40),
    cut: fc.nat(3),
    put: fc.oneof(
      fc.constantFrom('', ',', ':', ';', '-', 'f', '0', '*', '}', '$', '#'),
      fc.string({ maxLength: 4 }),
    ),
  })
  .map(({ base, at, cut, put }) => base.slice(0, at) + latin(put) + base.slice(at + cut));

const latin = (text: string): string => text.replace(/[^\0-\xff]/g, '?');

/** Each of them is answered, once; the machine is where it was, and what is in it as it was. */
export async function fuzzStub(client: Client, count: number, seed: number): Promise<void> {
  const { session } = client;
  const { position } = session;
  const text = session.machine.inspect.core.mem.u8.slice();
  for (const packet of fc.sample(packets, { seed, numRuns: count })) {
    if (ACTS.test(packet)) continue;
    client.sent = '';
    const answer = await client.ask(packet);
    expect(client.sent, packet).toMatch(/^\+(?:\$O[0-9a-f]+#..)*\$[^$#]*#[0-9a-f]{2}$/);
    expect(answer.length).toBeLessThan(1 << 16);
    // And as bytes that are no packet.
    client.raw(`$${escaped(packet)}#`);
    client.raw('zz');
  }
  expect(session.position).toBe(position);
  if (session.changedAt === undefined)
    expect(Buffer.compare(text, session.machine.inspect.core.mem.u8)).toBe(0);
  expect(await client.ask('qC')).toMatch(/^QC/);
}
