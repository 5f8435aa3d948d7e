// A kernel description from types: made-up ones, of a kernel that has little.

import { describe, expect, it } from 'vitest';
import { Btf } from '../../src/btf/btf.ts';
import { CHANGED, ofRelease, SEEN, whyUnknown } from '../../src/kernel/defines.ts';
import { describeKernel } from '../../src/kernel/describe.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { btfBytes } from '../btf/btf_bytes.ts';

const TYPES = btfBytes([
  { kind: 'int', name: 'long', size: 8 },
  {
    kind: 'struct',
    name: 'list_head',
    size: 16,
    members: [
      { name: 'next', type: 1, at: 0 },
      { name: 'prev', type: 1, at: 64 },
    ],
  },
  // What is inside of an anonymous union keeps its name; what is in a named structure has that before it.
  {
    kind: 'union',
    name: '',
    size: 16,
    members: [
      { name: 'node', type: 2, at: 0 },
      { name: 'old_func', type: 1, at: 0 },
    ],
  },
  {
    kind: 'struct',
    name: 'klp_func',
    size: 40,
    flag: true,
    members: [
      { name: 'new_func', type: 1, at: 0 },
      { name: '', type: 3, at: 64 },
      { name: 'patched', type: 1, at: 200, width: 1 },
      { name: 'transition', type: 1, at: 208, width: 8 },
    ],
  },
  { kind: 'struct', name: 'thread', size: 16, members: [{ name: 'sp', type: 1, at: 64 }] },
  { kind: 'struct', name: 'task_struct', size: 48, members: [{ name: 'thread', type: 5, at: 256 }] },
  {
    kind: 'enum',
    name: 'flags',
    values: [
      ['ITER_KVEC', 3n],
      ['FTRACE_OPS_FL_IPMODIFY', 0x2000n],
    ],
  },
]);

const described = (release: string) =>
  describeKernel(new Btf(TYPES, { file: 'made-up' }), {
    release,
    vermagic: `${release} SMP `,
    layoutCrc: undefined,
    orcHash: undefined,
    banner: '',
  });

describe('the description of a kernel by its types', () => {
  const { description, absent } = described('6.12.1-test');
  const { structs, constants } = description;

  it('has sizes and offsets of that kernel, those of embedded structures by their path', () => {
    expect(structs.klp_func.size).toBe(40);
    expect(structs.klp_func.fields.node).toBe(8);
    expect(structs.klp_func.fields.old_func).toBe(8);
    expect(structs.task_struct.fields.thread_sp).toBe(40);
    expect(structs.list_head.fields.prev).toBe(8);
  });

  it('reads a bit field of whole bytes as a member', () => {
    expect(structs.klp_func.fields.transition).toBe(26);
  });

  it('has enumerators of its types, and other constants by its release', () => {
    expect(constants.ITER_KVEC).toBe(3);
    expect(constants.FTRACE_OPS_FL_IPMODIFY).toBe(0x2000);
    expect(constants.TIF_PATCH_PENDING).toBe(13);
    expect(described('7.3.4+deb13').description.constants.TIF_PATCH_PENDING).toBe(9);
  });

  it('names what that kernel does not have, and whoever reads it gets that name', () => {
    expect(absent).toContain('klp_func.stack_node');
    expect(absent).toContain('sizeof klp_patch');
    expect(absent).toContain('klp_func.patched');
    expect(() => structs.klp_func.fields.stack_node).toThrow(
      'kernel 6.12.1-test has no klp_func.stack_node, which this machine asks for',
    );
    expect(() => structs.klp_patch.size).toThrow('has no sizeof klp_patch');
    expect(() => constants.__GFP_ATOMIC).toThrow('has no __GFP_ATOMIC');
  });

  it('keeps what is of no kernel as it is', () => {
    expect(structs.klp_gate).toEqual(BUILT_IN.structs.klp_gate);
    expect(constants.DEBUGFS_REMOVED).toBe(BUILT_IN.constants.DEBUGFS_REMOVED);
  });
});

describe('a constant that changes between two releases', () => {
  it('is not known in between, nor outside of what was looked at', () => {
    const values = [13, 13, 9];
    const of = (release: string) => ofRelease(values, release);
    expect(['6.1.0-56', '6.5', '6.12.117', '7.3.4'].map(of)).toEqual([13, 13, 13, 9]);
    expect(['5.10', '6.18.15', '7.4-rc1', 'what?'].map(of)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('has the value of the built-in kernel in its first column', () => {
    const constants: Readonly<Record<string, number | bigint>> = { ...BUILT_IN.constants };
    for (const [name, values] of CHANGED) {
      expect(values).toHaveLength(SEEN.length);
      expect([name, values[0]]).toEqual([name, constants[name]]);
    }
  });
});

describe('a release that nobody looked at', () => {
  it.each([
    ['6.1.0-56-amd64', undefined],
    ['7.3.4+deb13-amd64', undefined],
    ['5.10.0-30-amd64', 'it is older than 6.1, the oldest that was looked at'],
    ['7.4-rc1', 'it is later than 7.3, the latest that was looked at'],
    [
      '6.18.15',
      'what changed between 6.12 and 7.3 was not looked at in it (TIF_SIGPENDING, TIF_NEED_RESCHED, TIF_PATCH_PENDING',
    ],
  ])('%s is told, and why', (release, reason) => {
    if (reason === undefined) expect(whyUnknown(release)).toBeUndefined();
    else expect(whyUnknown(release)).toContain(reason);
  });
});
