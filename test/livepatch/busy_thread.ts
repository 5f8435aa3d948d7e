// The thread of klpdemo_busy on a machine, and a livepatch of the function that it is nearly always in.

import { expect } from 'vitest';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { Machine } from '../../src/machine/machine.ts';

/** call rel32 */
const CALL = 0xe8;

export class BusyThread {
  readonly machine: Machine;
  readonly #fixture: (name: string) => Uint8Array;
  /** How the thread switched, each time. */
  readonly ways: string[] = [];

  /** @param fixture a module's file, by its name */
  constructor(machine: Machine, fixture: (name: string) => Uint8Array) {
    this.machine = machine;
    this.#fixture = fixture;
    machine.inspect.core.events.subscribe(
      (event) => {
        if (event.type === 'patch_state' && this.isOf(event)) this.ways.push(event.way);
      },
      ['patch_state'],
    );
  }

  isOf(event: KernelEvent): boolean {
    return 'comm' in event && event.comm === 'klpdemo_busy';
  }

  #insmod(name: string, params: string): void {
    this.machine.addFile(`/${name}.ko`, this.#fixture(name));
    const task = this.machine.insmod(`/${name}.ko`, params);
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, 20e9);
    expect([name, this.machine.exitStatus(task), this.machine.dmesg().slice(-1)]).toEqual([
      name,
      0,
      expect.anything(),
    ]);
  }

  load(what: 'busy' | 'freezable'): void {
    this.#insmod('klpdemo_busy', `what=${what}`);
    this.machine.runFor(1e9);
  }

  /** Loads the livepatch. @returns whether its transition is over after `ns` */
  patched(ns: number): boolean {
    this.#insmod('klpdemo_patch_busy', '');
    return this.settled(ns);
  }

  settled(ns: number): boolean {
    return this.machine.runUntil(() => !this.machine.inspect.livepatch.transitionPatch, ns);
  }

  /** Has it disabled, and waits for nothing: ftrace waits for tasks that never sleep, and for this one without end. */
  disable(): void {
    this.machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpdemo_patch_busy/enabled']);
  }

  /** What the thread's loop calls for cond_resched(): the one of its loop that is a static call. */
  condResched(): string | undefined {
    const { symbols, mem, kernel } = this.machine.inspect.core;
    const [site] = this.machine.inspect.modules.find('klpdemo_busy')?.staticCallSites ?? [];
    expect([kernel.release, mem.readU8(site.addr)]).toEqual([kernel.release, CALL]);
    return symbols.lookup(BigInt.asUintN(64, site.addr + 5n + BigInt(mem.readS32(site.addr + 1n))))?.name;
  }
}
