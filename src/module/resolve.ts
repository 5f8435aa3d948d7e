// What the undefined symbols of a module stand for: exported symbols of the kernel and of other modules.
// Mirrors find_symbol(), resolve_symbol() and simplify_symbols() of kernel/module/main.c.
//
// Invariant: every symbol that stays unknown is reported before the load fails.

import {
  SHN_ABS,
  SHN_COMMON,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  STB_WEAK,
  SYM_SIZE,
  SYM_VALUE,
} from '../elf/constants.ts';
import type { ElfSymbol } from '../elf/elf_object.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { injected, ModuleError } from './error.ts';
import { addTaint, forceLoad, type LoadInfo } from './load_info.ts';
import type { Module } from './module.ts';
import { type ModuleList, neg } from './modules.ts';
import { isImported } from './namespaces.ts';
import type { ModuleLoaderPorts } from './ports.ts';
import { checkVersion } from './version.ts';

interface ResolveContext {
  readonly core: KernelCore;
  readonly ports: ModuleLoaderPorts;
  readonly modules: ModuleList;
}

interface FoundSymbol {
  readonly addr: Addr;
  readonly gpl: boolean;
  readonly owner: Module | undefined;
  readonly crc: number | undefined;
  readonly namespace: string | undefined;
}

/** find_symbol(). A GPL-only symbol does not exist for a module that is not GPL compatible. */
function findSymbol(ctx: ResolveContext, name: string, gplOk: boolean): FoundSymbol | undefined {
  const found = ctx.core.symbols.findExport(name);
  if (!found || (found.gpl && !gplOk)) return undefined;
  const owner = found.module === undefined ? undefined : ctx.modules.find(found.module);
  if (found.module !== undefined && !owner) return undefined;
  // The built-in image's have neither checksum nor namespace; a real kernel's have.
  const { crc, namespace } = owner?.exports.find((e) => e.name === name) ?? found;
  return { addr: found.addr, gpl: found.gpl, owner, crc: crc ?? found.crc, namespace };
}

/** The address, undefined for a symbol that nobody exports, or -errno. */
function resolveSymbol(
  ctx: ResolveContext,
  mod: Module,
  load: LoadInfo,
  name: string,
): Addr | undefined | number {
  const found = findSymbol(ctx, name, !mod.hasTaint('TAINT_PROPRIETARY_MODULE'));
  if (!found) return undefined;
  if (found.gpl) mod.usingGplOnlySymbols = true;
  if (!inheritTaint(ctx, mod, load, found.owner, name)) return undefined;
  if (checkVersion(ctx.core, load, found.crc, name) !== undefined) return neg('EINVAL');
  if (!isImported(ctx.core, load, mod, name, found.namespace)) return neg('EINVAL');
  if (found.owner && !(mod.isLivepatch && ctx.ports.klp?.livepatchesKeepNone)) {
    const err = ctx.modules.ref(mod, found.owner);
    if (err !== 0) return err;
  }
  return found.addr;
}

function inheritTaint(
  { core }: ResolveContext,
  mod: Module,
  load: LoadInfo,
  owner: Module | undefined,
  name: string,
): boolean {
  if (!owner?.hasTaint('TAINT_PROPRIETARY_MODULE')) return true;
  if (mod.usingGplOnlySymbols) {
    const line = `module using GPL-only symbols uses symbols ${name} from proprietary module ${owner.name}.`;
    core.printk.err(`${mod.name}: ${line}`);
    return false;
  }
  if (!mod.hasTaint('TAINT_PROPRIETARY_MODULE')) {
    const line = `module uses symbols ${name} from proprietary module ${owner.name}, inheriting taint.`;
    core.printk.warn(`${mod.name}: ${line}`);
    addTaint(core, load, 'TAINT_PROPRIETARY_MODULE');
    mod.taints = load.taints;
  }
  return true;
}

/** How long to wait for a module that is still loading: 30 s of virtual time. */
const RESOLVE_TIMEOUT_NS = 30e9;

/** resolve_symbol_wait() */
function* resolveSymbolWait(
  ctx: ResolveContext,
  mod: Module,
  load: LoadInfo,
  name: string,
): HostGenerator<Addr | undefined | number> {
  let result = resolveSymbol(ctx, mod, load, name);
  if (result !== neg('EBUSY')) return result;
  const retry = (): boolean => {
    result = resolveSymbol(ctx, mod, load, name);
    return result !== neg('EBUSY');
  };
  if ((yield* waitEvent(ctx, retry, RESOLVE_TIMEOUT_NS)) !== 0) {
    const owner = ctx.core.symbols.findExport(name)?.module ?? '';
    ctx.core.printk.warn(`${mod.name}: gave up waiting for init of module ${owner}.`);
    return neg('EBUSY');
  }
  return result;
}

