// Records of fentry sites: which is found by an address, what is told of one that changes, which can be made to fail.

import { afterEach, describe, expect, it } from 'vitest';
import { availableFilterFunctions, enabledFunctions } from '../../src/ftrace/report.ts';
import { FTRACE } from '../../src/ftrace/since.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Session } from '../properties/session.ts';
import { World } from './world.ts';

const PATCH = 'klpdemo_patch_vmlinux';

describe('a record', () => {
  it('is found by its whole address, and by a range that it lies in', async () => {
    const { ftrace, ...world } = await World.boot();
    const site = world.core.symbols.require('cmdline_proc_show');
    const { records } = ftrace;
    expect(records.at(site)?.ip).toBe(site);
    expect(records.at(site - (1n << 32n))).toBeUndefined();
    expect(records.at(site + 1n)).toBeUndefined();
    const inRange = (from: bigint, to: bigint) => records.inRange(undefined, site + from, site + to)?.ip;
    expect([inRange(-4n, 0n), inRange(0n, 0n), inRange(-4n, 4n)]).toEqual([site, site, site]);
    expect([inRange(1n, 4n), inRange(-4n, -1n)]).toEqual([undefined, undefined]);
  });

  it('is among those of its module by address, in whatever order its section has them', async () => {
    const { ftrace } = await World.boot();
    const { records } = ftrace;
    const image = [...records.all()];
    const [a, b, c] = [0n, 16n, 32n].map((offset) => 0xffffffffa0000000n + offset);
    records.add('m', [c, a, b]);
    const ips = (of: Iterable<{ ip: bigint }>) => [...of].map(({ ip }) => ip);
    expect(ips(records.group('m'))).toEqual([a, b, c]);
    expect(records.inRange('m', a + 1n, c)?.ip).toBe(b);
    expect(ips(records.ofModules())).toEqual([a, b, c]);
    expect(ips(records.all())).toEqual([...ips(image), a, b, c]);
  });

  it('is shown where a kernel has its function, which may be in another order, and by the name it has there', async () => {
    const world = await World.boot();
    const { records } = world.ftrace;
    const [first, second] = [...records.all()].map(({ ip }) => ip);
    const away = 0xfffffffff0000000n;
    records.showAs({
      places: new Map([[first, { ip: away, offset: 4 }]]),
      listed: () => [
        { ip: second, name: 'second' },
        { ip: away, name: 'first' },
      ],
    });
    const ops = world.ftrace.ops(world.core.slab.alloc(BUILT_IN.structs.ftrace_ops.size, 'test ops'));
    ops.func = world.sym('ftrace_stub');
    world.run(world.ftrace.setFilter(ops.addr, [first, second]));
    world.run(world.ftrace.registerFunction(ops.addr));
    const shown = enabledFunctions(world.core, world.ftrace).trimEnd().split('\n');
    expect(shown.map((line) => line.split(' ')[0])).toEqual(['second', 'first']);
    expect(availableFilterFunctions(world.core, world.ftrace)).toBe('second\nfirst\n');
    expect([first, second].map((ip) => records.kernelOffset(ip))).toEqual([4, undefined]);
  });

  it('is of the function that it stands at the start of; one farther inside is of none, and never enabled', async () => {
    const { ftrace, core } = await World.boot();
    const start = core.symbols.require('ftrace_caller');
    const { maxOffset } = core.arch.fentry;
    const at = (offset: number) => {
      const [rec] = ftrace.records.add(
        'weak',
        [start + BigInt(offset)],
        core.kernel.constants.FTRACE_FL_DISABLED,
      );
      ftrace.moduleEnable('weak');
      const line = availableFilterFunctions(core, ftrace).trimEnd().split('\n').at(-1);
      ftrace.releaseMod('weak');
      return [line, rec.flags & core.kernel.constants.FTRACE_FL_DISABLED ? 'off' : 'on'];
    };
    expect(at(0)).toEqual(['ftrace_caller [weak]', 'on']);
    expect(at(maxOffset)).toEqual(['ftrace_caller [weak]', 'on']);
    const far = maxOffset + 1;
    expect(at(far)).toEqual([`__ftrace_invalid_address___${far} [weak]`, 'off']);
  });

  it('has its name in available_filter_functions, the image first and by address', async () => {
    const world = await World.boot();
    const sites = [...world.image.fentrySites].sort((a, b) => (a < b ? -1 : 1));
    const names = sites.map((site) => world.core.symbols.nameOf(site));
    expect(availableFilterFunctions(world.core, world.ftrace)).toBe(
      names.map((name) => `${name}\n`).join(''),
    );
  });

  it('is told of when it changes, with its bytes before and after', async () => {
    const world = await World.boot();
    world.load(PATCH);
    const changes = () =>
      world.events.flatMap((e) =>
        e.type === 'ftrace' ? [[e.what, e.where, e.before?.[0], e.after?.[0]]] : [],
      );
    expect(changes()).toEqual([['register', expect.stringContaining('cmdline_proc_show+0x0/'), 0x0f, 0xe8]]);
    world.echo('0', `/kernel/livepatch/${PATCH}/enabled`);
    expect(changes()).toHaveLength(2);
    expect(changes()[1]).toEqual(['unregister', changes()[0][1], 0xe8, 0x0f]);
  });

  it('has a trampoline of the name that kallsyms gives it, and pokes are told of to who listens', async () => {
    const world = await World.boot();
    world.load(PATCH);
    const [trampoline] = world.ftrace.trampolines.list();
    expect(world.trampolines.get(Number(trampoline.start & 0xffffffffn))).toMatchObject({
      name: '__builtin__ftrace',
    });
    const pokes = world.events.flatMap((e) =>
      e.type === 'poke' && e.where.startsWith('cmdline_proc_show') ? [e.step] : [],
    );
    // That of the boot, of a site that nobody executes yet, was one store.
    expect(pokes).toEqual(['whole', 'int3', 'tail', 'first byte']);
  });

  it('has a column more in enabled_functions from 6.12 on', async () => {
    const world = await World.boot({ kernel: { ...BUILT_IN, release: FTRACE.modifiedColumn.release } });
    world.load(PATCH);
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(
      /^cmdline_proc_show \(1\) {3}I {5}M \ttramp: /,
    );
    world.echo('0', `/kernel/livepatch/${PATCH}/enabled`);
    expect(enabledFunctions(world.core, world.ftrace)).toBe('');
    // The M stays for whoever traces it next; a site that nothing ever redirected has none.
    for (const name of ['cmdline_proc_show', 'vfs_read']) {
      const ops = world.ftrace.ops(world.core.slab.alloc(BUILT_IN.structs.ftrace_ops.size, 'test ops'));
      ops.func = world.sym('ftrace_stub');
      world.run(world.ftrace.setFilterIp(ops.addr, world.sym(name), false));
      world.run(world.ftrace.registerFunction(ops.addr));
    }
    const lines = enabledFunctions(world.core, world.ftrace).trimEnd().split('\n');
    expect(lines.map((line) => line.replace(/\t.*/, ''))).toEqual([
      `cmdline_proc_show (1)${' '.repeat(9)}M `,
      `vfs_read (1)${' '.repeat(11)}`,
    ]);
  });
});

