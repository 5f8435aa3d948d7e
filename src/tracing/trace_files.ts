// The files of tracefs. Mirrors kernel/trace/trace.c, trace_events.c and ftrace.c; those that only show what ftrace has are
// src/ftrace/report.ts's.

import type { DebugFs } from '../fs/debugfs.ts';
import type { HostFile, OpeningHostFile } from '../fs/host_files.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { KernelError } from '../kernel/errno.ts';
import { holds } from '../kernel/release.ts';
import { UAPI } from '../kernel/uapi.ts';
import { changeFilter, filterText, NO_FILTER } from './filter.ts';
import type { FunctionTracer } from './function_tracer.ts';
import { TRACERS } from './function_tracer.ts';
import type { KprobeEvent, KprobeEvents } from './kprobe_events.ts';
import { TRACING } from './since.ts';
import type { TraceBuffer } from './trace_buffer.ts';

const READ = 0o440;
const WRITE = 0o640;
const ROOT = 'tracing';

const writes = (flags: number): boolean => (flags & UAPI.O_ACCMODE) !== UAPI.O_RDONLY;
const cuts = (flags: number): boolean => writes(flags) && (flags & UAPI.O_TRUNC) !== 0;

export function traceFiles(
  core: KernelCore,
  debugfs: DebugFs,
  ftrace: Ftrace,
  tracer: FunctionTracer,
  events: KprobeEvents,
): void {
  const { buffer } = tracer;
  const files: Record<string, HostFile | OpeningHostFile> = {
    available_tracers: { mode: READ, read: () => `${TRACERS.join(' ')}\n` },
    current_tracer: {
      mode: WRITE,
      read: () => `${tracer.current}\n`,
      *write(text) {
        const failed = yield* tracer.set(text.trim());
        return failed < 0 ? failed : text.length;
      },
    },
    tracing_on: {
      mode: WRITE,
      read: () => `${buffer.on ? 1 : 0}\n`,
      // rb_simple_write(): those that wait for something to read look whether it is the end.
      *write(text): HostGenerator<number> {
        const value = number(text);
        if (typeof value === 'number') return value;
        const wasOn = buffer.on;
        buffer.on = value !== 0n;
        if (wasOn && !buffer.on) yield { call: core.symbols.require('rb_wake_up_waiters'), args: [0n] };
        return text.length;
      },
    },
    trace: {
      mode: WRITE,
      opened: (flags) => {
        if (cuts(flags)) buffer.reset();
        return { read: () => buffer.text(tracer.current), write: (text) => text.length };
      },
    },
    trace_marker: { mode: 0o220, write: (text, { cpu }) => mark(core, buffer, text, cpu) },
    set_ftrace_filter: filterFile(core, ftrace, tracer, 'filter', 'all functions enabled'),
    set_ftrace_notrace: filterFile(core, ftrace, tracer, 'notrace', 'no functions disabled'),
    kprobe_events: eventsFile(debugfs, events),
    kprobe_profile: { mode: READ, read: () => events.profile() },
  };
  for (const [name, file] of Object.entries(files)) debugfs.add(`${ROOT}/${name}`, file);
}

/** tracing_mark_write(): one entry, as much of it as there is room for. */
function mark(core: KernelCore, buffer: TraceBuffer, text: string, cpu: number): number {
  if (!buffer.on) return -UAPI.EBADF;
  const taken = text.slice(0, holds(core.kernel, TRACING.longMarks) ? MARK_SIZE.event : MARK_SIZE.text);
  const depth = holds(core.kernel, TRACING.marksWithoutPreemption) ? -1 : 0;
  buffer.record(cpu, false, () => `tracing_mark_write: ${taken.replace(/\n$/, '')}`, depth);
  return taken.length;
}

/** TRACE_BUF_SIZE; and what an event of the ring buffer has room for beside a struct print_entry. */
const MARK_SIZE = { text: 1024, event: 4054 };

