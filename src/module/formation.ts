// The first half of a load: from the bytes of a file to a module that is relocated, visible and COMING.
// Mirrors load_module() of kernel/module/main.c as far as complete_formation(), and percpu_modalloc().
//
// Invariant: each step says what undoes it before the next one begins; nothing of the module has run.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { hasRow, type Structs } from '../kernel/description.ts';
import { initListHead } from '../kernel/list.ts';
import { injected, ModuleError } from './error.ts';
import { findModuleSections, postRelocation } from './finalize.ts';
import { moduleKallsyms } from './kallsyms.ts';
import { layoutModule } from './layout.ts';
import { applySectionRelocs, resolveOrdinary } from './livepatch.ts';
import {
  addTaint,
  checkModinfo,
  type LoadInfo,
  type LoadRequest,
  parsed,
  setupLoadInfo,
} from './load_info.ts';
import { freeModuleMemory, moveModule, protectModule, sectionAddress } from './memory.ts';
import { MODULE_REF_BASE, type Module } from './module.ts';
import type { ModuleList } from './modules.ts';
import { checkImports } from './namespaces.ts';
import { type MayCall, type ModuleHooks, type ModuleLoaderPorts, settle } from './ports.ts';
import { applyRelocations } from './relocate.ts';
import { checkExportVersions, simplifySymbols, verifyExportedSymbols, waitEvent } from './resolve.ts';
import { testTaint } from './taint.ts';
import { checkModstructVersion } from './version.ts';

/** What undoes a step; steps are undone last first. */
export type Undo = () => MayCall<void>;

export class ModuleFormation {
  readonly #core: KernelCore;
  readonly #module: Structs['module']['fields'];
  readonly #ports: ModuleLoaderPorts;
  readonly #hooks: ModuleHooks;
  readonly #modules: ModuleList;

  constructor(core: KernelCore, ports: ModuleLoaderPorts, modules: ModuleList) {
    this.#core = core;
    this.#module = core.kernel.structs.module.fields;
    this.#ports = ports;
    this.#hooks = ports.hooks ?? {};
    this.#modules = modules;
  }

