// From a moment of a scenario back to the last time that something was so, as a user of the package asks for it.

import { describe, expect, it } from 'vitest';
import { backText, backValue } from '../../src/history/back_text.ts';
import { DrivenRun, scenarioProgram } from '../../src/history/driven_run.ts';
import { back as backIn, DebugError, type KernelEvent, loadScenario, runScenario } from '../../src/index.ts';

const SCENARIO = loadScenario('fixtures/scenarios/explore_gap.yaml');
const back = (from: string, to: string) => backIn(SCENARIO, to, from);

/** What a look at a machine gives that has executed so many instructions. */
async function at<T>(position: number, look: (run: DrivenRun) => T): Promise<T> {
  const run = await DrivenRun.boot(scenarioProgram(SCENARIO));
  try {
    await run.go(position);
    return look(run);
  } finally {
    run.close();
  }
}

async function events(): Promise<KernelEvent[]> {
  const all: KernelEvent[] = [];
  await runScenario(SCENARIO, { observers: [{ event: (event) => all.push(event) }] });
  return all;
}

describe('the way back', () => {
  it('leads from where patching is complete to the write of the last byte of a site', async () => {
    const { found, from, what } = await back('patching complete', 'write cmdline_proc_show/5');
    expect(what).toBe('write to cmdline_proc_show/5');
    expect(found?.task).toMatch(/^insmod:/);
    expect(found?.position).toBeLessThan(from);
    expect(found?.before).toMatch(/^cc /);
    expect(found?.after).toMatch(/^e8 /);
    expect(found?.at).toMatch(/^klp_/);
    expect(found?.stack.at(-1)).toMatch(/entry_SYSCALL_64_after_hwframe/);
    expect(found?.code.length).toBeGreaterThan(1);
    // The tail was written right before.
    expect(found?.events.some((event) => event.type === 'poke' && event.step === 'tail')).toBe(true);
    expect(found?.events).toHaveLength(3);
  });

  it('takes an address as a number, and a symbol with an offset', async () => {
    const symbol = await at(1, ({ machine }) => machine.inspect.core.symbols.require('cmdline_proc_show'));
    const byName = await back('patching complete', 'write cmdline_proc_show+0x1');
    const byNumber = await back('patching complete', `write 0x${(symbol + 1n).toString(16)}`);
    expect(byNumber.found).toEqual(byName.found);
    // The bytes behind the int3 come before its own.
    const first = await back('patching complete', 'write cmdline_proc_show');
    expect(byName.found?.position).toBeLessThanOrEqual(first.found?.position ?? 0);
  });

  it('leads to the switch of a task, which is that of the trace, by its name and by its pid', async () => {
    const switched = (await events()).findLast(
      (event) => event.type === 'patch_state' && event.comm === 'reader' && event.to === 1,
    ) as Extract<KernelEvent, { type: 'patch_state' }>;
    const complete = await back('patching complete', 'change reader.patch_state');
    // When the transition is over no task has a state any more.
    expect([complete.found?.before, complete.found?.after]).toEqual(['01 00 00 00', 'ff ff ff ff']);
    const before = `instruction ${complete.found?.position}`;
    const own = await back(before, `change ${switched.pid}.patch_state`);
    expect([own.found?.before, own.found?.after]).toEqual(['00 00 00 00', '01 00 00 00']);
    expect(own.found?.t).toBeLessThanOrEqual(switched.t);
    expect(switched.t - (own.found?.t ?? 0)).toBeLessThan(100_000);
  });

  it('leads to where a patched function is no more in transition, and to where it came to be', async () => {
    const ended = await back('patching complete', 'change cmdline_proc_show->transition');
    expect([ended.found?.before, ended.found?.after]).toEqual(['01', '00']);
    const begun = await back(`instruction ${ended.found?.position}`, 'change cmdline_proc_show->transition');
    expect([begun.found?.before, begun.found?.after]).toEqual(['00', '01']);
    expect(begun.found?.task).toMatch(/^insmod:/);
  });

  it('leads to a call of a function, where the CPU stands at its entry', async () => {
    const call = await back('200ms', 'call klp_ftrace_handler');
    expect(call.found?.task).toMatch(/^reader:/);
    expect(call.found?.at).toBe('klp_ftrace_handler');
    expect(call.found?.before).toBeUndefined();
    const { position = 0, cpu = 0 } = call.found ?? {};
    const [entry, pc] = await at(position, ({ machine }) => [
      machine.inspect.core.symbols.require('klp_ftrace_handler'),
      machine.inspect.smp.cpus[cpu].pc,
    ]);
    expect(pc).toBe(entry);
  });

  it('leads to a line of the log', async () => {
    const line = await back('200ms', 'dmesg starting patching');
    expect(line.found?.task).toMatch(/^insmod:/);
    const { position = 0 } = line.found ?? {};
    const has = (run: DrivenRun) => run.machine.dmesg().some((text) => text.includes('starting patching'));
    expect(await at(position, has)).toBe(false);
    expect(await at(position + 1, has)).toBe(true);
  });

  it('says when there was none', async () => {
    const answer = await back('50ms', 'call klp_ftrace_handler');
    expect(answer.found).toBeUndefined();
    expect(backText(answer, String)).toBe(
      `no call of klp_ftrace_handler before instruction ${answer.from}\n`,
    );
    expect(backValue(answer)).toMatchObject({ found: null });
  });

  it('is told as stack, code and the three events before', async () => {
    const answer = await back('patching complete', 'write cmdline_proc_show/5');
    const text = backText(answer, (position) => `instruction ${position}`);
    const at = (line: string | RegExp) => text.split('\n').findIndex((one) => one.match(line));
    expect(at(/^write to cmdline_proc_show\/5: cc .* -> e8 /)).toBe(0);
    expect(at(/^insmod:\d+ on CPU \d, in klp_\w+\+0x\w+, at \S+, before instruction \d+$/)).toBe(1);
    expect(at(/^code:$/)).toBeGreaterThan(3);
    expect(at(/^before it:$/)).toBe(at(/^there: instruction \d+$/) - 4);
  });

  it.each([
    ['50ms', 'write nosuch', /no symbol nosuch/],
    ['50ms', 'write 0x1000/0', /no number of bytes/],
    ['50ms', 'change nobody.patch_state', /no task is nobody/],
    ['50ms', 'change nobody.nothing', /no field that is known/],
    ['50ms', 'change cmdline_proc_show->transition', /no field that is known/],
    ['50ms', 'hop', /nothing that can be looked for/],
    ['nobody says that', 'write jiffies_64', /no line of the log/],
  ])('from %s to %s is refused with a reason', async (from, to, reason) => {
    const refused = back(from, to);
    await expect(refused).rejects.toThrow(DebugError);
    await expect(refused).rejects.toThrow(reason);
  });
});
