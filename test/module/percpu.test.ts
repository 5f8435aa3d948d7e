import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { PAGE_SIZE } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';
import { ReservedChunk } from '../../src/module/percpu.ts';
import { MODULES } from './harness.ts';

const LAYOUT = BUILT_IN.structs;

const F = LAYOUT.module.fields;
let machine: Machine;
beforeAll(async () => {
  machine = await Machine.boot({ cpus: 3 });
  machine.addFile('/percpu.ko', readFileSync(join(MODULES, 'klpdemo_percpu.ko')));
});
afterAll(() => machine.close());

function load(): number | undefined {
  const task = machine.insmod('/percpu.ko');
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
  return machine.exitStatus(task);
}
function unload(): number | undefined {
  const task = machine.rmmod('klpdemo_percpu');
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
  return machine.exitStatus(task);
}
/** klpdemo_count and klpdemo_line of every CPU. */
function copies(): bigint[][] {
  const { mem, percpu } = machine.inspect.core;
  const mod = machine.inspect.modules.loader.modules.find('klpdemo_percpu');
  const offset = mem.readU64((mod?.addr ?? 0n) + BigInt(F.percpu));
  return percpu.base.map((base) => [mem.readU64(base + offset), mem.readU64(base + offset + 8n)].sort());
}

describe('per-CPU variables of a module', () => {
  it('have their initial values on every CPU, and its code changes those of its own', () => {
    expect(load()).toBe(0);
    expect(machine.dmesg().at(-1)).toMatch(/klpdemo_percpu: 42 7$/);
    const untouched = copies().filter(([a, b]) => a === 0n && b === 41n);
    expect(untouched).toHaveLength(2);
    expect(copies()).toContainEqual([42n, 7n]);
    expect(unload()).toBe(0);
  });

  it('are there anew at the next load, at the same place', () => {
    const places = [0, 1, 2].map(() => {
      load();
      const mod = machine.inspect.modules.loader.modules.find('klpdemo_percpu');
      const place = mod && machine.inspect.core.mem.readU64(mod.addr + BigInt(F.percpu));
      expect(machine.dmesg().at(-1)).toMatch(/klpdemo_percpu: 42 7$/);
      unload();
      return place;
    });
    expect(new Set(places).size).toBe(1);
  });
});

describe('per-CPU variables that are to lie on more than a page', () => {
  it('lie on a page, and the kernel says so', () => {
    const bytes = readFileSync(join(MODULES, 'klpdemo_percpu.ko'));
    const elf = parseElf(new Uint8Array(bytes), 'percpu.ko', X86_64.elf);
    const header = elf.header.shoff + 64 * (elf.section('.data..percpu')?.index ?? 0);
    bytes.writeBigUInt64LE(2n * BigInt(PAGE_SIZE), header + 48); // sh_addralign
    machine.addFile('/aligned.ko', bytes);
    const { mem } = machine.inspect.core;
    const task = machine.insmod('/aligned.ko');
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
    expect(machine.exitStatus(task)).toBe(0);
    expect(machine.dmesg().join('\n')).toContain('] klpdemo_percpu: per-cpu alignment 8192 > 4096\n');
    const mod = machine.inspect.modules.loader.modules.find('klpdemo_percpu');
    const place = mem.readU64((mod?.addr ?? 0n) + BigInt(F.percpu));
    expect(place % BigInt(PAGE_SIZE)).toBe(0n);
    expect(unload()).toBe(0);
  });
});

describe('the reserved chunk', () => {
  it('gives out aligned ranges that do not meet, and refuses with the words of the kernel what does not fit', () => {
    const { core } = machine.inspect;
    const sizes = fc.record({
      size: fc.integer({ min: 1, max: 3000 }),
      align: fc.constantFrom(1, 8, 64, 4096),
    });
    fc.assert(
      fc.property(fc.array(fc.record({ ask: sizes, free: fc.boolean() }), { maxLength: 30 }), (steps) => {
        const chunk = new ReservedChunk(core);
        const live: { at: number; size: number }[] = [];
        const { size: room } = core.percpu.reserved;
        const start = Number(core.percpu.reserved.start);
        for (const { ask, free } of steps) {
          if (free && live.length > 0) chunk.free(BigInt(live.shift()?.at ?? 0));
          const at = chunk.alloc(ask.size, ask.align, 'test');
          if (at === undefined) {
            expect(machine.dmesg().at(-1)).toContain(
              `percpu: allocation failed, size=${ask.size} align=${ask.align} atomic=0, alloc from reserved chunk failed`,
            );
            continue;
          }
          const from = Number(at);
          expect(from % ask.align).toBe(0);
          expect(from).toBeGreaterThanOrEqual(start);
          expect(from + ask.size).toBeLessThanOrEqual(start + room);
          for (const other of live) {
            expect(from + ask.size <= other.at || other.at + other.size <= from).toBe(true);
          }
          live.push({ at: from, size: ask.size });
        }
      }),
    );
  });
});
