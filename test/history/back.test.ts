// From a moment back to the last time that something was so.

import { afterEach, describe, expect, it } from 'vitest';
import { comeTo, lastBefore } from '../../src/history/back.ts';
import { Checkpoints } from '../../src/history/checkpoints.ts';
import { positionOf } from '../../src/history/debuggee.ts';
import { DebugError } from '../../src/history/error.ts';
import { soughtOf } from '../../src/history/sought.ts';
import { loadScenario } from '../../src/scenario/parse.ts';

let checkpoints: Checkpoints;
afterEach(() => checkpoints.close());

async function back(from: string, to: string) {
  checkpoints = new Checkpoints(loadScenario('fixtures/scenarios/explore_gap.yaml'));
  const run = await comeTo(checkpoints, from);
  const before = positionOf(run);
  try {
    const sought = soughtOf(to, run.machine);
    return { sought, before, found: await lastBefore(checkpoints, sought, before) };
  } finally {
    run.close();
  }
}

/** What is at a place before and behind the instruction that was found. */
async function around(position: number, addr: bigint, size: number) {
  const run = await checkpoints.at(position);
  try {
    const bytes = () => Buffer.from(run.machine.inspect.core.mem.readBytes(addr, size)).toString('hex');
    const before = bytes();
    await run.go(position + 1);
    return [before, bytes()];
  } finally {
    run.close();
  }
}

describe('the way back', () => {
  it('leads from where patching is complete to the write of the last byte of a site', async () => {
    const { sought, found, before } = await back('patching complete', 'write cmdline_proc_show/5');
    expect(found?.task).toMatch(/^insmod:/);
    expect(found?.position).toBeLessThan(before);
    const { addr, size } = (sought as Extract<typeof sought, { kind: 'access' }>).point;
    const [from, to] = await around(found?.position ?? 0, addr, size);
    expect(from.slice(0, 2)).toBe('cc');
    expect(to.slice(0, 2)).toBe('e8');
    // The tail was written right before.
    expect(found?.events.some((event) => event.type === 'poke' && event.step === 'tail')).toBe(true);
  });

  it('leads to the switch of a task', async () => {
    const { sought, found } = await back('patching complete', 'change reader.patch_state');
    const { addr, size } = (sought as Extract<typeof sought, { kind: 'access' }>).point;
    // When the transition is over no task has a state any more.
    expect(await around(found?.position ?? 0, addr, size)).toEqual(['01000000', 'ffffffff']);
  });

  it('leads to a call of a function, and to a line of the log', async () => {
    const call = await back('200ms', 'call klp_ftrace_handler');
    expect(call.found?.task).toMatch(/^reader:/);
    checkpoints.close();
    const line = await back('200ms', 'dmesg starting patching');
    expect(line.found?.task).toMatch(/^insmod:/);
    expect(line.found?.position).toBeLessThan(call.found?.position ?? 0);
  });

  it('says when there was none', async () => {
    expect((await back('50ms', 'call klp_ftrace_handler')).found).toBeUndefined();
  });

  it.each([
    ['50ms', 'write nosuch', /no symbol nosuch/],
    ['50ms', 'write 0x1000/0', /no number of bytes/],
    ['50ms', 'change nobody.patch_state', /no task is nobody/],
    ['50ms', 'change nobody.nothing', /no field that is known/],
    ['50ms', 'hop', /nothing that can be looked for/],
    ['nobody says that', 'write jiffies_64', /no line of the log/],
  ])('from %s to %s is refused with a reason', async (from, to, reason) => {
    const refused = back(from, to);
    await expect(refused).rejects.toThrow(DebugError);
    await expect(refused).rejects.toThrow(reason);
  });
});
