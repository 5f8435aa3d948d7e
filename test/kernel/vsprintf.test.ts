import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { GuestMemory } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { Kallsyms } from '../../src/kernel/kallsyms.ts';
import { Slab } from '../../src/kernel/slab.ts';
import { listArgs } from '../../src/kernel/varargs.ts';
import { vsprintf, vsprintfGuest } from '../../src/kernel/vsprintf.ts';

const mem = new GuestMemory({ heap: 1 << 20, stacks: 1 });
const slab = new Slab(mem);
const symbols = new Kallsyms();
symbols.add(undefined, [{ name: 'schedule', addr: 0xffffffff81001000n, size: 0x40, type: 'T' }]);
symbols.add('demo', [{ name: 'demo_fn', addr: 0xffffffffc0201000n, size: 0x20, type: 't' }]);
const ctx = { mem, kernel: BUILT_IN, symbols, varargs: X86_64.varargs, ptrKey: 7 };

const format = (fmt: string, ...args: (bigint | number)[]): string => vsprintf(ctx, fmt, listArgs(args));

function guestText(text: string): bigint {
  const addr = slab.alloc(text.length + 1, 'test');
  mem.writeCString(addr, text);
  return addr;
}

describe('numbers', () => {
  it.each([
    ['%d', [-5], '-5'],
    ['%d', [0xffffffffn], '-1'],
    ['%u', [0xffff_ffff_ffff_ffffn], '4294967295'],
    ['%ld', [0xffff_ffff_ffff_fffen], '-2'],
    ['%lld %llu', [-1, -1], '-1 18446744073709551615'],
    ['%hhd %hd', [0x1ff, 0x18000], '-1 -32768'],
    ['%hhx %hx', [0x1ab, 0x1abcd], 'ab abcd'],
    ['%zu %zd', [7, -7], '7 -7'],
    ['%x %X %#x %#X', [0xabc, 0xabc, 0xabc, 0xabc], 'abc ABC 0xabc 0XABC'],
    ['%o %#o %#o', [8, 8, 0], '10 010 0'],
    ['[%5d] [%-5d] [%05d] [%+d] [% d]', [42, 42, 42, 42, 42], '[   42] [42   ] [00042] [+42] [ 42]'],
    ['[%05d] [%-05d]', [-42, -42], '[-0042] [-42  ]'],
    ['[%.4d] [%8.4x]', [42, 0x2a], '[0042] [    002a]'],
    ['[%#06x] [%#010lx]', [0x1f, 0x1f], '[0x001f] [0x0000001f]'],
    ['[%*d] [%-*d] [%*d]', [4, 1, 4, 2, -4, 3], '[   1] [2   ] [3   ]'],
    ['%d%%', [50], '50%'],
    ['%2d', [100], '100'],
  ])('%s', (fmt, args, expected) => {
    expect(format(fmt, ...(args as (number | bigint)[]))).toBe(expected);
  });

  it('stops at a conversion that the kernel does not know, as arguments and format are out of step then', () => {
    expect(format('a %d %n %d', 1, 2, 3)).toBe('a 1 ');
  });
});

describe('strings and characters', () => {
  it('pads and cuts strings', () => {
    const text = guestText('livepatch');
    expect(format('[%s] [%12s] [%-12s] [%.4s]', text, text, text, text)).toBe(
      '[livepatch] [   livepatch] [livepatch   ] [live]',
    );
  });

  it('prints (null) and (efault) in the place of pointers that cannot be followed', () => {
    expect(format('%s %s %s', 0, 0x10, -14)).toBe('(null) (efault) (efault)');
    expect(format('%s', 0x1234_5678_9abc_0000n)).toBe('(efault)');
    expect(format('[%8s] [%.3s]', 0, 0)).toBe('[  (null)] [(nu]');
  });

  it('prints characters with a width', () => {
    expect(format('[%c] [%3c] [%-3c]', 0x41, 0x41, 0x41)).toBe('[A] [  A] [A  ]');
  });
});

describe('pointers', () => {
  it('names symbols with offset, size and module', () => {
    expect(format('%pS %ps', 0xffffffff81001010n, 0xffffffff81001010n)).toBe('schedule+0x10/0x40 schedule');
    expect(format('%pS %ps', 0xffffffffc0201004n, 0xffffffffc0201004n)).toBe(
      'demo_fn+0x4/0x20 [demo] demo_fn [demo]',
    );
    expect(format('%pS', 0x1000n)).toBe('0x1000');
  });

  it('takes a return address at the end of a function for that function with %pB', () => {
    expect(format('%pB', 0xffffffff81001040n)).toBe('schedule+0x40/0x40');
  });

  it('hashes plain pointers the same each time, and prints NULL and error pointers as they are', () => {
    const hashed = format('%p', 0xffff888000001000n);
    expect(hashed).toMatch(/^00000000[0-9a-f]{8}$/);
    expect(format('%p', 0xffff888000001000n)).toBe(hashed);
    expect(format('%p', 0xffff888000002000n)).not.toBe(hashed);
    expect(format('%p %p', 0, -22)).toBe('0000000000000000 ffffffffffffffea');
  });

  it('prints addresses with %px and errors with %pe', () => {
    expect(format('%px', 0xffff888000001000n)).toBe('ffff888000001000');
    expect(format('%pe', -22)).toBe('-EINVAL');
    expect(format('%pe', -4000)).toBe('-4000');
  });

  it('prints bytes with %ph and MAC addresses with %pM', () => {
    const bytes = slab.alloc(8, 'test');
    mem.writeBytes(bytes, Uint8Array.of(0, 1, 0xab, 3, 4, 5));
    expect(format('%*ph %*phN %pM', 3, bytes, 3, bytes, bytes)).toBe('00 01 ab 0001ab 00:01:ab:03:04:05');
  });

  it('swallows the letters that follow %p', () => {
    expect(format('%pSx|%d', 0xffffffff81001000n, 1)).toBe('schedule+0x0/0x40|1');
  });
});

describe('arguments', () => {
  it('come from the six registers, then from above the return address', () => {
    const sp = slab.alloc(64, 'stack');
    mem.writeU64(sp + 8n, 6n);
    mem.writeU64(sp + 16n, 7n);
    const call = { cpu: 0, args: [0n, 1n, 2n, 3n, 4n, 5n], sp, caller: 0n };
    expect(vsprintf(ctx, '%d %d %d %d %d %d %d', X86_64.varargs.callArgs(mem, call, 1))).toBe(
      '1 2 3 4 5 6 7',
    );
  });

  it('come from a va_list, which moves on, and from one inside another with %pV', () => {
    const save = slab.alloc(48, 'save');
    const overflow = slab.alloc(16, 'overflow');
    const list = slab.alloc(24, 'va_list');
    mem.writeU64(save + 40n, 1n);
    mem.writeU64(overflow, 2n);
    const start = (): void => {
      mem.writeU32(list, 40);
      mem.writeU64(list + 8n, overflow);
      mem.writeU64(list + 16n, save);
    };
    start();
    expect(vsprintf(ctx, '%d %d', X86_64.varargs.vaList(mem, list))).toBe('1 2');
    expect(mem.readU64(list + 8n)).toBe(overflow + 8n);
    start();
    const va = slab.alloc(16, 'va_format');
    mem.writeU64(va, guestText('in %d %d'));
    mem.writeU64(va + 8n, list);
    expect(format('out: %pV.', va)).toBe('out: in 1 2.');
  });

  it('a format that is not mapped prints as (efault)', () => {
    expect(vsprintfGuest(ctx, 0x5000n, listArgs([]))).toBe('(efault)');
  });
});
