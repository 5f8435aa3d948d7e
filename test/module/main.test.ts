import { describe, expect, it } from 'vitest';
import { CpuFeatures } from '../../src/arch/x86_64/module/cpu_features.ts';
import { MODULE_REF_BASE, type Module } from '../../src/module/module.ts';
import { MODULE_ATTRIBUTES, moduleFlags, procModules } from '../../src/module/procfs.ts';
import { refcountFunctions } from '../../src/module/refcount.ts';
import { fixture, hex, object, Rig, replaced } from './harness.ts';

function loaded(rig: Rig, name: string, args = ''): Module {
  const result = rig.load(fixture(name), args, `${name}.ko`);
  if (!result.ok) throw new Error(`${name}: ${result.code} ${result.reason}`);
  return result.module;
}

function symbol(rig: Rig, name: string): bigint {
  const addr = rig.core.symbols.lookupName(name);
  if (addr === undefined) throw new Error(`no symbol ${name}`);
  return addr;
}

describe('loading a module built by kbuild', () => {
  const rig = new Rig();
  const mod = loaded(rig, 'klpdemo_target');
  const { mem } = rig.core;

  it('runs its init as guest code, and is live', () => {
    expect(rig.calls.map((c) => c.name)).toEqual(['klpdemo_target_init']);
    expect(mod.state).toBe('LIVE');
    expect(rig.events.filter((e) => e.type === 'module').map((e) => 'state' in e && e.state)).toEqual([
      'UNFORMED',
      'COMING',
      'LIVE',
    ]);
  });

  it('says what the real kernel said of it', () => {
    const line = 'signature and/or required key missing - tainting kernel';
    expect(rig.dmesg).toEqual([
      'klpdemo_target: loading out-of-tree module taints kernel.',
      `klpdemo_target: module verification failed: ${line}`,
    ]);
  });

  it('lies where it lay in the real kernel, with the same size', () => {
    expect(procModules(rig.loader.modules)).toBe('klpdemo_target 16384 0 - Live 0xffffffffc0201000 (OE)\n');
    const shown = Object.fromEntries(MODULE_ATTRIBUTES.map((a) => [a.name, a.show(mod)]));
    expect(shown).toMatchObject({
      initstate: 'live',
      coresize: '16384',
      initsize: '0',
      refcnt: '0',
      taint: 'OE',
    });
  });

  it('has a struct module that says the same', () => {
    expect(mem.readCString(mod.addr + 24n)).toBe('klpdemo_target');
    expect(mod.base('core')).toBe(0xffffffffc0201000n);
    expect(mod.base('init')).toBe(0n);
    expect(rig.core.symbols.nameOf(mod.exit)).toBe('klpdemo_target_exit');
  });

  it('shows sizes of functions up to the next symbol, as the real stacks did', () => {
    const sizes = [
      'klpdemo_wait',
      'klpdemo_descend',
      'klpdemo_stage_drap',
      'klpdemo_round',
      'klpdemo_main',
    ].map((name) => rig.core.sym(symbol(rig, name) + 1n));
    expect(sizes).toEqual([
      'klpdemo_wait+0x1/0x90 [klpdemo_target]',
      'klpdemo_descend+0x1/0x30 [klpdemo_target]',
      'klpdemo_stage_drap+0x1/0xf0 [klpdemo_target]',
      'klpdemo_round+0x1/0x90 [klpdemo_target]',
      'klpdemo_main+0x1/0x60 [klpdemo_target]',
    ]);
  });

  it('counts twins by their order in the symbol table', () => {
    const twins = mod.symbolsNamed('klpdemo_twin');
    expect(twins).toHaveLength(2);
    expect(new Set(twins).size).toBe(2);
  });

  it('no longer knows the symbols of its init part', () => {
    expect(rig.core.symbols.lookupName('klpdemo_target_init')).toBeUndefined();
    expect(mem.isMapped(0xffffffffc0206000n)).toBe(false);
  });

  it('calls __fentry__ at every fentry site, for ftrace to take out', () => {
    expect(mod.fentrySites).toContain(symbol(rig, 'klpdemo_main'));
    expect(mod.reports).toContainEqual(
      expect.objectContaining({ section: '__mcount_loc', entries: mod.fentrySites.length }),
    );
    for (const site of mod.fentrySites.filter((s) => mod.containsText(s))) {
      expect(mem.readU8(site)).toBe(0xe8);
      expect(site + 5n + BigInt(mem.readS32(site + 1n))).toBe(symbol(rig, '__fentry__'));
    }
  });

  it('returns without a thunk', () => {
    const returns = mod.elf.section('.return_sites')?.size ?? 0;
    const report = mod.reports.find((r) => r.section === '.return_sites');
    expect(report).toMatchObject({ applied: true, entries: returns / 4 });
    const text = mem.readBytes(symbol(rig, 'klpdemo_check'), 0x30);
    expect(hex(text)).toContain('c3cccccccc');
  });

  it('has its ORC table, sorted', () => {
    const { orc } = mod;
    expect(orc?.count).toBe((mod.elf.section('.orc_unwind_ip')?.size ?? 0) / 4);
    expect(orc && [...orc.ip].every((ip, i) => i === 0 || ip >= orc.ip[i - 1])).toBe(true);
  });

  it('may write until its init has returned what nobody writes after it', () => {
    const sites = new Rig();
    const load = sites.loader.loadModule({ file: 'sites.ko', bytes: object('module-sites') });
    sites.exportAll([
      'static_key_on',
      'static_key_off',
      'static_call_set',
      'static_call_null',
      'slow_popcount',
      'static_trampoline',
    ]);
    expect(load.next().value).toHaveProperty('call');
    const [made] = sites.loader.modules.all;
    const table = made.sections.get('__jump_table')?.addr ?? 0n;
    expect(sites.core.mem.protectionOf(table)).toBe(3);
    sites.run(load);
    expect(made.state).toBe('LIVE');
    expect(sites.core.mem.protectionOf(table)).toBe(1);
  });

  it('has text that can be executed and not written, data that can be written and not executed', () => {
    expect(mem.protectionOf(symbol(rig, 'klpdemo_main'))).toBe(5);
    expect(mem.protectionOf(symbol(rig, '__param_depth'))).toBe(1);
    expect(mem.protectionOf(symbol(rig, 'depth'))).toBe(3);
  });
});

