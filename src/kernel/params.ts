// Module parameters: the types of include/linux/moduleparam.h, and their files in /sys/module/NAME/parameters.
// Mirrors kernel/params.c: param_set_*, param_get_*, param_attr_show, param_attr_store.
//
// A parameter's value is only ever in the variable that its struct kernel_param points to.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import { type KernelCore, negErrno } from './core.ts';
import { kstrtobool, parseInteger, writeCut } from './lib.ts';
import { storeInteger } from './store_integer.ts';
import type { ShowResult, SysfsAttribute } from './sysfs.ts';
import { UAPI } from './uapi.ts';

const COMMA = ','.charCodeAt(0);

interface ParamType {
  readonly bytes: number;
  readonly signed: boolean;
  readonly hex?: boolean;
}

const INTEGERS: Readonly<Record<string, ParamType>> = {
  byte: { bytes: 1, signed: false },
  short: { bytes: 2, signed: true },
  ushort: { bytes: 2, signed: false },
  int: { bytes: 4, signed: true },
  uint: { bytes: 4, signed: false },
  long: { bytes: 8, signed: true },
  ulong: { bytes: 8, signed: false },
  ullong: { bytes: 8, signed: false },
  hexint: { bytes: 4, signed: false, hex: true },
};

/** A struct kernel_param as it stands in guest memory. */
export interface KernelParam {
  readonly addr: Addr;
  readonly name: string;
  readonly ops: Addr;
  readonly perm: number;
  /** The variable, or what describes it for strings and arrays. */
  readonly arg: Addr;
}

export function readKernelParam(core: KernelCore, addr: Addr): KernelParam {
  const { mem } = core;
  return {
    addr,
    name: mem.readCString(mem.readU64(addr + BigInt(core.kernel.structs.kernel_param.fields.name))),
    ops: mem.readU64(addr + BigInt(core.kernel.structs.kernel_param.fields.ops)),
    perm: mem.readU16(addr + BigInt(core.kernel.structs.kernel_param.fields.perm)),
    arg: mem.readU64(addr + BigInt(core.kernel.structs.kernel_param.fields.arg)),
  };
}

/** Defines the host functions behind param_ops_* (asm/x86_64/lib.s). */
export function defineParams(core: KernelCore): void {
  for (const [name, type] of Object.entries(INTEGERS)) defineInteger(core, name, type);
  core.host.defineAll({ ...boolFunctions(core), ...stringFunctions(core), ...arrayFunctions(core) });
}

const argOf = (core: KernelCore, kp: Addr): Addr =>
  core.mem.readU64(kp + BigInt(core.kernel.structs.kernel_param.fields.arg));

function defineInteger(core: KernelCore, name: string, type: ParamType): void {
  const { mem, host } = core;
  host.define(`param_set_${name}`, (call) => {
    if (call.args[0] === 0n) return negErrno(UAPI.EINVAL);
    const value = parseInteger(mem.readCString(call.args[0]), 0, type);
    if (typeof value === 'number') return negErrno(-value);
    storeInteger(mem, argOf(core, call.args[1]), value, type.bytes);
    return 0;
  });
  host.define(`param_get_${name}`, (call) => {
    const raw = mem.readBytes(argOf(core, call.args[1]), type.bytes);
    let value = 0n;
    for (let i = type.bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]);
    const number = type.signed ? BigInt.asIntN(type.bytes * 8, value) : value;
    const text = type.hex ? `0x${number.toString(16).padStart(6, '0')}` : number.toString();
    return writeCut(mem, call.args[0], BigInt(PAGE_SIZE), `${text}\n`);
  });
}

