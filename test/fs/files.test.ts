import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { USER, World } from './world.ts';

const C = BUILT_IN.constants;

let world: World;
let used: number;

beforeAll(async () => {
  world = await World.boot();
  world.fs.addFile('/etc/motd', 'hello, world\n');
});
afterAll(() => world.close());
beforeEach(() => {
  used = world.core.slab.used();
});

describe('/proc/cmdline', () => {
  it('is read through seq_read_iter by its show function in guest code', () => {
    expect(world.cat('/proc/cmdline')).toBe('quiet klpemu\n');
  });

  it('comes in pieces of any size', () => {
    for (const chunk of [1, 2, 3, 7, 12, 13, 14])
      expect(world.cat('/proc/cmdline', chunk)).toBe('quiet klpemu\n');
  });

  it('starts with an fentry site and the bytes of the real one', () => {
    const bytes = world.core.mem.readBytes(world.sym('cmdline_proc_show'), 9);
    expect([...bytes]).toEqual([0x0f, 0x1f, 0x44, 0, 0, 0x53, 0x48, 0x8b, 0x35]);
  });

  it('leaves nothing behind when it is closed', () => {
    world.cat('/proc/cmdline');
    expect(world.core.slab.used()).toBe(used);
  });
});

describe('other entries of /proc', () => {
  it('shows the version', () => {
    expect(world.cat('/proc/version')).toBe(
      'Linux version 6.1.0-56-amd64 (klpemu) (keystone) #1 SMP PREEMPT_DYNAMIC\n',
    );
  });

  it('shows memory from a realigned frame', () => {
    const text = world.cat('/proc/meminfo') as string;
    expect(text.split('\n')[0]).toBe('MemTotal:           8192 kB');
    expect(text).toMatch(/^MemFree: {9} +\d+ kB$/m);
    expect(text).toMatch(/^KernelStack: {4} +\d+ kB$/m);
    expect(text.split('\n')).toHaveLength(12);
  });

  it('shows the uptime', () => {
    world.now = 12_345_678_901;
    expect(world.cat('/proc/uptime')).toBe('12.34 0.00\n');
  });

  it('shows all symbols, in a buffer that grows until they fit', () => {
    const text = world.cat('/proc/kallsyms') as string;
    expect(text.length).toBeGreaterThan(8192);
    const addr = world.sym('vfs_read').toString(16);
    expect(text).toContain(`\n${addr} T vfs_read\n`);
    expect(text.endsWith('\n')).toBe(true);
  });

  it('shows a task by number and as self', () => {
    expect(world.cat('/proc/1/comm')).toBe('cat\n');
    expect(world.cat('/proc/self/comm')).toBe('cat\n');
    world.task.patchState = C.KLP_UNDEFINED;
    expect(world.cat('/proc/1/patch_state')).toBe('-1\n');
    expect(world.cat('/proc/self/status')).toMatch(
      /^Name:\tcat\nUmask:\t0022\nState:\tR \(running\)\nTgid:\t1\nPid:\t1\n/,
    );
    expect(world.cat('/proc/77/comm')).toBe(-UAPI.ENOENT);
  });

  it('says ESRCH for a task that is gone since the file was opened', () => {
    const child = world.addTask('child');
    const fd = world.open(`/proc/${child.pid}/comm`);
    world.core.tasks.unlink(child);
    expect(world.read(fd)).toBe(-UAPI.ESRCH);
    world.closeFd(fd);
  });

  it('shows and adds taints, but never takes one away', () => {
    world.core.taints = 4096;
    expect(world.cat('/proc/sys/kernel/tainted')).toBe('4096\n');
    expect(world.echo('1', '/proc/sys/kernel/tainted')).toBe(2);
    expect(world.cat('/proc/sys/kernel/tainted')).toBe('4097\n');
    expect(world.echo('x', '/proc/sys/kernel/tainted')).toBe(-UAPI.EINVAL);
    expect(world.echo('x', '/proc/sys/kernel/osrelease')).toBe(-UAPI.EACCES);
  });
});