describe('parameters', () => {
  it('set the variables of the module', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_target', 'period-ms=0x20 block depth=4');
    const { mem } = rig.core;
    expect(mem.readS32(symbol(rig, 'period_ms'))).toBe(32);
    expect(mem.readU8(symbol(rig, 'block'))).toBe(1);
    expect(mem.readS32(symbol(rig, 'depth'))).toBe(4);
  });

  it('that nobody knows are ignored with a line', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_target', 'colour=red dyndbg=+p -- rest of it');
    expect(rig.dmesg).toContain("klpdemo_target: unknown parameter 'colour' ignored");
    expect(rig.dmesg).toContain("klpdemo_target: parameters 'rest of it' after `--' ignored");
    // Of dynamic debug's own, which are no module's, only what is behind the first dot counts.
    const said = rig.dmesg.length;
    expect(rig.unload('klpdemo_target')).toBe(0);
    loaded(rig, 'klpdemo_target', 'other.dyndbg=+p other.dyn.dbg=+p --');
    const ignored = rig.dmesg.slice(said).filter((line) => line.includes('ignored'));
    expect(ignored).toEqual(["klpdemo_target: unknown parameter 'other' ignored"]);
  });

  it("of a livepatch that was built before force came, 'immediate', fail the load with what there is now", () => {
    const rig = new Rig();
    const patch = fixture('klpdemo_patch_vmlinux');
    expect(rig.load(patch, 'immediate=1')).toMatchObject({ ok: false, code: 'EINVAL' });
    const force = '/sys/kernel/livepatch/klpdemo_patch_vmlinux/force';
    expect(rig.dmesg).toContain(
      `klpdemo_patch_vmlinux: livepatch has no 'immediate' since Linux 4.16: what ends a transition is 1 to ${force}`,
    );
    // Of another module it is a parameter like any other that nobody knows.
    loaded(rig, 'klpdemo_target', 'immediate=1');
    expect(rig.dmesg).toContain("klpdemo_target: unknown parameter 'immediate' ignored");
  });

  it.each([
    ['period_ms=fast', 'EINVAL', "klpdemo_target: `fast' invalid for parameter `period_ms'"],
    ['period_ms=4294967296', 'ERANGE', "klpdemo_target: `4294967296' invalid for parameter `period_ms'"],
    ['period_ms', 'EINVAL', "klpdemo_target: `' invalid for parameter `period_ms'"],
    ['block=maybe', 'EINVAL', "klpdemo_target: `maybe' invalid for parameter `block'"],
  ])('%s fails the load with %s and leaves nothing behind', (args, code, line) => {
    const rig = new Rig();
    const bytes = fixture('klpdemo_target');
    rig.load(bytes, 'depth=oops');
    const before = rig.snapshot();
    expect(rig.load(bytes, args)).toMatchObject({ ok: false, code });
    expect(rig.dmesg).toContain(line);
    expect(rig.snapshot()).toEqual(before);
    expect(rig.calls).toEqual([]);
  });
});

