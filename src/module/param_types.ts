// How a parameter of each standard type is set from text and shown as text.
// Mirrors the param_set_*, param_get_* functions and param_ops_* of kernel/params.c.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { LAYOUT } from '../kernel/layout.ts';
import { kstrtobool, kstrtoll, kstrtoull } from './kstrtox.ts';
import { neg } from './modules.ts';

/** One struct kernel_param in guest memory, or what stands for an element of an array of them. */
export interface ParamTarget {
  readonly name: string;
  /** The variable. */
  readonly arg: Addr;
}

export interface ParamOps {
  /** KERNEL_PARAM_OPS_FL_NOARG: may be given without a value. */
  readonly noArg: boolean;
  /** 0 or -errno. Nothing is written on an error. */
  set(env: ParamEnv, value: string | undefined, target: ParamTarget): number;
  /** What /sys/module/NAME/parameters/PARAM shows, without the newline. */
  get(env: ParamEnv, target: ParamTarget): string;
}

export interface ParamEnv {
  readonly core: KernelCore;
  /** Strings of charp parameters that were allocated by setting them. */
  readonly strings: Set<Addr>;
  /** The standard operations that a struct kernel_param_ops in the image stands for. */
  opsAt(ops: Addr): ParamOps | undefined;
}

interface IntegerType {
  readonly width: 1 | 2 | 4 | 8;
  readonly signed: boolean;
  /** param_ops_hexint */
  readonly hex?: boolean;
}

function integer({ width, signed, hex }: IntegerType): ParamOps {
  const bits = BigInt(width * 8);
  const [min, max] = signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  return {
    noArg: false,
    set({ core }, text, { arg }) {
      if (text === undefined) return neg('EINVAL');
      const value = signed ? kstrtoll(text) : kstrtoull(text);
      if (typeof value === 'number') return value;
      if (value < min || value > max) return neg('ERANGE');
      core.mem.writeBytes(arg, littleEndian(value, width));
      return 0;
    },
    get({ core }, { arg }) {
      const raw = fromLittleEndian(core.mem.readBytes(arg, width));
      if (hex) return raw === 0n ? '00000000' : `0x${raw.toString(16).padStart(6, '0')}`;
      return String(signed ? BigInt.asIntN(width * 8, raw) : raw);
    },
  };
}

