// Text that changes after it was executed: on each library the new bytes are what runs. The old ones would, if a
// translation were left behind.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import { MODULES_VADDR } from '../../src/guest/addr.ts';
import type { CpuContext } from '../../src/guest/engine.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { packageRoot } from '../../src/guest/package_root.ts';
import { Machine } from '../../src/machine/machine.ts';
import { Bare, DATA, TEXT } from './bare.ts';
import { describeEachLibrary } from './libraries.ts';

const RW = PROT_READ | PROT_WRITE;
const RX = PROT_READ | PROT_EXEC;
const NOP5 = [0x0f, 0x1f, 0x44, 0, 0];
const HLT = 0xf4;

const u32 = (value: number) => [...new Uint8Array(Uint32Array.of(value).buffer)];
/** mov eax, value */
const movEax = (value: number) => [0xb8, ...u32(value)];
const call = (from: bigint, to: bigint) => [0xe8, ...u32(Number(to - from - 5n))];
const jmp = (from: bigint, to: bigint) => [0xe9, ...u32(Number(to - from - 5n))];

let bare: Bare;
/** Changes executable text, as text_poke() does. */
const poke = (at: bigint, bytes: readonly number[]) => bare.mem.pokeText(at, Uint8Array.from(bytes));
/** Writes memory that is not executable. */
const write = (at: bigint, bytes: readonly number[]) => bare.mem.writeBytes(at, Uint8Array.from(bytes));

const END = TEXT + 0xf00n;
const STORED = DATA + 0x100n;

/** Code that stores a value and goes to END, in another page: mov eax, value; mov [STORED], eax; jmp END. */
const storing = (at: bigint, value: number) => [
  ...movEax(value),
  ...[0xa3, ...new Uint8Array(BigUint64Array.of(STORED).buffer)],
  ...jmp(at + 14n, END),
];

/** What is stored by a run from an address. */
function storedBy(at: bigint): number {
  bare.mem.writeU32(STORED, 0xdead);
  const context = bare.context({ rip: at });
  expect(bare.engine.run(context, 1000).kind).toBe('halt');
  return bare.mem.readU32(STORED);
}

/** rax at the hlt that a run from an address gets to. */
function raxFrom(at: bigint): number {
  const context = bare.context({ rip: at });
  expect(bare.engine.run(context, 1000).kind).toBe('halt');
  return Number(context.regs[REG.rax]);
}

