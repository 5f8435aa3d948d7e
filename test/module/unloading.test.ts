// Unloading: what goes in which order, what is refused, and what rmmod --force does all the same.

import { describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import type { Module } from '../../src/module/module.ts';
import { MODULE_ATTRIBUTES, moduleFlags, printModules, procModules } from '../../src/module/procfs.ts';
import { fixture, object, Rig } from './harness.ts';

function loaded(rig: Rig, name: string): Module {
  const result = rig.load(fixture(name), '', `${name}.ko`);
  if (!result.ok) throw new Error(`${name}: ${result.code} ${result.reason}`);
  return result.module;
}

describe('unloading', () => {
  it('runs exit and gives everything back', () => {
    const rig = new Rig();
    rig.load(fixture('klpdemo_target'), 'depth=x');
    const before = rig.snapshot();
    loaded(rig, 'klpdemo_target');
    expect(rig.unload('klpdemo_target')).toBe(0);
    expect(rig.calls.map((c) => c.name)).toEqual(['klpdemo_target_init', 'klpdemo_target_exit']);
    expect(rig.snapshot()).toEqual(before);
    expect(printModules(rig.loader.modules)).toBe('Modules linked in: [last unloaded: klpdemo_target(OE)]');
  });

  it('is refused while someone holds a reference', () => {
    const rig = new Rig();
    const mod = loaded(rig, 'klpdemo_target');
    expect(rig.loader.modules.tryGet(mod)).toBe(true);
    expect(rig.unload('klpdemo_target')).toBe(-11);
    rig.loader.modules.put(mod);
    expect(rig.unload('klpdemo_target')).toBe(0);
  });

  it('of a module that is not there is ENOENT, and of one that is loading EBUSY', () => {
    const rig = new Rig();
    expect(rig.unload('klpdemo_target')).toBe(-2);
    rig.load(fixture('klpdemo_bad_import'));
    const bytes = fixture('klpdemo_target');
    rig.load(bytes, 'depth=x');
    const loading = rig.loader.loadModule({ file: 'a.ko', bytes });
    expect(loading.next().value).toHaveProperty('call');
    expect(rig.loader.modules.find('klpdemo_target')?.state).toBe('COMING');
    expect(procModules(rig.loader.modules)).toMatch(
      /^klpdemo_target \d+ 1 - Loading 0xffffffffc0201000 \(OE\+\)/,
    );
    expect(rig.unload('klpdemo_target')).toBe(-16);
  });

  it('hands over to ftrace, livepatch and listeners in the order of the kernel', () => {
    const log: string[] = [];
    const say =
      (what: string) =>
      (mod: Module): undefined =>
        void log.push(`${what} ${mod.state}`);
    const rig = new Rig({
      hooks: {
        ftraceModuleInit: say('ftrace init'),
        ftraceModuleEnable: say('ftrace enable'),
        ftraceFreeMem: say('ftrace free init'),
        ftraceReleaseMod: say('ftrace release'),
        *klpModuleComing(mod) {
          log.push(`klp coming ${mod.state}`);
          yield { relax: true };
          return 0;
        },
        klpModuleGoing: say('klp going'),
        notify: (mod, state) => void log.push(`notify ${state} ${mod.state}`),
      },
    });
    loaded(rig, 'klpdemo_target');
    rig.unload('klpdemo_target');
    expect(log).toEqual([
      'ftrace init UNFORMED',
      'ftrace enable COMING',
      'klp coming COMING',
      'notify COMING COMING',
      'notify LIVE LIVE',
      'ftrace free init LIVE',
      'notify GOING GOING',
      'klp going GOING',
      'ftrace release GOING',
    ]);
  });

  it('a load that livepatch refuses fails with its errno', () => {
    const rig = new Rig({ hooks: { klpModuleComing: () => -22 } });
    expect(rig.load(fixture('klpdemo_target'))).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(rig.area.used()).toBe(0);
  });
});

describe('unloading by force', () => {
  const [EBUSY, EAGAIN] = [-16, -11];
  const LINE = 'Disabling lock debugging due to kernel taint';
  const tainted = ({ core }: Rig) => (core.taints & (1 << core.kernel.constants.TAINT_FORCED_RMMOD)) !== 0;

  const permanent = (rig: Rig, mod: Module): void =>
    rig.core.mem.writeU64(mod.addr + BigInt(rig.core.kernel.structs.module.fields.exit), 0n);
  const referenced = (rig: Rig, mod: Module): boolean => rig.loader.modules.tryGet(mod);

  it.each([
    ['with an init and no exit', permanent, EBUSY],
    ['that somebody holds', referenced, EAGAIN],
  ])('takes a module %s, which is refused otherwise, and taints', (_, make, refused) => {
    const rig = new Rig();
    make(rig, loaded(rig, 'klpdemo_target'));
    expect([rig.unload('klpdemo_target'), tainted(rig)]).toEqual([refused, false]);
    expect([rig.unload('klpdemo_target', UAPI.O_NONBLOCK), tainted(rig)]).toEqual([refused, false]);
    expect(rig.dmesg).not.toContain(LINE);
    expect([rig.unload('klpdemo_target', UAPI.O_TRUNC), tainted(rig)]).toEqual([0, true]);
    expect(rig.dmesg.at(-1)).toBe(LINE);
    expect(rig.snapshot()).toMatchObject({ modules: [], area: 0, heap: 0 });
  });

  it('is as any other of a module that may go', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_target');
    expect([rig.unload('klpdemo_target', UAPI.O_TRUNC), tainted(rig)]).toEqual([0, false]);
  });

  it('does not take a module that another one uses, nor one that is loading', () => {
    const rig = new Rig();
    for (const name of ['module-exporter', 'module-importer'])
      expect(rig.run(rig.loader.loadModule({ file: 'x.ko', bytes: object(name) })).ok).toBe(true);
    const users = rig.unload('exporter', UAPI.O_TRUNC);
    const loading = loaded(rig, 'klpdemo_target');
    loading.state = 'COMING';
    expect([users, rig.unload('klpdemo_target', UAPI.O_TRUNC), tainted(rig)]).toEqual([EAGAIN, EBUSY, false]);
  });
});