function boolFunctions(core: KernelCore): Record<string, HostFunction> {
  const { mem } = core;
  const set =
    (invert: boolean): HostFunction =>
    (call) => {
      // No equals sign means yes.
      const value = call.args[0] === 0n ? true : kstrtobool(mem.readCString(call.args[0], 8));
      if (value === undefined) return negErrno(UAPI.EINVAL);
      mem.writeU8(argOf(core, call.args[1]), Number(value !== invert));
      return 0;
    };
  const get =
    (invert: boolean): HostFunction =>
    (call) => {
      const value = (mem.readU8(argOf(core, call.args[1])) !== 0) !== invert;
      return writeCut(mem, call.args[0], BigInt(PAGE_SIZE), value ? 'Y\n' : 'N\n');
    };
  return {
    param_set_bool: set(false),
    param_get_bool: get(false),
    param_set_invbool: set(true),
    param_get_invbool: get(true),
  };
}

function stringFunctions(core: KernelCore): Record<string, HostFunction> {
  const { mem, slab, printk } = core;
  // Strings that a write made; the initial one is in the module's own data and is not ours to free.
  const owned = new Set<Addr>();
  return {
    param_set_charp: (call) => {
      const text = mem.readCString(call.args[0], 1025);
      if (text.length > 1024) return negErrno(UAPI.ENOSPC);
      const variable = argOf(core, call.args[1]);
      const old = mem.readU64(variable);
      const copy = slab.tryAlloc(text.length + 1, 'module parameter');
      if (copy === 0n) return negErrno(UAPI.ENOMEM);
      writeCut(mem, copy, BigInt(text.length + 1), text);
      mem.writeU64(variable, copy);
      owned.add(copy);
      if (owned.delete(old)) slab.free(old);
      return 0;
    },
    // Of the module that goes: the argument is the variable.
    param_free_charp: ({ args }) => {
      const old = mem.readU64(args[0]);
      if (owned.delete(old)) slab.free(old);
    },
    param_get_charp: (call) => {
      const value = mem.readU64(argOf(core, call.args[1]));
      const text = value === 0n ? '(null)' : mem.readCString(value);
      return writeCut(mem, call.args[0], BigInt(PAGE_SIZE), `${text}\n`);
    },
    param_set_copystring: (call) => {
      const kps = argOf(core, call.args[1]);
      const max = mem.readU32(kps + BigInt(core.kernel.structs.kparam_string.fields.maxlen));
      const text = mem.readCString(call.args[0], max + 1);
      if (text.length + 1 > max) {
        const name = mem.readCString(
          mem.readU64(call.args[1] + BigInt(core.kernel.structs.kernel_param.fields.name)),
        );
        printk.err(`${name}: string doesn't fit in ${max - 1} chars.`);
        return negErrno(UAPI.ENOSPC);
      }
      writeCut(
        mem,
        mem.readU64(kps + BigInt(core.kernel.structs.kparam_string.fields.string)),
        BigInt(max),
        text,
      );
      return 0;
    },
    param_get_string: (call) => {
      const kps = argOf(core, call.args[1]);
      const text = mem.readCString(
        mem.readU64(kps + BigInt(core.kernel.structs.kparam_string.fields.string)),
        PAGE_SIZE,
      );
      return writeCut(mem, call.args[0], BigInt(PAGE_SIZE), `${text}\n`);
    },
  };
}

