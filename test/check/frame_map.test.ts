// What frame pointers alone are wrong about, in code that gcc built with and without them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { FrameMapReport, FrameReport, ObjectCheck } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { decodeAt } from '../../src/isa/decoder.ts';
import { checkGuest } from './guest.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const guest = checkGuest();
function checked(path: string, bytes = read(path)): ObjectCheck & { readonly frames: FrameMapReport } {
  const found = new ObjectChecker(guest, parseElf(bytes, path, X86_64.elf), { unwinder: 'fp' }).check();
  if (!found.frames) throw new Error('no map');
  return { ...found, frames: found.frames };
}
function read(path: string): Uint8Array {
  return Uint8Array.from(readFileSync(join(FIXTURES, path)));
}
function functionOf(map: FrameMapReport, name: string): FrameReport {
  const found = map.functions.find((f) => f.name === name);
  if (!found) throw new Error(name);
  return found;
}
const rangesOf = (map: FrameMapReport, name: string): string[] =>
  functionOf(map, name).ranges.map(({ from, to, why }) => `${from}..${to} ${why}`);
const rule = (map: FrameMapReport, section: string): Record<string, number> => {
  const found = map.rules.find((r) => r.section === section);
  return Object.fromEntries((found?.classes ?? []).map((c) => [c.why, c.instructions]));
};

/** Offset in .text, length and first bytes of each instruction of a function. */
function instructionsOf(path: string, name: string): { offset: number; bytes: string }[] {
  const elf = parseElf(read(path), path, X86_64.elf);
  const symbol = elf.symbol(name);
  if (!symbol?.section) throw new Error(name);
  const text = elf.data(symbol.section);
  const start = Number(symbol.value);
  const list: { offset: number; bytes: string }[] = [];
  for (let at = start; at < start + symbol.size; ) {
    const { length } = decodeAt(text, at, at);
    const bytes = Buffer.from(text.subarray(at, at + length)).toString('hex');
    list.push({ offset: at - start, bytes });
    at += length;
  }
  return list;
}

const PUSH_RBP = '55';
const SET_RBP = '4889e5';
const GIVES_UP = ['5d', 'c9'];

describe('an object built with frame pointers', () => {
  const path = 'objects/frames/frames.o';

  it.each(['caller', 'saves', 'locals', 'tail', 'crowded', 'scratch'])(
    'is wrong in %s from its start until rbp is set, and after rbp is given back, and nowhere else',
    (name) => {
      const list = instructionsOf(path, name);
      const [push, set] = [PUSH_RBP, SET_RBP].map((bytes) => list.findIndex((i) => i.bytes === bytes));
      const up = list.findIndex((i) => GIVES_UP.includes(i.bytes));
      const end = (list.at(-1)?.offset ?? 0) + (list.at(-1)?.bytes.length ?? 0) / 2;
      const { frames } = checked(path);
      expect(rangesOf(frames, name)).toEqual([
        `0..${list[push + 1].offset} before the frame is made`,
        `${list[push + 1].offset}..${list[set + 1].offset} rbp saved, not yet set`,
        `${list[up + 1].offset}..${end} the frame is given up`,
      ]);
      expect(functionOf(frames, name).calls).toEqual([]);
    },
  );

  it('is wrong in all of a function that calls nobody, where the compiler makes no frame', () => {
    const { frames } = checked(path);
    expect(functionOf(frames, 'leaf')).toMatchObject({ interrupted: 0, instructions: 6, calls: [] });
    expect(rangesOf(frames, 'leaf')).toEqual(['0..18 no frame in this function']);
  });

  it('is wrong on the way out of a function that makes its frame late', () => {
    expect(rangesOf(checked(path).frames, 'early')).toContain('5..11 a path without a frame');
  });

  it('has one call that the compiler does not know of, wrong and called reliable', () => {
    const found = checked(path);
    expect(found.frames.functions.filter((f) => f.calls.length > 0).map((f) => f.name)).toEqual(['hidden']);
    expect(rule(found.frames, '3')).toEqual({ 'a call without a frame, and nothing notices': 1 });
    expect(functionOf(found.frames, 'hidden').calls).toEqual([{ offset: 0, noticed: false }]);
    expect(found.wrong).toBe(1);
  });

  it('is classed at every wrong instruction, and at no other', () => {
    const { frames, right, reached } = checked(path);
    const classed = frames.functions.flatMap((f) => f.ranges).reduce((sum, r) => sum + r.instructions, 0);
    expect(classed).toBe(reached - right);
    expect(classed).toBe(Object.values(rule(frames, '4.3')).reduce((a, b) => a + b, 0));
  });

  it('depends on the rules for calls and for interrupts, on no other', () => {
    const { rules } = checked(path).frames;
    expect(rules.filter((r) => r.classes.length > 0).map((r) => r.section)).toEqual(['3', '4.3']);
  });
});

