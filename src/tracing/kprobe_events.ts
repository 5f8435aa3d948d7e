// Probes that are made by words: tracefs' kprobe_events, kprobe_profile and events/. Mirrors kernel/trace/trace_kprobe.c and
// trace_dynevent.c, for probes at the entry of a function that record where they were hit.

import { latin1Bytes } from '../fs/context.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { symbolText } from '../kernel/kallsyms.ts';
import { holds } from '../kernel/release.ts';
import { UAPI } from '../kernel/uapi.ts';
import { KprobeStruct } from './kprobe_struct.ts';
import type { Kprobes } from './kprobes.ts';
import { TRACING } from './since.ts';
import type { TraceBuffer } from './trace_buffer.ts';

const GROUP = 'kprobes';
/** is_good_name() */
const NAME = /^[A-Za-z_]\w*$/;
const LONGEST_NAME = 63;
const OFFSET = /^(.*?)([+-])(0x[0-9a-fA-F]+|\d+)$/;

export interface KprobeEvent {
  readonly group: string;
  readonly name: string;
  /** As it was named. */
  readonly symbol: string;
  readonly offset: number;
  readonly probe: KprobeStruct;
  readonly text: Addr;
  enabled: boolean;
  /** EVENT_FILE_FL_WAS_ENABLED: once, and for good. */
  wasEnabled: boolean;
  /** Not while the module that it names is not there. */
  registered: boolean;
  hits: number;
}

/** Of `MODULE:FUNCTION`. */
const moduleOf = (symbol: string): string | undefined => /^(.*?):/.exec(symbol)?.[1];

export class KprobeEvents {
  readonly #core: KernelCore;
  readonly #kprobes: Kprobes;
  readonly #buffer: TraceBuffer;
  readonly #events: KprobeEvent[] = [];

  constructor(core: KernelCore, kprobes: Kprobes, buffer: TraceBuffer) {
    this.#core = core;
    this.#kprobes = kprobes;
    this.#buffer = buffer;
    core.host.define('kprobe_trace_func', ({ cpu, args: [at, , irqsOff] }) => {
      const event = this.#events.find(({ probe }) => probe.at === at);
      if (!event?.enabled) return;
      event.hits++;
      const addr = event.probe.get('addr');
      const place = (): string => {
        const found = kprobes.nameOf(addr);
        return found ? symbolText(found) : `0x${addr.toString(16)}`;
      };
      buffer.record(cpu, irqsOff !== 0n, () => `${event.name}: (${place()})`);
    });
  }

  get all(): readonly KprobeEvent[] {
    return this.#events;
  }

  get isBusy(): boolean {
    return this.#events.some((event) => event.enabled);
  }

  /** The file kprobe_events. */
  text(): string {
    return this.#events
      .map(({ group, name, symbol, offset }) => `p:${group}/${name} ${symbol}${offset ? `+${offset}` : ''}\n`)
      .join('');
  }

  /** The file kprobe_profile. */
  profile(): string {
    return this.#events
      .map(({ name, hits, probe }) => {
        const numbers = [hits, Number(probe.get('nmissed'))].map((n) => String(n).padStart(15));
        return `  ${name.padEnd(44)} ${numbers.join(' ')}\n`;
      })
      .join('');
  }

  /** create_or_delete_trace_kprobe(), a command a line. @returns 0 or -errno: those before it are done */
  *command(line: string): HostGenerator<number> {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    const [what = ''] = words;
    if (what === '') return 0;
    if (what.startsWith('-')) return yield* this.#delete(what);
    if (!what.startsWith('p') && !what.startsWith('r')) return -UAPI.EINVAL;
    if (words.length < 2) return -UAPI.EINVAL;
    if (what.startsWith('r')) return this.#isNotThere('return probes are not there', line);
    if (words.length > 2) return this.#isNotThere('arguments of a probe are not there', line);
    return yield* this.#create(what, words[1]);
  }