describe('what the ops of a parameter free', () => {
  /** The module's free() calls, each with the variable that it was given. */
  const freed = (rig: Rig) => {
    rig.exportAll(['param_free']);
    const ops = symbol(rig, 'param_ops_int');
    rig.core.mem.writeU64(ops + 24n, symbol(rig, 'param_free'));
    return () => rig.calls.filter(({ name }) => name === 'param_free').map(({ args }) => args[0]);
  };

  it('goes with the module, of each parameter of that type', () => {
    const rig = new Rig();
    const calls = freed(rig);
    const mod = loaded(rig, 'klpdemo_target');
    const variables = rig.loader.params
      .list(mod)
      .flatMap(({ ops, arg }) => (ops === symbol(rig, 'param_ops_int') ? [arg] : []));
    expect(variables).toContain(symbol(rig, 'depth'));
    expect(calls()).toEqual([]);
    expect(rig.unload('klpdemo_target')).toBe(0);
    expect(calls()).toEqual(variables);
  });

  it('goes with a load that fails by then, too', () => {
    const rig = new Rig();
    const calls = freed(rig);
    expect(rig.load(fixture('klpdemo_target'), 'depth=3 period_ms=fast')).toMatchObject({ ok: false });
    expect(calls().length).toBeGreaterThan(1);
  });

  it('is nothing where the ops are nowhere', () => {
    const rig = new Rig();
    const { symbols } = rig.core;
    symbols.addExport('param_ops_int', { addr: 0x10n, gpl: false });
    loaded(rig, 'klpdemo_target');
    expect(rig.unload('klpdemo_target')).toBe(0);
    expect(rig.snapshot()).toMatchObject({ modules: [], area: 0 });
  });
});

describe('a livepatch module', () => {
  it('taints the kernel once, with its own line', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_patch_target');
    const mod = loaded(rig, 'klpdemo_patch_vmlinux');
    expect(rig.dmesg.filter((l) => l.includes('TAINT_LIVEPATCH'))).toEqual([
      'klpdemo_patch_target: tainting kernel with TAINT_LIVEPATCH',
    ]);
    expect(mod.isLivepatch).toBe(true);
    expect(moduleFlags(mod)).toBe('(OEK)');
    expect(rig.core.taints).toBe(45056);
  });

  it('keeps all its symbols, those of init too', () => {
    const rig = new Rig();
    const mod = loaded(rig, 'klpdemo_patch_target');
    expect(mod.symbols.length).toBe(mod.elf.symbols.length);
  });

  it('calls retpoline thunks where that is what protects the CPU, and branches directly where nothing does', () => {
    const kept = loaded(new Rig(), 'klpdemo_patch_target');
    expect(kept.reports.find((r) => r.section === '.retpoline_sites')?.note).toContain('0 indirect branch');
    const rig = new Rig({ features: new CpuFeatures('ALWAYS') });
    const mod = loaded(rig, 'klpdemo_patch_target');
    const report = mod.reports.find((r) => r.section === '.retpoline_sites');
    expect(report?.note).toBe(`${report?.entries} indirect branch, no thunk, 0 kept`);
    const sites = mod.sections.get('.retpoline_sites');
    const site = sites && sites.addr + BigInt(rig.core.mem.readS32(sites.addr));
    expect(site && hex(rig.core.mem.readBytes(site, 5))).toBe('ffd00f1f00');
  });
});