describe('with frames in all but leaf functions', () => {
  it('a leaf with locals has none, and is right at its calls', () => {
    const { frames } = checked('objects/frames/frames-but-leaves.o');
    expect(functionOf(frames, 'scratch').interrupted).toBe(0);
    expect(functionOf(frames, 'caller').calls).toEqual([]);
  });
});

describe('the same source without frames', () => {
  it('is wrong at almost every call, and rbp leads anywhere where it is one register more', () => {
    const { frames, wrong } = checked('objects/frames/without-frames.o');
    expect(rule(frames, '3')['a call without a frame, and nothing notices']).toBeGreaterThan(5);
    expect(rule(frames, '3')['a call without a frame, noticed by where rbp leads']).toBeGreaterThan(5);
    expect(rule(frames, '4.1')['rbp holds something else']).toBeGreaterThan(30);
    expect(functionOf(frames, 'crowded').ranges.map((r) => r.why)).toContain('rbp holds something else');
    expect(wrong).toBeGreaterThan(5);
  });

  it('makes a frame where the stack grows or is realigned', () => {
    const { frames } = checked('objects/frames/without-frames.o');
    expect(functionOf(frames, 'aligned').interrupted).toBeGreaterThan(10);
    expect(functionOf(frames, 'aligned').calls).toEqual([]);
  });
});

describe('code by hand', () => {
  const path = 'objects/frames/thunks.o';

  it('stands under the rule that names its kind', () => {
    const { frames } = checked(path);
    expect(rule(frames, '4.2')).toEqual({ 'code that is no function': 7 });
    expect(rule(frames, '4.4')).toEqual({ 'the return address is written over': 1 });
    expect(rule(frames, '4.5')).toEqual({ 'a return address that nothing returns to': 1 });
    expect(functionOf(frames, 'thunk').calls).toHaveLength(1);
    expect(functionOf(frames, 'framed_thunk').calls).toEqual([]);
  });

  it('that writes over its return address is named at that instruction', () => {
    const at = instructionsOf(path, 'hook_return').find((i) => i.bytes === '48894508')?.offset;
    const range = functionOf(checked(path).frames, 'hook_return').ranges.find((r) => r.from === at);
    expect(range?.why).toBe('the return address is written over');
  });
});

describe('a module built for a kernel with frame pointers', () => {
  const path = 'modules/frame-pointer/klpdemo_target.ko';

  it('has a frame at every call but those to ftrace, whose trampolines make theirs', () => {
    const { frames, wrong } = checked(path);
    expect(frames.functions.filter((f) => f.calls.length > 0)).toEqual([]);
    expect(wrong).toBe(0);
    expect(rule(frames, '4.2')['the call of __fentry__ before the frame']).toBe(
      frames.functions.filter((f) => f.fentry).length,
    );
  });

  it('is reported at the call when the frame before it is taken out', () => {
    const elf = parseElf(read(path), path, X86_64.elf);
    const symbol = elf.symbol('klpdemo_descend');
    const text = elf.section('.text');
    if (!symbol || !text) throw new Error('no function');
    const set = instructionsOf(path, 'klpdemo_descend').find((i) => i.bytes === SET_RBP);
    const bytes = read(path);
    const at = text.offset + Number(symbol.value) + (set?.offset ?? 0);
    bytes.fill(0x90, at, at + 3);
    const { frames, wrong } = checked(path, bytes);
    expect(frames.functions.filter((f) => f.calls.length > 0).map((f) => f.name)).toEqual([
      'klpdemo_descend',
    ]);
    expect(wrong).toBeGreaterThan(0);
  });
});
