// Instructions that the engine does not survive or does wrong, and hlt, in a module.

import { describe, expect, it } from 'vitest';
import { attack, type Ended } from './attacks.ts';

const said = ({ log }: Ended, text: string | RegExp): boolean =>
  log.some((line) => (typeof text === 'string' ? line.includes(text) : text.test(line)));

describe('an instruction that ends the engine', () => {
  it.each(['far_call_register', 'far_jump_register_16', 'lock_cmp', 'lock_bt_memory'])(
    '%s is an invalid opcode, and the dump shows its own bytes',
    async (how) => {
      const end = await attack(`how=${how}`);
      expect(end).toMatchObject({ how: 'exit 139', alive: true });
      expect(said(end, 'invalid opcode: 0000 [#1] PREEMPT SMP NOPTI')).toBe(true);
      expect(said(end, new RegExp(`^RIP: 0010:klpdemo_${how}\\+0x\\w+/0x\\w+ \\[klpdemo_attacks\\]$`))).toBe(
        true,
      );
      expect(said(end, /^Code: .*<(ff|66|f0)> (d8|ff e9|39 00|0f a3 07)/)).toBe(true);
    },
  );

  it.each([
    'into_a_far_jump',
    'indirect_into_a_far_jump',
    'memory_into_a_far_jump',
    'call_into_a_far_jump',
    'return_into_a_far_jump',
    'far_return_into_a_far_jump',
    'iret_into_a_far_jump',
    'into_a_lock',
    'fall_into_a_far_jump',
  ])('is one in the midst of another instruction, too (%s)', async (how) => {
    const end = await attack(`how=${how}`);
    expect(end).toMatchObject({ how: 'exit 139', alive: true });
    expect(said(end, 'invalid opcode')).toBe(true);
  });

  it('is nothing where nobody executes it', async () => {
    expect(await attack('how=branch_over_a_far_jump')).toMatchObject({ how: 'exit 0', alive: true });
  });

  it.each(['far_call_register', 'lock_cmp', 'dr7_breakpoint'])(
    'is kept from a machine without shadow stack (%s)',
    async (how) => {
      const end = await attack(`how=${how}`, { shadow: false });
      expect(end.alive).toBe(true);
      expect(end.how).toBe(how.startsWith('dr7') ? 'exit 0' : 'exit 139');
    },
  );
});

describe('debug registers', () => {
  it.each(['dr7_breakpoint', 'dr7_all', 'dr_read'])('can be written and read (%s)', async (how) => {
    expect(await attack(`how=${how}`)).toMatchObject({ how: 'exit 0', alive: true });
  });

  it('fault when the upper half of %dr7 is set', async () => {
    const end = await attack('how=dr7_high');
    expect(end).toMatchObject({ how: 'exit 139', alive: true });
    expect(said(end, 'general protection fault')).toBe(true);
  });
});

describe('hlt of a module', () => {
  it.each(['sti_hlt', 'plain_hlt', 'rep_hlt'])('waits for the next tick (%s)', async (how) => {
    for (const cpus of [1, 2])
      expect(await attack(`how=${how}`, { cpus })).toMatchObject({ how: 'exit 0', alive: true });
  });

  it('with interrupts off stops that CPU for ever; the other goes on', async () => {
    expect(await attack('how=cli_hlt')).toMatchObject({ how: 'goes on', alive: true });
  });

  it('with interrupts off on the only CPU is the end, and says whose', async () => {
    const end = await attack('how=cli_hlt', { cpus: 1 });
    expect(end.how).toBe('MachineError');
    expect(end.why).toMatch(
      /^halted with interrupts off: nothing can go on \(CPU 0, insmod:\d+ at klpdemo_cli_hlt\+0x7\/0x\w+ \[klpdemo_attacks\]\)$/,
    );
  });

  it('with a LOCK prefix is an invalid opcode', async () => {
    expect(said(await attack('how=lock_hlt'), 'invalid opcode')).toBe(true);
  });
});