describe('open', () => {
  it.each([
    { path: '/nowhere', flags: 0, errno: UAPI.ENOENT, why: 'nothing there is ENOENT' },
    { path: '', flags: 0, errno: UAPI.ENOENT, why: 'an empty path is ENOENT' },
    {
      path: '/sys/nothing',
      flags: UAPI.O_CREAT | UAPI.O_WRONLY,
      errno: UAPI.EACCES,
      why: 'one to be made in /sys is EACCES',
    },
    {
      path: '/proc/nothing',
      flags: UAPI.O_CREAT | UAPI.O_WRONLY,
      errno: UAPI.ENOENT,
      why: 'one to be made in /proc is ENOENT',
    },
    { path: '/proc/cmdline/x', flags: 0, errno: UAPI.ENOTDIR, why: 'a path through a file is ENOTDIR' },
    { path: '/proc/cmdline/', flags: 0, errno: UAPI.ENOTDIR, why: 'a file with a slash is ENOTDIR' },
    {
      path: '/none/x',
      flags: UAPI.O_CREAT | UAPI.O_WRONLY,
      errno: UAPI.ENOENT,
      why: 'one in no directory is ENOENT',
    },
    { path: '/proc', flags: UAPI.O_RDWR, errno: UAPI.EISDIR, why: 'a directory for writing is EISDIR' },
    {
      path: `/${'x'.repeat(5000)}`,
      flags: 0,
      errno: UAPI.ENAMETOOLONG,
      why: 'a path beyond PATH_MAX is ENAMETOOLONG',
    },
  ])('of $why', ({ path, flags, errno }) => {
    expect(world.open(path, flags)).toBe(-errno);
    expect(world.core.slab.used()).toBe(used);
  });

  it('makes a file, empties it, appends to it', () => {
    const path = '/tmp/made';
    const open = (flags: number): number => {
      const fd = world.open(path, flags | UAPI.O_WRONLY);
      expect(fd).toBeGreaterThanOrEqual(3);
      return fd;
    };
    world.closeFd(open(UAPI.O_CREAT));
    expect(world.echo('one', path)).toBe(4);
    const end = open(0o2000); // O_APPEND
    expect(world.write(end, 'two\n')).toBe(4);
    world.closeFd(end);
    expect(world.cat(path)).toBe('one\ntwo\n');
    world.closeFd(open(UAPI.O_TRUNC));
    expect(world.cat(path)).toBe('');
  });

  it('of a path that the user cannot read is EFAULT', () => {
    expect(world.syscall('open', 0x10, 0, 0)).toBe(-UAPI.EFAULT);
    expect(world.syscall('open', world.sym('linux_proc_banner'), 0, 0)).toBe(-UAPI.EFAULT);
  });

  it('gives the lowest free descriptor, and EMFILE when none is left', () => {
    const fds: number[] = [];
    for (let fd = world.open('/etc/motd'); fd >= 0; fd = world.open('/etc/motd')) fds.push(fd);
    expect(fds).toEqual(Array.from({ length: 61 }, (_, i) => i + 3));
    expect(world.open('/etc/motd')).toBe(-UAPI.EMFILE);
    world.closeFd(10);
    expect(world.open('/etc/motd')).toBe(10);
    for (const fd of fds) expect(world.closeFd(fd)).toBe(0);
    expect(world.core.slab.used()).toBe(used);
  });

  it('openat takes its arguments one later', () => {
    const fd = world.syscall('openat', -100, world.userString('/etc/motd'), 0, 0);
    expect(world.read(fd)).toBe('hello, world\n');
    world.closeFd(fd);
  });
});

