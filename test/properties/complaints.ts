// What a machine must never say or be marked with, whatever is done to it: warnings, bugs, taints.

import type { KernelEvent } from '../../src/kernel/events.ts';
import type { Machine } from '../../src/machine/machine.ts';

const SAYS_SO =
  /WARNING:|BUG:|kernel BUG|INFO: (task|rcu)|refcount_t: |list_(add|del) corruption|lockup|Call Trace:|general protection|page fault|unable to handle/i;
/** KERN_CRIT and above. */
const SEVERE = 2;

/** Collects what is said from now on. */
export class Complaints {
  readonly #machine: Machine;
  readonly #said: string[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.events.subscribe((event) => this.#note(event), ['printk', 'oops']);
  }

  #note(event: KernelEvent): void {
    if (event.type === 'oops') this.#said.push(event.text);
    if (event.type === 'printk' && (event.level <= SEVERE || SAYS_SO.test(event.text)))
      this.#said.push(event.text);
  }

  /** All until now; a taint only of those that modules and livepatches of a distribution bring. */
  all(): string[] {
    const { core } = this.#machine.inspect;
    const { TAINT_OOT_MODULE, TAINT_UNSIGNED_MODULE, TAINT_LIVEPATCH } = core.kernel.constants;
    const expected = (1 << TAINT_OOT_MODULE) | (1 << TAINT_UNSIGNED_MODULE) | (1 << TAINT_LIVEPATCH);
    const more = core.taints & ~expected;
    return more === 0 ? [...this.#said] : [...this.#said, `tainted: 0x${more.toString(16)}`];
  }
}
