// Modules of Debian's kernels that go by what the boot of those kernels sets up: each row has what was missing once.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Shell } from '../../src/shell/shell.ts';
import { DebianModules, SERIES } from './debian_modules.ts';

describe.each(SERIES)('on %s', (series) => {
  const modules = new DebianModules(series);
  const { library } = modules;

  beforeAll(() => modules.boot());
  afterAll(() => modules.close());

  it.skipIf(!library)(
    'what a driver says of its device is in the log, with the level that it asks for',
    () => {
      const { status, said } = modules.saidBy('comedi_test');
      expect(status).toBe(0);
      expect(said).toContain(
        'comedi comedi0: comedi_test: 1000000 microvolt, 100000 microsecond waveform attached',
      );
      const record = modules.machine.inspect.core.printk.records.find(({ text }) =>
        text.startsWith('comedi comedi0'),
      );
      expect(record?.level).toBe(6);
    },
  );

  it.skipIf(!library)('a thread of works is made, of real-time priority', () => {
    expect(modules.statusOf('watchdog')).toBe(0);
    const { core } = modules.machine.inspect;
    const thread = [...core.tasks.processes()].find(({ comm }) => comm === 'watchdogd');
    const { policy, rt_priority, prio } = core.kernel.structs.task_struct.fields;
    const member = (at: number | undefined): number =>
      core.mem.readU32((thread?.addr ?? 0n) + BigInt(at ?? 0));
    // SCHED_FIFO, and half of MAX_RT_PRIO.
    expect([policy, rt_priority, prio].map(member)).toEqual([1, 50, 49]);
  });

  it.skipIf(!library)('threads on each CPU are made, and stop with their module', () => {
    expect(modules.statusOf('pktgen')).toBe(0);
    const { core } = modules.machine.inspect;
    const threads = (): string[] =>
      [...core.tasks.processes()].map(({ comm }) => comm).filter((comm) => comm.startsWith('kpktgend_'));
    expect(threads()).toEqual(['kpktgend_0']);
    const task = modules.machine.rmmod('pktgen');
    modules.machine.runUntil(() => modules.machine.exitStatus(task) !== undefined, 60e9);
    expect([modules.machine.exitStatus(task), threads()]).toEqual([0, []]);
    expect(modules.machine.dmesg().join('\n')).not.toMatch(/BUG:|Oops|WARNING/);
  });

  it.skipIf(!library).each([
    ['aoe', 'how many CPUs are online'],
    ['button', 'the bus of ACPI'],
    ['acpi_ipmi', 'the namespace of ACPI'],
    ['speakup', 'a console'],
    ['virtio_balloon', 'the bus of virtio'],
    ['advansys', 'the bus of ISA'],
    ['netfs', 'links in /proc'],
    ['realtek', 'the bus of PHYs'],
  ])('%s loads, which asks for %s', (name) => {
    // No device of it is there, which its init says itself up to 6.1.
    expect(modules.statusOf(name)).toBe(name === 'advansys' && series === '6.1' ? 19 : 0);
  });

  it.skipIf(!library)('physical addresses have the bits that the processor says', () => {
    expect(modules.saidBy('nettel').said.join('\n')).not.toContain('invalid physical address');
  });

  it.skipIf(!library || series === '6.1')('links in /proc lead where they say, and are links', async () => {
    const shell = new Shell(modules.machine);
    expect(modules.statusOf('netfs')).toBe(0);
    expect(
      await shell.execute('readlink /proc/fs/fscache; test -L /proc/fs/fscache && echo yes'),
    ).toMatchObject({
      stdout: 'netfs\nyes\n',
    });
    const [of, through] = ['netfs', 'fscache'].map((name) => shell.execute(`ls /proc/fs/${name}/`));
    expect((await through).stdout).toBe((await of).stdout);
    expect((await through).stdout).toContain('requests');
    expect((await shell.execute('rmmod netfs; ls /proc/fs')).stdout).not.toContain('fscache');
  });

  it.skipIf(!library || series !== '7.3')('symbols for kvm-amd are for the module kvm_amd', () => {
    const { status, said } = modules.saidBy('kvm_amd');
    // EOPNOTSUPP: the processor has no such virtual machines.
    expect(status).toBe(95);
    expect(said.join('\n')).not.toContain('does not import it');
  });

  // Whether the load comes to its end depends on who wakes whom: it is not asked for here.
  it.skipIf(!library || series !== '7.3')(
    'memory is made larger as later kernels ask, for words of a device',
    () => {
      const { said } = modules.saidBy('vhci_hcd');
      expect(said).toContain('usb usb1: Product: USB/IP Virtual Host Controller');
      expect(said.join('\n')).not.toMatch(/BUG:|WARNING/);
    },
  );
});
