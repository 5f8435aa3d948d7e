// A kernel to load modules into, without a CPU: guest calls are recorded and answered by the test.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { HostFunctions, type HostGenerator } from '../../src/guest/hostcall.ts';
import { GuestMemory, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { EventLog, type KernelEvent } from '../../src/kernel/events.ts';
import { FaultInject } from '../../src/kernel/fault_inject.ts';
import { Kallsyms } from '../../src/kernel/kallsyms.ts';
import { defineParams } from '../../src/kernel/params.ts';
import { Printk } from '../../src/kernel/printk.ts';
import { Slab } from '../../src/kernel/slab.ts';
import { type LoadResult, ModuleLoader } from '../../src/module/main.ts';
import type { Module } from '../../src/module/module.ts';
import { ModuleArena } from '../../src/module/module_alloc.ts';
import type { ModuleLoaderPorts } from '../../src/module/ports.ts';

export const MODULES = join(import.meta.dirname, '../../fixtures/modules');

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(MODULES, `${name}.ko`)));
}

const IMAGE = 0xffffffff81000000n;
/** Bytes for modules, mostly enough: each harness has a buffer of its own, which V8 collects its heap for. */
const ROOM = 4 << 20;
const NOT_EXPORTED = new Set(['klpdemo_no_such_symbol']);

export interface Call {
  readonly name: string;
  readonly addr: Addr;
  readonly args: readonly (bigint | number)[];
}

export class Rig {
  readonly core: KernelCore;
  readonly loader: ModuleLoader;
  readonly area: ModuleArena;
  readonly calls: Call[] = [];
  readonly events: KernelEvent[] = [];
  readonly pokes: { addr: Addr; bytes: Uint8Array }[] = [];
  /** What guest functions return, by symbol name. */
  readonly returns = new Map<string, bigint>();
  #next = IMAGE;

  constructor(ports: Partial<ModuleLoaderPorts> = {}, cpus = 2, room = ROOM) {
    const mem = new GuestMemory({ image: 1 << 20, heap: 1 << 20, stacks: 1, modules: room, users: false });
    mem.map(IMAGE, 0x10000, PROT_READ | PROT_WRITE);
    const events = new EventLog(() => ({ t: 0, cpu: 0 }));
    events.subscribe((e) => this.events.push(e));
    const symbols = new Kallsyms();
    const core = {
      kernel: BUILT_IN,
      arch: X86_64,
      mem,
      clock: { now: () => 0 },
      events,
      printk: new Printk(events, () => 0),
      symbols,
      slab: new Slab(mem),
      host: new HostFunctions(),
      faults: new FaultInject(() => undefined),
      cpus,
      taints: 0,
      sym: (addr: Addr) => symbols.format(addr),
    };
    this.core = core as unknown as KernelCore;
    this.area = new ModuleArena(mem);
    const pokeText = (addr: Addr, bytes: Uint8Array): void => {
      this.pokes.push({ addr, bytes });
      mem.pokeText(addr, bytes);
    };
    this.loader = new ModuleLoader(this.core, { area: this.area, pokeText, ...ports });
    this.exportAll(['__x86_return_thunk', '__fentry__']);
    defineParams(this.core);
    for (const type of ['int', 'bool', 'charp']) this.#addParamOps(type);
  }