/** Sleeps, or spins where nothing was given to sleep with. */
export function* waitEvent(
  { core, ports }: Pick<ResolveContext, 'core' | 'ports'>,
  condition: () => boolean,
  timeoutNs = Number.POSITIVE_INFINITY,
): HostGenerator<number> {
  if (ports.waitEvent) return yield* ports.waitEvent(condition, timeoutNs);
  const end = core.clock.now() + timeoutNs;
  while (!condition()) {
    if (core.clock.now() >= end) return neg('ETIME');
    yield { relax: true, polls: true };
  }
  return 0;
}

/**
 * Gives every symbol of the table in guest memory its final value.
 * @param symtab address of the full table
 * @param sectionBase address of a section that was loaded, by index
 */
export function* simplifySymbols(
  ctx: ResolveContext,
  mod: Module,
  load: LoadInfo,
  symtab: Addr,
  sectionBase: (index: number) => Addr,
): HostGenerator<void> {
  const { mem, printk } = ctx.core;
  let failed = 0;
  let last = '';
  const unknown: string[] = [];
  for (const symbol of load.elf.symbols) {
    if (symbol.index === 0 || symbol.shndx === SHN_ABS || symbol.shndx === SHN_LIVEPATCH) continue;
    const at = symtab + BigInt(symbol.index * SYM_SIZE + SYM_VALUE);
    if (symbol.shndx !== SHN_UNDEF) {
      const problem = definedProblem(load, symbol);
      if (problem === undefined) {
        if (symbol.section) mem.writeU64(at, symbol.value + sectionBase(symbol.section.index));
        continue;
      }
      if (symbol.shndx === SHN_COMMON) printk.warn(problem);
      else printk.err(problem);
      [failed, last] = [neg('ENOEXEC'), problem];
      continue;
    }
    const fault = ctx.core.faults.check('resolve_symbol', `${mod.name} ${symbol.name}`);
    const value = fault || (yield* resolveSymbolWait(ctx, mod, load, symbol.name));
    if (typeof value === 'bigint') {
      mem.writeU64(at, value);
    } else if (value !== undefined || !mayBeMissing(symbol)) {
      failed = value ?? neg('ENOENT');
      last = `${mod.name}: Unknown symbol ${symbol.name} (err ${failed})`;
      printk.warn(last);
      unknown.push(symbol.name);
    }
  }
  // Whoever has to supply them wants them all.
  if (unknown.length > 1) last = `${mod.name}: Unknown symbols ${unknown.join(', ')} (err ${failed})`;
  if (failed < 0) throw new ModuleError(-failed, last);
}

/** What is wrong with a symbol that the object defines itself. */
function definedProblem(load: LoadInfo, symbol: ElfSymbol): string | undefined {
  if (symbol.shndx === SHN_COMMON) {
    return symbol.name.startsWith('__gnu_lto') ? undefined : `${load.name}: please compile with -fno-common`;
  }
  const { shnum } = load.elf.header;
  if (symbol.shndx < shnum) return undefined;
  const max = shnum - 1;
  return `${load.name}: Symbol ${symbol.name} has an invalid section index ${symbol.shndx} (max ${max})`;
}

/** ignore_undef_symbol(), and weak ones, which stay zero. */
function mayBeMissing(symbol: ElfSymbol): boolean {
  return symbol.bind === STB_WEAK || symbol.name === '_GLOBAL_OFFSET_TABLE_';
}

/** verify_exported_symbols(). @throws ModuleError */
export function verifyExportedSymbols(ctx: ResolveContext, mod: Module): void {
  injected(ctx.core, 'verify_exported_symbols', mod.name);
  for (const { name } of mod.exports) {
    const found = findSymbol(ctx, name, true);
    if (!found) continue;
    const owner = found.owner?.name ?? 'kernel';
    const reason = `${mod.name}: exports duplicate symbol ${name} (owned by ${owner})`;
    ctx.core.printk.err(reason);
    throw new ModuleError('ENOEXEC', reason);
  }
}

/** check_module_license_and_versions(): exports without checksums taint, where the kernel has checksums. */
export function checkExportVersions(core: KernelCore, load: LoadInfo, mod: Module): void {
  if (core.kernel.layoutCrc === undefined) return;
  if (!mod.exports.some((e) => e.crc === undefined)) return;
  forceLoad(core, load, 'no versions for exported symbols');
  mod.taints = load.taints;
}