function littleEndian(value: bigint, width: number): Uint8Array {
  const all = new Uint8Array(8);
  new DataView(all.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
  return all.subarray(0, width);
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** No value means yes. */
function bool(text: string | undefined): boolean | number {
  return kstrtobool(text ?? '1');
}

const BOOL: ParamOps = {
  noArg: true,
  set({ core }, text, { arg }) {
    const value = bool(text);
    if (typeof value === 'number') return value;
    core.mem.writeU8(arg, value ? 1 : 0);
    return 0;
  },
  get: ({ core }, { arg }) => (core.mem.readU8(arg) !== 0 ? 'Y' : 'N'),
};

const BOOL_ENABLE_ONLY: ParamOps = {
  ...BOOL,
  set(env, text, target) {
    const value = bool(text);
    if (typeof value === 'number') return value;
    if (!value && env.core.mem.readU8(target.arg) !== 0) return neg('EROFS');
    return value ? BOOL.set(env, text, target) : 0;
  },
};

const INVBOOL: ParamOps = {
  noArg: false,
  set({ core }, text, { arg }) {
    const value = bool(text);
    if (typeof value === 'number') return value;
    core.mem.writeU8(arg, value ? 0 : 1);
    return 0;
  },
  get: ({ core }, { arg }) => (core.mem.readU8(arg) !== 0 ? 'N' : 'Y'),
};

const INT = integer({ width: 4, signed: true });

const BINT: ParamOps = {
  noArg: true,
  set({ core }, text, { arg }) {
    const value = bool(text);
    if (typeof value === 'number') return value;
    core.mem.writeU32(arg, value ? 1 : 0);
    return 0;
  },
  get: INT.get,
};

/** Longest value of a charp parameter, in bytes. */
const CHARP_MAX = 1024;

const CHARP: ParamOps = {
  noArg: false,
  set({ core, strings }, text, { arg, name }) {
    if (text === undefined) return neg('EINVAL');
    if (text.length > CHARP_MAX) {
      core.printk.err(`${name}: string parameter too long`);
      return neg('ENOSPC');
    }
    const copy = core.slab.alloc(text.length + 1, `parameter ${name}`);
    core.mem.writeCString(copy, text);
    freeCharp({ core, strings }, arg);
    strings.add(copy);
    core.mem.writeU64(arg, copy);
    return 0;
  },
  get({ core }, { arg }) {
    const at = core.mem.readU64(arg);
    return at === 0n ? '(null)' : core.mem.readCString(at);
  },
};

/** maybe_kfree_parameter(): a string that came with the module is not ours to free. */
export function freeCharp({ core, strings }: Pick<ParamEnv, 'core' | 'strings'>, arg: Addr): void {
  const old = core.mem.readU64(arg);
  if (strings.delete(old)) core.slab.free(old);
}

const STRING: ParamOps = {
  noArg: false,
  set({ core }, text, { arg, name }) {
    if (text === undefined) return neg('EINVAL');
    const max = core.mem.readU32(arg + BigInt(LAYOUT.kparam_string.fields.maxlen));
    if (text.length >= max) {
      core.printk.err(`${name}: string doesn't fit in ${max - 1} chars.`);
      return neg('ENOSPC');
    }
    core.mem.writeCString(core.mem.readU64(arg + BigInt(LAYOUT.kparam_string.fields.string)), text);
    return 0;
  },
  get: ({ core }, { arg }) =>
    core.mem.readCString(core.mem.readU64(arg + BigInt(LAYOUT.kparam_string.fields.string))),
};

/** A struct kparam_array in guest memory. */
function readArray({ core: { mem } }: ParamEnv, arg: Addr) {
  const f = LAYOUT.kparam_array.fields;
  return {
    max: mem.readU32(arg + BigInt(f.max)),
    size: mem.readU32(arg + BigInt(f.elemsize)),
    num: mem.readU64(arg + BigInt(f.num)),
    ops: mem.readU64(arg + BigInt(f.ops)),
    elem: mem.readU64(arg + BigInt(f.elem)),
  };
}

const ARRAY: ParamOps = {
  noArg: false,
  set(env, text, { arg, name }) {
    if (text === undefined) return neg('EINVAL');
    const array = readArray(env, arg);
    const ops = env.opsAt(array.ops);
    if (!ops) return neg('EINVAL');
    const setCount = (n: number): void => {
      if (array.num !== 0n) env.core.mem.writeU32(array.num, n);
    };
    setCount(0);
    const values = text.split(',');
    for (const [i, value] of values.entries()) {
      if (i === array.max) {
        env.core.printk.err(`${name}: can only take ${array.max} arguments`);
        return neg('EINVAL');
      }
      const err = ops.set(env, value, { name, arg: array.elem + BigInt(i * array.size) });
      if (err !== 0) return err;
      setCount(i + 1);
    }
    return 0;
  },
  get(env, { arg, name }) {
    const array = readArray(env, arg);
    const ops = env.opsAt(array.ops);
    const count = array.num === 0n ? array.max : Math.min(array.max, env.core.mem.readU32(array.num));
    const shown = (i: number): string =>
      ops?.get(env, { name, arg: array.elem + BigInt(i * array.size) }) ?? '';
    return Array.from({ length: count }, (_, i) => shown(i)).join(',');
  },
};

/** By the symbol of their struct kernel_param_ops. */
export const PARAM_OPS: Readonly<Record<string, ParamOps>> = {
  param_ops_byte: integer({ width: 1, signed: false }),
  param_ops_short: integer({ width: 2, signed: true }),
  param_ops_ushort: integer({ width: 2, signed: false }),
  param_ops_int: INT,
  param_ops_uint: integer({ width: 4, signed: false }),
  param_ops_long: integer({ width: 8, signed: true }),
  param_ops_ulong: integer({ width: 8, signed: false }),
  param_ops_ullong: integer({ width: 8, signed: false }),
  param_ops_hexint: integer({ width: 4, signed: false, hex: true }),
  param_ops_bool: BOOL,
  param_ops_bool_enable_only: BOOL_ENABLE_ONLY,
  param_ops_invbool: INVBOOL,
  param_ops_bint: BINT,
  param_ops_charp: CHARP,
  param_ops_string: STRING,
  param_array_ops: ARRAY,
};
