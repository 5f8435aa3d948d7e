// The modules that do not load on the emulated machine on their real kernel, in QEMU: what insmod says of each there.
//
// Invariant: what was not established is said so; a machine that ended is followed by another one, behind the module at which it did.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { errnoText } from '../../src/shell/errno_text.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { MachineFailure, type Outcome as Operation } from '../oracle/outcome.ts';
import { runReal } from '../oracle/qemu.ts';
import { log } from '../setup/run.ts';
import { SoftDependencies } from './soft_dependencies.ts';

export type RealOutcome =
  | { readonly kind: 'runs' }
  | { readonly kind: 'refused'; readonly errno: number }
  /** insmod is not done after its time: where it stands. */
  | { readonly kind: 'waits'; readonly where: string }
  /** One that it needs does not load there. */
  | { readonly kind: 'needs' }
  /** insmod was ended by the kernel, or the machine ended. */
  | { readonly kind: 'ended'; readonly said: string };

export interface RealKernel {
  readonly kernel: string;
  readonly release: string;
  /** /lib/modules/RELEASE */
  readonly folder: string;
  readonly userspace: string;
}

/** Modules that one machine is given. */
const BATCH = 50;
/** Of this computer's time, for each. */
const LINE_MS = 20_000;
/** Tenths of a second of the machine's time that insmod may take. */
const POLLS = 1200;
const NEEDS = 90;
const WAITS = 91;
const CMDLINE = 'console=ttyS0 quiet panic=-1 log_buf_len=4M';

/** In the words of init.sh, whose `pause` is a tenth of a second. */
const TRY = `tried() {
	local module=$1 pid i
	shift
	[[ $# = 0 ]] || modprobe -a "$@" || return ${NEEDS}
	insmod "/usr/lib/modules/$(uname -r)/extra/$module.ko" &
	pid=$!
	for ((i = 0; i < ${POLLS}; i++)); do
		kill -0 $pid 2>/dev/null || break
		pause
	done
	if kill -0 $pid 2>/dev/null; then cat /proc/$pid/stack; return ${WAITS}; fi
	wait $pid
}
`;

/** What insmod of kmod says of some errors, instead of strerror(). */
const WORDS: ReadonlyMap<string, number> = new Map([
  ['Invalid module format', UAPI.ENOEXEC],
  ['Unknown symbol in module', UAPI.ENOENT],
  ['Module has wrong symbol version', UAPI.ESRCH],
  ['Invalid parameters', UAPI.EINVAL],
]);
const MOST_ERRNO = 133;
const SAID = /could not insert module \S+: (.*)$/m;

/** @returns undefined where insmod says something else */
export function errnoOf(stderr: string): number | undefined {
  const said = SAID.exec(stderr)?.[1];
  if (said === undefined) return undefined;
  const known = WORDS.get(said);
  if (known !== undefined) return known;
  for (let errno = 1; errno <= MOST_ERRNO; errno++) if (errnoText(errno) === said) return errno;
  return undefined;
}

export function realOutcome({ status, stdout, stderr }: Operation): RealOutcome {
  if (status === 0) return { kind: 'runs' };
  if (status === NEEDS) return { kind: 'needs' };
  if (status === WAITS) return { kind: 'waits', where: /\] (\w+)/.exec(stdout)?.[1] ?? '' };
  const errno = errnoOf(stderr);
  if (errno !== undefined) return { kind: 'refused', errno };
  return { kind: 'ended', said: `insmod ended with ${status}: ${stderr.trim()}` };
}

/** @param found told of each as soon as its machine is done */
export async function tryOnReal(
  names: readonly string[],
  real: RealKernel,
  found: (name: string, outcome: RealOutcome) => void,
): Promise<void> {
  const library = new ModuleLibrary(X86_64.elf, real.folder);
  const soft = new SoftDependencies(X86_64.elf, real.folder);
  let left = names;
  while (left.length > 0) {
    const batch = left.slice(0, BATCH);
    const done = await tryBatch(batch, real, library, soft);
    for (const [i, outcome] of done.entries()) found(batch[i], outcome);
    log(
      `${real.release}: ${names.length - left.length + done.length} of ${names.length} tried on the real kernel`,
    );
    left = left.slice(done.length);
  }
}

async function tryBatch(
  batch: readonly string[],
  { kernel, release, userspace }: RealKernel,
  library: ModuleLibrary,
  soft: SoftDependencies,
): Promise<RealOutcome[]> {
  const modules = mkdtempSync(join(tmpdir(), 'klpemu-modules-'));
  try {
    const orders = batch.map((name) => orderOf(name, library, soft));
    mkdirSync(modules, { recursive: true });
    for (const { name, bytes } of orders.flat()) writeFileSync(join(modules, `${name}.ko`), bytes);
    const operations = orders.map((order, i) => {
      const before = order.map(({ name }) => name).filter((name) => name !== batch[i]);
      return `. /oracle/tried; tried ${[batch[i], ...before].join(' ')}`;
    });
    const files = new Map([['oracle/tried', TRY]]);
    const options = { kernel, release, modules, userspace, files, cmdline: CMDLINE, cpus: 1, kvm: false };
    const done = await runReal(operations, { ...options, stallSeconds: 1, lineMs: LINE_MS });
    return done.map(realOutcome);
  } catch (error) {
    if (!(error instanceof MachineFailure)) throw error;
    return [...error.outcomes.map(realOutcome), { kind: 'ended', said: error.message.split('\n')[0] }];
  } finally {
    rmSync(modules, { recursive: true, force: true });
  }
}

/** It and those it needs, softly too, as modprobe has them. */
function orderOf(
  name: string,
  library: ModuleLibrary,
  soft: SoftDependencies,
  asked: ReadonlySet<string> = new Set(),
): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const order: { readonly name: string; readonly bytes: Uint8Array }[] = [];
  for (const one of library.order(name) ?? []) {
    for (const before of soft.before(one.bytes, one.name)) {
      if (!library.has(before) || asked.has(before) || before === name) continue;
      for (const each of orderOf(before, library, soft, new Set([...asked, name])))
        if (!order.some((known) => known.name === each.name)) order.push(each);
    }
    if (!order.some((known) => known.name === one.name)) order.push(one);
  }
  return order;
}