describe('the registration of one function', () => {
  let session: Session;
  afterEach(() => session.machine.close());

  it('can be made to fail by its name, and that of others goes on', async () => {
    session = await Session.boot();
    const { faults } = session.machine.inspect.core;
    faults.arm({ point: 'register_ftrace_function', of: 'klpdemo_no_such_function' });
    const fault = faults.arm({ point: 'register_ftrace_function', of: 'cmdline_proc_show' });
    expect(session.insmod('target')).toBe(0);
    expect(session.insmod('patch_target')).toBe(0);
    expect(session.settled()).toBe(true);
    expect(session.insmod('patch_vmlinux')).toBe(UAPI.EBUSY);
    expect(fault.injected).toEqual([expect.stringContaining('cmdline_proc_show')]);
  });

  it('fails with its filter, and then its site was never touched', async () => {
    session = await Session.boot();
    const { core, ftrace } = session.machine.inspect;
    const fault = core.faults.arm({ point: 'ftrace_set_filter_ip', of: 'cmdline_proc_show' });
    expect(session.insmod('patch_vmlinux')).toBe(UAPI.EINVAL);
    expect(fault.injected).toHaveLength(1);
    core.faults.disarm(fault);
    const record = ftrace.records.at(core.symbols.require('cmdline_proc_show'));
    expect(record?.wasTouched).toBe(false);
    expect(session.insmod('patch_vmlinux')).toBe(0);
    expect(record?.wasTouched).toBe(true);
    expect(ftrace.records.at(core.symbols.require('vfs_read'))?.wasTouched).toBe(false);
  });
});
