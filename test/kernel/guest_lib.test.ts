import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from '../fs/world.ts';

const C = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

let world: World;
let a: Addr;
let b: Addr;

beforeAll(async () => {
  world = await World.boot();
  a = world.core.slab.alloc(4096, 'test');
  b = world.core.slab.alloc(4096, 'test');
});
afterAll(() => world.close());

const word = fc.string({ unit: fc.constantFrom('a', 'b', '\xff'), maxLength: 12 });
const put = (addr: Addr, text: string): void => world.core.mem.writeCString(addr, text);
const get = (addr: Addr): string => world.core.mem.readCString(addr);
const int = (value: bigint): number => Number(BigInt.asIntN(32, value));
/** As unsigned bytes compare, which is how UTF-16 units below 256 do. */
const order = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);

describe('strings of the guest', () => {
  it('have the lengths and the order that C gives them', () => {
    fc.assert(
      fc.property(word, word, fc.nat(14), (x, y, n) => {
        put(a, x);
        put(b, y);
        expect(world.call('strlen', a)).toBe(BigInt(x.length));
        expect(world.call('strnlen', a, n)).toBe(BigInt(Math.min(x.length, n)));
        expect(int(world.call('strcmp', a, b))).toBe(order(x, y));
        expect(int(world.call('strncmp', a, b, n))).toBe(order(x.slice(0, n), y.slice(0, n)));
      }),
      { numRuns: 200 },
    );
  });

  it('are copied whole or cut, always ended', () => {
    fc.assert(
      fc.property(word, fc.nat(14), (x, n) => {
        put(a, x);
        world.core.mem.fill(b, 32, 0x7e);
        const whole = x.length < n;
        expect(BigInt.asIntN(64, world.call('strscpy', b, a, n))).toBe(
          whole ? BigInt(x.length) : -BigInt(UAPI.E2BIG),
        );
        if (n > 0) expect(get(b)).toBe(x.slice(0, n - 1));
        world.core.mem.fill(b, 32, 0x7e);
        expect(world.call('strlcpy', b, a, n)).toBe(BigInt(x.length));
        if (n > 0) expect(get(b)).toBe(x.slice(0, n - 1));
        world.core.mem.fill(b, 32, 0x7e);
        world.call('strncpy', b, a, n);
        const bytes = [...world.core.mem.view(b, 16)];
        const filled = [...x.slice(0, n)].map((c) => c.charCodeAt(0));
        expect(bytes).toEqual([...filled, ...Array(n - filled.length).fill(0), ...Array(16 - n).fill(0x7e)]);
      }),
      { numRuns: 200 },
    );
  });

  it('are searched from both ends', () => {
    put(a, 'banana');
    expect(world.call('strchr', a, 0x61)).toBe(a + 1n);
    expect(world.call('strrchr', a, 0x61)).toBe(a + 5n);
    expect(world.call('strchr', a, 0x7a)).toBe(0n);
    expect(world.call('strrchr', a, 0x7a)).toBe(0n);
    expect(world.call('strchr', a, 0)).toBe(a + 6n);
    expect(world.call('strcpy', b, a)).toBe(b);
    expect(get(b)).toBe('banana');
  });
});

describe('memory of the guest', () => {
  it('is moved right whichever way it overlaps, set and compared', () => {
    fc.assert(
      fc.property(fc.nat(20), fc.nat(20), fc.nat(20), (from, to, n) => {
        const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
        world.core.mem.writeBytes(a, bytes);
        expect(world.call('memmove', a + BigInt(to), a + BigInt(from), n)).toBe(a + BigInt(to));
        const expected = Uint8Array.from(bytes);
        expected.copyWithin(to, from, from + n);
        expect([...world.core.mem.view(a, 64)]).toEqual([...expected]);
      }),
      { numRuns: 200 },
    );
    world.core.mem.writeBytes(a, Uint8Array.of(0, 1, 2, 3, 4, 5));
    expect(world.call('memset', a, 0x1ff, 5)).toBe(a);
    expect([...world.core.mem.view(a, 6)]).toEqual([0xff, 0xff, 0xff, 0xff, 0xff, 5]);
    put(a, 'abcd');
    put(b, 'abce');
    expect(int(world.call('memcmp', a, b, 3))).toBe(0);
    expect(int(world.call('memcmp', a, b, 4))).toBeLessThan(0);
    expect(world.call('memcpy', b, a, 5)).toBe(b);
    expect(get(b)).toBe('abcd');
  });
});

