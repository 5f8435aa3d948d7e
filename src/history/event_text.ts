// An event in a line, for a person who asks what came before a moment.

import type { KernelEvent } from '../kernel/events.ts';
import { logPrefix } from '../kernel/printk.ts';
import { hexBytes, traceLine } from '../scenario/trace.ts';

type Text<K extends KernelEvent['type']> = (event: Extract<KernelEvent, { type: K }>) => string;

const TEXTS: { readonly [K in KernelEvent['type']]?: Text<K> } = {
  printk: ({ text }) => text,
  task: ({ what, pid, comm }) => `${comm}:${pid} ${what === 'new' ? 'is new' : 'exits'}`,
  module: ({ name, state }) => `module ${name} ${state}`,
  poke: ({ where, step, before, after }) => `${where} ${step}: ${hexBytes(before)} -> ${hexBytes(after)}`,
  int3: ({ where, emulated }) => `${where} is hit while it is written: ${emulated}`,
  ftrace: ({ what, where }) => `${what} ${where}`,
  transition: ({ patch, what }) => `${patch}: ${what}`,
  blocked: ({ comm, pid, why, func }) => `${comm}:${pid} cannot switch: ${why}${func ? ` ${func}` : ''}`,
  patch_state: ({ comm, pid, from, to, way }) => `${comm}:${pid} patch_state ${from} -> ${to} by ${way}`,
  call: ({ comm, pid, func, version }) => `${comm}:${pid} calls ${func}, and gets ${version}`,
};

export function eventText(event: KernelEvent): string {
  const text = TEXTS[event.type] as ((event: KernelEvent) => string) | undefined;
  return `${logPrefix(event.t)}CPU ${event.cpu}: ${text ? text(event) : traceLine(event)}`;
}
