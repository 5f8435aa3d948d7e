// Everything that enabling a bundle or loading a module changes, so that it can be held against what was before.
//
// Text is compared as it is, byte for byte; func_stacks by what is on them; sysfs with what its files say; memory by
// every live allocation; the blob store by its bytes.

import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { type Addr, hex } from '../../src/guest/addr.ts';
import type { SysfsDir, SysfsFile } from '../../src/kernel/sysfs.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { checkInvariants, heapOf, pictureOf } from '../properties/audit.ts';
import { SECOND, type World } from './world.ts';

/** When nothing is under way; what must hold at any time is asserted on the way. */
export function rest(w: World): Record<string, unknown> {
  expect(w.settled()).toBe(true);
  w.machine.runFor(2 * SECOND);
  const gate = w.machine.inspect.bundles?.gate;
  expect([gate?.held, gate?.waits]).toEqual([false, []]);
  expect(checkInvariants(w.machine)).toEqual([]);
  return { ...stateOf(w.machine), callbacks: { ...w.callbacks } };
}

export function stateOf(machine: Machine): Record<string, unknown> {
  return {
    ...pictureOf(machine),
    text: textOf(machine),
    funcStacks: funcStacks(machine),
    sysfs: filesOf(machine.inspect.sysfs.mkdirs('/kernel')).concat(
      filesOf(machine.inspect.sysfs.mkdirs('/module')),
    ),
    heap: heapOf(machine),
    blobs: blobs(machine),
    proc: machine.inspect.fs.list('/proc')?.filter((name) => name.startsWith('klp')),
  };
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The image's text, every module's and every trampoline, at their addresses. */
function textOf({ inspect: { core, ftrace, modules } }: Machine): Record<string, string> {
  const image = ftrace.records.group(undefined);
  const start = image[0].ip;
  const pieces: [string, Addr, number][] = [
    ['vmlinux', start, Number(image[image.length - 1].ip + 5n - start)],
    ...modules.loader.modules.all.map((m): [string, Addr, number] => [
      m.name,
      m.base('core'),
      m.textSize('core'),
    ]),
    ...ftrace.trampolines.list().map((t): [string, Addr, number] => ['trampoline', t.start, t.size]),
  ];
  return Object.fromEntries(
    pieces.map(([name, at, size]) => [`${name} ${hex(at)} ${size}`, hash(core.mem.readBytes(at, size))]),
  );
}

/** The versions of every patched function, the newest first. */
function funcStacks({
  inspect: {
    core,
    livepatch: { patching },
  },
}: Machine): string[] {
  return [...patching.allOps()].map((ops) => {
    const stack = patching.funcStack(ops);
    return `${hex(ops)} ${core.sym(stack[0].oldFunc)}: ${stack.map((func) => hex(func.newFunc)).join(' ')}`;
  });
}

function filesOf(dir: SysfsDir): string[] {
  return dir
    .entries()
    .flatMap((node) =>
      node.kind === 'directory'
        ? [`${node.path}/`, ...filesOf(node)]
        : [node.kind === 'link' ? `${node.path} -> ${node.text}` : textOfFile(node)],
    );
}

/** Path, mode and text; a file whose text is made by guest code only by its path. */
function textOfFile(file: SysfsFile): string {
  const show =
    (file.mode & 0o444) !== 0 && file.path.startsWith('/kernel/livepatch') ? file.show().next() : undefined;
  return `${file.path} ${file.mode.toString(8)} ${show?.done ? show.value : ''}`;
}

function blobs(machine: Machine): string[] {
  return (machine.inspect.bundles?.list() ?? []).flatMap((bundle) =>
    bundle.members.map((member) => {
      const bytes = member.blob === 0n ? 'none' : hash(bundle.bytesOf(member));
      return `${bundle.name} ${member.spec.file} ${member.module?.name ?? 'away'} ${hex(member.blob)} ${bytes}`;
    }),
  );
}
