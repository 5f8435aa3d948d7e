import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SysfsDir } from '../../src/kernel/sysfs.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from './world.ts';

let world: World;
let dir: SysfsDir;
let used: number;
let value = '1';
let traces: string[][] = [];

beforeAll(async () => {
  world = await World.boot();
  dir = world.sysfs.mkdirs('/kernel/livepatch/demo');
  const attribute = (name: string, mode: number): void => {
    dir.addFile({
      name,
      mode,
      show: () => {
        traces.push(world.trace());
        return `${value}\n`;
      },
      *store(text) {
        traces.push(world.trace());
        yield { call: world.sym('strlen'), args: [world.sym('linux_proc_banner')] };
        if (text.trim() === 'bad') return -UAPI.EINVAL;
        value = text.trim();
        return text.length;
      },
    });
  };
  attribute('enabled', 0o644);
  attribute('transition', 0o444);
  attribute('force', 0o200);
  dir.addFile({ name: 'empty', mode: 0o644 });
  // The page that stands for directories without a kobject is made once.
  world.cat('/sys/kernel/livepatch/demo/enabled');
});
afterAll(() => world.close());
beforeEach(() => {
  used = world.core.slab.used();
  traces = [];
});

const DIR = '/sys/kernel/livepatch/demo';

describe('an attribute', () => {
  it('is shown and stored through the frames of kernfs and sysfs', () => {
    value = '1';
    expect(world.cat(`${DIR}/enabled`)).toBe('1\n');
    expect(world.echo('0', `${DIR}/enabled`)).toBe(2);
    expect(world.cat(`${DIR}/enabled`)).toBe('0\n');
    expect(traces[0]).toEqual(['sysfs_kf_seq_show', 'seq_read_iter', 'vfs_read', 'ksys_read']);
    expect(traces[1]).toEqual(['kernfs_fop_write_iter', 'vfs_write', 'ksys_write']);
    expect(world.core.slab.used()).toBe(used);
  });

  it('gives the error of its store to the writer', () => {
    expect(world.echo('bad', `${DIR}/enabled`)).toBe(-UAPI.EINVAL);
    expect(world.core.slab.used()).toBe(used);
  });

  it('is opened by root only for what its mode allows somebody', () => {
    expect(world.echo('1', `${DIR}/transition`)).toBe(-UAPI.EACCES);
    expect(world.cat(`${DIR}/force`)).toBe(-UAPI.EACCES);
    expect(world.echo('1', `${DIR}/force`)).toBe(2);
    expect(world.core.slab.used()).toBe(used);
  });

  it('without show or store is EIO', () => {
    expect(world.cat(`${DIR}/empty`)).toBe(-UAPI.EIO);
    expect(world.echo('1', `${DIR}/empty`)).toBe(-UAPI.EIO);
  });

  it('has 4096 bytes for stat, whatever it shows', () => {
    expect(world.fs.stat(`${DIR}/enabled`)).toMatchObject({ kind: 'file', mode: 0o644, size: 4096 });
    expect(world.fs.stat(DIR)).toMatchObject({ kind: 'directory', mode: 0o755, nlink: 2 });
  });

  it('is read again after a seek to its start', () => {
    value = 'a';
    const fd = world.open(`${DIR}/enabled`);
    expect(world.read(fd)).toBe('a\n');
    value = 'b';
    expect(world.read(fd)).toBe('');
    expect(world.lseek(fd, 0)).toBe(0);
    expect(world.read(fd)).toBe('b\n');
    world.closeFd(fd);
  });

  it('that is removed while open is ENODEV, for reads and writes', () => {
    dir.addFile({ name: 'gone', mode: 0o644, show: () => 'x' });
    const fd = world.open(`${DIR}/gone`, UAPI.O_RDWR);
    dir.remove('gone');
    expect(world.read(fd)).toBe(-UAPI.ENODEV);
    expect(world.write(fd, 'x')).toBe(-UAPI.ENODEV);
    world.closeFd(fd);
    expect(world.open(`${DIR}/gone`)).toBe(-UAPI.ENOENT);
    expect(world.core.slab.used()).toBe(used);
  });

  it('can be longer than what is read at once', () => {
    value = 'z'.repeat(3000);
    expect(world.cat(`${DIR}/enabled`, 100)).toBe(`${value}\n`);
  });
});
