// What a machine throws is what its functions say, and what the API has a class for.

import { afterEach, describe, expect, it } from 'vitest';
import {
  GuestPanic,
  KernelError,
  Machine,
  MachineError,
  MachineOptionError,
  SlabError,
} from '../../src/index.ts';

const SMALL = { heap: 4 << 20, moduleArea: 1 << 20, maxTasks: 16, cpus: 1 };

let machine: Machine | undefined;
afterEach(() => {
  machine?.close();
  machine = undefined;
});

const thrownBy = (run: () => unknown): unknown => {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
};

describe('a machine throws', () => {
  it('MachineOptionError for an option that it cannot have', async () => {
    const error = await Machine.boot({ cpus: 0 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MachineOptionError);
    expect(error).toMatchObject({ code: 'EINVAL', option: 'cpus' });
  });

  it('MachineError for what cannot be done in a kernel whose memory was overwritten', async () => {
    machine = await Machine.boot(SMALL);
    const { mem, tasks } = machine.inspect.core;
    for (const { addr } of [...tasks.curr, tasks.byPid(1) ?? tasks.curr[0]]) {
      mem.writeBytes(addr, new Uint8Array(2048).fill(0x41));
    }
    const error = thrownBy(() => machine?.spawn('cat', ['/proc/cmdline']));
    expect(error).toBeInstanceOf(MachineError);
    expect(error).toMatchObject({
      code: 'EMACHINE',
      message: expect.stringMatching(
        /^cat cannot be started: the kernel's memory is broken: .* at 0x[0-9a-f]+$/,
      ),
    });
  });

  it('MachineError for a program and a file that there are not', async () => {
    machine = await Machine.boot(SMALL);
    expect(thrownBy(() => machine?.spawn('no-such'))).toBeInstanceOf(MachineError);
    expect(thrownBy(() => machine?.readText('/sys/no-such'))).toBeInstanceOf(MachineError);
  });

  it('KernelError where there is no room for another task, and goes on with those that there are', async () => {
    machine = await Machine.boot(SMALL);
    let error: unknown;
    for (let i = 0; i < 40 && !error; i++) error = thrownBy(() => machine?.spawn('pause'));
    expect(error).toBeInstanceOf(KernelError);
    expect(error).toMatchObject({ code: 'EAGAIN' });
    machine.runFor(1e7);
    expect(thrownBy(() => machine?.rmmod('x'))).toBeInstanceOf(KernelError);
  });

  it('SlabError where there is no memory for another task', async () => {
    machine = await Machine.boot(SMALL);
    const { slab } = machine.inspect.core;
    for (const size of [4096, 64]) while (!(thrownBy(() => slab.alloc(size, 'test')) instanceof SlabError));
    const error = thrownBy(() => machine?.insmod('/x.ko'));
    expect(error).toBeInstanceOf(SlabError);
    expect(error).toMatchObject({ code: 'ENOMEM' });
  });

  it('GuestPanic when its kernel panics, from whatever lets it run', async () => {
    machine = await Machine.boot(SMALL);
    const { mem, symbols } = machine.inspect.core;
    // ud2 in the handler of an interrupt
    mem.pokeText(symbols.require('__sysvec_apic_timer_interrupt'), Uint8Array.of(0x0f, 0x0b));
    machine.spawn('spin');
    const error = thrownBy(() => machine?.runFor(1e9));
    expect(error).toBeInstanceOf(GuestPanic);
    expect(machine.dmesg().some((line) => line.includes('Fatal exception in interrupt'))).toBe(true);
  });
});
