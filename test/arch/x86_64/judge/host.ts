// Asks the processor of this computer what became of cases of ring 3.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { Case, Window } from './cases.ts';
import { WINDOW } from './cases.ts';
import { RECORD, writeHostProgram } from './host_program.ts';
import type { Outcome } from './rig.ts';
import { shapeOf } from './vectors.ts';

export interface HostOutcome extends Outcome {
  /** What the windows of the case hold afterwards. */
  readonly windows: readonly Window[];
}

/** Cases that one process is asked about. */
const BATCH = 4000;
const TRAP = { DIVIDE: 0, DEBUG: 1, BREAKPOINT: 3, UNDEFINED: 6, PAGE_FAULT: 14 };
const ERROR = { PRESENT: 1, WRITE: 2, FETCH: 16 };

/** Why this computer is no judge; undefined where it is one. */
export const hostCannotJudge = (): string | undefined =>
  process.platform === 'linux' && process.arch === 'x64'
    ? undefined
    : `the host is ${process.platform} on ${process.arch}`;

/** With bytes, words and vectors of every length. */
export const hostHasAvx512 = (): boolean => {
  if (hostCannotJudge()) return false;
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  return ['avx512f', 'avx512vl', 'avx512bw', 'avx512dq', 'vaes', 'vpclmulqdq'].every((flag) =>
    flags.includes(flag),
  );
};

export class Host {
  readonly #folder: string;
  readonly #program: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#program = join(folder, 'judge');
  }

  static async open(): Promise<Host> {
    const host = new Host(mkdtempSync(join(tmpdir(), 'klpemu-judge-')));
    await writeHostProgram(host.#program, hostHasAvx512());
    return host;
  }

  /** In their order. An outcome is missing where the process ended at its case. */
  execute(cases: readonly Case[]): (HostOutcome | undefined)[] {
    const outcomes: (HostOutcome | undefined)[] = [];
    while (outcomes.length < cases.length) {
      const batch = cases.slice(outcomes.length, outcomes.length + BATCH);
      const said = this.#executeBatch(batch);
      const end = said.indexOf(undefined);
      outcomes.push(...(end < 0 ? said : said.slice(0, end + 1)));
    }
    return outcomes;
  }

  #executeBatch(cases: readonly Case[]): (HostOutcome | undefined)[] {
    const input = Buffer.from(new ArrayBuffer(cases.length * RECORD.bytes));
    cases.forEach((one, i) => {
      writeRecord(one, input.subarray(i * RECORD.bytes, (i + 1) * RECORD.bytes));
    });
    const { stdout, error } = spawnSync(this.#program, {
      input,
      maxBuffer: input.length + 1,
      timeout: 60_000,
    });
    if (error && !stdout) throw error;
    return cases.map((one, i) => {
      const record = stdout.subarray(i * RECORD.bytes, (i + 1) * RECORD.bytes);
      return record.length === RECORD.bytes ? readRecord(one, record) : undefined;
    });
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

function writeRecord(one: Case, into: Buffer): void {
  into.set(new Uint8Array(one.regs.buffer), RECORD.regs);
  into.writeBigUInt64LE(one.form.repeat && one.form.repeat !== 'lock' ? 1n : 0n, RECORD.repeats);
  into.writeBigUInt64LE(BigInt(one.steps ?? 1), RECORD.steps);
  into.fill(0xf4, RECORD.code, RECORD.code + RECORD.codeBytes);
  into.set(one.bytes, RECORD.code);
  for (const [at, from, bytes] of placesOf(one)) into.set(one.vectors.subarray(at, at + bytes), from);
  one.windows.forEach(({ addr, bytes }, i) => {
    const at = RECORD.windows + i * (8 + WINDOW);
    into.writeBigUInt64LE(addr, at);
    into.set(bytes, at + 8);
  });
}

function readRecord(one: Case, record: Buffer): HostOutcome {
  const regs = new BigUint64Array(18);
  new Uint8Array(regs.buffer).set(record.subarray(RECORD.regs, RECORD.regs + 8 * 18));
  const windows = one.windows.map(({ addr }, i) => {
    const at = RECORD.windows + i * (8 + WINDOW) + 8;
    return { addr, bytes: record.subarray(at, at + WINDOW) };
  });
  return { ...ending(one, record, regs), regs, vectors: vectorsOf(one, record), windows };
}

/** Of a case's vectors: where in them is what, where it is in the record, and its bytes. Upper parts are apart there. */
function placesOf({ form }: Case): [at: number, inRecord: number, bytes: number][] {
  const { count, bytes, masks } = shapeOf(form);
  const places: [number, number, number][] = [];
  for (let i = 0; i < count; i++) {
    const at = i * bytes;
    if (i > 15) {
      places.push([at, RECORD.zmmUpper + 64 * (i - 16), 64]);
      continue;
    }
    places.push([at, RECORD.vectors + 16 * i, 16]);
    if (bytes > 16) places.push([at + 16, RECORD.vectors + 256 + 16 * i, 16]);
    if (bytes > 32) places.push([at + 32, RECORD.zmmHigh + 32 * i, 32]);
  }
  if (masks > 0) places.push([count * bytes, RECORD.masks, 8 * masks]);
  return places;
}

function vectorsOf(one: Case, record: Buffer): Uint8Array {
  const vectors = new Uint8Array(one.vectors.length);
  for (const [at, from, bytes] of placesOf(one)) vectors.set(record.subarray(from, from + bytes), at);
  return vectors;
}

function ending(
  one: Case,
  record: Buffer,
  regs: BigUint64Array,
): Pick<Outcome, 'kind' | 'executed' | 'fault'> {
  const trap = Number(record.readBigUInt64LE(RECORD.trap));
  const before = (one.steps ?? 1) - Number(record.readBigUInt64LE(RECORD.steps));
  regs[REG.rflags] &= ~0x100n;
  if (trap === TRAP.DEBUG) return { kind: 'budget', executed: before + 1, fault: undefined };
  if (trap === TRAP.BREAKPOINT) return { kind: 'trap', executed: before + 1, fault: undefined };
  if (trap === TRAP.UNDEFINED) return { kind: 'undefined instruction', executed: before, fault: undefined };
  if (trap !== TRAP.PAGE_FAULT) return { kind: 'exception', executed: before, fault: undefined };
  const error = Number(record.readBigUInt64LE(RECORD.error));
  const access = error & ERROR.FETCH ? 'fetch' : error & ERROR.WRITE ? 'write' : 'read';
  const at = record.readBigUInt64LE(RECORD.address).toString(16);
  return {
    kind: 'page fault',
    executed: before,
    fault: `${access} 0x${at}${error & ERROR.PRESENT ? ' protected' : ''}`,
  };
}
