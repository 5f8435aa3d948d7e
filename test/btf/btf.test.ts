// Types read from BTF, as it stands in the section of a kernel, and what is said of types that contradict themselves.

import { describe, expect, it } from 'vitest';
import { Btf } from '../../src/btf/btf.ts';
import { declaration } from '../../src/btf/declaration.ts';
import { KIND } from '../../src/btf/kinds.ts';
import { enumeratorOf, fieldOf, layoutOf } from '../../src/btf/layout.ts';
import { btfBytes } from './btf_bytes.ts';

const SOURCE = { file: 'vmlinuz', section: '.BTF' };
const read = (types: Parameters<typeof btfBytes>[0]): Btf => new Btf(btfBytes(types), SOURCE);

const KERNEL = btfBytes([
  /* 1 */ { kind: 'int', name: 'int', size: 4 },
  /* 2 */ { kind: 'int', name: 'char', size: 1 },
  /* 3 */ {
    kind: 'struct',
    name: 'list_head',
    size: 16,
    members: [
      { name: 'next', type: 4, at: 0 },
      { name: 'prev', type: 4, at: 64 },
    ],
  },
  /* 4 */ { kind: 'ptr', of: 3 },
  /* 5 */ { kind: 'array', of: 2, count: 16 },
  /* 6 */ {
    kind: 'union',
    name: '',
    size: 8,
    members: [
      { name: 'low', type: 1, at: 0 },
      { name: 'whole', type: 9, at: 0 },
    ],
  },
  /* 7 */ {
    kind: 'struct',
    name: 'task',
    size: 56,
    flag: true,
    members: [
      { name: 'pid', type: 1, at: 0 },
      { name: 'frozen', type: 1, at: 32, width: 1 },
      { name: 'prio', type: 1, at: 33, width: 7 },
      { name: '', type: 6, at: 64 },
      { name: 'tasks', type: 8, at: 128 },
      { name: 'comm', type: 5, at: 256 },
      { name: 'run', type: 12, at: 384 },
    ],
  },
  /* 8 */ { kind: 'typedef', name: 'list_t', of: 3 },
  /* 9 */ { kind: 'int', name: 'long', size: 8 },
  /* 10 */ { kind: 'const', of: 2 },
  /* 11 */ {
    kind: 'proto',
    of: 1,
    parameters: [
      ['text', 13],
      ['', 0],
    ],
  },
  /* 12 */ { kind: 'ptr', of: 11 },
  /* 13 */ { kind: 'ptr', of: 10 },
  /* 14 */ {
    kind: 'enum',
    name: 'state',
    signed: true,
    values: [
      ['UNDEFINED', -1n],
      ['PATCHED', 1n],
    ],
  },
  /* 15 */ { kind: 'enum64', name: 'wide', values: [['HUGE', 0x8000_0000_0000_0001n]] },
  /* 16 */ { kind: 'typedef', name: 'anonymous_t', of: 17 },
  /* 17 */ { kind: 'struct', name: '', size: 4, members: [{ name: 'counter', type: 1, at: 0 }] },
  /* 18 */ { kind: 'fwd', name: 'rq' },
  /* 19 */ { kind: 'func', name: 'schedule', of: 11 },
]);
const kernel = new Btf(KERNEL, SOURCE);

describe('the layout of a structure', () => {
  it('has each field where the compiler put it, those of unnamed members among them', () => {
    const task = layoutOf(kernel, 'task');
    expect(task?.size).toBe(56);
    expect(task?.fields.map(({ name, offset, size, bits }) => [name, offset, size, bits])).toEqual([
      ['pid', 0, 4, undefined],
      ['frozen', 4, 4, { bit: 32, width: 1 }],
      ['prio', 4, 4, { bit: 33, width: 7 }],
      ['low', 8, 4, undefined],
      ['whole', 8, 8, undefined],
      ['tasks', 16, 16, undefined],
      ['comm', 32, 16, undefined],
      ['run', 48, 8, undefined],
    ]);
  });

  it('declares its fields as C does', () => {
    expect(layoutOf(kernel, 'task')?.fields.map((field) => field.declaration)).toEqual([
      'int pid',
      'int frozen',
      'int prio',
      'int low',
      'long whole',
      'list_t tasks',
      'char comm[16]',
      'int (*run)(const char *text, ...)',
    ]);
    expect(declaration(kernel, 19)).toBe('int schedule(const char *text, ...)');
  });

  it('is found by a path, by a typedef, and not where there is none', () => {
    expect(fieldOf(kernel, 'task', 'tasks.prev')).toMatchObject({ offset: 24, size: 8 });
    expect(fieldOf(kernel, 'anonymous_t', 'counter')?.offset).toBe(0);
    expect(fieldOf(kernel, 'task', 'nothing')).toBeUndefined();
    expect(fieldOf(kernel, 'task', 'pid.nothing')).toBeUndefined();
    expect(layoutOf(kernel, 'rq')).toBeUndefined();
    expect(layoutOf(kernel, 'head')).toBeUndefined();
  });

  it('has bit fields of before the flag, whose integers have less bits than their bytes', () => {
    const btf = read([
      { kind: 'int', name: 'unsigned int', size: 4, bits: 3, within: 2 },
      { kind: 'struct', name: 'old', size: 4, members: [{ name: 'three', type: 1, at: 8 }] },
    ]);
    expect(layoutOf(btf, 'old')?.fields[0].bits).toEqual({ bit: 10, width: 3 });
  });
});

