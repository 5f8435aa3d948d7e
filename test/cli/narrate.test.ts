import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import { Narrator } from '../../src/cli/run/narrate.ts';
import { wrap } from '../../src/cli/terminal.ts';
import type { EventBody, KernelEvent } from '../../src/kernel/events.ts';

/** What is told of events that happen at once. */
async function tell(bodies: readonly EventBody[]): Promise<string> {
  let text = '';
  const write = (part: string) => {
    text += part;
  };
  const narrator = new Narrator({ colors: pc.createColors(false), width: 80, verbose: false, write });
  for (const body of bodies) narrator.event({ t: 1e9, cpu: 0, ...body } as KernelEvent);
  await narrator.end();
  return text;
}

const starting: EventBody = { type: 'transition', patch: 'p', what: 'starting', target: 1 };
const complete: EventBody = { type: 'transition', patch: 'p', what: 'complete', target: 1 };
const switched = (pid: number, comm: string, over: object = {}): EventBody =>
  ({
    type: 'patch_state',
    pid,
    comm,
    from: 0,
    to: 1,
    way: 'stack check',
    sinceNs: pid * 1e6,
    ...over,
  }) as EventBody;
const blocked = (why: string, stack: string[]): EventBody => ({
  type: 'blocked',
  pid: 9,
  comm: 'w',
  why,
  stack,
});

describe('the story of a run', () => {
  it('puts switches by one way into one entry, and many tasks of one name into one', async () => {
    const many = Array.from({ length: 50 }, (_, i) => switched(100 + i, 'worker'));
    expect(
      await tell([starting, switched(1, 'init'), ...many, switched(2, 'cat', { way: 'kernel exit' })]),
    ).toBe(
      `${' '.repeat(15)}switched by stack check init:1 +1ms, worker x50 +100ms to +149ms
${' '.repeat(15)}switched by kernel exit cat:2 +2ms\n`,
    );
  });

  it('names the functions whose memory a module leaves behind', async () => {
    const lost = (size: number, caller: string) => ({ addr: 0xffff888000001000n, size, caller });
    const objects = [
      lost(4, 'dummy_alloc+0x4b/0x70 [m]'),
      lost(4, 'dummy_alloc+0x4b/0x70 [m]'),
      lost(9, 'm_init [m]'),
    ];
    const lines = (await tell([{ type: 'leak', module: 'm', objects }]))
      .split('\n')
      .map((line) => line.trim());
    expect(lines.slice(0, 3)).toEqual([
      'leak m goes and leaves memory behind',
      '2 of 4 bytes by dummy_alloc+0x4b/0x70 [m]',
      '1 of 9 bytes by m_init [m]',
    ]);
  });

  it('counts children that are born switched, and leaves out those that have yet to switch', async () => {
    const fork = { way: 'fork' };
    const text = await tell([
      starting,
      switched(10, 'sh', fork),
      switched(11, 'sh', fork),
      switched(12, 'sh', { ...fork, to: 0 }),
      complete,
    ]);
    expect(text.trim()).toBe('born switched sh x2');
  });

  it('shows once in a transition where a task is blocked, and again in the next', async () => {
    const asleep = blocked('is sleeping on function f', ['[<0>] f+0x1/0x2']);
    const told = `${' '.repeat(15)}cannot switch w:9 is sleeping on function f\n${' '.repeat(17)}[<0>] f+0x1/0x2\n`;
    expect(await tell([starting, asleep, asleep])).toBe(told);
    expect(await tell([starting, asleep, starting, asleep])).toBe(told + told);
    expect(await tell([starting, blocked('is running', [])])).toBe(`${' '.repeat(15)}running w:9\n`);
    expect(await tell([starting, blocked('has an unreliable stack', [])])).toContain(
      'w:9 has an unreliable stack',
    );
  });

  it('does not say again what the kernel has just said', async () => {
    const said: EventBody = {
      type: 'printk',
      level: 7,
      text: 'livepatch: klp_try_switch_task: w:9 is sleeping on function f',
    };
    const text = await tell([starting, said, blocked('is sleeping on function f', ['[<0>] f+0x1/0x2'])]);
    expect(text).toBe(`[    1.000000] ${said.text}\n${' '.repeat(17)}[<0>] f+0x1/0x2\n`);
  });
});

describe('a list', () => {
  it('is wrapped at the width, indented', () => {
    expect(wrap('head', ['one', 'two', 'three'], 14, '  ')).toBe('head one, two,\n  three');
  });
});
