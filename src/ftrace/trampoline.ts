// An ops' own trampoline: a copy of ftrace_caller that calls its handler and names its ops.
// Mirrors arch/x86/kernel/ftrace.c: create_trampoline, arch_ftrace_update_trampoline.

import type { Template, TemplateLabels } from '../arch/trampoline.ts';
import { type Addr, lo32 } from '../guest/addr.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { FtraceOps } from './ops.ts';
import type { FtracePorts } from './ports.ts';

interface Trampoline {
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
    const { caller, regsCaller } = core.arch.trampoline;
    this.caller = this.#template(caller);
    this.regsCaller = this.#template(regsCaller);
  }

  #template({ name, call, others }: TemplateLabels): Template {
    const { symbols } = this.#core;
    const start = symbols.require(name);
    const offset = (label: string): number => Number(symbols.require(label) - start);
    return {
      start,
      size: offset(`${name}_end`),
      call: offset(call),
      others: others.map(offset),
    };
  }

  templateOf(ops: FtraceOps): Template {
    return ops.has(this.#core.kernel.constants.FTRACE_OPS_FL_SAVE_REGS) ? this.regsCaller : this.caller;
  }

  /** create_trampoline(): makes the ops' trampoline and says so in the ops; without memory it stays without. */
  create(ops: FtraceOps, handler: Addr): void {
    const { mem, arch } = this.#core;
    const template = this.templateOf(ops);
    const size = template.size + arch.trampoline.extra;
    const start = this.#ports.memory.alloc(size);
    if (start === undefined) return;
    const original = mem.view(template.start, template.size);
    const code = arch.trampoline.make(template, original, start, ops.addr, handler);
    // The memory may have been another's text before: the engine must forget that.
    mem.pokeText(start, code);
    mem.protect(start, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, PROT_READ | PROT_EXEC);
    const spec = { name: '__builtin__ftrace', start: lo32(start), size, template: lo32(template.start) };
    const handle = this.#ports.trampolines?.addTrampoline(spec);
    this.#live.set(start, { start, size, ops: ops.addr, template: template.start, handle });
    ops.trampoline = start;
    ops.trampolineSize = size;
    ops.flags |= this.#core.kernel.constants.FTRACE_OPS_FL_ALLOC_TRAMP;
  }

  /** arch_ftrace_trampoline_free(): the caller has seen to it that no task is on it. */
  free(ops: FtraceOps): void {
    const trampoline = this.#live.get(ops.trampoline);
    if (!trampoline || !ops.has(this.#core.kernel.constants.FTRACE_OPS_FL_ALLOC_TRAMP)) return;
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
