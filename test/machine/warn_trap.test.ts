// WARN() that is a trap with the arguments of its message, as x86 has it from 6.19 on; and where nothing is at the register.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';
import { warningOf } from './warning.ts';

const MODULE = readFileSync(join(import.meta.dirname, '../../fixtures/modules/klpdemo_warn_trap.ko'));
const SMALL = { heap: 4 << 20, moduleArea: 2 << 20, maxTasks: 32, instructionNs: 20_000 };
/** The built-in kernel with the bug table of 7.3. */
const LATER: KernelDescription = {
  ...BUILT_IN,
  release: '7.3.4',
  structs: {
    ...BUILT_IN.structs,
    bug_entry: {
      size: 16,
      fields: { bug_addr_disp: 0, format_disp: 4, file_disp: 8, line: 12, flags: 14 },
      bitfields: {},
    },
  },
};

let machine: Machine;
afterEach(() => machine.close());

describe('a WARN() that is a trap', () => {
  it.each([
    ['here', 'klpdemo_warn_here+0x26', 42, 'klpdemo_warn_here+0x26'],
    ['call', 'klpdemo_warn_call+0x7', 43, '__WARN_trap+0x0'],
  ])(
    'says its message, where it is and whose it is, and the code goes on: %s',
    async (how, at, line, rip) => {
      machine = await Machine.boot(SMALL, LATER);
      const lines = warningOf(machine, new Uint8Array(MODULE), how);
      expect(lines.filter((text) => text.includes('cut here'))).toHaveLength(1);
      const from = lines.findIndex((text) => text.includes('cut here'));
      expect(lines[from + 1]).toBe(`klpdemo: ${how} warns: 2 3 4 5 6 7`);
      expect(lines[from + 2]).toMatch(
        new RegExp(
          `^WARNING: klpdemo_warn_trap\\.c:${line} at ${at.replace('+', '\\+')}/0x\\w+ \\[klpdemo_warn_trap\\], CPU#\\d: insmod/\\d+$`,
        ),
      );
      expect(lines.find((text) => text.startsWith('RIP: '))).toContain(`0010:${rip}/`);
      expect(lines.at(-1)).toBe('klpdemo_warn_trap: went on');
      expect((machine.inspect.core.taints >> BUILT_IN.constants.TAINT_WARN) & 1).toBe(1);
    },
  );
});
