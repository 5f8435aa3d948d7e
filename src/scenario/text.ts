// Places in guest text: where a SiteRef is, what stands there, and what a call there leads to.

import type { DisassembledInsn } from '../arch/disassembly.ts';
import type { Addr } from '../guest/addr.ts';
import { lo32 } from '../guest/addr.ts';
import { decodeAt, FLOW_CALL, FLOW_INVALID, Insn } from '../isa/decoder.ts';
import type { ScenarioMachine } from './ports.ts';
import type { SiteRef } from './values.ts';

/** Longer than any trampoline's way to its call. */
const TRAMPOLINE_SCAN = 256;
const LONGEST_INSN = 15;
/** Not the decoder's shared one: a listing that asks for names is using that. */
const scratch = new Insn();

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

/** Where a direct call leads; undefined when no direct call stands there. */
export function callTarget(bytes: Uint8Array, addr: Addr): Addr | undefined {
  if (bytes.length < 5 || bytes[0] !== 0xe8) return undefined;
  const rel = new DataView(bytes.buffer, bytes.byteOffset).getInt32(1, true);
  return BigInt.asUintN(64, addr + 5n + BigInt(rel));
}

/** The function that a trampoline hands control to: its first call of a symbol. */
export function trampolineHandler(machine: ScenarioMachine, trampoline: Addr): string | undefined {
  const code = codeAt(machine, trampoline, TRAMPOLINE_SCAN + LONGEST_INSN);
  for (let at = 0; at < Math.min(code.length, TRAMPOLINE_SCAN); ) {
    const insn = decodeAt(code, at, lo32(trampoline + BigInt(at)), scratch);
    if (insn.flow === FLOW_INVALID || insn.length === 0) return undefined;
    if (insn.flow === FLOW_CALL) {
      const target = BigInt.asUintN(64, trampoline + BigInt(at + insn.length) + BigInt(insn.imm));
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
  const insns = disassemble(codeAt(machine, addr, size + LONGEST_INSN), addr, { symbolize, syntax });
  return insns.filter((insn) => insn.addr < addr + BigInt(size));
}

/** The one instruction at an address. */
export async function insnAt(machine: ScenarioMachine, addr: Addr): Promise<DisassembledInsn | undefined> {
  return (await listCode(machine, addr, 1))[0];
}
