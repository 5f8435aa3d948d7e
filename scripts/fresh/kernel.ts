// What the README says of a kernel as it is installed, on a release's own kernel: its package is in the chroot, the commands
// are run by an ordinary user, and what they end with is held against what they should.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Chroot, USER } from './chroot.ts';

/** The release's kernel, as a machine gets it. */
export const KERNEL_PACKAGE = 'linux-image-amd64';

interface KernelCommand {
  readonly line: string;
  /** Exit code: 0, or 1 where something differs or is wrong and declared reliable, as it is in every kernel's image. */
  readonly status: number;
  /** What its output has. */
  readonly says: RegExp;
}

const IMAGE = '/boot/vmlinuz-$(uname -r)';
const MODULES = '/lib/modules/$(uname -r)';
/** Of modules that a release has packed or not. */
const EXT4 = `${MODULES}/kernel/fs/ext4/ext4.ko*`;
const COMMANDS: readonly KernelCommand[] = [
  { line: `klpemu orc --diff ${EXT4}`, status: 0, says: /the same as the table in the object/ },
  { line: `klpemu check ${EXT4}`, status: 0, says: /, 0 wrong and declared reliable$/m },
  {
    line: `klpemu symbols ${IMAGE} klp_try_switch_task`,
    status: 0,
    says: / t \.text +klp_try_switch_task$/m,
  },
  { line: `klpemu layout klp_func ${IMAGE}`, status: 0, says: /^struct klp_func: \d+ bytes$/m },
  {
    line: `klpemu orc --diff -q ${IMAGE}`,
    status: 1,
    says: /the same as the table in the object for [\d,]+ of [\d,]+ functions/,
  },
  { line: `klpemu check -q ${IMAGE} ${MODULES}`, status: 1, says: /instructions covered \(99\.\d+ %\)/ },
];
const TIMEOUT_MS = 2_400_000;

/** What became of each command, in lines; the first is the kernel's. `failures`: those that did not end as they should. */
export interface KernelOutcome {
  readonly lines: readonly string[];
  readonly failures: readonly string[];
}

export async function tryKernel(chroot: Chroot, logs: string): Promise<KernelOutcome> {
  const [release] = readdirSync(chroot.path('/lib/modules'));
  // The kernel that runs is the machine's; the one that is installed is asked about.
  const uname = chroot.path('/usr/local/bin/uname');
  writeFileSync(
    uname,
    `#!/bin/sh\nif [ "$*" = -r ]; then echo '${release}'; else exec /usr/bin/uname "$@"; fi\n`,
    {
      mode: 0o755,
    },
  );
  const log = join(logs, 'kernel.log');
  await chroot.run(
    USER,
    'git clone -q source klpemu && cd klpemu && node scripts/run.mjs build --no-types',
    log,
  );
  await chroot.run(USER, 'node --version', join(logs, 'kernel-node.log'));
  const lines = [`${release}, Node ${readFileSync(join(logs, 'kernel-node.log'), 'utf8').trim()}`];
  const failures: string[] = [];
  for (const [i, { line, status, says }] of COMMANDS.entries()) {
    const output = join(logs, `kernel-${i}.log`);
    const main = `node /home/${USER}/klpemu/dist/cli/main.js`;
    let problem: string | undefined;
    try {
      await chroot.run(USER, `${line.replace('klpemu', main)}; [ $? = ${status} ]`, output, {
        timeoutMs: TIMEOUT_MS,
      });
    } catch {
      problem = `it did not end with exit code ${status}`;
    }
    const text = readFileSync(output, 'utf8');
    if (!problem && !says.test(text)) problem = 'it does not say what it should';
    const said = text.split('\n').find((one) => says.test(one)) ?? text.trimEnd().split('\n').at(-1) ?? '';
    lines.push(`${line}: ${problem ?? `exit code ${status}`}: ${said.trim()}`);
    if (problem) failures.push(line);
  }
  return { lines, failures };
}