  /** From the file to a module that is relocated, visible and COMING. @throws ModuleError */
  *form(request: LoadRequest, undo: Undo[]): HostGenerator<{ mod: Module; args: string }> {
    const load = setupLoadInfo(this.#core, this.#ports, request);
    checkModstructVersion(this.#core, load);
    const mod = this.#layoutAndAllocate(load, request.flags ?? 0, undo);
    mod.patches = request.patches;
    mod.paused = this.#ports.klp?.pausesComing === true;
    yield* this.#addUnformed(mod, undo);
    this.#noteSignature(load, mod);
    this.#percpuAlloc(load, mod, undo);
    this.#unloadInit(mod);
    undo.push(() => this.#modules.unrefAll(mod));
    findModuleSections(this.#core, mod);
    yield* this.#link(load, mod);
    const args = this.#copyArgs(mod, request.args === undefined ? '' : request.args, undo);
    undo.push(() => this.#hooks.ftraceReleaseMod?.(mod));
    yield* settle(this.#hooks.ftraceModuleInit?.(mod));
    this.#completeFormation(mod, undo);
    return { mod, args };
  }

  #layoutAndAllocate(load: LoadInfo, flags: number, undo: Undo[]): Module {
    const { name } = load;
    checkModinfo(this.#core, this.#ports, load, flags);
    const layout = parsed(this.#core, () =>
      layoutModule(load.elf, load.livepatch, this.#core.kernel.structs),
    );
    const mod = moveModule(this.#core, this.#ports, load, layout);
    undo.push(() => freeModuleMemory(this.#core, this.#ports, mod));
    mod.taints = load.taints;
    if (load.livepatch) this.#core.mem.writeU8(mod.addr + BigInt(this.#module.klp), 1);
    this.#core.events.emit({ type: 'module', name, state: 'UNFORMED' });
    return mod;
  }

  /** add_unformed_module(): the name is taken from here on. */
  *#addUnformed(mod: Module, undo: Undo[]): HostGenerator<void> {
    mod.state = 'UNFORMED';
    const old = (): Module | undefined => this.#modules.find(mod.name, true);
    const busy = (): boolean => old()?.state === 'COMING' || old()?.state === 'UNFORMED';
    const found = old();
    if (found) {
      if (busy() && this.#ports.klp?.breaksRecursion(mod.name))
        throw new ModuleError('EEXIST', `${mod.name} is loading, and its livepatch waits for this load`);
      const wait = { core: this.#core, ports: this.#ports };
      const interrupted = busy() ? yield* waitEvent(wait, () => !busy()) : 0;
      if (interrupted !== 0) throw new ModuleError(-interrupted, `${mod.name} is loading, and a signal came`);
      const live = old()?.state === 'LIVE';
      throw new ModuleError(live ? 'EEXIST' : 'EBUSY', `module ${mod.name} is loaded already`);
    }
    injected(this.#core, 'add_unformed_module', mod.name);
    this.#modules.add(mod);
    undo.push(() => this.#modules.remove(mod));
  }

  #noteSignature(load: LoadInfo, mod: Module): void {
    if (load.sigOk) return;
    const line = 'module verification failed: signature and/or required key missing - tainting kernel';
    if (!testTaint(this.#core, 'TAINT_UNSIGNED_MODULE')) this.#core.printk.notice(`${mod.name}: ${line}`);
    addTaint(this.#core, load, 'TAINT_UNSIGNED_MODULE');
    mod.taints = load.taints;
  }

  /** percpu_modalloc(); the initial values follow in post_relocation's place, nothing relocates them. */
  #percpuAlloc({ pcpu, elf }: LoadInfo, mod: Module, undo: Undo[]): void {
    if (!pcpu || pcpu.size === 0) return;
    if (pcpu.align > PAGE_SIZE) {
      this.#core.printk.warn(`${mod.name}: per-cpu alignment ${pcpu.align} > ${PAGE_SIZE}`);
    }
    const owner = `per-CPU data of ${mod.name}`;
    const offset = this.#ports.percpu?.alloc(pcpu.size, Math.min(pcpu.align, PAGE_SIZE), owner);
    if (offset === undefined) {
      const reason = `${mod.name}: Could not allocate ${pcpu.size} bytes percpu data`;
      this.#core.printk.warn(reason);
      throw new ModuleError('ENOMEM', reason);
    }
    undo.push(() => this.#ports.percpu?.free(offset));
    this.#ports.percpu?.copy(offset, elf.data(pcpu));
    mod.writeField('percpu', offset);
    mod.writeField32('percpu_size', pcpu.size);
  }

  /** module_unload_init(): one reference for the loader, one while init runs. */
  #unloadInit(mod: Module): void {
    mod.refcnt = MODULE_REF_BASE + 1;
    for (const list of [this.#module.source_list, this.#module.target_list, this.#module.bug_list]) {
      initListHead(this.#core, mod.addr + BigInt(list));
    }
  }

  /** Symbols, relocations, text: from a copy of the file to code that can run. */
  *#link(load: LoadInfo, mod: Module): HostGenerator<void> {
    const ctx = { core: this.#core, ports: this.#ports, modules: this.#modules };
    const percpu = this.#core.mem.readU64(mod.addr + BigInt(this.#module.percpu));
    const sectionBase = (index: number): Addr =>
      index === load.pcpu?.index ? percpu : sectionAddress(mod, index);
    checkImports(this.#core, load, mod);
    yield* simplifySymbols(ctx, mod, load, mod.kallsyms.init.symtab, sectionBase);
    const early = this.#ports.klp?.resolvesAtLoad === true;
    if (load.livepatch && early) resolveOrdinary(this.#core, this.#ports.klpFindObjectSymbol, mod);
    applyRelocations(this.#core, mod, (rela, write) =>
      applySectionRelocs(
        this.#core,
        this.#ports.klpFindObjectSymbol,
        mod,
        rela,
        early ? undefined : 'vmlinux',
        write,
      ),
    );
    postRelocation(this.#core, this.#ports, mod);
    checkExportVersions(this.#core, load, mod);
  }

  /** strndup_user() of the parameters. */
  #copyArgs(mod: Module, args: string | null, undo: Undo[]): string {
    if (args === null) throw new ModuleError('EFAULT', `the parameters of ${mod.name} are not to be read`);
    const copy = this.#core.slab.alloc(args.length + 1, `arguments of ${mod.name}`);
    this.#core.mem.writeCString(copy, args);
    mod.args = copy;
    if (hasRow(this.#module, 'args')) mod.writeField('args', copy);
    undo.push(() => this.#core.slab.free(copy));
    return args;
  }

  /** complete_formation(): protected, visible, COMING. */
  #completeFormation(mod: Module, undo: Undo[]): void {
    verifyExportedSymbols({ core: this.#core, ports: this.#ports, modules: this.#modules }, mod);
    undo.push(() => this.#unpublish(mod));
    protectModule(this.#core, mod);
    mod.state = 'COMING';
    this.publish(mod);
    for (const { name, addr, gpl } of mod.exports) {
      this.#core.symbols.addExport(name, { addr, gpl, module: mod.name });
    }
    this.#hooks.unwindModuleInit?.(mod);
    this.#core.events.emit({ type: 'module', name: mod.name, state: 'COMING' });
  }

  /** Makes the machine's kallsyms agree with the module's current symbol table. */
  publish(mod: Module): void {
    const regions = (['core', 'init'] as const).flatMap((region) => {
      const start = mod.base(region);
      const textEnd = start + BigInt(mod.textSize(region));
      return [
        { start, end: textEnd, textEnd },
        { start: textEnd, end: start + BigInt(mod.size(region)), textEnd },
      ];
    });
    // is_exported() asks the one table that there is; where exports under the GPL have their own, it does not know them.
    const oneTable = !hasRow(this.#core.kernel.structs.module.fields, 'gpl_syms');
    const exported = new Set(mod.exports.filter((e) => oneTable || !e.gpl).map((e) => e.name));
    const { mem, symbols } = this.#core;
    const { found, shown } = moduleKallsyms(mem, mod.symbolTable, mod.symbols, regions, exported);
    symbols.add(mod.name, found, shown);
  }

  #unpublish(mod: Module): void {
    mod.state = 'GOING';
    this.#core.symbols.remove(mod.name);
    this.#hooks.unwindModuleFree?.(mod);
  }
}
