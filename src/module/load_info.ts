// What is known of a module before any memory is taken for it: its parts, its name, whether this kernel wants it.
// Mirrors setup_load_info() and check_modinfo() of kernel/module/main.c.
//
// Invariant: each refusal prints the kernel's line before it throws.

import { SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE } from '../elf/constants.ts';
import { type ElfObject, type ElfSection, parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import { type ModInfo, readModInfo } from '../elf/modinfo.ts';
import { type ElfPointer, readThisModule } from '../elf/module_object.ts';
import { objectKind } from '../elf/object_kind.ts';
import type { KernelCore } from '../kernel/core.ts';
import { addTaint as addKernelTaint } from '../kernel/taint.ts';
import { injected, ModuleError } from './error.ts';
import { foreign } from './foreign.ts';
import { checkModuleSize } from './module_size.ts';
import type { ModuleLoaderPorts } from './ports.ts';
import { moduleSigCheck } from './signing.ts';
import { type TaintName, taintBit, testTaint } from './taint.ts';

/** finit_module() flags. */
export const MODULE_INIT_IGNORE_MODVERSIONS = 1;
export const MODULE_INIT_IGNORE_VERMAGIC = 2;
const MANGLED = MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC;

export interface LoadRequest {
  /** Names the file in errors. */
  readonly file: string;
  readonly bytes: Uint8Array;
  /** Parameters as insmod passes them: `foo=1 bar="a b"`; null when they are where a user may not read. */
  readonly args?: string | null | undefined;
  readonly flags?: number | undefined;
  /** Object that it patches as a member of a bundle. */
  readonly patches?: string | undefined;
}

export interface LoadInfo {
  readonly elf: ElfObject;
  readonly info: ModInfo;
  readonly name: string;
  readonly thisModule: ElfSection;
  readonly init: ElfPointer | undefined;
  readonly exit: ElfPointer | undefined;
  /** __versions, unless it is to be ignored. */
  readonly versions: ElfSection | undefined;
  readonly pcpu: ElfSection | undefined;
  /** TAINT_ bits so far. */
  taints: number;
  livepatch: boolean;
  sigOk: boolean;
}

/** Parses and checks; prints what the kernel prints. @throws ModuleError */
export function setupLoadInfo(core: KernelCore, ports: ModuleLoaderPorts, request: LoadRequest): LoadInfo {
  const flags = request.flags ?? 0;
  const isMangled = (flags & MANGLED) !== 0;
  const bytes = moduleSigCheck(core, request.bytes, isMangled, ports.sigEnforce === true);
  injected(core, 'elf_validity_check', request.file);
  const elf = parsed(core, () => parseElf(bytes, request.file, core.arch.elf, { extended: false }));
  const info = parsed(core, () => readModInfo(elf));
  const early = info.get('name') ?? '(missing .modinfo section or name field)';
  if (!elf.symtab) {
    core.events.emit({ type: 'note', text: `the file is ${objectKind(elf)}` });
    throw refused(core, `${early}: module has no symbols (stripped?)`);
  }
  const { fields } = core.kernel.structs.module;
  const offsets = { ...fields, nameLength: core.kernel.constants.MODULE_NAME_LEN };
  const mod = parsed(core, () => readThisModule(elf, offsets));
  if (!mod) throw refused(core, `${early}: No module found in object`);
  const name = info.get('name') ?? mod.name;
  if (ports.blacklist?.includes(name)) {
    core.printk.err(`Module ${name} is blacklisted`);
    throw new ModuleError('EPERM', `Module ${name} is blacklisted`);
  }
  const ignoreVersions = (flags & MODULE_INIT_IGNORE_MODVERSIONS) !== 0;
  return {
    elf,
    info,
    name,
    thisModule: mod.section,
    init: mod.init,
    exit: mod.exit,
    versions: ignoreVersions ? undefined : allocated(elf, '__versions'),
    pcpu: allocated(elf, '.data..percpu'),
    taints: 0,
    livepatch: false,
    sigOk: false,
  };
}

/** find_sec(): only a section that is loaded counts. */
function allocated(elf: ElfObject, name: string): ElfSection | undefined {
  const section = elf.section(name);
  return section && section.flags & SHF_ALLOC ? section : undefined;
}

/** The checks that .modinfo and the section flags allow, and the taints that follow. @throws ModuleError */
export function checkModinfo(
  core: KernelCore,
  ports: ModuleLoaderPorts,
  load: LoadInfo,
  flags: number,
): void {
  checkVermagic(core, ports, load, flags);
  checkModuleSize(core, load);
  const { info, name } = load;
  injected(core, 'check_modinfo', name);
  if (!info.has('intree')) {
    taintOnce(core, load, 'TAINT_OOT_MODULE', `${name}: loading out-of-tree module taints kernel.`);
  }
  if (!info.has('retpoline')) {
    core.printk.err('Spectre V2 : System may be vulnerable to spectre v2');
    core.printk.warn(`${name}: loading module not compiled with retpoline compiler.`);
  }
  if (info.has('staging')) {
    addTaint(core, load, 'TAINT_CRAP');
    const warning = 'module is from the staging directory, the quality is unknown, you have been warned.';
    core.printk.warn(`${name}: ${warning}`);
  }
  if (info.has('livepatch')) checkLivepatch(core, load);
  setLicense(core, load);
  if (info.has('test')) taintOnce(core, load, 'TAINT_TEST', `${name}: loading test module taints kernel.`);
  enforceRwx(core, load);
}

function checkVermagic(core: KernelCore, ports: ModuleLoaderPorts, load: LoadInfo, flags: number): void {
  const wanted = ports.vermagic ?? core.kernel.vermagic;
  const magic = flags & MODULE_INIT_IGNORE_VERMAGIC ? undefined : load.info.get('vermagic');
  if (magic === undefined) {
    forceLoad(core, load, 'bad vermagic');
  } else if (!sameMagic(magic, wanted, hasCrcs(core, load))) {
    const reason = `${load.name}: version magic '${magic}' should be '${wanted}'`;
    core.printk.err(reason);
    throw foreign(core, load, reason);
  }
}

/** Where the kernel was built with CONFIG_MODVERSIONS, too. */
const hasCrcs = ({ kernel }: KernelCore, { versions }: LoadInfo): boolean =>
  kernel.layoutCrc !== undefined && versions !== undefined;

/** The kernel's version does not count when every symbol has a checksum. */
function sameMagic(a: string, b: string, hasCrcs: boolean): boolean {
  if (!hasCrcs) return a === b;
  return afterVersion(a) === afterVersion(b);
}

function afterVersion(magic: string): string {
  const space = magic.indexOf(' ');
  return space < 0 ? '' : magic.slice(space);
}

/** try_to_force_load(), which Debian's configuration allows. */
export function forceLoad(core: KernelCore, load: LoadInfo, reason: string): void {
  taintOnce(core, load, 'TAINT_FORCED_MODULE', `${load.name}: ${reason}: kernel tainted.`);
}

function checkLivepatch(core: KernelCore, load: LoadInfo): void {
  load.livepatch = true;
  // pr_notice_once(): the taint itself remembers that it was said.
  if (!testTaint(core, 'TAINT_LIVEPATCH')) {
    core.printk.notice(`${load.name}: tainting kernel with TAINT_LIVEPATCH`);
  }
  addTaint(core, load, 'TAINT_LIVEPATCH');
}

const GPL_COMPATIBLE = new Set([
  'GPL',
  'GPL v2',
  'GPL and additional rights',
  'Dual BSD/GPL',
  'Dual MIT/GPL',
  'Dual MPL/GPL',
]);

function setLicense(core: KernelCore, load: LoadInfo): void {
  const license = load.info.get('license') ?? 'unspecified';
  if (GPL_COMPATIBLE.has(license)) return;
  const line = `${load.name}: module license '${license}' taints kernel.`;
  taintOnce(core, load, 'TAINT_PROPRIETARY_MODULE', line);
}

/** module_enforce_rwx_sections() */
function enforceRwx(core: KernelCore, load: LoadInfo): void {
  const both = SHF_WRITE | SHF_EXECINSTR;
  const bad = load.elf.sections.find((s) => (s.flags & both) === both);
  if (!bad) return;
  const reason = `${load.name}: section ${bad.name} (index ${bad.index}) has invalid WRITE|EXEC flags`;
  core.printk.err(reason);
  throw new ModuleError('ENOEXEC', reason);
}

/** After which lockdep is not to be trusted. */
const UNRELIABLE_LOCKS: ReadonlySet<TaintName> = new Set(['TAINT_PROPRIETARY_MODULE', 'TAINT_FORCED_MODULE']);

/** add_taint_module() */
export function addTaint(core: KernelCore, load: LoadInfo, name: TaintName): void {
  addKernelTaint(
    core,
    core.kernel.constants[name],
    UNRELIABLE_LOCKS.has(name) ? 'now unreliable' : 'still ok',
  );
  load.taints |= taintBit(core.kernel, name);
}

function taintOnce(core: KernelCore, load: LoadInfo, name: TaintName, line: string): void {
  if (!testTaint(core, name)) core.printk.warn(line);
  addTaint(core, load, name);
}

/** Runs a part that reads the object; what is wrong with it goes to the log. */
export function parsed<T>(core: KernelCore, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    core.printk.err(error.reason);
    if (error.kind !== undefined) core.events.emit({ type: 'note', text: `the file is ${error.kind}` });
    throw new ModuleError('ENOEXEC', error.message);
  }
}

function refused(core: KernelCore, reason: string): ModuleError {
  core.printk.warn(reason);
  return new ModuleError('ENOEXEC', reason);
}