const ULONG_MAX = (1n << 64n) - 1n;

/** kstrtoul() with base 10. @returns or -errno */
function number(text: string): bigint | number {
  const digits = /^\+?(\d+)\n?$/.exec(text)?.[1];
  if (digits === undefined) return -UAPI.EINVAL;
  const value = BigInt(digits);
  return value > ULONG_MAX ? -UAPI.ERANGE : value;
}

/** What is written to a filter holds from the close() on: ftrace_regex_open(), ftrace_regex_release(). */
function filterFile(
  core: KernelCore,
  ftrace: Ftrace,
  tracer: FunctionTracer,
  which: 'filter' | 'notrace',
  none: string,
): OpeningHostFile {
  return {
    mode: WRITE,
    opened: (flags) => {
      if (ftrace.disabled) throw new KernelError(UAPI.ENODEV, 'ftrace is off for good');
      const read = (): string => filterText(core, ftrace, tracer[which], none);
      if (!writes(flags)) return { read };
      let changed = cuts(flags) ? NO_FILTER : tracer[which];
      return {
        read,
        write: (text) => {
          const { filter, status } = changeFilter(core, ftrace, changed, text, (name) =>
            tracer.isLoaded(name),
          );
          changed = filter;
          return status < 0 ? status : text.length;
        },
        *release(): HostGenerator<void> {
          const { filter, notrace } = tracer;
          yield* which === 'filter'
            ? tracer.setFilters(changed, notrace)
            : tracer.setFilters(filter, changed);
        },
      };
    },
  };
}

/** probes_open(), probes_write(): opened to be cut, all probes go, unless one of them is enabled. */
function eventsFile(debugfs: DebugFs, events: KprobeEvents): OpeningHostFile {
  return {
    mode: WRITE,
    opened: (flags) => {
      if (cuts(flags) && events.isBusy) throw new KernelError(UAPI.EBUSY, 'kprobe_events');
      let cut = cuts(flags);
      const clear = function* (): HostGenerator<void> {
        if (cut) yield* events.removeAll();
        cut = false;
        showEvents(debugfs, events);
      };
      return {
        read: () => events.text(),
        *write(text): HostGenerator<number> {
          yield* clear();
          for (const line of text.split('\n')) {
            const failed = yield* events.command(line);
            showEvents(debugfs, events);
            if (failed < 0) return failed;
          }
          return text.length;
        },
        *release(): HostGenerator<void> {
          yield* clear();
        },
      };
    },
  };
}

/** The directories of events: one a group, and one an event in it. */
function showEvents(debugfs: DebugFs, events: KprobeEvents): void {
  const root = `${ROOT}/events`;
  debugfs.remove(root);
  for (const group of new Set(events.all.map((event) => event.group))) {
    const members = (): KprobeEvent[] => events.all.filter((event) => event.group === group);
    debugfs.add(`${root}/${group}/enable`, enableFile(events, members));
  }
  for (const event of events.all)
    debugfs.add(
      `${root}/${event.group}/${event.name}/enable`,
      enableFile(events, () =>
        events.all.filter(({ group, name }) => group === event.group && name === event.name),
      ),
    );
}

/** event_enable_write(), system_enable_read(): 0, 1, or X where some are and some are not. */
function enableFile(events: KprobeEvents, members: () => readonly KprobeEvent[]): HostFile {
  return {
    mode: WRITE,
    read: () => {
      const on = new Set(members().map((event) => event.enabled));
      return on.size > 1 ? 'X\n' : on.has(true) ? '1\n' : '0\n';
    },
    *write(text) {
      const value = number(text);
      if (typeof value === 'number') return value;
      if (value > 1n) return -UAPI.EINVAL;
      for (const event of members()) {
        const failed = yield* events.enable(event, value === 1n);
        if (failed !== 0) return failed;
      }
      return text.length;
    },
  };
}