describe('the heap for guest code', () => {
  it('gives, grows, copies and takes back', () => {
    const used = world.core.slab.used();
    const p = world.call('__kmalloc', 10, C.GFP_KERNEL);
    put(p, 'text');
    const q = world.call('krealloc', p, 100, C.GFP_KERNEL);
    expect(get(q)).toBe('text');
    const copy = world.call('kstrdup', q, C.GFP_KERNEL);
    expect(get(copy)).toBe('text');
    const part = world.call('kmemdup', q, 2, C.GFP_KERNEL);
    expect(world.core.mem.readCString(part, 2)).toBe('te');
    expect(world.call('kmalloc_trace', world.sym('kmalloc_caches'), C.GFP_KERNEL, 0)).toBe(16n);
    for (const addr of [q, copy, part, 16n, 0n]) world.call('kfree', addr);
    expect(world.core.slab.used()).toBe(used);
    expect(world.call('__kmalloc', 1n << 40n, C.GFP_KERNEL)).toBe(0n);
  });
});

describe('printk and formats from guest calls', () => {
  it('take a level, split lines, and go on with KERN_CONT', () => {
    put(a, '\x013first %d\nsecond\n');
    world.call('_printk', a, 7);
    put(a, '\x01c and more\n');
    world.call('_printk', a);
    expect(world.core.printk.records.slice(-2)).toMatchObject([
      { level: 3, text: 'first 7' },
      { level: 3, text: 'second and more' },
    ]);
  });

  it('cut at the buffer, and say what would have been written or what was', () => {
    put(a, '%s-%d');
    put(a + 64n, 'livepatch');
    expect(world.call('snprintf', b, 6, a, a + 64n, 42)).toBe(12n);
    expect(get(b)).toBe('livep');
    expect(world.call('scnprintf', b, 6, a, a + 64n, 42)).toBe(5n);
    expect(world.call('snprintf', b, 100, a, a + 64n, 42)).toBe(12n);
    expect(get(b)).toBe('livepatch-42');
    expect(world.call('snprintf', 0, 0, a, a + 64n, 42)).toBe(12n);
    expect(world.call('sprintf', b, a, a + 64n, 1)).toBe(11n);
    const made = world.call('kasprintf', 0, a, a + 64n, 3);
    expect(get(made)).toBe('livepatch-3');
    world.call('kvfree', made);
  });
});

describe('numbers in text', () => {
  it.each([
    ['kstrtoint', '42\n', 10, 0, 42],
    ['kstrtoint', '-2147483648', 10, 0, -2147483648],
    ['kstrtoint', '2147483648', 10, -UAPI.ERANGE, 0],
    ['kstrtoint', '0x1f', 0, 0, 31],
    ['kstrtoint', '017', 0, 0, 15],
    ['kstrtoint', '1 ', 10, -UAPI.EINVAL, 0],
    ['kstrtoint', '', 10, -UAPI.EINVAL, 0],
    ['kstrtoint', '-+1', 10, -UAPI.EINVAL, 0],
    ['kstrtouint', '-1', 10, -UAPI.EINVAL, 0],
    ['kstrtou8', '255', 10, 0, 255],
    ['kstrtou8', '256', 10, -UAPI.ERANGE, 0],
  ])('%s of %j in base %d: error %d, value %d', (fn, text, base, error, value) => {
    put(a, text);
    world.core.mem.writeU64(b, 0n);
    expect(int(world.call(fn, a, base, b))).toBe(error);
    if (error === 0)
      expect(fn === 'kstrtou8' ? world.core.mem.readU8(b) : world.core.mem.readS32(b)).toBe(value);
  });

  it('simple_strtoul takes what reads like a number, and says where it ends', () => {
    put(a, '0x1fg');
    expect(world.call('simple_strtoul', a, b, 16)).toBe(0x1fn);
    expect(world.core.mem.readU64(b)).toBe(a + 4n);
    put(a, '-12x');
    expect(BigInt.asIntN(64, world.call('simple_strtol', a, 0, 10))).toBe(-12n);
  });

  it.each([
    ['y', 1],
    ['Y\n', 1],
    ['on', 1],
    ['0', 0],
    ['off', 0],
    ['oops', undefined],
    ['2', undefined],
  ])('kstrtobool of %j is %s', (text, value) => {
    put(a, text);
    world.core.mem.writeU8(b, 9);
    expect(int(world.call('kstrtobool', a, b))).toBe(value === undefined ? -UAPI.EINVAL : 0);
    expect(world.core.mem.readU8(b)).toBe(value ?? 9);
  });
});

