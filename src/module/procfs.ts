// What the system shows of its modules: /proc/modules, the plain files of /sys/module, the line of an oops.
// Mirrors kernel/module/procfs.c, module_flags(), print_modules() and modinfo_attrs[] of kernel/module/main.c.

import type { Module } from './module.ts';
import type { ModuleList } from './modules.ts';

/** module_flags(): `(OEK)`, with `+` while loading and `-` while unloading; empty for a clean live module. */
export function moduleFlags(mod: Module, showState = true): string {
  const state = mod.state;
  const sign = !showState ? '' : state === 'GOING' ? '-' : state === 'COMING' ? '+' : '';
  const letters = mod.taintLetters + sign;
  return letters === '' ? '' : `(${letters})`;
}

/** /proc/modules, newest first. */
export function procModules(modules: ModuleList): string {
  return modules.visible.map((mod) => `${procModulesLine(mod)}\n`).join('');
}

function procModulesLine(mod: Module): string {
  const users = [...mod.users].map((m) => `${m.name},`).join('');
  const permanent = mod.init !== 0n && mod.exit === 0n ? '[permanent],' : '';
  const states = { GOING: 'Unloading', COMING: 'Loading', LIVE: 'Live', UNFORMED: '' };
  const base = mod.base('core').toString(16).padStart(16, '0');
  const line = [
    mod.name,
    mod.size('core') + mod.size('init'),
    mod.refcount,
    users + permanent || '-',
    mod.paused ? 'Paused' : states[mod.state],
    `0x${base}`,
  ].join(' ');
  return mod.taints === 0 ? line : `${line} ${moduleFlags(mod)}`;
}

/** Files of /sys/module/NAME, with the modes that the kernel gives them. */
export const MODULE_ATTRIBUTES: readonly {
  readonly name: string;
  readonly mode: number;
  /** undefined: the module has no such file. */
  readonly show: (mod: Module) => string | undefined;
}[] = [
  { name: 'version', mode: 0o444, show: (m) => m.info.get('version') },
  { name: 'srcversion', mode: 0o444, show: (m) => m.info.get('srcversion') },
  { name: 'initstate', mode: 0o444, show: (m) => m.state.toLowerCase() },
  { name: 'coresize', mode: 0o444, show: (m) => String(m.size('core')) },
  { name: 'initsize', mode: 0o444, show: (m) => String(m.size('init')) },
  { name: 'taint', mode: 0o444, show: (m) => m.taintLetters },
  { name: 'refcnt', mode: 0o444, show: (m) => String(m.refcount) },
];

/** print_modules(): the line of an oops. */
export function printModules(modules: ModuleList): string {
  const list = modules.visible.map((m) => ` ${m.name}${moduleFlags(m)}`).join('');
  const last = modules.lastUnloaded;
  const flags = last?.flags ? `(${last.flags})` : '';
  return `Modules linked in:${list}${last ? ` [last unloaded: ${last.name}${flags}]` : ''}`;
}