describe('the state of a module', () => {
  it.each([
    ['LIVE', 'live', 'Live', '(OE)', ''],
    ['COMING', 'coming', 'Loading', '(OE+)', '(+)'],
    ['GOING', 'going', 'Unloading', '(OE-)', '(-)'],
  ] as const)(
    '%s is %s in /sys, %s in /proc, and %s or %s among its flags',
    (state, sys, proc, tainted, clean) => {
      const rig = new Rig();
      const mod = loaded(rig, 'klpdemo_target');
      mod.state = state;
      const shown = MODULE_ATTRIBUTES.find(({ name }) => name === 'initstate')?.show(mod);
      const line = procModules(rig.loader.modules).trimEnd().split(' ');
      expect([shown, line[4], line.at(-1), moduleFlags(mod)]).toEqual([sys, proc, tainted, tainted]);
      expect(moduleFlags(mod, false)).toBe('(OE)');
      mod.taints = 0;
      expect([moduleFlags(mod), moduleFlags(mod, false)]).toEqual([clean, '']);
      expect(printModules(rig.loader.modules)).toBe(`Modules linked in: klpdemo_target${clean}`);
      expect(procModules(rig.loader.modules)).toMatch(new RegExp(` ${proc} 0x[0-9a-f]{16}\n$`));
    },
  );

  it('says whether livepatch knows it only once that says so', () => {
    const mod = loaded(new Rig(), 'klpdemo_target');
    const seen = [mod.klpAlive];
    for (const alive of [true, false]) {
      mod.klpAlive = alive;
      seen.push(mod.klpAlive);
    }
    expect(seen).toEqual([false, true, false]);
  });
});
