import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { negErrno } from '../../src/kernel/core.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { HeapMachine } from '../mm/machine.ts';
import { World } from './world.ts';

const LAYOUT = BUILT_IN.structs;

const { EEXIST, EIO, EINVAL, ENOENT } = UAPI;
const DEBUG = '/sys/kernel/debug';

describe('debugfs of a module', () => {
  it('shows and sets its variables, through its functions where it has some', async () => {
    const heap = await HeapMachine.boot();
    const dir = `${DEBUG}/klpdemo`;
    expect(heap.insmod('klpdemo_heap', 'what=files')).toBe(0);
    expect(heap.cat(`${dir}/value`)).toBe('7\n');
    expect(heap.echo('33', `${dir}/value`)).toBe(0);
    expect(heap.cat(`${dir}/hex`)).toBe('0x00000021\n');
    expect(heap.cat(`${dir}/show`)).toBe('value 33\n');
    expect(heap.cat(`${dir}/twice`)).toBe('66\n');
    expect(heap.echo('20', `${dir}/twice`)).toBe(0);
    expect(heap.cat(`${dir}/value`)).toBe('10\n');
    expect(heap.cat(`${dir}/flag`)).toBe('Y\n');
    expect(heap.echo('off', `${dir}/flag`)).toBe(0);
    expect(heap.cat(`${dir}/flag`)).toBe('N\n');
    expect(heap.rmmod('klpdemo_heap')).toBe(0);
    expect(heap.machine.inspect.fs.stat(dir)).toBeUndefined();
    heap.machine.close();
  });
});

describe('debugfs_create_*', () => {
  let world: World;
  beforeEach(async () => {
    world = await World.boot();
  });
  afterEach(() => world.close());

  const text = (value: string): bigint => {
    const at = world.core.slab.alloc(value.length + 1, 'test');
    world.core.mem.writeCString(at, value);
    return at;
  };
  const fops = (ops: Partial<Record<'open' | 'read' | 'release', bigint>>): bigint => {
    const at = world.core.slab.alloc(LAYOUT.file_operations.size, 'test');
    for (const [name, fn] of Object.entries(ops)) {
      world.core.mem.writeU64(at + BigInt(LAYOUT.file_operations.fields[name as 'open']), fn);
    }
    return at;
  };

  it('makes a name once: the second time it is an error pointer, and said', () => {
    const dir = world.call('debugfs_create_dir', text('d'), 0);
    expect(world.call('debugfs_create_dir', text('d'), 0)).toBe(negErrno(EEXIST));
    expect(world.call('debugfs_create_u8', text('v'), 0o600, dir, text('x')) > 0n).toBe(true);
    expect(world.core.printk.dmesg().at(-1)).toContain(
      "debugfs: Directory 'd' in directory '/' already present!",
    );
    expect(world.cat(`${DEBUG}/d/v`)).toBe('120\n');
  });

  it('takes an error pointer for a directory and hands it on', () => {
    const error = negErrno(EEXIST);
    expect(world.call('debugfs_create_file', text('f'), 0o444, error, 0, fops({}))).toBe(error);
  });

  it('reads signed and wide numbers, and refuses what is none', () => {
    const at = world.core.slab.alloc(8, 'test');
    world.core.mem.writeU64(at, 0xffff_ffff_ffff_fffen);
    world.call('debugfs_create_atomic_t', text('a'), 0o644, 0, at);
    world.call('debugfs_create_x64', text('x'), 0o644, 0, at);
    expect(world.cat(`${DEBUG}/a`)).toBe('-2\n');
    expect(world.cat(`${DEBUG}/x`)).toBe('0xfffffffffffffffe\n');
    expect(world.echo('0x10', `${DEBUG}/x`)).toBe(5);
    expect(world.core.mem.readU64(at)).toBe(16n);
    expect(world.echo('many', `${DEBUG}/x`)).toBe(-EINVAL);
  });

  it('gives the functions of a file its data, and lets none of them in once it was removed', () => {
    const seen: string[] = [];
    const file = world.call(
      'debugfs_create_file',
      text('f'),
      0o444,
      0,
      0x1234n,
      fops({
        open: world.define(([inode]) => {
          seen.push(
            `open ${world.core.mem.readU64(inode + BigInt(LAYOUT.inode.fields.i_private)).toString(16)}`,
          );
          return 0;
        }),
        read: world.define(([, buf]) => {
          world.core.mem.writeBytes(buf, Uint8Array.of(0x68, 0x69));
          return 2;
        }),
        release: world.define(() => {
          seen.push('release');
          return 0;
        }),
      }),
    );
    const fd = world.open(`${DEBUG}/f`);
    expect(world.read(fd)).toBe('hi');
    world.call('debugfs_remove', file);
    expect(world.read(fd)).toBe(-EIO);
    expect(world.open(`${DEBUG}/f`)).toBe(-ENOENT);
    expect(world.closeFd(fd)).toBe(0);
    expect(seen).toEqual(['open 1234', 'release']);
  });

  it('removes a directory with all below it', () => {
    const dir = world.call('debugfs_create_dir', text('d'), 0);
    const below = world.call('debugfs_create_dir', text('e'), dir);
    world.call('debugfs_create_bool', text('b'), 0o444, below, text('x'));
    expect(world.fs.stat(`${DEBUG}/d/e/b`)?.kind).toBe('file');
    world.call('debugfs_remove', dir);
    expect(world.fs.stat(`${DEBUG}/d`)).toBeUndefined();
    expect(world.open(`${DEBUG}/d/e/b`)).toBe(-ENOENT);
  });
});
