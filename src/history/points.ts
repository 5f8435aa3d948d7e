// Break- and watchpoints of a debugger, and a machine that is looked at for them.
//
// They are the engine's: no byte of guest text is changed, so that a breakpoint on a site that is patched shows the site as it
// is. What host functions write is looked at behind each of them, so that the instruction that called one is the writer.
//
// Invariant: to be looked at changes nothing of what the machine does.

import type { Hit, Observer, WatchedRange } from '../guest/observer.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { DebugError } from './error.ts';

type Access = WatchedRange['access'];

export interface WatchPoint {
  readonly addr: bigint;
  readonly size: number;
  readonly access: Access;
}

/** One that was met. */
export interface Met {
  readonly cpu: Cpu;
  /** Instructions executed then: before the one at a breakpoint, behind the one that accessed what is watched. */
  readonly position: number;
  readonly point: { readonly breakpoint: bigint } | WatchPoint;
  /** What is watched is not what it was. */
  readonly changed: boolean;
}

/** What a debugger has set. */
export class Points {
  /** Their kinds: of memory, of hardware. */
  readonly breakpoints = new Map<bigint, Set<'software' | 'hardware'>>();
  readonly watchpoints: WatchPoint[] = [];

  addBreakpoint(addr: bigint, kind: 'software' | 'hardware'): void {
    this.breakpoints.set(addr, (this.breakpoints.get(addr) ?? new Set()).add(kind));
  }

  removeBreakpoint(addr: bigint, kind: 'software' | 'hardware'): void {
    const kinds = this.breakpoints.get(addr);
    kinds?.delete(kind);
    if (kinds?.size === 0) this.breakpoints.delete(addr);
  }

  addWatchpoint(point: WatchPoint): void {
    if (!this.watchpoints.some((one) => isSame(one, point))) this.watchpoints.push(point);
  }

  removeWatchpoint(point: WatchPoint): void {
    const at = this.watchpoints.findIndex((one) => isSame(one, point));
    if (at >= 0) this.watchpoints.splice(at, 1);
  }

  clear(): void {
    this.breakpoints.clear();
    this.watchpoints.length = 0;
  }
}

const isSame = (a: WatchPoint, b: WatchPoint): boolean =>
  a.addr === b.addr && a.size === b.size && a.access === b.access;

/** Looks at one machine. */
export class Lookout {
  readonly #machine: Machine;
  readonly #observer: Observer;
  #breakpoints: ReadonlySet<bigint> = new Set();
  #watchpoints: readonly WatchPoint[] = [];
  /** What watched memory held when it was last looked at. */
  readonly #seen = new Map<WatchPoint, Uint8Array>();
  /** Told of each that is met. @returns whether the machine is to stop there */
  onMet: (met: Met) => boolean = () => false;

  /** @throws DebugError where the engine observes nothing */
  constructor(machine: Machine) {
    this.#machine = machine;
    const { executor, host } = machine.inspect;
    if (!executor.observer)
      throw new DebugError('debugging takes the processor of our own: this engine observes nothing');
    this.#observer = executor.observer;
    executor.onObserved = (cpu, kind) => {
      cpu.sliceOver = false;
      if (kind === 'breakpoint')
        this.#tell({ cpu, position: executor.instructions, point: { breakpoint: cpu.pc }, changed: false });
      else this.#accessed(cpu, this.#observer.hits);
    };
    host.onServed = (cpu) => {
      if (this.#watchpoints.length > 0) this.#written(cpu);
    };
  }

  /** From now on these are looked at, and no others. @throws EngineError for more than it has room for */
  set(breakpoints: Iterable<bigint>, watchpoints: readonly WatchPoint[]): void {
    const next = new Set(breakpoints);
    if (next.size !== this.#breakpoints.size || [...next].some((addr) => !this.#breakpoints.has(addr)))
      this.#observer.breakAt(next);
    this.#breakpoints = next;
    if (watchpoints.length > 0 || this.#watchpoints.length > 0) this.#observer.watch(watchpoints);
    this.#watchpoints = [...watchpoints];
    this.#look();
  }

  #look(): void {
    this.#seen.clear();
    for (const point of this.#watchpoints)
      if (point.access !== 'read') this.#seen.set(point, this.#bytes(point));
  }

  #bytes({ addr, size }: WatchPoint): Uint8Array {
    const { mem } = this.#machine.inspect.core;
    return mem.isMapped(addr, size) ? mem.readBytes(addr, size) : new Uint8Array();
  }

  #accessed(cpu: Cpu, hits: readonly Hit[]): void {
    if (hits.every(({ by }) => by === 'host')) {
      this.#written(cpu);
      return;
    }
    const point = this.#watchpoints.find((one) => hits.some((hit) => touches(one, hit)));
    const before = point && this.#seen.get(point);
    const changed = before !== undefined && Buffer.compare(before, this.#bytes(point as WatchPoint)) !== 0;
    this.#look();
    if (point) this.#tell({ cpu, position: this.#machine.inspect.executor.instructions, point, changed });
  }

  /** Host functions write guest memory directly. */
  #written(cpu: Cpu): void {
    // Where memory has come since there is nothing that it could be compared with.
    if ([...this.#seen].some(([point, before]) => before.length !== this.#bytes(point).length)) this.#look();
    const changed = [...this.#seen].find(
      ([point, before]) => Buffer.compare(before, this.#bytes(point)) !== 0,
    );
    if (!changed) return;
    this.#look();
    this.#tell({
      cpu,
      position: this.#machine.inspect.executor.instructions,
      point: changed[0],
      changed: true,
    });
  }

  #tell(met: Met): void {
    const { executor } = this.#machine.inspect;
    if (this.onMet(met)) executor.stopAt = executor.instructions;
  }
}

function touches({ addr, size, access }: WatchPoint, hit: Hit): boolean {
  if (access !== 'both' && access !== hit.access) return false;
  return hit.addr < addr + BigInt(size) && addr < hit.addr + BigInt(hit.size);
}