function suite(): void {
  beforeEach(() => {
    bare = new Bare('unicorn');
    poke(END, [HLT]);
  });
  afterEach(() => bare.close());

  it.each([0, 1, 2, 3, 4, 5])(
    'a call and a nop take turns at a site that has run often, byte %i of it the first of a page',
    (ahead) => {
      bare.mem.map(MODULES_VADDR, 2 * PAGE_SIZE, RX);
      const site = MODULES_VADDR + BigInt(PAGE_SIZE - ahead);
      const target = TEXT + 0x100n;
      poke(target, [...movEax(7), 0xc3]);
      poke(site - 5n, movEax(1));
      poke(site, [...NOP5, HLT]);
      for (let i = 0; i < 4; i++) {
        for (let n = 0; n < 3; n++) expect(raxFrom(site - 5n)).toBe(1);
        poke(site, call(site, target));
        for (let n = 0; n < 3; n++) expect(raxFrom(site - 5n)).toBe(7);
        poke(site, NOP5);
      }
    },
  );

  it('each step of a poke is what runs: int3, then the tail behind it, then the first byte', () => {
    const site = TEXT + 0x40n;
    const target = TEXT + 0x100n;
    poke(target, [...movEax(7), 0xc3]);
    poke(site - 5n, movEax(1));
    poke(site, [...NOP5, HLT]);
    const stopAt = () => {
      const context = bare.context({ rip: site - 5n });
      const { kind } = bare.engine.run(context, 1000);
      return [kind, context.regs[REG.rip] - site];
    };
    const insn = call(site, target);
    expect(stopAt()).toEqual(['halt', 6n]);
    poke(site, [0xcc]);
    expect(stopAt()).toEqual(['trap', 1n]);
    poke(site + 1n, insn.slice(1));
    expect(stopAt()).toEqual(['trap', 1n]);
    poke(site, insn.slice(0, 1));
    expect(stopAt()).toEqual(['halt', 6n]);
    expect(raxFrom(site - 5n)).toBe(7);
  });

  it('a block that another jumps to directly is looked up again', () => {
    const [first, second] = [TEXT + 0x40n, TEXT + 0x800n];
    poke(first, jmp(first, second));
    for (const value of [2, 3, 4]) {
      poke(second, storing(second, value));
      for (let n = 0; n < 100; n++) expect(storedBy(first)).toBe(value);
    }
  });

  it('what a CPU has yet to execute of the block it stands in is the new text', () => {
    poke(TEXT, [...movEax(1), ...Array(20).fill(0x90), ...movEax(2), HLT]);
    for (const value of [3, 4]) {
      const context: CpuContext = bare.context({ rip: TEXT });
      expect(bare.run(context, 10).kind).toBe('budget');
      poke(TEXT + 25n, movEax(value));
      expect(bare.run(context, 1000).kind).toBe('halt');
      expect(context.regs[REG.rax]).toBe(BigInt(value));
    }
  });

  it.each([1, 2, 5])(
    'a page that became executable late runs its text, that poked since, and that of its next life (%i pages)',
    (pages) => {
      const size = pages * PAGE_SIZE;
      bare.mem.map(MODULES_VADDR, size, RW);
      const places = Array.from({ length: pages }, (_, i) => MODULES_VADDR + BigInt(i * PAGE_SIZE + 0x20));
      for (let life = 0; life < 4; life++) {
        for (const at of places) write(at, storing(at, 100 * life));
        bare.mem.protect(MODULES_VADDR, size, RX);
        for (const at of places) {
          expect(storedBy(at)).toBe(100 * life);
          poke(at + 1n, u32(100 * life + 1));
          expect(storedBy(at)).toBe(100 * life + 1);
          poke(at, movEax(100 * life + 2));
          expect(storedBy(at)).toBe(100 * life + 2);
        }
        bare.mem.protect(MODULES_VADDR, size, RW);
        expect(bare.run(bare.context({ rip: places[0] }), 10).kind).toBe('page fault');
      }
    },
  );

  it('a page that the guest itself wrote before it became executable runs what is poked into it', () => {
    bare.mem.map(MODULES_VADDR, PAGE_SIZE, RW);
    const code = [...movEax(1), HLT];
    // mov rdi, page; rsi, DATA; ecx, size; rep movsb; hlt
    write(DATA, code);
    poke(TEXT, [
      ...[0x48, 0xbf, ...new Uint8Array(BigUint64Array.of(MODULES_VADDR).buffer)],
      ...[0x48, 0xbe, ...new Uint8Array(BigUint64Array.of(DATA).buffer)],
      ...[0xb9, ...u32(code.length), 0xf3, 0xa4, HLT],
    ]);
    expect(bare.run(bare.context({ rip: TEXT }), 1000).kind).toBe('halt');
    bare.mem.protect(MODULES_VADDR, PAGE_SIZE, RX);
    expect(raxFrom(MODULES_VADDR)).toBe(1);
    for (const value of [2, 3]) {
      poke(MODULES_VADDR + 1n, u32(value));
      expect(raxFrom(MODULES_VADDR)).toBe(value);
    }
  });

  it('what is mapped at an address is what runs there, not what was mapped before', () => {
    const size = 3 * PAGE_SIZE;
    // In the last of several pages: each of them has to be thought of.
    const at = MODULES_VADDR + BigInt(size - 16);
    for (const value of [1, 2, 3]) {
      bare.mem.map(MODULES_VADDR, size, RW);
      write(at, [...movEax(value), HLT]);
      bare.mem.protect(MODULES_VADDR, size, RX);
      expect(raxFrom(at)).toBe(value);
      bare.mem.protect(MODULES_VADDR, size, RW);
      bare.mem.unmap(MODULES_VADDR, size);
    }
  });

  it('whatever is mapped, poked, run, made data and text again, in any order', () => {
    const SLOTS = [0x20, PAGE_SIZE - 3, PAGE_SIZE + 0x800, 2 * PAGE_SIZE - 6];
    const size = 3 * PAGE_SIZE;
    const step = fc.oneof(
      fc.record({
        op: fc.constant('poke' as const),
        slot: fc.nat(3),
        value: fc.integer({ min: 1, max: 0xffff }),
      }),
      fc.record({ op: fc.constant('run' as const), slot: fc.nat(3) }),
      fc.record({
        op: fc.constant('remake' as const),
        slot: fc.nat(3),
        value: fc.integer({ min: 1, max: 0xffff }),
      }),
      fc.record({ op: fc.constant('remap' as const), value: fc.integer({ min: 1, max: 0xffff }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const values = SLOTS.map(() => 0);
        const fill = () => {
          SLOTS.forEach((slot, i) => {
            const at = MODULES_VADDR + BigInt(slot);
            write(at, storing(at, values[i]));
          });
        };
        bare.mem.map(MODULES_VADDR, size, RW);
        fill();
        bare.mem.protect(MODULES_VADDR, size, RX);
        for (const s of steps) {
          if (s.op === 'run') {
            expect(storedBy(MODULES_VADDR + BigInt(SLOTS[s.slot]))).toBe(values[s.slot]);
          } else if (s.op === 'poke') {
            values[s.slot] = s.value;
            poke(MODULES_VADDR + BigInt(SLOTS[s.slot] + 1), u32(s.value));
          } else {
            bare.mem.protect(MODULES_VADDR, size, RW);
            if (s.op === 'remap') {
              bare.mem.unmap(MODULES_VADDR, size);
              bare.mem.map(MODULES_VADDR, size, RW);
              values.fill(s.value);
            } else values[s.slot] = s.value;
            fill();
            bare.mem.protect(MODULES_VADDR, size, RX);
          }
        }
        bare.mem.protect(MODULES_VADDR, size, RW);
        bare.mem.unmap(MODULES_VADDR, size);
      }),
    );
  });
}

describeEachLibrary('changed text', suite);

describeEachLibrary('a livepatch', () => {
  const MS = 1e6;

  it('goes live under readers and away again, the ground truth agreeing', async () => {
    const machine = await Machine.boot({ cpus: 2, seed: 3 });
    try {
      const until = (text: string) => {
        const said = () => machine.dmesg().some((line) => line.endsWith(text));
        expect(machine.runUntil(said, 20_000 * MS), text).toBe(true);
      };
      const version = () => {
        const cat = machine.spawn('cat', ['/proc/klpdemo']);
        machine.runUntil(() => machine.exitStatus(cat) !== undefined, 5000 * MS);
        return machine.stdout(cat).split('\n')[0];
      };
      for (const name of ['klpdemo_target', 'klpdemo_patch_target']) {
        machine.addFile(`/${name}.ko`, readFileSync(join(packageRoot(), `fixtures/modules/${name}.ko`)));
      }
      const load = machine.insmod('/klpdemo_target.ko', 'hold_ms=20 period_ms=20');
      machine.runUntil(() => machine.exitStatus(load) !== undefined, 1000 * MS);
      for (let i = 0; i < 2; i++) machine.spawn('reader', ['/proc/klpdemo', '4']);
      expect(version()).toBe('klpdemo version 1');
      machine.insmod('/klpdemo_patch_target.ko');
      until(': patching complete');
      expect(version()).toBe('klpdemo version 2 (livepatched)');
      machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpdemo_patch_target/enabled']);
      until(': unpatching complete');
      expect(version()).toBe('klpdemo version 1');
    } finally {
      machine.close();
    }
  });
});
