// What vet says of a machine's text is what lies there, also where it looks only at what was written since the last time.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { Machine } from '../../src/machine/machine.ts';
import { checkInvariants } from '../../src/vet/invariants.ts';
import { pictureOf } from '../../src/vet/picture.ts';

describe("the image's text", () => {
  let machine: Machine;
  beforeEach(async () => {
    machine = await Machine.boot();
    expect(checkInvariants(machine)).toEqual([]);
  });
  afterEach(() => machine.close());

  const siteOf = (name: string): Addr => {
    const { core, ftrace } = machine.inspect;
    return ftrace.location(core.symbols.require(name));
  };
  const NOP = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);

  it.each([0n, 4n])('with another byte %d into a site is told, until it is put back', (at) => {
    const { mem } = machine.inspect.core;
    const site = siteOf('meminfo_proc_show');
    mem.pokeText(site + at, Uint8Array.of(0xcc));
    expect(checkInvariants(machine)).toEqual([
      expect.stringMatching(/^meminfo_proc_show.* is .*, not 0f1f440000$/),
    ]);
    expect(checkInvariants(machine)).toHaveLength(1);
    mem.pokeText(site, NOP);
    expect(checkInvariants(machine)).toEqual([]);
  });

  it('that was written more often than is remembered is looked at as a whole', () => {
    const { mem } = machine.inspect.core;
    mem.pokeText(siteOf('cmdline_proc_show'), Uint8Array.of(0xcc));
    const other = siteOf('meminfo_proc_show');
    for (let i = 0; i < 12_000; i++) mem.pokeText(other, NOP);
    expect(checkInvariants(machine)).toEqual([expect.stringMatching(/^cmdline_proc_show.* is /)]);
  });

  it('has another digest when a byte between sites is another, and the old one when it is back', () => {
    const { mem } = machine.inspect.core;
    const place = siteOf('meminfo_proc_show') + 5n;
    const before = pictureOf(machine).text;
    const byte = mem.readU8(place);
    mem.pokeText(place, Uint8Array.of(byte ^ 1));
    expect(pictureOf(machine).text).not.toEqual(before);
    mem.pokeText(place, Uint8Array.of(byte));
    expect(pictureOf(machine).text).toEqual(before);
  });

  it('has the same digest with a site that is called, and another when more than that has changed', async () => {
    const { core } = machine.inspect;
    const before = pictureOf(machine).text;
    const called = machine.inspect.ftrace.records.at(siteOf('cmdline_proc_show'));
    if (!called) throw new Error('no record');
    called.target = core.symbols.require('ftrace_stub');
    core.mem.pokeText(called.ip, core.arch.fentry.call(called.ip, called.target));
    expect(pictureOf(machine).text).toEqual(before);
    core.mem.pokeText(called.ip + 5n, Uint8Array.of(0xcc));
    expect(pictureOf(machine).text).not.toEqual(before);
  });
});
