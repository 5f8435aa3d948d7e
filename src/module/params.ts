// Parameters of a module: which argument sets which variable, and what is said of those that set none.
// Mirrors parse_args(), parse_one() of kernel/params.c, next_arg() of lib/cmdline.c and unknown_module_param_cb().
//
// A value is set by the parameter's own ops, as guest code: kernel/params.ts has those of the standard types.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { kstrtobool } from '../kernel/lib.ts';
import { type KernelParam, readKernelParam } from '../kernel/params.ts';
import { ModuleError } from './error.ts';
import type { Module } from './module.ts';
import { neg } from './modules.ts';

/** KERNEL_PARAM_FL_UNSAFE */
const FL_UNSAFE = 1;
/** KERNEL_PARAM_OPS_FL_NOARG */
const OPS_FL_NOARG = 1;

export class ModuleParams {
  readonly #core: KernelCore;
  readonly #kernelParamOps: Structs['kernel_param_ops']['fields'];

  constructor(core: KernelCore) {
    this.#core = core;
    this.#kernelParamOps = core.kernel.structs.kernel_param_ops.fields;
  }

  /** The parameters of a module in the order of its __param section. */
  list(mod: Module): KernelParam[] {
    return paramAddresses(this.#core, mod).map((at) => readKernelParam(this.#core, at));
  }

  /** parse_args() for a module that is loading. @throws ModuleError with the last error */
  *parse(mod: Module, args: string): HostGenerator<void> {
    const { printk } = this.#core;
    const params = this.list(mod);
    let failed: { err: number; param: string } | undefined;
    for (let rest = args.trimStart(); rest !== ''; ) {
      const next = nextArg(rest);
      rest = next.rest;
      if (next.param === '--' && next.value === undefined) {
        if (rest !== '' && !failed) printk.warn(`${mod.name}: parameters '${rest}' after \`--' ignored`);
        break;
      }
      const err = yield* this.#parseOne(mod, params, next.param, next.value);
      if (err === 0) continue;
      printk.err(complaint(mod.name, next.param, next.value ?? '', err));
      failed = { err, param: next.param };
    }
    if (failed) throw new ModuleError(-failed.err, `invalid parameter ${failed.param} of ${mod.name}`);
  }

  *#parseOne(
    mod: Module,
    params: readonly KernelParam[],
    name: string,
    value: string | undefined,
  ): HostGenerator<number> {
    const param = params.find((p) => sameName(p.name, name));
    if (!param) return this.#unknown(mod, name, value);
    return yield* this.set(param, value);
  }

  /** unknown_module_param_cb(): ddebug_dyndbg_module_param_cb() has cut the name at its first dot. */
  #unknown(mod: Module, whole: string, value: string | undefined): number {
    const [name, ...rest] = whole.split('.');
    if (rest.join('.') === 'dyndbg') return 0;
    if (whole === 'async_probe') {
      const wanted = value === undefined ? true : (kstrtobool(value) ?? true);
      this.#core.mem.writeU8(
        mod.addr + BigInt(this.#core.kernel.structs.module.fields.async_probe_requested),
        wanted ? 1 : 0,
      );
    } else if (
      whole === 'immediate' &&
      this.#core.mem.readU8(mod.addr + BigInt(this.#core.kernel.structs.module.fields.klp)) !== 0
    ) {
      // The kernel would ignore it, and the patch would wait for tasks that it was not to wait for.
      const force = `/sys/kernel/livepatch/${mod.name}/force`;
      this.#core.printk.err(
        `${mod.name}: livepatch has no 'immediate' since Linux 4.16: what ends a transition is 1 to ${force}`,
      );
      return neg('EINVAL');
    } else if (whole !== 'dyndbg') {
      this.#core.printk.warn(`${mod.name}: unknown parameter '${name}' ignored`);
    }
    return 0;
  }

  /** Sets one parameter by its ops. 0 or -errno. */
  *set(param: KernelParam, value: string | undefined): HostGenerator<number> {
    const { mem, slab, printk } = this.#core;
    const noArg = (mem.readU32(param.ops + BigInt(this.#kernelParamOps.flags)) & OPS_FL_NOARG) !== 0;
    if (value === undefined && !noArg) return neg('EINVAL');
    if (mem.readU8(param.addr + BigInt(this.#core.kernel.structs.kernel_param.fields.flags)) & FL_UNSAFE) {
      printk.notice(`Setting dangerous option ${param.name} - tainting kernel`);
      this.#core.taints |= 1 << this.#core.kernel.constants.TAINT_USER;
    }
    const text = value === undefined ? 0n : slab.tryAlloc(value.length + 1, `argument ${param.name}`);
    if (value !== undefined) {
      if (text === 0n) return neg('ENOMEM');
      mem.writeCString(text, value);
    }
    const result = yield {
      call: mem.readU64(param.ops + BigInt(this.#kernelParamOps.set)),
      args: [text, param.addr],
    };
    slab.free(text);
    return Number(BigInt.asIntN(32, result));
  }

  /** module_destroy_params(): lets the ops free what setting allocated. */
  *destroy(mod: Module): HostGenerator<void> {
    const { mem } = this.#core;
    for (const at of paramAddresses(this.#core, mod)) {
      const ops = mem.readU64(at + BigInt(this.#core.kernel.structs.kernel_param.fields.ops));
      if (!mem.isMapped(ops, this.#core.kernel.structs.kernel_param_ops.size)) continue;
      const free = mem.readU64(ops + BigInt(this.#kernelParamOps.free));
      if (free !== 0n) {
        yield {
          call: free,
          args: [mem.readU64(at + BigInt(this.#core.kernel.structs.kernel_param.fields.arg))],
        };
      }
    }
  }
}

/** Where the struct kernel_param of a module are. */
function paramAddresses(core: KernelCore, mod: Module): Addr[] {
  const { size } = core.kernel.structs.kernel_param;
  const table = mod.sections.get('__param');
  const count = Math.floor((table?.size ?? 0) / size);
  return Array.from({ length: count }, (_, i) => (table?.addr ?? 0n) + BigInt(i * size));
}

/** Hyphens and underscores are the same in names. */
function sameName(a: string, b: string): boolean {
  return a.replaceAll('-', '_') === b.replaceAll('-', '_');
}

function complaint(mod: string, param: string, value: string, err: number): string {
  if (err === neg('ENOENT')) return `${mod}: Unknown parameter \`${param}'`;
  if (err === neg('ENOSPC')) return `${mod}: \`${value}' too large for parameter \`${param}'`;
  return `${mod}: \`${value}' invalid for parameter \`${param}'`;
}

/** next_arg(): a name, its value after `=`, and what follows. Quotes keep spaces together; they cannot be escaped. */
export function nextArg(args: string): { param: string; value: string | undefined; rest: string } {
  const quoted = args.startsWith('"');
  const text = quoted ? args.slice(1) : args;
  let inQuote = quoted;
  let equals = 0;
  let end = 0;
  for (; end < text.length; end++) {
    if (/\s/.test(text[end]) && !inQuote) break;
    if (equals === 0 && text[end] === '=') equals = end;
    if (text[end] === '"') inQuote = !inQuote;
  }
  const rest = text.slice(end).trimStart();
  const trimEnd = (s: string): string => (s.endsWith('"') ? s.slice(0, -1) : s);
  const word = quoted ? trimEnd(text.slice(0, end)) : text.slice(0, end);
  if (equals === 0) return { param: word, value: undefined, rest };
  const value = word.slice(equals + 1);
  const bare = value.startsWith('"') ? trimEnd(value.slice(1)) : value;
  return { param: word.slice(0, equals), value: bare, rest };
}
