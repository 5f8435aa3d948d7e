// What Unicorn's API does not tell, found by trying: where the instruction counter is, where a saved
// context keeps the registers, and what of it is the privilege level.

import { EngineError } from '../../../guest/engine.ts';
import { PAGE_SIZE } from '../../../guest/memory.ts';
import { REG } from '../context.ts';
import { GDT, SELECTOR } from '../gdt.ts';
import { koffi } from './koffi.ts';
import {
  allocContext,
  ENGINE_BYTES,
  GPR,
  type Lib,
  NOWHERE,
  openEngine,
  type Ptr,
  TB_REMOVE_CACHE,
  UC_ERR,
  UC_X86_REG,
  UC_X86_REG_EFLAGS,
  UC_X86_REG_RIP,
  viewContext,
} from './unicorn_api.ts';

/** Where things are in the engine's structure and in the view of a saved context, in bytes. */
export interface Calibration {
  readonly counter: number;
  /**
   * Where the view of a saved context begins. The registers are at byte 16 of it in 2.0.1, at 20 in 2.1.0 and 2.1.1,
   * at 40 from 2.1.2 on, and JavaScript reads words of eight bytes only at multiples of eight of its buffer.
   */
  readonly from: number;
  readonly registers: number;
  readonly gsBase: number;
  /** The code segment's selector, whose low bits are the privilege level. */
  readonly codeSelector: number;
  /** Bytes of a context that differ between the rings: segments and the engine's mode flags. */
  readonly ringBytes: readonly number[];
  readonly ring0: Uint8Array;
  readonly ring3: Uint8Array;
  /** The exception that the engine takes to be under delivery; it makes a double fault of the next. */
  readonly exception: number;
}

/** Finds what Unicorn's API does not tell. @throws EngineError when this build does not fit. */
export function calibrate(lib: Lib): Calibration {
  const uc = openEngine(lib);
  try {
    return calibrateEngine(lib, uc);
  } finally {
    lib.close(uc);
  }
}

function calibrateEngine(lib: Lib, uc: Ptr): Calibration {
  const buffer = new ArrayBuffer(3 * PAGE_SIZE);
  const address = BigInt(koffi().address(buffer) as bigint | number);
  const start = Number((BigInt(PAGE_SIZE) - (address % BigInt(PAGE_SIZE))) % BigInt(PAGE_SIZE));
  const ram = new Uint8Array(buffer, start, 2 * PAGE_SIZE);
  lib.mapPtr(uc, 0x10000n, 2 * PAGE_SIZE, 7, address + BigInt(start));
  const word = Buffer.alloc(24);
  const write = (reg: number, value: bigint) => {
    word.fill(0);
    word.writeBigUInt64LE(BigInt.asUintN(64, value));
    lib.regWrite(uc, reg, word);
  };
  const counter = findCounter(lib, uc, ram);
  // Segments: the GDT in the second page, then the selectors.
  GDT.forEach((entry, i) => {
    new DataView(buffer, start + PAGE_SIZE).setBigUint64(8 * i, entry, true);
  });
  word.fill(0);
  word.writeBigUInt64LE(0x11000n, 8);
  word.writeUInt32LE(8 * GDT.length - 1, 16);
  lib.regWrite(uc, UC_X86_REG.GDTR, word);
  write(UC_X86_REG.SS, 0x18n);
  write(UC_X86_REG.CS, 0x10n);
  write(UC_X86_REG.DS, 0n);
  write(UC_X86_REG.ES, 0n);
  // One context for all: what the engine never writes in one is the same then, and no difference of anything.
  const saved = allocContext(lib, uc);
  let from = 0;
  const context = () => {
    lib.contextSave(uc, saved);
    return new Uint8Array(viewContext(lib, uc, saved, from)).slice();
  };
  from = findRegisters(context, write) % 8;
  const registers = findRegisters(context, write);
  const before = context();
  write(UC_X86_REG.GS_BASE, 0x1122334455667788n);
  const gsBase = findWord(context(), 0x1122334455667788n);
  write(UC_X86_REG.GS_BASE, 0n);
  if (gsBase < 0 || findWord(before, 0x1122334455667788n) >= 0) throw misfit('GS base in a saved context');
  const rings = findRings(lib, uc, ram, context, registers, write);
  const exception = findException(lib, uc, ram, context, write);
  lib.contextFree(saved);
  return { counter, from, registers, gsBase, exception, ...rings };
}

function misfit(what: string): EngineError {
  return new EngineError(`cannot find the ${what}`);
}

