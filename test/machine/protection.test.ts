// The kernel and programs are kept from each other's memory as SMEP, SMAP and page tables do it: what a module and programs
// that try it are told, line by line as on the real kernel.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hex, hex16 } from '../../src/guest/addr.ts';
import { USER_STACK_BASE, USER_STACK_SLOT, USER_TEXT_BASE } from '../../src/guest/windows.ts';
import { Machine } from '../../src/machine/machine.ts';
import { alignCode, comparable, MODULES, readObserved, withoutTime } from './observed.ts';

const SECOND = 1e9;
const observed = readObserved('observed-protection-6.1.txt');
const module_ = readFileSync(join(MODULES, 'klpdemo_user.ko'));

/** Pages of the real program, and where ours have such: data, its last bytes, code. */
const PLACES: readonly (readonly [real: bigint, ours: bigint])[] = [
  [0x10000000n, USER_STACK_BASE],
  [0x10001ffcn, USER_STACK_BASE + BigInt(USER_STACK_SLOT) - 4n],
  [0x20000000n, USER_TEXT_BASE],
];
const oursOf = (real: string): string =>
  (PLACES.find(([there]) => there === BigInt(`0x${real}`))?.[1] ?? BigInt(`0x${real}`)).toString(16);

let machine: Machine;
async function boot(options: { protection?: boolean } = {}): Promise<void> {
  machine = await Machine.boot({ engine: 'core', heap: 8 << 20, maxTasks: 64, ...options });
  machine.addFile('/user.ko', module_);
  expect(finish(machine.insmod('/user.ko'))).toBe(0);
}

function finish(task: ReturnType<Machine['spawn']>): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  return machine.exitStatus(task);
}

function since(from: number): string[] {
  return machine.dmesg().slice(from).map(withoutTime);
}

/** One access of the module's to an address. */
function access(what: string): { rc: number | undefined; log: string[] } {
  const from = machine.dmesg().length;
  const rc = finish(machine.spawn('echo', [what, '/proc/klpdemo_user']));
  return { rc, log: since(from) };
}

/** Addresses of the real program are ours; what was in memory is another matter. */
function inGeneral(lines: readonly string[]): string[] {
  return comparable(lines.map(moved), { frames: 'modules' }).map((line) =>
    line.replace(/(klpdemo: 0 left, ends|klpdemo: 0,) .*/, '$1 *'),
  );
}
function moved(line: string): string {
  return PLACES.reduce(
    (text, [real, ours]) =>
      text
        .replace(hex16(real), hex16(ours))
        .replace(`0010:${hex(real)}`, `0010:${hex(ours)}`)
        .replace(hex(real - CODE_BEFORE), hex(ours - CODE_BEFORE)),
    line,
  );
}
/** PROLOGUE_SIZE: bytes of code that an oops shows before the one it stands at. */
const CODE_BEFORE = 42n;

const steps = [...observed.keys()];
const ofModule = steps.filter((step) => !step.startsWith('user'));
/** Strings that our memory holds are others. */
const OTHER = ['string 10000000', 'string 20000000', 'string 10001ffc'];

describe('a module that accesses the memory of the task that writes to it', () => {
  beforeAll(() => boot());
  afterAll(() => machine.close());

  it.each(ofModule)('(%s) has the result, and what is said of it, that the real one has', (step) => {
    const [what, addr] = step.split(' ');
    const real = observed.get(step);
    const { rc, log } = access(`${what} ${oursOf(addr)}`);
    expect(rc).toBe(real?.rc);
    if (OTHER.includes(step)) return;
    const ours = inGeneral(log);
    expect(ours.length).toBeGreaterThan(0);
    expect(ours).toEqual(alignCode(ours, inGeneral(real?.log ?? [])));
  });

  it('oopses by the kinds that there are, and by no copy', () => {
    const oopses = ofModule.filter((step) => observed.get(step)?.log.some((line) => line.startsWith('Oops')));
    expect([...new Set(oopses.map((step) => step.split(' ')[0]))]).toEqual(['load', 'store', 'call']);
  });
});

describe('a copy from where a program has nothing', () => {
  beforeAll(() => boot());
  afterAll(() => machine.close());

  it('is a page fault that goes on in the copy: in virtual time, with no word in the log, in no state but the result', () => {
    const before = machine.inspect.executor.instructions;
    expect(access('from 0')).toEqual({ rc: 0, log: ['klpdemo: 20 left, ends 00 00 00 00 00 00 00 00'] });
    const faulting = machine.inspect.executor.instructions - before;
    const again = machine.inspect.executor.instructions;
    // Refused by access_ok(), before anything is touched.
    access('from ffffffff81000000');
    const refused = machine.inspect.executor.instructions - again;
    expect(faulting - refused).toBeGreaterThan(60); // two exceptions: entry, registers, handler, return
    expect(machine.inspect.core.taints & 128).toBe(0);
  });

  it('leaves the kernel able to be kept out of that memory: AC is clear behind it', () => {
    access('from 0');
    access('get 0');
    access('string 0');
    expect(access(`load ${USER_TEXT_BASE.toString(16)}`).log).toContain(
      '#PF: error_code(0x0001) - permissions violation',
    );
  });
});

describe('a program', () => {
  /** Numbers of what asm/x86_64/user/crash.s does. */
  const CASES = [
    [12, "user reads the kernel's text"],
    [13, "user writes the kernel's text"],
    [14, "user calls the kernel's text"],
    [15, 'user reads where no kernel is'],
    [16, "user reads a guard of the kernel's stacks"],
  ] as const;
  beforeAll(() => boot());
  afterAll(() => machine.close());

  /** Addresses and code of another program. */
  const general = (lines: readonly string[]): string[] =>
    comparable(lines).map((line) =>
      line
        .replace(/\b(sh|crash)\b/g, 'program')
        .replace(/ in program\S+/, '')
        .replace(/^Code: [0-9a-f].*/, 'Code: *')
        .replace(/(ip 0000000000|sp )\w+/g, '$1*'),
    );

  it.each(CASES)('(%i) that %s dies by the signal, with the error code, of the real one', (n, step) => {
    const from = machine.dmesg().length;
    const real = observed.get(step);
    expect(finish(machine.spawn('crash', [String(n)]))).toBe(real?.rc);
    expect(general(since(from))).toEqual(general(real?.log ?? []));
  });
});

describe('without protection', () => {
  beforeAll(() => boot({ protection: false }));
  afterAll(() => machine.close());

  it('the kernel reads what a program has, as on a CPU without SMAP, and a copy from nowhere fails all the same', () => {
    expect(access(`load ${USER_TEXT_BASE.toString(16)}`)).toEqual({ rc: 0, log: [] });
    expect(access('from 0').log).toEqual(['klpdemo: 20 left, ends 00 00 00 00 00 00 00 00']);
  });
});