describe('what is said of a module', () => {
  it('from the staging directory: that nobody knows its quality, by a taint as well', () => {
    const rig = new Rig();
    const bytes = fixture('klpdemo_target');
    const at = Buffer.from(bytes).indexOf('description=klpemu');
    bytes.set(Buffer.from('staging=Y\0'), at);
    expect(rig.load(bytes).ok).toBe(true);
    const line =
      'klpdemo_target: module is from the staging directory, the quality is unknown, you have been warned.';
    expect(rig.dmesg).toContain(line);
    expect(rig.core.taints & (1 << rig.core.kernel.constants.TAINT_CRAP)).not.toBe(0);
  });

  it('that is not free: that it taints, and by that lock debugging ends', () => {
    const rig = new Rig();
    expect(rig.load(replaced(fixture('klpdemo_target'), 'license=GPL', 'license=XYZ')).ok).toBe(true);
    expect(rig.dmesg.slice(0, 3)).toEqual([
      'klpdemo_target: loading out-of-tree module taints kernel.',
      "klpdemo_target: module license 'XYZ' taints kernel.",
      'Disabling lock debugging due to kernel taint',
    ]);
  });

  it('whose init returns what is neither 0 nor an error: that, and that it is loaded anyway', () => {
    const rig = new Rig();
    const { addr } = loaded(rig, 'klpdemo_target');
    rig.core.host.get('do_init_module_warn')?.({ cpu: 0, args: [addr, 7n], sp: 0n, caller: 0n });
    expect(rig.dmesg.slice(-2)).toEqual([
      "do_init_module: 'klpdemo_target'->init suspiciously returned 7, it should follow 0/-E convention",
      'do_init_module: loading module anyway...',
    ]);
  });
});

describe('references that guest code counts', () => {
  it('are those of the module at the address; of the kernel, at none, there is always one', () => {
    const rig = new Rig();
    const mod = loaded(rig, 'klpdemo_target');
    const functions = refcountFunctions(rig.loader.modules);
    const call = (name: string, addr: bigint) =>
      functions[name]({ cpu: 0, args: [addr], sp: 0n, caller: 0n });
    expect([call('try_module_get', 0n), call('module_refcount', 0n)]).toEqual([true, -1n]);
    expect(call('try_module_get', mod.addr)).toBe(true);
    call('__module_get', mod.addr);
    expect([mod.refcount, call('module_refcount', mod.addr)]).toEqual([2, 2n]);
    call('module_put', mod.addr);
    call('module_put', 0n);
    expect(mod.refcount).toBe(1);
  });

  it('are taken of no module that goes, nor of one whose loader has given up its own', () => {
    const rig = new Rig();
    const mod = loaded(rig, 'klpdemo_target');
    const get = refcountFunctions(rig.loader.modules).try_module_get;
    const taken = () => [get({ cpu: 0, args: [mod.addr], sp: 0n, caller: 0n }), mod.refcnt];
    mod.state = 'GOING';
    expect(taken()).toEqual([false, MODULE_REF_BASE]);
    mod.state = 'LIVE';
    mod.refcnt = 0;
    expect(taken()).toEqual([false, 0]);
    mod.refcnt = MODULE_REF_BASE;
    expect(taken()).toEqual([true, MODULE_REF_BASE + 1]);
  });

  it('and a module that is not formed yet is found by nobody but who asks for it', () => {
    const rig = new Rig();
    const mod = loaded(rig, 'klpdemo_target');
    const { modules } = rig.loader;
    const found = () => [
      modules.find(mod.name),
      modules.find(mod.name, true),
      modules.moduleAddress(symbol(rig, 'klpdemo_round')),
    ];
    expect([found(), modules.visible]).toEqual([[mod, mod, mod], [mod]]);
    mod.state = 'UNFORMED';
    expect([found(), modules.visible]).toEqual([[undefined, mod, undefined], []]);
  });
});

