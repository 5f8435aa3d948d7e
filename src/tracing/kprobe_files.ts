// /sys/kernel/debug/kprobes. Mirrors report_probe() and the files of kernel/kprobes.c.

import type { HostFile } from '../fs/host_files.ts';
import type { KernelCore } from '../kernel/core.ts';
import { kstrtobool } from '../kernel/lib.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KprobeStruct } from './kprobe_struct.ts';
import type { Kprobes } from './kprobes.ts';

export function kprobeFiles(core: KernelCore, kprobes: Kprobes): [string, HostFile][] {
  return [
    [
      'list',
      { mode: 0o400, read: () => [...kprobes.listed()].map((probe) => line(core, kprobes, probe)).join('') },
    ],
    [
      'enabled',
      {
        mode: 0o600,
        read: () => `${kprobes.allDisarmed ? 0 : 1}\n`,
        *write(text) {
          const on = kstrtobool(text);
          if (on === undefined) return -UAPI.EINVAL;
          const failed = yield* kprobes.setAll(on);
          return failed < 0 ? failed : text.length;
        },
      },
    ],
  ];
}

/** report_probe(), of a symbol that is known: every probe is at an fentry site. */
function line({ kernel }: KernelCore, kprobes: Kprobes, probe: KprobeStruct): string {
  const { KPROBE_FLAG_GONE, KPROBE_FLAG_FTRACE } = kernel.constants;
  const addr = probe.get('addr');
  const found = kprobes.nameOf(addr);
  const where = found
    ? `${found.name}+0x${found.offset.toString(16)}  ${found.module ?? ' '}`
    : `0x${addr.toString(16)}`;
  const isGone = probe.has(KPROBE_FLAG_GONE);
  const state = isGone ? '[GONE]' : probe.isDisabled ? '[DISABLED]' : '';
  const how = probe.has(KPROBE_FLAG_FTRACE) ? '[FTRACE]' : '';
  return `${addr.toString(16).padStart(16, '0')}  k  ${where} ${state}${how}\n`;
}
