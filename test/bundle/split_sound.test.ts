// Members as objects: their unwind tables are those that their code gives, and a check of each says of its functions what
// a check of the whole module says of them.

import { describe, expect, it } from 'vitest';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { FunctionReport } from '../../src/check/verdicts.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { checkGuest } from '../check/guest.ts';
import { uber } from './split_runs.ts';
import { koOf, PORT, splitOf } from './split_world.ts';

const guest = checkGuest();
const MODULES: readonly (readonly [string, Uint8Array])[] = [
  ['klpdemo_patch_both', koOf('klpdemo_patch_both')],
  ...[
    'o5',
    'all',
    'sections_all',
    'jump_table',
    'sections_jump_table',
    'warn',
    'ex_table',
    'alternative',
  ].map((name) => [`klpsplit_${name}`, uber(name)] as const),
  ...['key', 'call', 'percpu', 'ext_o3', 'kpatch_o3', 'many'].map(
    (name) => [`klpsplit_${name}`, uber(name)] as const,
  ),
];

const parsed = (bytes: Uint8Array, name: string): ElfObject => parseElf(bytes, `${name}.ko`, PORT.elf);

/** By name, without what is a member's own where tables became a klp_patch. */
function verdicts(elf: ElfObject, own: RegExp): Map<string, FunctionReport> {
  const { functions } = new ObjectChecker(guest, elf, { unwinder: 'orc' }).check();
  return new Map(functions.filter(({ name }) => !own.test(name)).map((one) => [one.name, one]));
}

describe.each(MODULES)('the members of %s', (name, bytes) => {
  const members = splitOf(name, 'fix', bytes).members.map((member) => parsed(member.bytes, member.file));

  it('have the ORC tables that their code gives', () => {
    for (const elf of members) {
      const result = createOrc(inputFromElf(elf, PORT.code));
      const { differences, functions } = diffOrc(result, readOrc(elf, PORT.code.orc) as OrcRows);
      expect(differences).toEqual([]);
      expect(functions.same).toBe(functions.total);
      expect(functions.total).toBeGreaterThan(0);
      result.code.release();
    }
  });

  it('have functions of which a check says what it says of the module', () => {
    const own = /ext|kpatch/.test(name) ? /init|^cleanup_module$/ : /init/;
    const whole = verdicts(parsed(bytes, name), own);
    for (const elf of members) {
      for (const [fn, report] of verdicts(elf, own)) expect(report).toEqual(whole.get(fn));
    }
  });

  it('have between them every function that the module replaces, each once', () => {
    const replaced = members.flatMap((elf) =>
      elf.symbols.filter((s) => s.section && /^(klpdemo_)?new_[abcm]\w*$/.test(s.name)).map((s) => s.name),
    );
    const own = parsed(bytes, name).symbols.filter(
      (s) => s.section && /^(klpdemo_)?new_[abcm]\w*$/.test(s.name),
    );
    const shared = replaced.filter((fn, i) => replaced.indexOf(fn) !== i && !/\.cold$/.test(fn));
    expect(shared).toEqual([]);
    expect([...new Set(replaced)].sort()).toEqual([...new Set(own.map((s) => s.name))].sort());
  });
});
