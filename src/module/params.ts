// Parameters of a module: which argument sets which variable, and what is said of those that set none.
// Mirrors parse_args(), parse_one() of kernel/params.c, next_arg() of lib/cmdline.c and unknown_module_param_cb().

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { LAYOUT } from '../kernel/layout.ts';
import { ModuleError } from './error.ts';
import { kstrtobool } from './kstrtox.ts';
import type { Module } from './module.ts';
import { neg } from './modules.ts';
import { freeCharp, PARAM_OPS, type ParamEnv, type ParamOps, type ParamTarget } from './param_types.ts';

/** A struct kernel_param of a loaded module. */
export interface KernelParam extends ParamTarget {
  /** Address of the struct itself, for its own set function. */
  readonly addr: Addr;
  readonly ops: Addr;
  readonly perm: number;
  readonly flags: number;
}

/** KERNEL_PARAM_FL_UNSAFE */
const FL_UNSAFE = 1;
/** KERNEL_PARAM_OPS_FL_NOARG */
const OPS_FL_NOARG = 1;

export class ModuleParams {
  readonly #core: KernelCore;
  readonly #env: ParamEnv;

  constructor(core: KernelCore) {
    this.#core = core;
    this.#env = { core, strings: new Set(), opsAt: (ops) => this.#standardOps(ops) };
  }

  /** The parameters of a module in the order of its __param section. */
  list(mod: Module): KernelParam[] {
    const { mem } = this.#core;
    const f = LAYOUT.kernel_param.fields;
    return paramAddresses(mod).map((at) => ({
      addr: at,
      name: mem.readCString(mem.readU64(at + BigInt(f.name))),
      ops: mem.readU64(at + BigInt(f.ops)),
      perm: mem.readU16(at + BigInt(f.perm)),
      flags: mem.readU8(at + BigInt(f.flags)),
      arg: mem.readU64(at + BigInt(f.arg)),
    }));
  }

  /** parse_args() for a module that is loading. Throws ModuleError with the last error. */
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

  /** unknown_module_param_cb() */
  #unknown(mod: Module, name: string, value: string | undefined): number {
    if (name === 'async_probe') {
      const wanted = value === undefined ? true : kstrtobool(value);
      this.#core.mem.writeU8(mod.addr + BigInt(LAYOUT.module.fields.async_probe_requested), wanted ? 1 : 0);
    } else if (name !== 'dyndbg' && !name.startsWith('dyndbg.')) {
      this.#core.printk.warn(`${mod.name}: unknown parameter '${name}' ignored`);
    }
    return 0;
  }

  /** Sets one parameter, by the module's own function where it has one. 0 or -errno. */
  *set(param: KernelParam, value: string | undefined): HostGenerator<number> {
    const ops = this.#standardOps(param.ops);
    const noArg = ops ? ops.noArg : (this.#core.mem.readU32(param.ops) & OPS_FL_NOARG) !== 0;
    if (value === undefined && !noArg) return neg('EINVAL');
    if (param.flags & FL_UNSAFE) {
      this.#core.printk.notice(`Setting dangerous option ${param.name} - tainting kernel`);
      this.#core.taints |= 1 << 6; // TAINT_USER
    }
    if (ops) return ops.set(this.#env, value, param);
    return yield* this.#callSet(param, value);
  }

  *#callSet(param: KernelParam, value: string | undefined): HostGenerator<number> {
    const { mem, slab } = this.#core;
    const set = mem.readU64(param.ops + BigInt(LAYOUT.kernel_param_ops.fields.set));
    const text = value === undefined ? 0n : slab.alloc(value.length + 1, `argument ${param.name}`);
    if (value !== undefined) mem.writeCString(text, value);
    const rax = yield { call: set, args: [text, param.addr] };
    slab.free(text);
    return Number(BigInt.asIntN(32, rax));
  }

  /** What sysfs shows of a parameter of a standard type; undefined for others. */
  show(param: KernelParam): string | undefined {
    return this.#standardOps(param.ops)?.get(this.#env, param);
  }

  /** module_destroy_params(): frees what setting charp parameters allocated. */
  destroy(mod: Module): void {
    const { mem } = this.#core;
    for (const at of paramAddresses(mod)) {
      const arg = mem.readU64(at + BigInt(LAYOUT.kernel_param.fields.arg));
      const ops = mem.readU64(at + BigInt(LAYOUT.kernel_param.fields.ops));
      if (this.#nameOf(ops) === 'param_ops_charp' && mem.isMapped(arg, 8)) freeCharp(this.#env, arg);
    }
  }

  /** param_set_*() and param_get_*() for the modules that call them by name. */
  hostFunctions(): Record<string, HostFunction> {
    const functions: Record<string, HostFunction> = {};
    for (const [name, ops] of Object.entries(PARAM_OPS)) {
      const suffix = name === 'param_ops_string' ? 'copystring' : name.replace('param_ops_', '');
      if (!name.startsWith('param_ops_')) continue;
      functions[`param_set_${suffix}`] = (call) => BigInt(this.#hostSet(ops, call));
      const getter = name === 'param_ops_string' ? 'string' : suffix;
      functions[`param_get_${getter}`] = (call) => BigInt(this.#hostGet(ops, call));
    }
    return functions;
  }

  #hostSet(ops: ParamOps, { args }: HostCall): number {
    const value = args[0] === 0n ? undefined : this.#core.mem.readCString(args[0]);
    return ops.set(this.#env, value, this.#target(args[1]));
  }

  #hostGet(ops: ParamOps, { args }: HostCall): number {
    const text = `${ops.get(this.#env, this.#target(args[1]))}\n`;
    this.#core.mem.writeCString(args[0], text);
    return text.length;
  }

  #target(kp: Addr): ParamTarget {
    const { mem } = this.#core;
    const f = LAYOUT.kernel_param.fields;
    return { name: mem.readCString(mem.readU64(kp + BigInt(f.name))), arg: mem.readU64(kp + BigInt(f.arg)) };
  }

  #standardOps(ops: Addr): ParamOps | undefined {
    const name = this.#nameOf(ops);
    return name === undefined ? undefined : PARAM_OPS[name];
  }

  /** The image's own symbol exactly at an address. */
  #nameOf(addr: Addr): string | undefined {
    const found = this.#core.symbols.lookup(addr);
    return found && found.offset === 0 && found.module === undefined ? found.name : undefined;
  }
}

/** Where the struct kernel_param of a module are. */
function paramAddresses(mod: Module): Addr[] {
  const table = mod.sections.get('__param');
  const count = Math.floor((table?.size ?? 0) / LAYOUT.kernel_param.size);
  return Array.from({ length: count }, (_, i) => (table?.addr ?? 0n) + BigInt(i * LAYOUT.kernel_param.size));
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
