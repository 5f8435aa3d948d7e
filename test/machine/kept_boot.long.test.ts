// A kernel's boot that is taken from the cache: the machine is the one that executed it, all of it, and so is what it does then.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { PAGE_SIZE } from '../../src/guest/memory.ts';
import { HostCallDispatch } from '../../src/machine/cpu/hostcall_dispatch.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { keptKernels, openKernel } from '../../src/machine/native/cache.ts';
import { keptBootName } from '../../src/machine/native/kept_boot.ts';
import { completeOptions } from '../../src/machine/options.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { differencesOf } from './host_graph.ts';

/** What is made when somebody asks for it: decoded blocks, names that were looked up, marks of pages that were looked at. */
const MADE_LATER = new RegExp(
  [
    '^\\.machine\\.#engine\\.#(?:blocks|observer|stop)\\b',
    '\\.events\\.#wanting$',
    '\\.#fs\\.#symbols$',
    'symbols?\\.#found$',
    '[{ ]symbols\\}\\.#found$',
    '\\.#touched$',
    '\\.#jumps$',
    // what was decoded last: it is filled anew before it is read
    '\\.#insn\\.',
    // where an unwinder was last: a guess at where it is next
    '\\.lookup\\.hit\\.',
    '\\.unwinder\\.',
    'percpu\\}?\\.#offsets$',
  ].join('|'),
);

function fileOf(kernel: string, options: MachineOptions = {}): string {
  const { hash } = openKernel(kernel, X86_64);
  const name = keptBootName(hash, X86_64.name, completeOptions({ kernel, ...options }));
  return join(keptKernels.folder, name ?? 'none');
}

/** A machine, and whether a host function was called before it was there. */
async function booted(options: MachineOptions): Promise<{ machine: Machine; executed: boolean }> {
  const dispatch = vi.spyOn(HostCallDispatch.prototype, 'dispatch');
  const machine = await Machine.boot(options);
  const executed = dispatch.mock.calls.length > 0;
  dispatch.mockRestore();
  return { machine, executed };
}

function pagesThatDiffer(a: Machine, b: Machine): number[] {
  const [first, second] = [a, b].map(({ inspect }) => inspect.core.mem.u8);
  const pages: number[] = [];
  for (let at = 0; at < first.length; at += PAGE_SIZE)
    if (Buffer.compare(first.subarray(at, at + PAGE_SIZE), second.subarray(at, at + PAGE_SIZE)) !== 0)
      pages.push(at / PAGE_SIZE);
  return pages;
}

/** What it does from here on: events, log, instructions, registers. */
function doings(machine: Machine): unknown {
  const events: unknown[] = [];
  const off = machine.events.subscribe((event) => events.push(event));
  const task = machine.spawn('cat', ['/sys/bus/platform/drivers_autoprobe']);
  machine.runFor(3e9);
  off();
  const { executor, smp } = machine.inspect;
  const registers = smp.cpus.map(({ context }) => [...context.regs]);
  const answer = { status: machine.exitStatus(task), stdout: machine.stdout(task) };
  return { answer, events, dmesg: machine.dmesg(), instructions: executor.instructions, registers };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(Object.keys(DEBIAN_KERNELS))('the boot of %s', (series) => {
  const kernel = vmlinuzOf(series as keyof typeof DEBIAN_KERNELS);

  it.skipIf(!kernel).each([1, 2, 5])(
    'is the same from the cache, of %i CPUs: memory, registers, everything that the host keeps',
    async (cpus) => {
      const options = { kernel: kernel as string, cpus };
      const file = fileOf(options.kernel, options);
      rmSync(file, { force: true });
      const first = await booted(options);
      expect([first.executed, existsSync(file)]).toEqual([true, true]);
      const second = await booted(options);
      expect(second.executed).toBe(false);
      const [a, b] = [first.machine, second.machine];
      expect(pagesThatDiffer(a, b)).toEqual([]);
      const whole = (machine: Machine) => ({
        machine,
        states: [...machine.inspect.core.host.states.values()],
      });
      expect(differencesOf(whole(a), whole(b), (path) => MADE_LATER.test(path))).toEqual([]);
      const done = doings(a);
      expect(doings(b)).toEqual(done);
      expect(pagesThatDiffer(a, b)).toEqual([]);
      a.close();
      // In what the closed one has left of its core, too.
      const third = await booted(options);
      expect(third.executed).toBe(false);
      expect(doings(third.machine)).toEqual(done);
      third.machine.close();
      b.close();
    },
  );

  it.skipIf(!kernel)(
    'is the same on CPUs so slow that something may be under way at its end, kept or not',
    async () => {
      const options = { kernel: kernel as string, instructionNs: 10_000 };
      rmSync(fileOf(options.kernel, options), { force: true });
      const done = [];
      for (let turn = 0; turn < 2; turn++) {
        const { machine } = await booted(options);
        done.push(doings(machine));
        machine.close();
      }
      expect(done[1]).toEqual(done[0]);
    },
  );

  it.skipIf(!kernel)('is another one for other options, and executed for another seed', async () => {
    const options = { kernel: kernel as string, cpus: 1 };
    expect(fileOf(options.kernel, options)).not.toBe(fileOf(options.kernel));
    const seeded = { ...options, seed: 7 };
    for (let turn = 0; turn < 2; turn++) {
      const { machine, executed } = await booted(seeded);
      machine.close();
      expect(executed).toBe(true);
    }
  });

  it.skipIf(!kernel)('is executed anew where what was kept is damaged, which is said', async () => {
    const options = { kernel: kernel as string, cpus: 3 };
    const file = fileOf(options.kernel, options);
    (await booted(options)).machine.close();
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(file, bytes);
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const { machine, executed } = await booted(options);
    machine.close();
    const lines = said.mock.calls.map(([line]) => String(line));
    said.mockRestore();
    expect(executed).toBe(true);
    expect(lines.some((line) => line.includes('it is damaged'))).toBe(true);
  });
});