/** Three blocks of known lengths, each nops and hlt: the word that reads its length each time. */
function findCounter(lib: Lib, uc: Ptr, ram: Uint8Array): number {
  const words = new Int32Array(koffi().view(uc, ENGINE_BYTES));
  let candidates: number[] | undefined;
  for (const nops of [5, 11, 23]) {
    ram.fill(0x90, 0, nops);
    ram[nops] = 0xf4; // hlt
    lib.ctl(uc, TB_REMOVE_CACHE, 'uint64', 0x10000n, 'uint64', 0x10000n + 64n);
    lib.start(uc, 0x10000n, NOWHERE, 0n, 1000);
    const hits = [...words.keys()].filter((i) => words[i] === nops + 1);
    candidates = candidates?.filter((i) => hits.includes(i)) ?? hits;
  }
  if (candidates?.length !== 1) throw misfit('instruction counter');
  return candidates[0] * 4;
}

function findRegisters(context: () => Uint8Array, write: (reg: number, value: bigint) => void): number {
  GPR.forEach((reg, i) => {
    write(reg, 0x5a5a_0000_0000_0000n + BigInt(i));
  });
  write(UC_X86_REG_RIP, 0x5a5a_0000_0000_0010n);
  write(UC_X86_REG_EFLAGS, 0x246n);
  const bytes = context();
  const at = findWord(bytes, 0x5a5a_0000_0000_0000n);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; at < 0 || i <= 16; i++) {
    if (at < 0 || view.getBigUint64(at + 8 * i, true) !== 0x5a5a_0000_0000_0000n + BigInt(i)) {
      throw misfit('registers in a saved context');
    }
  }
  return at;
}

/** A division by zero: the word that was -1 and is the vector now. */
function findException(
  lib: Lib,
  uc: Ptr,
  ram: Uint8Array,
  context: () => Uint8Array,
  write: (reg: number, value: bigint) => void,
): number {
  ram.set([0xf7, 0xf1], 0x300); // div ecx
  write(GPR[1], 0n);
  const before = wordsOf(context());
  lib.start(uc, 0x10300n, NOWHERE, 0n, 1);
  const after = wordsOf(context());
  const found = [...before.keys()].filter((i) => before[i] === -1 && after[i] === 0);
  if (found.length !== 1) throw misfit('exception under delivery in a saved context');
  return 4 * found[0];
}

function wordsOf(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, 0, bytes.length >> 2);
}

/** In steps of four: what an `int` stands before is not aligned in every version. */
function findWord(bytes: Uint8Array, value: bigint): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 8 <= bytes.length; at += 4) if (view.getBigUint64(at, true) === value) return at;
  return -1;
}

/** Goes to ring 3 by iretq and compares: what differs, general registers apart, is the ring. */
function findRings(
  lib: Lib,
  uc: Ptr,
  ram: Uint8Array,
  context: () => Uint8Array,
  registers: number,
  write: (reg: number, value: bigint) => void,
): Pick<Calibration, 'codeSelector' | 'ringBytes' | 'ring0' | 'ring3'> {
  ram.set([0x48, 0xcf], 0x100); // iretq
  const frame = new DataView(ram.buffer, ram.byteOffset + 0x800);
  [0x10200n, 0x33n, 0x246n, 0x10900n, 0x2bn].forEach((value, i) => {
    frame.setBigUint64(8 * i, value, true);
  });
  ram[0x200] = 0x90;
  write(GPR[REG.rsp], 0x10800n);
  write(UC_X86_REG_RIP, 0x10100n);
  write(UC_X86_REG_EFLAGS, 0x246n);
  // Load and store once at ring 0, so that lazily evaluated state is alike in both.
  ram.set([0x90, 0x90], 0x300);
  lib.start(uc, 0x10300n, NOWHERE, 0n, 1);
  const zero = context();
  if (lib.start(uc, 0x10100n, NOWHERE, 0n, 1) !== UC_ERR.OK) throw misfit('way to ring 3');
  const three = context();
  // The CPU's state begins with the registers; before it is what the library keeps for itself, pointers among it.
  const state = registers + 18 * 8;
  const ringBytes = [...zero.keys()].filter((at) => at >= state && zero[at] !== three[at]);
  const codeSelector = ringBytes.find(
    (at) => zero[at] === SELECTOR.KERNEL_CS && three[at] === SELECTOR.USER_CS,
  );
  if (codeSelector === undefined) throw misfit('ring in a saved context');
  return {
    codeSelector,
    ringBytes,
    ring0: Uint8Array.from(ringBytes, (at) => zero[at]),
    ring3: Uint8Array.from(ringBytes, (at) => three[at]),
  };
}