describe('enumerators', () => {
  it('have their values, below zero and beyond 32 bits', () => {
    expect(enumeratorOf(kernel, 'UNDEFINED')).toBe(-1n);
    expect(enumeratorOf(kernel, 'HUGE')).toBe(0x8000_0000_0000_0001n);
    expect(enumeratorOf(kernel, 'NOTHING')).toBeUndefined();
  });
});

describe("a module's types", () => {
  it("go on from the kernel's, and name them", () => {
    const strings = new DataView(KERNEL.buffer).getUint32(20, true);
    const bytes = btfBytes(
      [
        {
          kind: 'struct',
          name: 'mine',
          size: 64,
          members: [
            { name: 'task', type: 7, at: 0 },
            { name: 'n', type: 1, at: 448 },
          ],
        },
      ],
      strings,
    );
    const module = new Btf(bytes, { file: 'm.ko', section: '.BTF' }, kernel);
    expect(module.count).toBe(kernel.count + 1);
    expect(fieldOf(module, 'mine', 'task.tasks.prev')?.offset).toBe(24);
    expect(layoutOf(module, 'mine')?.fields.map((field) => field.declaration)).toEqual([
      'struct task task',
      'int n',
    ]);
    expect(layoutOf(module, 'task')?.size).toBe(56);
  });
});

describe('types that contradict themselves', () => {
  const ERROR = (reason: RegExp) =>
    expect.objectContaining({ code: 'ENOEXEC', message: expect.stringMatching(reason) });
  it.each([
    ['a typedef of itself', [{ kind: 'typedef', name: 't', of: 1 }], /leads to itself/],
    [
      'two of each other',
      [
        { kind: 'typedef', name: 't', of: 2 },
        { kind: 'const', of: 1 },
      ],
      /leads to itself/,
    ],
  ] as const)('are an error: %s', (_, types, reason) => {
    expect(() => layoutOf(read(types), 't')).toThrow(ERROR(reason));
    expect(() => read(types).size(1)).toThrow(ERROR(reason));
  });

  it.each([
    [
      'a structure in itself',
      [{ kind: 'struct', name: 's', size: 8, members: [{ name: '', type: 1, at: 0 }] }],
      /itself as a member/,
    ],
    [
      'a member behind the end',
      [
        { kind: 'int', name: 'int', size: 4 },
        { kind: 'struct', name: 's', size: 4, members: [{ name: 'x', type: 1, at: 32 }] },
      ],
      /s\.x ends at 8, and s at 4/,
    ],
    [
      'a member of no type',
      [{ kind: 'struct', name: 's', size: 4, members: [{ name: 'x', type: 9, at: 0 }] }],
      /not there: 9/,
    ],
    [
      'an array of arrays without end',
      [
        { kind: 'array', of: 1, count: 2 },
        { kind: 'struct', name: 's', size: 4, members: [{ name: 'x', type: 1, at: 0 }] },
      ],
      /made of itself/,
    ],
    [
      'an array of absurd size',
      [
        { kind: 'int', name: 'int', size: 4 },
        { kind: 'array', of: 1, count: 2 ** 31 },
        { kind: 'struct', name: 's', size: 4, members: [{ name: 'x', type: 2, at: 0 }] },
      ],
      /claims 8589934592 bytes/,
    ],
  ] as const)('are an error: %s', (_, types, reason) => {
    expect(() => layoutOf(read(types as Parameters<typeof btfBytes>[0]), 's')).toThrow(ERROR(reason));
  });

  it('have no more fields than a structure can have, however they nest', () => {
    // Each holds the one before it a hundred times.
    const levels = Array.from({ length: 20 }, (_, i) => ({
      kind: 'union' as const,
      name: i === 19 ? 's' : '',
      size: 4,
      members: Array.from({ length: 100 }, () => ({ name: i === 0 ? 'x' : '', type: i + 1, at: 0 })),
    }));
    const btf = read([{ kind: 'int', name: 'int', size: 4 }, ...levels]);
    expect(() => layoutOf(btf, 's')).toThrow(ERROR(/more than 20000 members/));
  });

  it('are declared all the same, so far as they go', () => {
    expect(declaration(read([{ kind: 'ptr', of: 1 }]), 1, 'p')).toMatch(/^type 1 \*+p$/);
  });
});

describe('BTF that is no BTF', () => {
  it('is an error that says where, wherever it is cut', () => {
    for (let length = 0; length < KERNEL.length; length++) {
      expect(() => new Btf(KERNEL.slice(0, length), SOURCE)).toThrow(/^vmlinuz: .*\(section \.BTF/);
    }
  });

  it('with any byte changed is read or refused, and every structure of it as well', () => {
    for (let at = 0; at < KERNEL.length; at++) {
      for (const value of [0, 0x7f, 0xff]) {
        const bytes = KERNEL.slice();
        bytes[at] = value;
        try {
          const btf = new Btf(bytes, SOURCE);
          for (const type of btf.ofKinds(KIND.struct, KIND.union)) layoutOf(btf, btf.name(type));
          enumeratorOf(btf, 'NOTHING');
        } catch (error) {
          expect(error).toMatchObject({ code: 'ENOEXEC' });
        }
      }
    }
  });

  it('of an unknown kind names the type and the kind', () => {
    const bytes = btfBytes([{ kind: 'int', name: 'int', size: 4 }]);
    bytes[24 + 7] = 30;
    expect(() => new Btf(bytes, SOURCE)).toThrow('type 1 is of kind 30, which is not known');
  });
});
