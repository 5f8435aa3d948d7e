import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from './world.ts';

const LAYOUT = BUILT_IN.structs;

const OPS = LAYOUT.proc_ops.fields;

let world: World;
let used: number;

beforeAll(async () => {
  world = await World.boot({
    stack: () => '[<0>] schedule+0x1/0x2\n',
    modules: () => 'demo 16384 0 - Live 0x0\n',
  });
});
afterAll(() => world.close());
beforeEach(() => {
  used = world.core.slab.used();
});

const strings = new Map<string, Addr>();
function text(value: string): Addr {
  let addr = strings.get(value);
  if (addr === undefined) {
    addr = world.core.slab.alloc(value.length + 1, 'test');
    world.core.mem.writeCString(addr, value);
    strings.set(value, addr);
    used += value.length + 1;
  }
  return addr;
}
const warnings = (): string[] => world.core.printk.records.map((r) => r.text);

function makeOps(functions: Partial<Record<keyof typeof OPS, Addr>>): Addr {
  const ops = world.core.slab.alloc(LAYOUT.proc_ops.size, 'test');
  used += LAYOUT.proc_ops.size;
  for (const [op, fn] of Object.entries(functions)) {
    world.core.mem.writeU64(ops + BigInt(OPS[op as keyof typeof OPS]), fn);
  }
  return ops;
}
const shower = (what: string): Addr => world.define(([m]) => void world.fs.seq.write(m, what));
const seqOps = (open: Addr): Addr =>
  makeOps({
    proc_open: open,
    proc_read: world.sym('seq_read'),
    proc_lseek: world.sym('seq_lseek'),
    proc_release: world.sym('single_release'),
  });

describe('entries of a module', () => {
  it('made with proc_create_single_data show what the function writes, with data in m->private', () => {
    let seen = 0n;
    const show = world.define(([m]) => {
      seen = world.core.mem.readU64(m + BigInt(LAYOUT.seq_file.fields.private));
      world.fs.seq.write(m, 'shown\n');
    });
    world.call('proc_create_single_data', text('demo'), 0, 0, show, 0x1234);
    expect(world.cat('/proc/demo')).toBe('shown\n');
    expect(seen).toBe(0x1234n);
    expect(world.fs.stat('/proc/demo')).toMatchObject({ kind: 'file', mode: 0o444, nlink: 1 });
    world.call('remove_proc_entry', text('demo'), 0);
    expect(world.cat('/proc/demo')).toBe(-UAPI.ENOENT);
    expect(world.core.slab.used()).toBe(used);
  });

  it('with proc_ops of their own open, read and write through them', () => {
    const written: string[] = [];
    const ops = makeOps({
      proc_write: world.define(([, buf, count]) => {
        written.push(world.core.mem.readCString(buf, Number(count)));
        return count;
      }),
    });
    world.call('proc_create', text('sink'), 0o200, 0, ops);
    expect(world.echo('hello', '/proc/sink')).toBe(6);
    expect(written).toEqual(['hello\n']);
    expect(world.cat('/proc/sink')).toBe(-UAPI.EIO);
    const fd = world.open('/proc/sink');
    expect(world.lseek(fd, 0)).toBe(-UAPI.ESPIPE);
    world.closeFd(fd);
    world.call('remove_proc_entry', text('sink'), 0);
    expect(world.core.slab.used()).toBe(used);
  });

  it('stand in directories, and go with them', () => {
    const dir = world.call('proc_mkdir', text('dir'), 0);
    world.call('proc_create_single_data', text('file'), 0o400, dir, shower('in dir'), 0);
    world.call('proc_create_single_data', text('dir/other'), 0, 0, shower('other'), 0);
    expect(world.cat('/proc/dir/file')).toBe('in dir');
    expect(world.cat('/proc/dir/other')).toBe('other');
    expect(world.fs.stat('/proc/dir')).toMatchObject({ kind: 'directory', mode: 0o555 });
    expect(world.call('remove_proc_subtree', text('dir'), 0)).toBe(0n);
    expect(world.cat('/proc/dir/file')).toBe(-UAPI.ENOENT);
    expect(world.core.slab.used()).toBe(used);
  });

  it('cannot have a name twice, a number, or none, each with the kernel’s warning', () => {
    const make = (name: string): bigint =>
      world.call('proc_create_single_data', text(name), 0, 0, shower(''), 0);
    expect(make('twice')).not.toBe(0n);
    expect(make('twice')).toBe(0n);
    expect(warnings().at(-1)).toBe("proc_dir_entry '/proc/twice' already registered");
    expect(make('12')).toBe(0n);
    expect(warnings().at(-1)).toBe("create '/proc/12' by hand");
    expect(make('')).toBe(0n);
    expect(warnings().at(-1)).toBe('name len 0');
    expect(make('no/such')).toBe(0n);
    expect(warnings().at(-1)).toBe("name 'no/such'");
    world.call('remove_proc_entry', text('twice'), 0);
    expect(world.core.slab.used()).toBe(used);
  });

  it('that are permanent, or not there, are not removed', () => {
    world.call('remove_proc_entry', text('version'), 0);
    expect(warnings().at(-1)).toBe("removing permanent /proc entry 'version'");
    expect(world.cat('/proc/version')).toMatch(/^Linux version/);
    world.call('remove_proc_entry', text('absent'), 0);
    expect(warnings().at(-1)).toBe("name 'absent'");
  });
});

