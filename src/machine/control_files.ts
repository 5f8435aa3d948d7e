// Files by which the kernel's parts are turned on and off, and looked into: sysctls and debugfs.
// Mirrors ftrace_enable_sysctl() of kernel/trace/ftrace.c, lib/dynamic_debug.c, tracefs.

import type { FileSystem } from '../fs/filesystem.ts';
import type { OpeningHostFile } from '../fs/host_files.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import {
  availableFilterFunctions,
  availableFilterFunctionsAddrs,
  dynFtraceTotalInfo,
  enabledFunctions,
  touchedFunctions,
} from '../ftrace/report.ts';
import { FTRACE } from '../ftrace/since.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { KernelError } from '../kernel/errno.ts';
import { procInt, procUnsignedInt } from '../kernel/proc_vec.ts';
import { holds } from '../kernel/release.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { Timers } from '../sched/timer.ts';
import { kprobeFiles } from '../tracing/kprobe_files.ts';
import { traceFiles } from '../tracing/trace_files.ts';
import { defineTracePipe } from '../tracing/trace_pipe.ts';
import type { PatchingParts } from './boot/patching.ts';
import type { Oops } from './traps/oops.ts';

/** kern_exit_table of kernel/exit.c. */
export function oopsLimitFile({ sysctls }: FileSystem, oops: Oops): void {
  sysctls.add('kernel/oops_limit', {
    mode: 0o644,
    read: () => String(oops.limit),
    write: (text) => {
      const written = procUnsignedInt(text);
      if (typeof written === 'number') return written;
      oops.limit = Number(written.value);
      return written.consumed;
    },
  });
}

export function makeControlFiles(
  core: KernelCore,
  fs: FileSystem,
  ftrace: Ftrace,
  livepatch: Livepatch,
  { kprobes, events, tracer }: PatchingParts['tracing'],
  timers: Timers,
): void {
  const { sysctls, debugfs } = fs;
  sysctls.add('kernel/ftrace_enabled', {
    mode: 0o644,
    read: () => (ftrace.disabled ? -UAPI.ENODEV : String(ftrace.enabled)),
    *write(text): HostGenerator<number> {
      if (ftrace.disabled) return -UAPI.ENODEV;
      const written = procInt(text);
      if (typeof written === 'number') return written;
      const failed = yield* ftrace.setEnabled(Number(written.value));
      return failed < 0 ? failed : written.consumed;
    },
  });
  const { dynamicDebug } = livepatch;
  debugfs.add('dynamic_debug/control', {
    mode: 0o644,
    read: () => dynamicDebug.control(),
    write: (text) => dynamicDebug.write(text),
  });
  for (const [name, file] of kprobeFiles(core, kprobes)) debugfs.add(`kprobes/${name}`, file);
  traceFiles(core, debugfs, ftrace, tracer, events);
  defineTracePipe(core, fs, tracer, (timer) => timers.add(timer, core.clock.now(), { timer }));
  debugfs.add('tracing/trace_pipe', fs.guestFile('tracing_pipe_fops', 0o440));
  const { addressesShown, touchedShown } = FTRACE;
  const available = {
    available_filter_functions: () => availableFilterFunctions(core, ftrace),
    ...(holds(core.kernel, addressesShown)
      ? { available_filter_functions_addrs: () => availableFilterFunctionsAddrs(core, ftrace) }
      : {}),
  };
  for (const [name, read] of Object.entries(available))
    debugfs.add(`tracing/${name}`, availableFile(ftrace, read));
  const shown = {
    enabled_functions: () => enabledFunctions(core, ftrace),
    ...(holds(core.kernel, touchedShown) ? { touched_functions: () => touchedFunctions(core, ftrace) } : {}),
    dyn_ftrace_total_info: () => dynFtraceTotalInfo(ftrace),
  };
  for (const [name, read] of Object.entries(shown)) debugfs.add(`tracing/${name}`, { mode: READ, read });
}

/** TRACE_MODE_READ */
const READ = 0o440;

/** ftrace_avail_open(), ftrace_avail_addrs_open() */
const availableFile = (ftrace: Ftrace, read: () => string): OpeningHostFile => ({
  mode: READ,
  opened: () => {
    if (ftrace.disabled) throw new KernelError(UAPI.ENODEV, 'ftrace is off for good');
    return { read };
  },
});
