// The module area as the engine has it: pieces that are mapped when they are touched, and few at once.

import { describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import { EnginePieces } from '../../src/arch/x86_64/unicorn/engine_pieces.ts';
import { UnicornEngine } from '../../src/arch/x86_64/unicorn/unicorn.ts';
import { MODULES_VADDR } from '../../src/guest/addr.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { Bare, DATA } from './bare.ts';
import { NO_UNICORN } from './unicorn_there.ts';

const RX = PROT_READ | PROT_EXEC;
const RW = PROT_READ | PROT_WRITE;
const area = (i: number) => MODULES_VADDR + BigInt(4 * i * PAGE_SIZE);
const DATA_PAGE = BigInt(PAGE_SIZE);

/** With the library itself: skipped where it is missing. */
const onUnicorn = it.skipIf(NO_UNICORN);

describe('pieces of the module area', () => {
  it('are never many, whatever is there and touched', () => {
    let mapped = 0;
    let most = 0;
    let work = 0;
    const pieces = new EnginePieces({
      mapPiece: () => {
        work += ++mapped;
        most = Math.max(most, mapped);
      },
      unmapPiece: () => {
        mapped--;
      },
    });
    const AREAS = 5000;
    for (let i = 0; i < AREAS; i++) {
      pieces.map(area(i), 2 * PAGE_SIZE, RW, 4 * i * PAGE_SIZE);
      pieces.protect(area(i), PAGE_SIZE, RX);
      expect(pieces.touch(area(i), 'fetch')).toBe('mapped');
      expect(pieces.touch(area(i) + DATA_PAGE, 'write')).toBe('mapped');
      pieces.trim();
    }
    expect(most).toBeLessThan(100);
    // What the engine pays for a mapping grows with those that it has: no more for the last than for the first.
    expect(work).toBeLessThan(100 * 2 * AREAS);
  });

  it('are of the memory that was mapped there, also where the same is mapped at several places', () => {
    const seen: (readonly [base: bigint, size: number, ramOffset: number])[] = [];
    const pieces = new EnginePieces({
      mapPiece: (base, size, _prot, ramOffset) => seen.push([base, size, ramOffset]),
      unmapPiece: () => {},
    });
    const SIZE = 4 * PAGE_SIZE;
    const at = [0, 1, 2].map((i) => MODULES_VADDR + BigInt(i * SIZE));
    // Side by side and with one protection: three pieces all the same.
    for (const base of at) pieces.map(base, SIZE, RW, 0x10000);
    for (const base of at) expect(pieces.touch(base + DATA_PAGE, 'read')).toBe('mapped');
    expect(seen).toEqual(at.map((base) => [base, SIZE, 0x10000]));
  });

  onUnicorn('never lead out of the memory that is shared', () => {
    const engine = new UnicornEngine();
    const { buffer, start } = engine.allocate(3 * PAGE_SIZE);
    const data = new DataView(buffer, start + 2 * PAGE_SIZE, PAGE_SIZE);
    data.setUint32(8, 77, true);
    const code = new Uint8Array(buffer, start, PAGE_SIZE);
    engine.map(0x400000n, PAGE_SIZE, RX, 0);
    const FAR = 0xffffffffe0000000n;
    for (const base of [MODULES_VADDR, FAR]) engine.map(base, PAGE_SIZE, RW, 2 * PAGE_SIZE);
    for (const base of [MODULES_VADDR, FAR]) {
      // mov eax, [base + 8]; inc dword ptr [base + 8]; hlt
      const low = [...new Uint8Array(BigUint64Array.of(base + 8n).buffer)].slice(0, 4);
      code.set([0x8b, 0x04, 0x25, ...low, 0xff, 0x04, 0x25, ...low, 0xf4]);
      engine.invalidate(0x400000n, PAGE_SIZE);
      const context = engine.newContext();
      context.regs[REG.rip] = 0x400000n;
      context.touch();
      engine.run(context, 3);
      expect(Number(context.regs[REG.rax])).toBe(base === FAR ? 78 : 77);
    }
    expect(data.getUint32(8, true)).toBe(79);
    engine.close();
  });

  onUnicorn('let code of any number of areas run, read and write', async () => {
    const bare = new Bare('unicorn');
    const AREAS = 300;
    for (let i = 0; i < AREAS; i++) {
      bare.mem.map(area(i), 2 * PAGE_SIZE, RW);
      const next = area((i + 1) % AREAS);
      const count = `mov eax, ${i + 1}\nadd [rip+${PAGE_SIZE - 12}], rax`;
      await bare.code(`${count}\nmov rax, 0x${next.toString(16)}\njmp rax`, area(i));
      bare.mem.protect(area(i), PAGE_SIZE, RX);
    }
    const context = bare.context({ rip: area(0) });
    const ROUNDS = 3;
    const stop = bare.run(context, ROUNDS * AREAS * 4);
    expect(stop).toMatchObject({ kind: 'budget', executed: ROUNDS * AREAS * 4 });
    expect(context.regs[REG.rip]).toBe(area(0));
    for (let i = 0; i < AREAS; i++)
      expect(bare.mem.readU64(area(i) + DATA_PAGE)).toBe(BigInt(ROUNDS * (i + 1)));
    bare.close();
  });

  onUnicorn('run what is there now, not what was there before', async () => {
    const bare = new Bare('unicorn');
    for (let round = 1; round <= 100; round++) {
      bare.mem.map(area(0), PAGE_SIZE, RW);
      await bare.code(`mov eax, ${round}\nhlt`, area(0));
      bare.mem.protect(area(0), PAGE_SIZE, RX);
      const context = bare.context({ rip: area(0) });
      expect(bare.run(context, 10)).toMatchObject({ kind: 'halt', executed: 2 });
      expect(context.regs[REG.rax]).toBe(BigInt(round));
      bare.mem.protect(area(0), PAGE_SIZE, RW);
      bare.mem.unmap(area(0), PAGE_SIZE);
    }
    bare.close();
  });

  onUnicorn('fault by their protection at the first touch as at any other', async () => {
    const bare = new Bare('unicorn');
    bare.mem.map(area(0), 2 * PAGE_SIZE, RW);
    bare.mem.protect(area(0), PAGE_SIZE, PROT_READ);
    await bare.code('mov [rbx], rax\nhlt');
    const write = () => bare.run(bare.context({ rbx: area(0) + 8n }), 10);
    const read = async () => {
      await bare.code('mov rax, [rbx]\nhlt');
      return bare.run(bare.context({ rbx: area(0) + 8n }), 10);
    };
    const denied = {
      kind: 'page fault',
      executed: 0,
      faultAddr: area(0) + 8n,
      access: 'write',
      unmapped: false,
    };
    expect(write()).toMatchObject(denied);
    expect(await read()).toMatchObject({ kind: 'halt', executed: 2 });
    await bare.code('mov [rbx], rax\nhlt');
    expect(write()).toMatchObject(denied);
    const fetched = bare.run(bare.context({ rip: area(0) + DATA_PAGE }), 10);
    expect(fetched).toMatchObject({ kind: 'page fault', executed: 0, access: 'fetch', unmapped: false });
    const nowhere = bare.run(bare.context({ rip: area(1) }), 10);
    expect(nowhere).toMatchObject({ kind: 'page fault', executed: 0, access: 'fetch', unmapped: true });
    bare.close();
  });

  onUnicorn('go on through code that was not mapped', async () => {
    const bare = new Bare('unicorn');
    for (const i of [0, 1]) bare.mem.map(area(i), PAGE_SIZE, RW);
    await bare.code(`mov rax, 0x${area(1).toString(16)}\njmp rax`, area(0));
    await bare.code('inc rcx\nnop\nhlt', area(1));
    for (const i of [0, 1]) bare.mem.protect(area(i), PAGE_SIZE, RX);
    expect(bare.run(bare.context({ rip: area(0), rdx: DATA }), 10)).toMatchObject({
      kind: 'halt',
      executed: 5,
    });
    bare.close();
  });
});
