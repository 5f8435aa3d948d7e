// A call graph is what branches in the text say: calls, jumps in their place, parts that lie elsewhere, and those that nobody knows.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { readCalls } from '../../src/callgraph/calls.ts';
import { chainsFrom, shortestChain } from '../../src/callgraph/chains.ts';
import { CallGraph } from '../../src/callgraph/graph.ts';

const BASE = 0x81000000;
const SIZE = 0x20;

/** Functions of 32 bytes, one behind the other. */
const NAMES = ['top', 'middle', 'sleep', 'dies', 'cold.cold', 'unknown', 'cold'];
const at = (name: string): number => BASE + SIZE * NAMES.indexOf(name);
const rel32 = (opcode: readonly number[], from: number, to: number): number[] => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(to - (from + opcode.length + 4));
  return [...opcode, ...bytes];
};
const call = (from: number, to: string): number[] => rel32([0xe8], from, at(to));
const jump = (from: number, to: number): number[] => rel32([0xe9], from, to);

const CODE: Readonly<Record<string, (from: number) => number[]>> = {
  // call middle; ret
  top: (from) => [...call(from, 'middle'), 0xc3],
  // call dies; jmp sleep
  middle: (from) => [...call(from, 'dies'), ...jump(from + 5, at('sleep'))],
  sleep: () => [0xc3],
  // call sleep; ud2
  dies: (from) => [...call(from, 'sleep'), 0x0f, 0x0b],
  // call sleep; jmp back
  'cold.cold': (from) => [...call(from, 'sleep'), ...jump(from + 5, at('cold') + 6)],
  // call *%rax; ret
  unknown: () => [0xff, 0xd0, 0xc3],
  // jne cold.cold; ret
  cold: (from) => [...rel32([0x0f, 0x85], from, at('cold.cold')), 0xc3],
};

function graph(): CallGraph {
  const bytes = new Uint8Array(SIZE * NAMES.length).fill(0xcc);
  for (const name of NAMES) bytes.set(CODE[name](at(name)), at(name) - BASE);
  const calls = readCalls(X86_64.code, [{ start: BASE, bytes }], NAMES.map(at));
  return new CallGraph([{ module: undefined, calls, nameAt: (start) => NAMES[(start - BASE) / SIZE] }]);
}

const found = graph();
const func = (name: string): number => found.at(at(name));
const names = (functions: readonly number[] = []): string[] => functions.map((one) => found.name(one));

describe('a call graph', () => {
  it('has calls, and jumps in the place of the last one', () => {
    expect(found.callees(func('middle')).map(({ to, isTail }) => [found.name(to), isTail])).toEqual([
      ['dies', false],
      ['sleep', true],
    ]);
  });

  it('has as callers those that have it among their callees, in order, whichever was asked before', () => {
    const all = Array.from({ length: found.count }, (_, one) => one);
    for (const to of all) {
      const wanted = all.filter(
        (from) => found.owner(from) === from && found.callees(from).some((edge) => edge.to === to),
      );
      expect(graph().callers(to), found.name(to)).toEqual(wanted);
      expect(found.callers(to), found.name(to)).toEqual(wanted);
    }
  });

  it("counts what a cold part calls as its function's, which is the one that jumps there", () => {
    expect(names(found.coldParts(func('cold')))).toEqual(['cold.cold']);
    expect(names(found.callees(func('cold')).map(({ to }) => to))).toEqual(['sleep']);
    expect(found.name(found.owner(func('cold.cold')))).toBe('cold');
  });

  it('knows what never returns, and where a branch goes nobody knows where', () => {
    expect(NAMES.filter((name) => found.isDeadEnd(func(name)))).toEqual(['dies']);
    expect(found.indirect(func('unknown'))).toEqual([at('unknown')]);
  });

  it('has the shortest way to a function, not through what never returns', () => {
    const { chain } = shortestChain(found, func('top'), (to) => found.name(to) === 'sleep');
    expect(names(chain?.map((step) => step.func))).toEqual(['top', 'middle', 'sleep']);
    expect(shortestChain(found, func('unknown'), () => true)).toEqual({
      chain: undefined,
      seen: 1,
      unknown: 1,
    });
  });

  it('tells who gets to a function, the nearest first', () => {
    const chains = chainsFrom(
      found,
      func('sleep'),
      (from) => ['top', 'cold'].includes(found.name(from)),
      5,
      4,
    );
    expect(chains.map((chain) => names(chain))).toEqual([
      ['cold', 'sleep'],
      ['top', 'middle', 'sleep'],
    ]);
  });

  it('finds the function around an address, and none outside of the text', () => {
    expect([found.name(found.at(at('middle') + 3)), found.at(BASE - 1), found.at(BASE + 0x1000)]).toEqual([
      'middle',
      -1,
      -1,
    ]);
  });
});