  #isNotThere(text: string, line: string): number {
    this.#core.events.emit({ type: 'note', text: `kprobe_events: ${line.trim()}: ${text}` });
    return -UAPI.EOPNOTSUPP;
  }

  *#create(what: string, place: string): HostGenerator<number> {
    const parsed = OFFSET.exec(place);
    const [symbol, offset] = parsed ? [parsed[1], Number(parsed[3])] : [place, 0];
    if (/^\d/.test(place) || (parsed && parsed[2] === '-')) return -UAPI.EINVAL;
    const named = parseName(what, symbol, offset);
    if (typeof named === 'number') return named;
    const failed = this.#checkSymbol(symbol, offset);
    if (failed !== 0) return failed;
    return yield* this.#append({ ...named, symbol, offset });
  }

  /** validate_probe_symbol() and within_notrace_func() */
  #checkSymbol(symbol: string, offset: number): number {
    const { symbols, kernel, printk } = this.#core;
    if (this.#awaits(symbol)) return 0;
    const start = symbols.lookupName(symbol);
    const isOne = symbol.includes(':') || symbols.matches(symbol, undefined).length <= 1;
    if (start === undefined || !isOne) {
      if (holds(kernel, TRACING.badSymbolIsInvalid)) return -UAPI.EINVAL;
      return start === undefined ? -UAPI.ENOENT : -UAPI.EADDRNOTAVAIL;
    }
    if (typeof this.#kprobes.place(start) !== 'number') return 0;
    printk.warn(`trace_kprobe: Could not probe notrace function ${symbol}${offset ? `+${offset}` : ''}`);
    return -UAPI.EINVAL;
  }

  /** trace_kprobe_module_exist() */
  #awaits(symbol: string): boolean {
    const module = moduleOf(symbol);
    return module !== undefined && !this.#kprobes.isLoaded(module);
  }

  *#append(made: Pick<KprobeEvent, 'group' | 'name' | 'symbol' | 'offset'>): HostGenerator<number> {
    // append_trace_kprobe(): an event may have several probes, each at another place.
    const others = this.#events.filter(({ group, name }) => group === made.group && name === made.name);
    if (others.some(({ symbol, offset }) => symbol === made.symbol && offset === made.offset))
      return -UAPI.EEXIST;
    const enabled = others.some((event) => event.enabled);
    const wasEnabled = others.some((event) => event.wasEnabled);
    const { slab, mem, kernel } = this.#core;
    const { size, fields } = kernel.structs.kprobe;
    const at = slab.tryAlloc(size, 'trace_kprobe');
    const text = at === 0n ? 0n : slab.tryAlloc(made.symbol.length + 1, 'trace_kprobe symbol');
    if (text === 0n) {
      if (at !== 0n) slab.free(at);
      return -UAPI.ENOMEM;
    }
    mem.writeBytes(text, latin1Bytes(`${made.symbol}\0`));
    const probe = new KprobeStruct(this.#core, at);
    probe.set('symbol_name', text);
    mem.writeU32(at + BigInt(fields.offset), made.offset);
    probe.set('pre_handler', this.#core.symbols.require('kprobe_dispatcher'));
    const event = { ...made, probe, text, enabled, wasEnabled, registered: false, hits: 0 };
    const failed = yield* this.#register(event);
    if (failed === -UAPI.ENOENT && this.#awaits(made.symbol))
      this.#core.printk.warn(
        'trace_kprobe: This probe might be able to register after target module is loaded. Continue.',
      );
    else if (failed !== 0) {
      slab.free(text);
      slab.free(at);
      return failed;
    }
    this.#events.push(event);
    return 0;
  }

  /** __register_trace_kprobe() @returns 0 or -errno */
  *#register(event: KprobeEvent): HostGenerator<number> {
    const { probe, enabled } = event;
    probe.set('addr', 0n);
    probe.flags = enabled ? 0 : this.#core.kernel.constants.KPROBE_FLAG_DISABLED;
    const failed = yield* this.#kprobes.register(probe.at);
    event.registered = failed === 0;
    return failed;
  }

  /** trace_kprobe_module_callback(): probes that name the module are in it from now on. */
  *moduleComes(module: string): HostGenerator<void> {
    for (const event of this.#events) {
      if (moduleOf(event.symbol) !== module) continue;
      if (event.registered) yield* this.#kprobes.unregister([event.probe.at]);
      const failed = yield* this.#register(event);
      if (failed !== 0)
        this.#core.printk.warn(
          `trace_kprobe: Failed to re-register probe ${event.name} on ${module}: ${failed}`,
        );
    }
  }

  *#delete(what: string): HostGenerator<number> {
    const [group, name] = splitName(what.replace(/^-:?/, ''));
    if (!what.startsWith('-:')) return -UAPI.EINVAL;
    const found = this.#events.filter(
      (event) => event.name === name && (group === undefined || event.group === group),
    );
    if (found.length === 0) return -UAPI.ENOENT;
    // unregister_trace_kprobe() asks of the last probe of an event alone: by then the others have gone.
    for (const event of found) {
      if (event.enabled && !this.#hasSibling(event)) return -UAPI.EBUSY;
      yield* this.#remove(event);
    }
    return 0;
  }

  /** trace_probe_has_sibling() */
  #hasSibling(event: KprobeEvent): boolean {
    return this.#events.some(
      (other) => other !== event && other.group === event.group && other.name === event.name,
    );
  }

  /** dyn_events_release_all(): of which none is enabled. */
  *removeAll(): HostGenerator<void> {
    for (const event of [...this.#events]) yield* this.#remove(event);
  }

  /** With the last probe of an event that recorded once the buffer is emptied: event_remove(), tracing_reset_all_online_cpus(). */
  *#remove(event: KprobeEvent): HostGenerator<void> {
    if (event.registered) yield* this.#kprobes.unregister([event.probe.at]);
    if (event.wasEnabled && !this.#hasSibling(event)) this.#buffer.reset();
    this.#events.splice(this.#events.indexOf(event), 1);
    this.#core.slab.free(event.text);
    this.#core.slab.free(event.probe.at);
  }

  /** events/GROUP/NAME/enable @returns 0 or -errno */
  *enable(event: KprobeEvent, on: boolean): HostGenerator<number> {
    if (event.enabled === on) return 0;
    const { probe } = event;
    const isGone = probe.has(this.#core.kernel.constants.KPROBE_FLAG_GONE);
    let failed = 0;
    if (!on && event.registered) yield* this.#kprobes.disable(probe.at);
    if (on && event.registered && !isGone) failed = yield* this.#kprobes.enable(probe.at);
    if (failed === 0) event.enabled = on;
    event.wasEnabled ||= event.enabled;
    return failed;
  }
}

/** [GRP/]EVENT */
function splitName(text: string): [string | undefined, string] {
  const at = text.search(/[/.]/);
  return at < 0 ? [undefined, text] : [text.slice(0, at), text.slice(at + 1)];
}

/** traceprobe_parse_event_name(), and the name of a probe that is given none. */
function parseName(what: string, symbol: string, offset: number): { group: string; name: string } | number {
  const own = `p_${symbol.replaceAll(/[:.]/g, '_')}_${offset}`.slice(0, LONGEST_NAME);
  if (what === 'p') return { group: GROUP, name: own };
  if (!what.startsWith('p:')) return -UAPI.EINVAL;
  const [group = GROUP, name] = splitName(what.slice(2));
  if (!NAME.test(group) || group.length > LONGEST_NAME) return -UAPI.EINVAL;
  if (name === '') return what.endsWith('/') ? { group, name: own } : -UAPI.EINVAL;
  if (!NAME.test(name) || name.length > LONGEST_NAME) return -UAPI.EINVAL;
  return { group, name };
}
