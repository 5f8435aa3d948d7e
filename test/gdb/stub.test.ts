// The protocol as packets, without a gdb: what is answered, that nothing is lost, that nothing broken breaks it.

import { afterEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { framed } from '../../src/gdb/packet.ts';
import { Client } from './client.ts';
import { fuzzStub } from './fuzz.ts';

let client: Client;
afterEach(() => client.close());

const start = async (): Promise<Client> => {
  client = await Client.start('explore_gap');
  return client;
};
const hex = (value: bigint): string => value.toString(16);

describe('a stub', () => {
  it('has every task as a thread, with name, state and patch_state', async () => {
    const { ask } = bound(await start());
    const threads = Buffer.from(await ask('qXfer:threads:read::0,7000'), 'latin1').toString();
    expect(threads).toMatch(/^l<\?xml/);
    expect(threads).toContain('name="reader">runnable, patch_state -1 (undefined)</thread>');
    expect(threads).toContain('name="swapper/1">CPU 1');
    expect(await ask('qfThreadInfo')).toMatch(/^m1,2,/);
    expect(await ask('qsThreadInfo')).toBe('l');
  });

  it('shows the bytes of a site as they are, with a breakpoint on it', async () => {
    const { ask } = bound(await start());
    const site = hex(client.address('cmdline_proc_show'));
    const nop = '0f1f440000';
    expect(await ask(`m${site},5`)).toBe(nop);
    await ask(`Z0,${site},1`);
    expect(await ask('vCont;c')).toMatch(/^T05.*thread:/);
    expect(await ask(`m${site},5`)).toBe(nop);
    // From when the patch is in, the site is a call.
    await client.monitor('goto dmesg patching complete');
    expect(await ask(`m${site},1`)).toBe('e8');
    expect(await ask('vCont;c')).toMatch(/^T05/);
    expect(await ask(`m${site},1`)).toBe('e8');
  });

  it('steps one instruction of one task, and goes back by one', async () => {
    const { ask } = bound(await start());
    await ask(`Z1,${hex(client.address('klp_ftrace_handler'))},1`);
    await ask('qSupported:swbreak+;hwbreak+');
    const stop = await ask('vCont;c');
    expect(stop).toContain('hwbreak:;');
    const thread = /thread:([0-9a-f]+);/.exec(stop)?.[1];
    const here = client.session.position;
    const registers = await ask('g');
    expect(await ask(`vCont;s:${thread};c`)).toContain(`thread:${thread};`);
    expect(client.session.position).toBe(here + 1);
    expect(await ask('g')).not.toBe(registers);
    expect(await ask('bs')).toContain(`thread:${thread};`);
    expect(client.session.position).toBe(here);
    expect(await ask('g')).toBe(registers);
  });

  it('goes back to what wrote a byte of text, and to the beginning when nothing did before', async () => {
    const { ask } = bound(await start());
    await client.monitor('goto dmesg patching complete');
    const site = hex(client.address('cmdline_proc_show'));
    await ask(`Z2,${site},1`);
    const before: string[] = [];
    for (let i = 0; i < 3; i++) {
      const stop = await ask('bc');
      if (stop.includes('replaylog:begin')) break;
      expect(stop).toContain(`watch:${site};`);
      before.push(await ask(`m${site},1`));
    }
    expect(before).toEqual(['cc', '0f']);
    expect(client.session.position).toBe(0);
  });

  it('answers monitor back with the last moment at which something was so, and stays where it is', async () => {
    await start();
    await client.monitor('goto dmesg patching complete');
    const { position } = client.session;
    for (const [what, told] of [
      ['write cmdline_proc_show', /^write to cmdline_proc_show: cc -> e8\ninsmod:\d+ on CPU/],
      ['change reader.patch_state', /^change of reader\.patch_state: 01 00 00 00 -> ff ff ff ff\n/],
      ['change cmdline_proc_show->transition', /^change of cmdline_proc_show->transition: 01 -> 00\n/],
      ['call klp_ftrace_handler', /^call of klp_ftrace_handler\nreader:\d+ on CPU/],
      ['dmesg starting patching transition', /^line with 'starting patching transition'\ninsmod:/],
    ] as const) {
      const text = await client.monitor(`back ${what}`);
      expect(text).toMatch(told);
      expect(text).toMatch(
        /\ncode:\n[\s\S]*\nbefore it:\n(?: {2}.*\n){3}there: monitor goto instruction \d+\n$/,
      );
      expect(client.session.position).toBe(position);
    }
    const [, there] =
      /goto (instruction (\d+))/.exec(await client.monitor('back write cmdline_proc_show')) ?? [];
    await client.monitor(`goto ${there}`);
    expect(await client.ask(`m${hex(client.address('cmdline_proc_show'))},1`)).toBe('cc');
    expect(await client.monitor('back write cmdline_proc_show')).toMatch(/: 0f -> cc\n/);
    expect(await client.monitor('back hop')).toMatch(/^klpemu: 'hop' is nothing that can be looked for/);
    expect(await client.monitor('back call klp_unpatch_object')).toMatch(
      /^klpemu: no symbol klp_unpatch_object/,
    );
    expect(await client.monitor('goto dmesg nobody says that')).toBe(
      "klpemu: no line of the log has 'nobody says that'\n",
    );
  });

  it('has vector registers that the code works on, read and written', async () => {
    const { ask } = bound(await start());
    await ask(`Z1,${hex(client.address('klp_ftrace_handler'))},1`);
    await ask('vCont;c');
    const number = (name: string) =>
      (X86_64.debug?.registers ?? []).findIndex((one) => one.name === name).toString(16);
    const id = client.session.thread.toString(16);
    await ask(`Hg${id}`);
    const low = '8877665544332211';
    expect(await ask(`P${number('xmm0')}=${low}0011223344556677`)).toBe('OK');
    expect(await ask(`P${number('ymm0h')}=${'5a'.repeat(16)}`)).toBe('OK');
    // movq %xmm0, %rax; movq %rax, %xmm1
    const code = '66480f7ec066480f6ec8';
    expect(await ask(`M${pc(await ask('g'))},${(code.length / 2).toString(16)}:${code}`)).toBe('OK');
    for (let i = 0; i < 2; i++) await ask(`vCont;s:${id}`);
    expect(await ask('p0')).toBe(low);
    expect(await ask(`p${number('xmm1')}`)).toBe(low + '0'.repeat(16));
    expect(await ask(`p${number('ymm0h')}`)).toBe('5a'.repeat(16));
    // After a reset.
    expect(await ask(`p${number('mxcsr')}`)).toBe('801f0000');
    expect(await ask(`P${number('mxcsr')}=c01f0000`)).toBe('OK');
    expect(await ask(`p${number('mxcsr')}`)).toBe('c01f0000');
    expect(await ask(`p${number('fctrl')}`)).toBe('7f030000');
    expect(await ask(`p${number('ftag')}`)).toBe('ffff0000');
    expect(await ask(`P${number('st0')}=${'01'.repeat(10)}`)).toBe('OK');
    expect(await ask(`p${number('st0')}`)).toBe('01'.repeat(10));
    // Segment bases.
    expect(await ask(`P${number('fs_base')}=0010000000000000`)).toBe('OK');
    expect(await ask(`p${number('fs_base')}`)).toBe('0010000000000000');
    expect(await ask(`p${number('gs_base')}`)).toMatch(/ff$/);
    // Of a task that has no CPU nothing is made up.
    await ask('Hg1');
    expect(await ask(`p${number('xmm0')}`)).toBe('xx'.repeat(16));
  });

  it('steps a task that sleeps when its turn comes', async () => {
    const { ask } = bound(await start());
    await client.monitor('goto 60ms');
    const reader = client.session.tasks().find(({ comm }) => comm === 'reader');
    const id = hex(BigInt(reader?.pid ?? 0));
    expect(client.session.thread).not.toBe(reader?.pid);
    await ask(`Hg${id}`);
    const from = client.session.machine.inspect.core.sym(BigInt(`0x${pc(await ask('g'))}`));
    expect(from).toContain('__schedule');
    expect(await ask(`vCont;s:${id}`)).toContain(`thread:${id};`);
    const to = client.session.machine.inspect.core.sym(BigInt(`0x${pc(await ask('g'))}`));
    expect(to).toContain('__schedule');
    expect(to).not.toBe(from);
    expect(client.session.thread).toBe(reader?.pid);
  });

  it('says once that what was written to has another history, and has no way back then', async () => {
    const { ask } = bound(await start());
    await ask('vCont;s:1');
    const data = hex(client.address('jiffies_64'));
    expect(await ask(`M${data},1:2a`)).toBe('OK');
    expect(await ask(`M${data},1:2b`)).toBe('OK');
    expect(client.said.match(/another history/g)).toHaveLength(1);
    expect(await ask('bs')).toContain('replaylog:begin');
    expect(await ask(`m${data},1`)).toBe('2b');
  });

  it('sends an answer again that came damaged, and asks for a packet again that did', async () => {
    await start();
    const ask = client.ask.bind(client);
    const answer = await ask('qC');
    client.sent = '';
    client.raw('-');
    expect(client.sent).toBe(framed(answer));
    client.raw('$qC#00');
    expect(client.sent).toBe(`${framed(answer)}-`);
    expect(await ask('QStartNoAckMode')).toBe('OK');
    client.sent = '';
    await ask('qC');
    expect(client.sent).toBe(framed(answer));
  });

  it('waits for the other half of a packet', async () => {
    await start();
    const whole = framed('qC');
    client.raw(whole.slice(0, 3));
    expect(client.sent).toBe('');
    client.raw(whole.slice(3));
    await new Promise(setImmediate);
    expect(client.sent).toMatch(/^\+\$QC[0-9a-f]+#..$/);
  });

  it('stops the machine when its debugger goes while it executes, and it goes on for the next', async () => {
    await start();
    const { session, checkpoints } = client;
    client.raw(framed('vCont;c'));
    client.lost();
    expect(await client.done).toBe('lost');
    const at = session.position;
    client = new Client(session, checkpoints);
    expect(await client.ask('vCont;s:1')).toMatch(/^T05/);
    expect(session.position).toBeGreaterThan(at);
  });

  it('stops at Ctrl-C', async () => {
    await start();
    const stopped = client.ask('vCont;c');
    client.raw('\x03');
    expect(await stopped).toMatch(/^T02/);
  });

  it.each([
    'Z0,zz,1',
    'm,',
    'mffff',
    'M0,4:0',
    'G00',
    'Pff=0',
    'vCont;r0:1',
    'vCont;x',
    'Hgzz',
    'qRcmd,z',
    'Tzz',
  ])('answers %s with an error', async (packet) => {
    await start();
    const { position } = client.session;
    expect(await client.ask(packet)).toMatch(/^E[0-9a-f]{2}$/);
    expect(client.session.position).toBe(position);
    expect(client.session.changedAt).toBeUndefined();
  });

  it('answers a thousand broken packets one by one, and is as it was', async () => {
    await start();
    await fuzzStub(client, 1000, 1);
  });
});

/** ask(), as a function. */
const bound = (one: Client) => ({ ask: (packet: string) => one.ask(packet) });

/** The 17th register of a `g` packet, most significant digit first. */
function pc(registers: string): string {
  return (registers.slice(256, 272).match(/../g) ?? []).reverse().join('');
}