describe('a module that cannot be loaded', () => {
  it('names every unknown symbol', () => {
    const rig = new Rig();
    const before = rig.snapshot();
    const result = rig.load(fixture('klpdemo_bad_import'));
    expect(result).toMatchObject({ ok: false, errno: 2, code: 'ENOENT' });
    expect(rig.dmesg.at(-1)).toBe('klpdemo_bad_import: Unknown symbol klpdemo_no_such_symbol (err -2)');
    expect({ ...(rig.snapshot() as object), symbols: 0 }).toEqual({ ...(before as object), symbols: 0 });
  });

  it('is freed when its init fails, with the errno of init', () => {
    const rig = new Rig();
    rig.load(fixture('klpdemo_bad_import'));
    const before = rig.snapshot() as { symbols: number };
    rig.returns.set('klpdemo_bad_init_init', -19n);
    rig.returns.set('init_module', -19n);
    const result = rig.load(fixture('klpdemo_bad_init'));
    expect(result).toMatchObject({ ok: false, errno: 19, code: 'ENODEV' });
    expect({ ...(rig.snapshot() as object), symbols: 0 }).toEqual({ ...before, symbols: 0 });
    expect(rig.calls).toHaveLength(1);
  });

  it('lies behind the target as it did in the real kernel while its init runs', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_target');
    rig.load(fixture('klpdemo_bad_null'));
    expect(rig.calls.at(-1)?.addr).toBe(0xffffffffc020b000n);
    expect(rig.core.symbols.nameOf(0xffffffffc0206005n)).toBe('klpdemo_store');
  });

  it('is refused while one of its name is there', () => {
    const rig = new Rig();
    loaded(rig, 'klpdemo_target');
    expect(rig.load(fixture('klpdemo_target'))).toMatchObject({ ok: false, code: 'EEXIST' });
  });

  it('is refused when it was built for another kernel', () => {
    const rig = new Rig({ vermagic: '6.1.0-56-amd64 SMP mod_unload modversions ' });
    expect(rig.load(fixture('klpdemo_target'))).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(rig.dmesg).toEqual([
      "klpdemo_target: version magic '6.1.0-56-amd64 SMP preempt mod_unload modversions ' should be " +
        "'6.1.0-56-amd64 SMP mod_unload modversions '",
    ]);
  });

  it('is refused with the reason when it is no module at all', () => {
    const rig = new Rig();
    expect(rig.load(new Uint8Array(64))).toMatchObject({ ok: false, code: 'ENOEXEC' });
    expect(rig.dmesg).toEqual(['Invalid ELF header magic: != \u007fELF']);
  });

  it('leaves the machine as it was, whatever was changed in its file', () => {
    const bytes = fixture('klpdemo_target');
    const seen = new Set<string>();
    let rig = new Rig();
    for (let i = 0; i < 400; i++) {
      const broken = bytes.slice();
      // A fixed walk over the file: headers, tables, strings, code.
      for (let k = 0; k < 3; k++) broken[(i * 7919 + k * 104729) % broken.length] ^= 1 << ((i + k) % 8);
      const result = rig.load(broken, 'depth=x');
      if (result.ok) {
        rig = new Rig();
        continue;
      }
      seen.add(result.code);
      expect(rig.snapshot()).toMatchObject({ modules: [], area: 0, heap: 0 });
    }
    expect([...seen]).toContain('ENOEXEC');
  });
});
