// Judges of the processor: the catalogue of forms, and what the judges say of each other.

import * as iced from 'iced-x86';
import { beforeAll, describe, expect, it } from 'vitest';
import { FORM } from '../../../../src/isa/facts.ts';
import { FORM_0F, FORM_ONE } from '../../../../src/isa/opcodes.ts';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { makeCase } from './cases.ts';
import { FORMS } from './forms.ts';
import { hostCannotJudge } from './host.ts';
import { USER } from './layout.ts';
import { isBeyondUnicorn, isOfMachine, unjudgedBecause } from './scope.ts';
import { judgeForms, type Result } from './session.ts';

/** Behind 0f. */
const MAPS = new Set([0x38, 0x3a]);
const noHost = hostCannotJudge();

describe('the catalogue of forms', () => {
  it('has every opcode of the table that the other decoder knows, too', () => {
    const has = new Set(
      FORMS.flatMap(({ opcode, inOpcode }) => {
        const last = opcode[opcode.length - 1];
        const all = inOpcode ? Array.from({ length: 8 }, (_, i) => (last & 0xf8) | i) : [last];
        return all.map((byte) => [...opcode.slice(0, -1), byte].join());
      }),
    );
    const missing: string[] = [];
    for (const [map, forms] of [
      [[], FORM_ONE],
      [[0x0f], FORM_0F],
    ] as const) {
      for (let opcode = 0; opcode < 0x100; opcode++) {
        if (forms[opcode] & (FORM.INVALID | FORM.PREFIX)) continue;
        const decoder = new iced.Decoder(64, Uint8Array.of(...map, opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
        const { code } = decoder.decode();
        const known = code !== iced.Code.INVALID && opcode !== 0x0f && !(map.length > 0 && MAPS.has(opcode));
        decoder.free();
        if (known && !has.has([...map, opcode].join()))
          missing.push(Buffer.from([...map, opcode]).toString('hex'));
      }
    }
    expect(missing).toEqual([]);
    expect(FORMS.length).toBeGreaterThan(2500);
  });

  it('makes the same state of the same number', () => {
    for (const form of FORMS.slice(0, 200)) expect(makeCase(form, USER, 7)).toEqual(makeCase(form, USER, 7));
  });
});

/** Who is not there says nothing: that is part of the name. */
const missing = [
  NO_UNICORN && `Unicorn is not asked: ${NO_UNICORN}`,
  noHost && `the host is not asked: ${noHost}`,
];
const without = missing.filter(Boolean).join('; ');

describe.skipIf(NO_UNICORN && noHost)(`the core${without && ` (${without})`}`, () => {
  const results: Result[] = [];
  beforeAll(async () => {
    await judgeForms(FORMS, 'core', 8, (result) => results.push(result));
  });

  it('does what its judges do, but where it is known who is right', () => {
    const open = results.filter(({ executed, unicorn, host }) => executed && unicorn.open + host.open > 0);
    expect(open.flatMap(({ unicorn, host }) => [unicorn.first, host.first]).filter(Boolean)).toEqual([]);
  });

  it('tells no form of what those before it met', async () => {
    const open: (string | undefined)[] = [];
    const those = (mnemonics: RegExp) => FORMS.filter((form) => mnemonics.test(form.mnemonic));
    const forms = [...those(/^(sqrt|div|cvt)ps/), ...those(/^(v?stmxcsr|fxsave)$/)];
    await judgeForms(forms, 'core', 8, ({ unicorn, host }) => open.push(unicorn.first, host.first));
    expect(open.filter(Boolean)).toEqual([]);
  });
});

describe.skipIf(NO_UNICORN || noHost)(`the host, asked about Unicorn${without && ` (${without})`}`, () => {
  const results: Result[] = [];
  beforeAll(async () => {
    await judgeForms(FORMS, 'unicorn', 6, (result) => results.push(result));
  });

  it('differs from it only where it is known who is right', () => {
    const open = results.filter(({ host }) => host.open > 0);
    expect(open.map(({ host }) => host.first)).toEqual([]);
  });

  it('executes every form that is judged, in a process that does not end', () => {
    const judged = FORMS.filter(
      (form) => !unjudgedBecause(form) && !isBeyondUnicorn(form) && !isOfMachine(form),
    );
    expect(results.map(({ key }) => key)).toEqual(judged.map(({ key }) => key));
    for (const { name, host } of results) expect(host.states, name).toBeGreaterThan(0);
  });
});
