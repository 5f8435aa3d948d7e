// Places in guest text: where a SiteRef is, what stands there, and what a call there leads to.

import { INSN_CALL } from '../arch/code.ts';
import type { DisassembledInsn } from '../arch/disassembly.ts';
import type { Addr } from '../guest/addr.ts';
import type { ScenarioMachine } from './ports.ts';
import type { SiteRef } from './values.ts';

/** Longer than any trampoline's way to its call. */
const TRAMPOLINE_SCAN = 256;

/** Address of a site; undefined while its symbol is not there. */
export function siteAddr(machine: ScenarioMachine, site: SiteRef): Addr | undefined {
  if (site.addr !== undefined) return site.addr;
  const addr = machine.inspect.core.symbols.lookupName(site.symbol as string);
  return addr === undefined ? undefined : addr + BigInt(site.offset);
}

/** Bytes from an address, fewer where memory ends. */
export function codeAt(machine: ScenarioMachine, addr: Addr, size: number): Uint8Array {
  let n = size;
  while (n > 0 && !machine.inspect.core.mem.isMapped(addr, n)) n--;
  return n === 0 ? new Uint8Array() : machine.inspect.core.mem.readBytes(addr, n);
}

/** The function that a trampoline hands control to: its first call of a symbol. */
export function trampolineHandler(machine: ScenarioMachine, trampoline: Addr): string | undefined {
  const code = codeAt(machine, trampoline, TRAMPOLINE_SCAN + machine.inspect.core.arch.longestInsn);
  const insn = machine.inspect.core.arch.code?.decoder();
  if (!insn) return undefined;
  for (let at = 0; at < Math.min(code.length, TRAMPOLINE_SCAN); ) {
    insn.decode(code, at);
    if (insn.length === 0) return undefined;
    if (insn.type === INSN_CALL) {
      const target = BigInt.asUintN(64, trampoline + BigInt(insn.target | 0));
      const symbol = machine.inspect.core.symbols.lookup(target);
      if (symbol?.offset === 0) return symbol.name;
    }
    at += insn.length;
  }
  return undefined;
}

/** `name+0xoff`, or `trampoline of NAME`: how listings name a branch's target. */
export function nameTarget(machine: ScenarioMachine, addr: Addr): string | undefined {
  const { symbols } = machine.inspect.core;
  const symbol = symbols.lookup(addr);
  if (symbol) {
    const module = symbol.module === undefined ? '' : ` [${symbol.module}]`;
    return `${symbol.name}${symbol.offset === 0 ? '' : `+0x${symbol.offset.toString(16)}`}${module}`;
  }
  const handler = trampolineHandler(machine, addr);
  return handler === undefined ? undefined : `ftrace_trampoline -> ${handler}`;
}

/** Instructions from an address, with targets as `0x... <name>`. */
export async function listCode(
  machine: ScenarioMachine,
  addr: Addr,
  size: number,
  syntax: 'att' | 'intel' = 'att',
): Promise<DisassembledInsn[]> {
  const disassemble = await machine.inspect.core.arch.loadDisassembler();
  const symbolize = (target: Addr) => {
    const name = nameTarget(machine, target);
    return name === undefined ? undefined : `0x${target.toString(16)} <${name}>`;
  };
  // The last one that begins in time may end later.
  const insns = disassemble(codeAt(machine, addr, size + machine.inspect.core.arch.longestInsn), addr, {
    symbolize,
    syntax,
  });
  return insns.filter((insn) => insn.addr < addr + BigInt(size));
}

/** The one instruction at an address. */
export async function insnAt(machine: ScenarioMachine, addr: Addr): Promise<DisassembledInsn | undefined> {
  return (await listCode(machine, addr, 1))[0];
}
