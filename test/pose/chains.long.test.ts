// 200 chains of functions, drawn from the call graph of each of Debian's kernels, with a task in each: its reliable trace is exactly the
// frames that the chain's code has made.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CallGraph } from '../../src/callgraph/graph.ts';
import { fromHalves, TEXT_HI } from '../../src/guest/addr.ts';
import { SeededRandom } from '../../src/kernel/random.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PoseError } from '../../src/pose/error.ts';
import { Pose, type PosedTask } from '../../src/pose/pose.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { drawChain, type MachineGraph, machineGraph } from './machine_graph.ts';

const CHAINS = 200;
const [SHORTEST, LONGEST] = [3, 8];

describe.each(['6.1', '6.12', '7.3'] as const)('of Debian %s', (release) => {
  const kernel = vmlinuzOf(release);
  let machine: Machine;
  let graph: CallGraph;
  let isFit: MachineGraph['isFit'];
  beforeAll(async () => {
    if (!kernel) return;
    machine = await Machine.boot({ kernel, instructionNs: 20_000 });
    machine.runFor(10e6);
    ({ graph, isFit } = await machineGraph(kernel));
  });
  afterAll(() => machine?.close());

  /** As a chain has it: with its number, where several have its name. */
  const nameOf = (func: number): string => {
    const { symbols } = machine.inspect.core;
    const name = graph.name(func);
    const all = symbols.matches(name, undefined).filter(({ type }) => /^[tw]$/i.test(type));
    const at = all.findIndex(({ addr }) => Number(addr & 0xffffffffn) === graph.start(func));
    return all.length === 1 ? name : `${name},${at + 1}`;
  };

  /** The reliable trace against the frames: undefined where it is exactly right. */
  const difference = ({ task, frames }: PosedTask): string | undefined => {
    const { stackTrace, shadow } = machine.inspect.traces;
    const symbols = machine.inspect.core.symbols;
    const trace = stackTrace.explainTskReliable(task, (addr) => symbols.formatReturn(addr));
    if (!trace.ok) return `unreliable: ${trace.reason}`;
    const text = (low: number): string => symbols.formatReturn(fromHalves(TEXT_HI, low));
    const seen = trace.entries.map((addr) => symbols.formatReturn(addr));
    const truth = shadow?.frames(task.stackSlot, task.spLo).map(({ address }) => text(address)) ?? [];
    const made = [...frames].reverse().map(({ address }) => text(address));
    if (seen.join(' ') !== truth.join(' ')) return `trace ${seen.join(' ')}, truth ${truth.join(' ')}`;
    return truth.join(' ').includes(made.join(' '))
      ? undefined
      : `made ${made.join(' ')}, truth ${truth.join(' ')}`;
  };

  it.skipIf(!kernel)('have traces that are exactly right, or a reason why there is no way', async () => {
    const sleep = graph.at(Number(machine.inspect.core.symbols.require('schedule') & 0xffffffffn));
    const random = new SeededRandom(1);
    const reasons: string[] = [];
    const wrong: string[] = [];
    let right = 0;
    for (let drawn = 0; drawn < CHAINS; ) {
      const length = SHORTEST + random.below(LONGEST - SHORTEST + 1);
      const funcs = drawChain(graph, sleep, random, length, isFit);
      if (funcs.length < SHORTEST) continue;
      drawn++;
      const chain = funcs.map(nameOf);
      try {
        const posed = new Pose(machine, chain).stand({ ms: 50 });
        const found = difference(posed);
        if (found === undefined) right++;
        else wrong.push(`${chain.join(' > ')}: ${found}`);
        machine.runUntil(() => machine.exitStatus(posed.task) !== undefined, 5e9);
        if (machine.exitStatus(posed.task) !== 0) wrong.push(`${chain.join(' > ')}: it has not left`);
      } catch (error) {
        if (!(error instanceof PoseError)) throw error;
        reasons.push(`${chain.join(' > ')}: ${error.message}`);
      }
    }
    process.stdout.write(
      `${release}: ${right} of ${CHAINS} exactly right; no way:\n${reasons.map((one) => `  ${one}\n`).join('')}`,
    );
    expect(wrong).toEqual([]);
    expect(right + reasons.length).toBe(CHAINS);
    expect(reasons.length).toBeLessThan(0.05 * CHAINS);
  });
});