describe('read and write', () => {
  it('of a bad descriptor is EBADF', () => {
    expect(world.read(9)).toBe(-UAPI.EBADF);
    expect(world.read(-1)).toBe(-UAPI.EBADF);
    expect(world.read(64)).toBe(-UAPI.EBADF);
    expect(world.write(9, 'x')).toBe(-UAPI.EBADF);
    expect(world.closeFd(9)).toBe(-UAPI.EBADF);
    expect(world.lseek(9, 0)).toBe(-UAPI.EBADF);
  });

  it('against the mode of the open is EBADF', () => {
    const fd = world.open('/proc/cmdline');
    expect(world.write(fd, 'x')).toBe(-UAPI.EBADF);
    world.closeFd(fd);
  });

  it('of a /proc entry that cannot be written is EIO', () => {
    expect(world.echo('x', '/proc/cmdline')).toBe(-UAPI.EIO);
  });

  it('of a directory is EISDIR', () => {
    const fd = world.open('/proc');
    expect(world.read(fd)).toBe(-UAPI.EISDIR);
    world.closeFd(fd);
  });

  it('into memory that is not the user is EFAULT, and loses nothing of the file', () => {
    const fd = world.open('/proc/cmdline');
    expect(world.syscall('read', fd, 0x10, 100)).toBe(-UAPI.EFAULT);
    expect(world.syscall('read', fd, world.task.addr, 100)).toBe(-UAPI.EFAULT);
    expect(world.read(fd)).toBe('quiet klpemu\n');
    world.closeFd(fd);
  });

  it('into memory that ends in the middle gives what fits', () => {
    const end = USER + BigInt(world.core.mem.geometry.stacks * 0x4000);
    const fd = world.open('/proc/cmdline');
    expect(world.syscall('read', fd, end - 5n, 100)).toBe(5);
    expect(world.read(fd)).toBe(' klpemu\n');
    world.closeFd(fd);
  });

  it('of nothing is 0', () => {
    const fd = world.open('/proc/cmdline');
    expect(world.read(fd, 0)).toBe('');
    world.closeFd(fd);
  });

  it('to standard output and error is kept by process', () => {
    expect(world.write(1, 'out ')).toBe(4);
    expect(world.write(2, 'err')).toBe(3);
    expect(world.write(1, 'more')).toBe(4);
    expect(world.fs.terminal.outputOf(1)).toEqual({ stdout: 'out more', stderr: 'err' });
    expect(world.read(0)).toBe('');
    expect(world.lseek(1, 0)).toBe(-UAPI.ESPIPE);
  });
});

describe('positions', () => {
  it('are kept, set and added to', () => {
    const fd = world.open('/etc/motd');
    expect(world.read(fd, 5)).toBe('hello');
    expect(world.lseek(fd, 2, 1)).toBe(7);
    expect(world.read(fd)).toBe('world\n');
    expect(world.read(fd)).toBe('');
    expect(world.lseek(fd, -6, 2)).toBe(7);
    expect(world.lseek(fd, 0, 0)).toBe(0);
    expect(world.lseek(fd, -1, 0)).toBe(-UAPI.EINVAL);
    expect(world.read(fd, 5)).toBe('hello');
    world.closeFd(fd);
  });

  it('of a seq_file are reached by showing what is before', () => {
    const fd = world.open('/proc/cmdline');
    expect(world.lseek(fd, 6)).toBe(6);
    expect(world.read(fd)).toBe('klpemu\n');
    expect(world.lseek(fd, 0)).toBe(0);
    expect(world.read(fd, 5)).toBe('quiet');
    expect(world.lseek(fd, 1, 1)).toBe(6);
    expect(world.read(fd)).toBe('klpemu\n');
    expect(world.lseek(fd, 1000)).toBe(1000);
    expect(world.read(fd)).toBe('');
    world.closeFd(fd);
  });

  it('of pread64 are its own', () => {
    const fd = world.open('/proc/cmdline');
    expect(world.syscall('pread64', fd, USER + 0x2000n, 3, 6)).toBe(3);
    expect(world.core.mem.readCString(USER + 0x2000n, 3)).toBe('klp');
    expect(world.syscall('pread64', fd, USER + 0x2000n, 3, -1)).toBe(-UAPI.EINVAL);
    expect(world.read(fd)).toBe('quiet klpemu\n');
    world.closeFd(fd);
    expect(world.syscall('pread64', 1, USER + 0x2000n, 3, 0)).toBe(-UAPI.ESPIPE);
  });
});

describe('descriptors of a forked task', () => {
  it('are its own, the files behind them shared; the last close releases', () => {
    const fd = world.open('/proc/cmdline');
    const child = world.addTask('child');
    world.fs.copyFiles(world.task, child);
    expect(world.read(fd, 6)).toBe('quiet ');
    expect(world.fs.files.open(child).map((f) => f.fd)).toEqual([0, 1, 2, fd]);
    world.closeFd(fd);
    expect(world.fs.files.file(child, fd)).toBeDefined();
    expect(world.fs.files.file(world.task, fd)).toBeUndefined();
    world.call('exit_files', child.addr);
    expect(world.fs.files.open(child)).toEqual([]);
    world.core.tasks.unlink(child);
    world.core.slab.free(child.addr);
    expect(world.core.slab.used()).toBe(used);
  });
});