  /** The image's param_ops_TYPE, whose functions are host functions. */
  #addParamOps(type: string): void {
    const names = [`param_set_${type}`, `param_get_${type}`];
    this.exportAll([`param_ops_${type}`, `${type} ops, second half`, ...names]);
    const { mem, symbols } = this.core;
    const at = (name: string): Addr => symbols.lookupName(name) ?? 0n;
    const ops = at(`param_ops_${type}`);
    mem.writeU64(ops, type === 'bool' ? 1n : 0n);
    for (const [i, name] of names.entries()) mem.writeU64(ops + BigInt(8 + i * 8), at(name));
  }

  /** Adds exported image symbols of 16 bytes each. */
  exportAll(names: Iterable<string>, gpl = false): void {
    const { symbols } = this.core;
    const known = [...symbols.all()].filter((s) => s.module === undefined);
    for (const name of names) {
      if (symbols.findExport(name)) continue;
      known.push({ name, addr: this.#next, size: 16, type: 'T' });
      symbols.addExport(name, { addr: this.#next, gpl });
      this.#next += 16n;
    }
    symbols.add(undefined, known);
  }

  /** Loads a file, with whatever it imports exported by the image. */
  load(bytes: Uint8Array, args = '', file = 'test.ko'): LoadResult {
    try {
      this.exportAll(
        undefinedSymbols(parseElf(bytes, file, X86_64.elf))
          .map((s) => s.name)
          .filter((n) => !NOT_EXPORTED.has(n)),
      );
    } catch {
      // Not an object: the loader will say so.
    }
    return this.run(this.loader.loadModule({ file, bytes, args }));
  }

  unload(name: string, flags = 0): number {
    return this.run(this.loader.deleteModule(name, flags));
  }

  /** Runs a host generator to its end, answering its calls of guest functions. */
  run<T>(generator: HostGenerator<T>): T {
    let answer = 0n;
    for (let i = 0; i < 10000; i++) {
      const step = generator.next(answer);
      if (step.done) return step.value;
      if ('relax' in step.value) continue;
      const { call, args = [] } = step.value;
      const name = this.core.symbols.nameOf(call) ?? '?';
      const host = this.core.host.get(name);
      if (host) {
        const result = host({ cpu: 0, args: args.map(BigInt), sp: 0n, caller: 0n });
        answer = typeof result === 'bigint' ? result : 0n;
        continue;
      }
      this.calls.push({ name, addr: call, args });
      answer = this.returns.get(name) ?? 0n;
    }
    throw new Error('the generator does not end');
  }

  get dmesg(): string[] {
    return this.core.printk.records.map((r) => r.text);
  }

  /** Everything that a load may change and a failed one must not. */
  snapshot(): unknown {
    return {
      modules: this.loader.modules.all.map((m) => [m.name, m.state, m.refcnt, m.users.size]),
      area: this.area.used(),
      heap: this.core.slab.used(),
      symbols: [...this.core.symbols.all()].length,
    };
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const OBJECTS = join(import.meta.dirname, '../../fixtures/objects');

/** A module written in assembly. */
export function object(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(OBJECTS, `${name}.o`)));
}

/** The file with a string of it changed wherever it stands. @param to no longer than it; the rest is zeroes */
export function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const copy = Buffer.from(bytes);
  const written = Buffer.from(to.padEnd(from.length, '\0'), 'latin1');
  if (!copy.includes(from)) throw new Error(`no ${from} in it`);
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1)) copy.set(written, at);
  return new Uint8Array(copy);
}

/** The file with a section under another name, of any length: the names are copied behind the file, with the new one. */
export function renamed(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const { header, sections } = parseElf(bytes, 'renamed.ko', X86_64.elf);
  const section = sections.find(({ name }) => name === from);
  const names = sections[header.shstrndx];
  if (!section) throw new Error(`no section ${from}`);
  const table = bytes.subarray(names.offset, names.offset + names.size);
  const copy = Buffer.concat([bytes, table, Buffer.from(`${to}\0`, 'latin1')]);
  const at = (index: number): number => header.shoff + 64 * index;
  copy.writeUInt32LE(names.size, at(section.index));
  copy.writeBigUInt64LE(BigInt(bytes.length), at(names.index) + 24);
  copy.writeBigUInt64LE(BigInt(names.size + to.length + 1), at(names.index) + 32);
  return new Uint8Array(copy);
}

/** A machine with the module of a file. @throws Error with the reason where it is refused */
export function loadedFrom(bytes: Uint8Array): { rig: Rig; mod: Module } {
  const rig = new Rig();
  const result = rig.load(bytes, '', 'x.ko');
  if (!result.ok) throw new Error(result.reason);
  return { rig, mod: result.module };
}
