// Schedules: a text that says what was chosen, and runs again; and the instruction that a machine is stopped at.

import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import { RecordingChooser, SeededChooser } from '../../src/kernel/choices.ts';
import { SeededRandom } from '../../src/kernel/random.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import {
  parseSchedule,
  recordedOverrides,
  type Schedule,
  ScheduleError,
  scheduleText,
} from '../../src/machine/schedule.ts';

const MS = 1e6;
const SMALL = { heap: 16 << 20, moduleArea: 4 << 20, maxTasks: 64 } as const;
const PATCH = 'klpdemo_patch_vmlinux';

const machines: Machine[] = [];
afterEach(() => {
  for (const machine of machines.splice(0)) machine.close();
});

/** A patch comes while two tasks call what it patches. @returns the events, as lines */
async function life(options: MachineOptions, before?: (machine: Machine) => void): Promise<string[]> {
  const machine = await bootWithModules({ ...SMALL, ...options });
  machines.push(machine);
  const lines: string[] = [];
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
  machine.events.subscribe((event) => lines.push(JSON.stringify(event, text)));
  before?.(machine);
  for (const ms of ['1', '2']) machine.spawn('reader', ['/proc/cmdline', ms]);
  machine.insmod(`/${PATCH}.ko`);
  machine.runFor(200 * MS);
  return lines;
}

describe('a schedule', () => {
  it('is the text that it is made from', () => {
    const number = fc.integer({ min: 0, max: 2 ** 31 });
    const action = fc.record({
      kind: fc.constantFrom('h' as const, 'p' as const),
      cpu: fc.integer({ min: 0, max: 63 }),
      at: number,
    });
    const sorted = <T>(list: readonly T[], key: (one: T) => number) =>
      list.toSorted((a, b) => key(a) - key(b));
    const schedule: fc.Arbitrary<Schedule> = fc
      .oneof(
        fc.record({ base: fc.constant('quiet' as const) }),
        fc.record({ base: fc.constant('seeded' as const), seed: number }, { requiredKeys: ['base'] }),
      )
      .chain((base) =>
        fc
          .record({
            actions: fc.array(action).map((list) => sorted(list, ({ at }) => at)),
            overrides: fc
              .array(fc.record({ index: number, value: number }))
              .map((list) => sorted(list, ({ index }) => index)),
          })
          .map((rest) => ({ ...base, ...rest })),
      );
    fc.assert(
      fc.property(schedule, (one) => {
        expect(parseSchedule(scheduleText(one))).toEqual(one);
      }),
    );
  });

  it.each([
    ['', /begins with 'q'/],
    ['s99999999999', /begins with/],
    ['q,x0@1', /"x0@1" is none of/],
    ['q,h0@9,p0@3', /not in the order of its instructions/],
    ['q,c3=1,c2=1', /not in the order of its choices/],
  ])('that is none is refused: %s', (text, reason) => {
    expect(() => parseSchedule(text)).toThrow(ScheduleError);
    expect(() => parseSchedule(text)).toThrow(reason);
  });

  it('of a seed alone is the run of that seed', async () => {
    expect(await life({ seed: 1, schedule: 's7' })).toEqual(await life({ seed: 7 }));
  });

  it('that was recorded runs again, whatever chose: here other seeds than the machine had', async () => {
    const other = () => new SeededChooser(new SeededRandom(11), new SeededRandom(12));
    const recording = new RecordingChooser(other());
    const recorded = await life({}, (machine) => machine.inspect.core.choices.use(recording));
    // Against the quiet choices, which have no state: every other choice is in it.
    const { QuietChooser } = await import('../../src/kernel/choices.ts');
    const overrides = recordedOverrides(new QuietChooser(), recording.choices);
    expect(overrides.length).toBeGreaterThan(10);
    const schedule = scheduleText({ base: 'quiet', actions: [], overrides });
    expect(await life({ schedule })).toEqual(recorded);
    expect(await life({ schedule: 'q' })).not.toEqual(recorded);
    expect(machines.map((machine) => machine.unmetSchedule())).toEqual([[], [], []]);
  });

  it('has a task preempted, or a CPU stand still, at its instruction: the same each time', async () => {
    const quiet = await life({ schedule: 'q' });
    const schedule = 'q,h0@30000,p0@40000';
    const steered = await life({ schedule });
    expect(steered).not.toEqual(quiet);
    expect(await life({ schedule })).toEqual(steered);
  });

  it('that does not fit says what of it did not come to pass', async () => {
    await life({ schedule: 'q,h1@30001,p0@99999999,c999999=1' });
    const [machine] = machines;
    expect(machine.unmetSchedule().slice(-2)).toEqual([
      'p0@99999999: the run ended before',
      '1 of its choices were not come to',
    ]);
  });
});

describe('a machine that is run to an instruction', () => {
  it('stands between two instructions there, and goes on as if it had never stopped', async () => {
    const ends: string[] = [];
    for (const stops of [[], [1, 2, 3, 50_000], [777, 12_345, 12_346, 60_000]]) {
      const machine = await bootWithModules(SMALL);
      machines.push(machine);
      machine.spawn('reader', ['/proc/cmdline', '1']);
      machine.insmod(`/${PATCH}.ko`);
      for (const stop of stops) {
        expect(machine.runToInstruction(stop)).toBe(true);
        expect(machine.inspect.executor.instructions).toBe(stop);
      }
      expect(machine.runToInstruction(100_000)).toBe(true);
      const registers = machine.inspect.smp.cpus.map((cpu) => [...cpu.context.regs].join());
      ends.push([machine.now(), ...machine.dmesg(), ...registers].join('\n'));
    }
    expect(ends[1]).toBe(ends[0]);
    expect(ends[2]).toBe(ends[0]);
  });

  it('says that there is nothing left to execute', async () => {
    const machine = await Machine.boot(SMALL);
    machines.push(machine);
    expect(machine.runToInstruction(2 ** 40)).toBe(false);
  });
});
