// bundle: patch bundles of a machine of the bundle model (docs/bundle.md), enabled and disabled by the files that the
// kernel has for it. When it refuses one, its own words are shown.

import type { Bundle } from '../../bundle/bundle.ts';
import type { Bundles } from '../../bundle/core.ts';
import { ENABLE_FILE } from '../../bundle/sysfs.ts';
import { errnoName } from '../../kernel/errno.ts';
import { KERN_ERR, KERN_WARNING, type LogRecord } from '../../kernel/printk.ts';
import type { Machine } from '../../machine/machine.ts';
import { explanationText } from '../../machine/why.ts';
import type { Command, ShellContext } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import { parseOptions } from '../options.ts';
import { letPass, timeInterval } from '../passing.ts';
import { failed, ok, type Result } from '../result.ts';

const USAGE = 2;
/** Virtual ns that --wait waits at most where nothing is said. */
const WAIT_NS = 60e9;

interface MemberState {
  readonly object: string;
  readonly module: string;
  /** false: it is in the blob store. */
  readonly live: boolean;
}

interface BundleState {
  readonly name: string;
  readonly version: string;
  readonly state: 'patching' | 'unpatching' | 'enabled';
  readonly replace: boolean;
  readonly members: readonly MemberState[];
}

function stateOf(
  { inspect: { livepatch } }: Machine,
  { name, version, patch, members }: Bundle,
): BundleState {
  const inTransition = livepatch.transitionPatch?.addr === patch.addr;
  return {
    name,
    version,
    state: !inTransition ? 'enabled' : patch.enabled ? 'patching' : 'unpatching',
    replace: patch.replace,
    members: members.map(({ spec, module }) => ({
      object: spec.object,
      module: spec.module,
      live: module !== undefined,
    })),
  };
}

function stateText({ name, version, state, members }: BundleState): string {
  const away = members.filter(({ live }) => !live).map(({ object }) => object);
  const rest = away.length > 0 ? `, waiting for ${away.join(' ')}` : '';
  return `${name} ${version}: ${state}; ${members.length - away.length} of ${members.length} members live${rest}\n`;
}

/** One bundle command: what it does, and how it tells. */
interface Job {
  readonly shell: ShellContext;
  readonly bundles: Bundles;
  readonly json: boolean;
  /** Virtual ns to wait for the end of the transition; undefined: not at all. */
  readonly wait: number | undefined;
}

async function enable(job: Job, operand: string): Promise<Result> {
  const { shell, bundles } = job;
  const path = operand.includes('/') ? operand : shell.modules.bundlePath(operand);
  if (!shell.guest.exists(path)) return refused(job, `${path}: No such file or directory`, 'ENOENT');
  const before = new Set(bundles.list());
  const problem = await written(job, shell.guest.path(path), `/sys${ENABLE_FILE}`, `${path} is not enabled`);
  if (problem) return problem;
  const enabled = bundles.list().find((bundle) => !before.has(bundle));
  // A transition can be over, and the bundle with it, before anybody looks.
  return enabled ? settled(job, enabled) : ok();
}

async function disable(job: Job, name: string): Promise<Result> {
  const bundle = job.bundles.list().find((each) => each.name === name);
  if (!bundle) return refused(job, `no bundle '${name}' is enabled`, 'ENOENT');
  const problem = await written(
    job,
    '0',
    `/sys/kernel/livepatch/${name}/enabled`,
    `'${name}' is not disabled`,
  );
  return problem ?? settled(job, bundle);
}

/** Writes to a file of the kernel. @returns what is to be said when that fails */
async function written(job: Job, text: string, file: string, what: string): Promise<Result | undefined> {
  const { guest } = job.shell;
  const { printk } = guest.machine.inspect.core;
  const from = printk.nextSeq;
  const error = await guest.write(file, `${text}\n`, false, 'bundle');
  if (!error) return undefined;
  const log = printk.since(from).filter(isReason);
  const code = errnoName(error.errno) ?? `errno ${error.errno}`;
  return refused(
    job,
    `${what}: ${errnoText(error.errno)}`,
    code,
    log.map((record) => record.text),
  );
}

/** Errors, and what else the livepatch core warns of: loading a module says a lot besides. */
function isReason({ level, text }: LogRecord): boolean {
  return level <= KERN_ERR || (level <= KERN_WARNING && text.startsWith('livepatch: '));
}

function refused({ json }: Job, message: string, code: string, log: readonly string[] = []): Result {
  const error = { code, message, ...(log.length > 0 ? { log } : {}) };
  if (json) return { ...ok(`${JSON.stringify({ error })}\n`), status: 1 };
  return failed([`bundle: ${message}`, ...log.map((line) => `  ${line}`)].join('\n'));
}

/** What has become of a bundle; with --wait, when its transition is over. */
async function settled(job: Job, bundle: Bundle): Promise<Result> {
  const { shell, bundles, wait, json } = job;
  const { machine } = shell.guest;
  const state = (): BundleState | undefined =>
    bundles.list().includes(bundle) ? stateOf(machine, bundle) : undefined;
  if (wait !== undefined) {
    const passed = await letPass(shell, wait, () => machine.inspect.livepatch.transitionPatch === undefined);
    const explanation = passed === 'done' ? undefined : machine.why();
    if (explanation) {
      const text = `the transition of '${bundle.name}' is not over`;
      if (json) return { ...ok(`${JSON.stringify({ bundle: state(), why: explanation })}\n`), status: 1 };
      return failed(`bundle: ${text}\n${explanationText(explanation).trimEnd()}`);
    }
  }
  const now = state();
  if (json) return ok(`${JSON.stringify({ bundle: now ?? null })}\n`);
  return ok(now ? stateText(now) : `${bundle.name} ${bundle.version}: disabled\n`);
}

function list({ shell, bundles, json }: Job): Result {
  const states = bundles.list().map((bundle) => stateOf(shell.guest.machine, bundle));
  return ok(json ? `${JSON.stringify(states)}\n` : states.map(stateText).join(''));
}

const USAGES = 'bundle enable FILE|NAME | bundle disable NAME | bundle list';

export const bundle: Command = {
  name: 'bundle',
  usage: `${USAGES} [--wait] [--timeout SECONDS] [--json]`,
  summary: 'enable or disable a patch bundle, --wait for its transition; list those that are enabled',
  completes: 'bundles',
  run: async ({ args, shell }) => {
    const { operands, flags, values, unknown } = parseOptions(args, ['wait', 'json'], ['timeout']);
    if (unknown) return failed(`bundle: unrecognized option '${unknown}'`, USAGE);
    const limit = timeInterval(values.get('timeout') ?? String(WAIT_NS / 1e9));
    if (limit === undefined) return failed(`bundle: invalid time interval '${values.get('timeout')}'`, USAGE);
    const { bundles } = shell.guest.machine.inspect;
    if (!bundles) return failed('bundle: this machine is of the classic model: --model bundle boots another');
    const waits = flags.has('wait') || values.has('timeout');
    const job: Job = { shell, bundles, json: flags.has('json'), wait: waits ? limit : undefined };
    const [verb, operand, more] = operands;
    if (verb === 'list' && operand === undefined) return list(job);
    if (operand === undefined || more !== undefined) return failed(`bundle: usage: ${USAGES}`, USAGE);
    if (verb === 'enable') return enable(job, operand);
    if (verb === 'disable') return disable(job, operand);
    return failed(`bundle: usage: ${USAGES}`, USAGE);
  },
};