describe('removal of an entry that is open', () => {
  it('releases the file then, and not again at its close; reading it is EIO', () => {
    let released = 0;
    const release = world.define(() => {
      released++;
      return 0;
    });
    world.call(
      'proc_create',
      text('open'),
      0,
      0,
      makeOps({ proc_read: world.define(() => 0), proc_release: release }),
    );
    const fd = world.open('/proc/open');
    expect(world.read(fd)).toBe('');
    world.call('remove_proc_entry', text('open'), 0);
    expect(released).toBe(1);
    expect(world.read(fd)).toBe(-UAPI.EIO);
    expect(world.write(fd, 'x')).toBe(-UAPI.EBADF);
    expect(world.closeFd(fd)).toBe(0);
    expect(released).toBe(1);
    expect(world.core.slab.used()).toBe(used);
  });

  it('keeps nothing of a seq_file that a module opened', () => {
    const code = world.define(() => 0);
    world.call('proc_create', text('seq'), 0, 0, seqOps(code));
    const entry = world.fs.proc.lookup('seq');
    expect(entry).toBeDefined();
    world.call('remove_proc_entry', text('seq'), 0);
    expect(world.core.slab.used()).toBe(used);
  });
});

describe('what stands on the stack in a show function', () => {
  const traceOf = (path: string, name: string): string[] => {
    let trace: string[] = [];
    const show = world.define(([m]) => {
      trace = world.trace();
      world.fs.seq.write(m, 'x');
    });
    world.call('proc_create_single_data', text(name), 0, 0, show, 0);
    world.cat(path);
    world.call('remove_proc_entry', text(name), 0);
    return trace;
  };

  it('is the chain of a read, for an entry of a module', () => {
    const trace = traceOf('/proc/traced', 'traced');
    expect(trace).toEqual(['seq_read_iter', 'proc_reg_read_iter', 'vfs_read', 'ksys_read']);
  });

  it('is one function less for a permanent entry, whose read is a tail call', () => {
    let trace: string[] = [];
    const probe = world.define(([m]) => {
      trace = world.trace();
      world.fs.seq.write(m, 'x');
    });
    const entry = world.fs.proc.lookup('uptime');
    const show = (entry?.addr ?? 0n) + 64n;
    const before = world.core.mem.readU64(show);
    world.core.mem.writeU64(show, probe);
    world.cat('/proc/uptime');
    world.core.mem.writeU64(show, before);
    expect(trace).toEqual(['seq_read_iter', 'vfs_read', 'ksys_read']);
  });

  it('has seq_read under it for the entries that are read the old way', () => {
    expect(world.cat('/proc/modules')).toBe('demo 16384 0 - Live 0x0\n');
    expect(world.cat('/proc/self/stack')).toBe('[<0>] schedule+0x1/0x2\n');
  });
});
