// From one uber patch module to patch modules of one object each: the steps, and what became of what.

import type { CodeArch } from '../../arch/code.ts';
import { SHN_LORESERVE } from '../../elf/constants.ts';
import { parseElf } from '../../elf/elf_object.ts';
import type { ElfMachine } from '../../elf/machine.ts';
import { readModInfo } from '../../elf/modinfo.ts';
import { BUILT_IN, type KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import { Graph } from './graph.ts';
import { buildMember } from './member.ts';
import { OrcRows } from './orc.ts';
import { Places } from './places.ts';
import { type MemberPlan, planSplit, type SplitPlan } from './plan.ts';
import { readUber } from './uber.ts';

/** Offset of e_shnum. */
const E_SHNUM = 60;

export { SplitRefused } from './plan.ts';

export interface SplitMember {
  readonly object: string;
  readonly file: string;
  readonly bytes: Uint8Array;
  /** Functions and data by name. */
  readonly functions: readonly string[];
  readonly data: readonly string[];
  /** Of these what other members have, too. */
  readonly copied: readonly string[];
  readonly states: boolean;
}

export interface Split {
  /** Of the uber module. */
  readonly name: string;
  readonly replace: boolean;
  readonly members: readonly SplitMember[];
  /** State that one member has for several, by the name of its export. */
  readonly shared: readonly string[];
  /** What no member needs. */
  readonly left: readonly string[];
}

interface Port {
  readonly elf: ElfMachine;
  readonly code: CodeArch;
}

/**
 * @param bundle its name
 * @throws ElfError for a module that is none, contradicts itself, or patches nothing; SplitRefused
 */
export function splitUber(
  bytes: Uint8Array,
  file: string,
  bundle: string,
  port: Port,
  kernel: KernelDescription = BUILT_IN,
): Split {
  const elf = parseElf(bytes, file, port.elf);
  const count = elf.sections.length;
  const most = SHN_LORESERVE - 1;
  if (count > most)
    throw elf.error(`${count} sections are more than the ${most} that a module may have`, undefined, E_SHNUM);
  const info = readModInfo(elf);
  if (info.get('livepatch') !== 'Y') throw elf.error("not a livepatch: no 'livepatch=Y' in .modinfo");
  if (!elf.symtab) throw elf.error('no symbol table');
  const places = new Places(elf, port.code);
  const graph = new Graph(places, kernel.structs);
  const uber = readUber(graph, kernel);
  const plan = planSplit(graph, uber, bundle);
  const context = { graph, uber, plan, kernel, code: port.code, orc: OrcRows.of(places) };
  const owners = countOwners(plan);
  return {
    name: info.get('name') ?? file,
    replace: uber.replace,
    members: plan.members.map((member) => ({
      ...described(member, owners),
      bytes: buildMember(context, member),
    })),
    shared: [...plan.shared.values()],
    left: graph.atoms.all.filter((atom) => atom.symbol && !owners.has(atom)).map(({ label }) => label),
  };
}

function countOwners({ members }: SplitPlan): ReadonlyMap<Atom, number> {
  const owners = new Map<Atom, number>();
  for (const { atoms } of members) for (const atom of atoms) owners.set(atom, (owners.get(atom) ?? 0) + 1);
  return owners;
}

function described(
  { object, module, atoms, states }: MemberPlan,
  owners: ReadonlyMap<Atom, number>,
): Omit<SplitMember, 'bytes'> {
  const named = [...atoms].filter((atom) => atom.symbol?.name).sort((a, b) => a.id - b.id);
  const labels = (wanted: (atom: Atom) => boolean): string[] =>
    named.filter(wanted).map(({ label }) => label);
  return {
    object,
    file: `${module}.ko`,
    functions: labels(({ code }) => code),
    data: labels(({ code }) => !code),
    copied: labels((atom) => (owners.get(atom) ?? 0) > 1),
    states,
  };
}