describe('parameters of modules', () => {
  const KP = LAYOUT.kernel_param.fields;
  const OPS = LAYOUT.kernel_param_ops.fields;
  const param = (type: string, variable: Addr): Addr => {
    const kp = world.core.slab.alloc(LAYOUT.kernel_param.size, 'test');
    world.core.mem.writeU64(kp + BigInt(KP.ops), world.sym(`param_ops_${type}`));
    world.core.mem.writeU64(kp + BigInt(KP.arg), variable);
    return kp;
  };
  const op = (kp: Addr, name: 'set' | 'get'): Addr =>
    world.core.mem.readU64(world.core.mem.readU64(kp + BigInt(KP.ops)) + BigInt(OPS[name]));
  const set = (kp: Addr, text: string): number => {
    put(a, text);
    return int(world.call(op(kp, 'set'), a, kp));
  };
  const show = (kp: Addr): string => {
    world.call(op(kp, 'get'), b, kp);
    return get(b);
  };

  it.each([
    ['int', '-5', '-5\n'],
    ['uint', '0x10', '16\n'],
    ['bool', 'on', 'Y\n'],
    ['bool', '0', 'N\n'],
    ['invbool', '1', 'Y\n'],
    ['byte', '255', '255\n'],
    ['short', '-1', '-1\n'],
    ['ulong', '18446744073709551615', '18446744073709551615\n'],
    ['hexint', '31', '0x00001f\n'],
    ['charp', 'some text', 'some text\n'],
  ])('of type %s set to %s show %j', (type, text, shown) => {
    const kp = param(type, world.core.slab.alloc(8, 'test'));
    expect(set(kp, text)).toBe(0);
    expect(show(kp)).toBe(shown);
  });

  it('refuse what is not of their type, and keep their value', () => {
    const variable = world.core.slab.alloc(8, 'test');
    const kp = param('int', variable);
    expect(set(kp, '7')).toBe(0);
    expect(set(kp, 'x')).toBe(-UAPI.EINVAL);
    expect(set(kp, '99999999999')).toBe(-UAPI.ERANGE);
    expect(show(kp)).toBe('7\n');
    expect(set(param('bool', variable), 'maybe')).toBe(-UAPI.EINVAL);
  });

  it('that are arrays set their elements and count them', () => {
    const ARR = LAYOUT.kparam_array.fields;
    const { mem, slab } = world.core;
    const [arr, num, elem] = [
      slab.alloc(LAYOUT.kparam_array.size, 'test'),
      slab.alloc(8, 'test'),
      slab.alloc(16, 'test'),
    ];
    mem.writeU32(arr + BigInt(ARR.max), 3);
    mem.writeU32(arr + BigInt(ARR.elemsize), 4);
    mem.writeU64(arr + BigInt(ARR.num), num);
    mem.writeU64(arr + BigInt(ARR.ops), world.sym('param_ops_int'));
    mem.writeU64(arr + BigInt(ARR.elem), elem);
    const kp = slab.alloc(LAYOUT.kernel_param.size, 'test');
    mem.writeU64(kp + BigInt(KP.ops), world.sym('param_array_ops'));
    mem.writeU64(kp + BigInt(KP.arg), arr);
    expect(set(kp, '1,2')).toBe(0);
    expect(mem.readU32(num)).toBe(2);
    expect(show(kp)).toBe('1,2\n');
    expect(set(kp, '1,2,3,4')).toBe(-UAPI.EINVAL);
    expect(set(kp, '1,x')).toBe(-UAPI.EINVAL);
  });
});