function arrayFunctions(core: KernelCore): Record<string, HostFunction> {
  const { mem } = core;
  /** A kernel_param for one element, made for the call of its own ops. */
  const element = (kp: Addr, arr: Addr, index: number): Addr => {
    const copy = core.slab.tryAlloc(core.kernel.structs.kernel_param.size, 'array parameter');
    if (copy === 0n) return copy;
    mem.writeBytes(copy, mem.readBytes(kp, core.kernel.structs.kernel_param.size));
    const size = mem.readU32(arr + BigInt(core.kernel.structs.kparam_array.fields.elemsize));
    mem.writeU64(
      copy + BigInt(core.kernel.structs.kernel_param.fields.arg),
      mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.elem)) + BigInt(size * index),
    );
    return copy;
  };
  const opOf = (arr: Addr, op: 'set' | 'get' | 'free'): Addr =>
    mem.readU64(
      mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.ops)) +
        BigInt(core.kernel.structs.kernel_param_ops.fields[op]),
    );
  return {
    *param_array_set(call): HostGenerator {
      const [val, kp] = call.args;
      const arr = argOf(core, kp);
      const values = mem.readCString(val).replace(/\n$/, '').split(',');
      if (values.length > mem.readU32(arr + BigInt(core.kernel.structs.kparam_array.fields.max)))
        return negErrno(UAPI.EINVAL);
      for (const [index, text] of values.entries()) {
        const one = core.slab.tryAlloc(text.length + 1, 'array parameter');
        if (one === 0n) return negErrno(UAPI.ENOMEM);
        writeCut(mem, one, BigInt(text.length + 1), text);
        const param = element(kp, arr, index);
        if (param === 0n) {
          core.slab.free(one);
          return negErrno(UAPI.ENOMEM);
        }
        const result = yield { call: opOf(arr, 'set'), args: [one, param] };
        core.slab.free(param);
        core.slab.free(one);
        if (BigInt.asIntN(32, result) !== 0n) return result;
      }
      const num = mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.num));
      if (num !== 0n) mem.writeU32(num, values.length);
      return 0;
    },
    *param_array_free({ args: [arr] }): HostGenerator {
      const free = opOf(arr, 'free');
      const num = mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.num));
      const count =
        num === 0n
          ? mem.readU32(arr + BigInt(core.kernel.structs.kparam_array.fields.max))
          : mem.readU32(num);
      const [elem, size] = [
        mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.elem)),
        mem.readU32(arr + BigInt(core.kernel.structs.kparam_array.fields.elemsize)),
      ];
      for (let index = 0; free !== 0n && index < count; index++) {
        yield { call: free, args: [elem + BigInt(size * index)] };
      }
    },
    *param_array_get(call): HostGenerator {
      const [buf, kp] = call.args;
      const arr = argOf(core, kp);
      const num = mem.readU64(arr + BigInt(core.kernel.structs.kparam_array.fields.num));
      const count =
        num === 0n
          ? mem.readU32(arr + BigInt(core.kernel.structs.kparam_array.fields.max))
          : mem.readU32(num);
      let at = 0;
      for (let index = 0; index < count; index++) {
        // Each element ends in a newline: a comma takes its place.
        if (index > 0) mem.writeU8(buf + BigInt(at - 1), COMMA);
        const param = element(kp, arr, index);
        const length = Number(
          BigInt.asIntN(32, yield { call: opOf(arr, 'get'), args: [buf + BigInt(at), param] }),
        );
        core.slab.free(param);
        if (length < 0) return negErrno(-length);
        at += length;
      }
      return at;
    },
  };
}

/**
 * The file of a parameter below /sys/module/NAME/parameters; undefined for one of mode 0, which has none.
 * Reading and writing go through the parameter's own ops, so a module's own get and set run as guest code.
 */
export function paramAttribute(
  core: KernelCore,
  param: KernelParam,
  name = param.name,
): SysfsAttribute | undefined {
  if (param.perm === 0) return undefined;
  const { mem } = core;
  return {
    name,
    mode: param.perm & 0o777,
    *show(): HostGenerator<ShowResult> {
      const get = mem.readU64(param.ops + BigInt(core.kernel.structs.kernel_param_ops.fields.get));
      if (get === 0n) return -UAPI.EPERM;
      const page = core.faults.without(() => core.slab.alloc(PAGE_SIZE, 'parameter text'));
      const length = Number(BigInt.asIntN(32, yield { call: get, args: [page, param.addr] }));
      const text = length < 0 ? length : mem.readCString(page, length);
      core.slab.free(page);
      return text;
    },
    *store(text): HostGenerator<number> {
      const set = mem.readU64(param.ops + BigInt(core.kernel.structs.kernel_param_ops.fields.set));
      if (set === 0n) return -UAPI.EPERM;
      const copy = core.faults.without(() => core.slab.alloc(text.length + 1, 'parameter text'));
      writeCut(mem, copy, BigInt(text.length + 1), text);
      const error = Number(BigInt.asIntN(32, yield { call: set, args: [copy, param.addr] }));
      core.slab.free(copy);
      return error === 0 ? text.length : error;
    },
  };
}
