// An ops' own trampoline: a copy of ftrace_caller that calls its handler and names its ops.
// Mirrors arch/x86/kernel/ftrace.c: create_trampoline, arch_ftrace_update_trampoline.
//
// Layout of the memory: [template up to its _end label][ret; int3][padding to 5][address of the ops].

import { type Addr, lo32 } from '../guest/addr.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import { callInsn, INT3, NOP2, RET } from './insn.ts';
import type { FtraceOps } from './ops.ts';
import type { FtracePorts } from './ports.ts';

/** RET_SIZE with CONFIG_RETPOLINE: room for a jmp to the return thunk. Bytes. */
const RET_SIZE = 5;
/** mov function_trace_op(%rip), %rdx: 48 8b 15 and its displacement. */
const OP_REF = [0x48, 0x8b, 0x15] as const;
const OP_REF_SIZE = 7;

/** One of the two templates in the image. Offsets in bytes from its start. */
export interface Template {
  readonly start: Addr;
  readonly size: number;
  readonly opPtr: number;
  readonly call: number;
  /** The jnz of a direct call, in ftrace_regs_caller only. */
  readonly jmp: number | undefined;
}

export interface Trampoline {
  readonly start: Addr;
  readonly size: number;
  readonly ops: Addr;
  /** Where the template is that it copies. */
  readonly template: Addr;
}

export class Trampolines {
  readonly caller: Template;
  readonly regsCaller: Template;
  readonly #core: KernelCore;
  readonly #ports: FtracePorts;
  readonly #live = new Map<Addr, Trampoline & { handle: unknown }>();

  constructor(core: KernelCore, ports: FtracePorts) {
    this.#core = core;
    this.#ports = ports;
    this.caller = this.#template('ftrace_caller', 'ftrace_call');
    this.regsCaller = this.#template('ftrace_regs_caller', 'ftrace_regs_call', 'ftrace_regs_caller_jmp');
  }

  #template(name: string, call: string, jmp?: string): Template {
    const { symbols } = this.#core;
    const start = symbols.require(name);
    const offset = (label: string): number => Number(symbols.require(label) - start);
    return {
      start,
      size: offset(`${name}_end`),
      opPtr: offset(`${name}_op_ptr`),
      call: offset(call),
      jmp: jmp === undefined ? undefined : offset(jmp),
    };
  }

  templateOf(ops: FtraceOps): Template {
    return ops.has(CONSTANTS.FTRACE_OPS_FL_SAVE_REGS) ? this.regsCaller : this.caller;
  }

  /** create_trampoline(): makes the ops' trampoline and says so in the ops; without memory it stays without. */
  create(ops: FtraceOps, handler: Addr): void {
    const { mem } = this.#core;
    const template = this.templateOf(ops);
    const size = template.size + RET_SIZE + 8;
    const start = this.#ports.memory.alloc(size);
    if (start === undefined) return;
    const code = new Uint8Array(size);
    const view = new DataView(code.buffer);
    code.set(mem.view(template.start, template.size));
    code.set([RET, INT3], template.size);
    if (template.jmp !== undefined) {
      if (code[template.jmp] !== 0x75) throw new Error('ftrace_regs_caller_jmp is not a short jnz');
      code.set(NOP2, template.jmp);
    }
    const pointer = template.size + RET_SIZE;
    view.setBigUint64(pointer, ops.addr, true);
    if (OP_REF.some((byte, i) => code[template.opPtr + i] !== byte)) {
      throw new Error('ftrace_caller_op_ptr is not a load of function_trace_op');
    }
    view.setInt32(template.opPtr + OP_REF.length, pointer - (template.opPtr + OP_REF_SIZE), true);
    code.set(callInsn(start + BigInt(template.call), handler), template.call);
    // The memory may have been another's text before: the engine must forget that.
    mem.pokeText(start, code);
    mem.protect(start, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, PROT_READ | PROT_EXEC);
    const spec = { name: '__builtin__ftrace', start: lo32(start), size, template: lo32(template.start) };
    const handle = this.#ports.trampolines?.addTrampoline(spec);
    this.#live.set(start, { start, size, ops: ops.addr, template: template.start, handle });
    ops.trampoline = start;
    ops.trampolineSize = size;
    ops.flags |= CONSTANTS.FTRACE_OPS_FL_ALLOC_TRAMP;
  }

  /** arch_ftrace_trampoline_free(): the caller has seen to it that no task is on it. */
  free(ops: FtraceOps): void {
    const trampoline = this.#live.get(ops.trampoline);
    if (!trampoline || !ops.has(CONSTANTS.FTRACE_OPS_FL_ALLOC_TRAMP)) return;
    this.#live.delete(trampoline.start);
    this.#ports.trampolines?.remove(trampoline.handle);
    this.#ports.memory.free(trampoline.start);
    ops.trampoline = 0n;
  }

  /** ftrace_ops_trampoline(): the trampoline that an address is in. */
  at(ip: Addr): Trampoline | undefined {
    for (const t of this.#live.values()) if (ip >= t.start && ip < t.start + BigInt(t.size)) return t;
    return undefined;
  }

  /** Oldest first. */
  list(): Trampoline[] {
    return [...this.#live.values()];
  }
}
