// The operations of a run: of a script, of livepatches that come and go, or of the generator.

import { readFileSync } from 'node:fs';
import { ScriptUsageError } from '../errors.ts';
import type { OracleArguments } from './arguments.ts';
import { generate } from './generator.ts';
import { operationsOf, type PatchOfSet } from './patches.ts';

const CONTROL = '/sys/kernel/debug/dynamic_debug/control';
/** Livepatch says what it does, but for what depends on where a task was at that moment. */
const PRELUDE: readonly string[] = [
  `echo 'file kernel/livepatch/* +p' > ${CONTROL}`,
  `echo 'func klp_try_switch_task -p' > ${CONTROL}`,
];

/** Random operations on one machine: after more of them too much is pinned for anything to happen. */
const SEQUENCE = 250;

/** Operations that begin on a machine that has just been booted. */
export interface Sequence {
  readonly name: string;
  readonly operations: readonly string[];
}

/** @throws ScriptUsageError for a script that cannot be read, or has nothing to do */
export function sequencesOf(
  { script, livepatches, random, seed }: OracleArguments,
  release: string,
  patches: readonly PatchOfSet[] = [],
): Sequence[] {
  if (script !== undefined) return [{ name: script, operations: readScript(script) }];
  if (patches.length > 0) return [{ name: 'patches', operations: [...PRELUDE, ...operationsOf(patches)] }];
  if (livepatches.length > 0)
    return [{ name: 'livepatches', operations: [...PRELUDE, ...livepatches.flatMap(comesAndGoes)] }];
  return Array.from({ length: Math.ceil(random / SEQUENCE) }, (_, i) => {
    const count = Math.min(SEQUENCE, random - i * SEQUENCE);
    return { name: `seed ${seed + i}`, operations: [...PRELUDE, ...generate(count, seed + i, release)] };
  });
}

function readScript(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ScriptUsageError(`${file}: ${(error as Error).message}`);
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (lines.length === 0) throw new ScriptUsageError(`${file}: no operation is in it`);
  return lines;
}

function comesAndGoes(name: string): string[] {
  const patch = `/sys/kernel/livepatch/${name.replace(/-/g, '_')}`;
  return [
    `modprobe ${name}`,
    `ls -l ${patch}`,
    'cat /proc/modules',
    'cat /sys/kernel/tracing/enabled_functions',
    `echo 0 > ${patch}/enabled`,
    'ls -l /sys/kernel/livepatch',
    `rmmod ${name.replace(/-/g, '_')}`,
    'cat /proc/modules',
    'cat /sys/kernel/tracing/enabled_functions',
  ];
}
