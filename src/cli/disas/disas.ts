// klpemu disas: guest text at a moment of a scenario, with the sites that are rewritten as they are then.

import type { DisassembledInsn } from '../../arch/disassembly.ts';
import { didYouMean } from '../../kernel/nearest.ts';
import { insnText } from '../../scenario/insn_text.ts';
import type { ScenarioMachine } from '../../scenario/ports.ts';
import { listCode, nameTarget, siteAddr } from '../../scenario/text.ts';
import { jsonValue } from '../../scenario/trace.ts';
import { parseSite, type SiteRef } from '../../scenario/values.ts';
import { EXIT, UsageError } from '../exit.ts';
import { atMoment, type MomentOptions } from '../scenario.ts';
import { colorsFor, print, printError, toTerminalUnder } from '../terminal.ts';

interface DisasOptions extends MomentOptions {
  readonly bytes?: number;
  readonly intel?: boolean;
}

interface Listing {
  readonly place: string;
  readonly name: string;
  readonly addr: bigint;
  readonly insns: readonly DisassembledInsn[];
}

/** Where the bytes of an instruction begin: what does not fit beside them stands there. */
const UNDER_BYTES = 20;
/** For an address that no function covers. */
const DEFAULT_BYTES = 64;

export async function disas(file: string, places: readonly string[], options: DisasOptions): Promise<void> {
  const sites = places.map((place) => {
    const site = parseSite(place);
    if (!site)
      throw new UsageError(`'${place}' is no place in guest text (SYMBOL, MODULE:SYMBOL+0x10, 0xADDRESS)`);
    return site;
  });
  await atMoment(file, options, async ({ machine }, report) => {
    const listings = await Promise.all(sites.map((site) => listing(machine, site, options)));
    if (options.json) {
      const failure = report.failure ? { failure: report.failure } : {};
      print(`${JSON.stringify({ file, t: report.endedAt, listings, ...failure }, jsonValue)}\n`);
    } else print(listings.map(listingText).join('\n'));
    if (!report.failure) return;
    if (!options.json) printError(`klpemu: ${report.failure.message}\n`);
    process.exitCode = EXIT.machine;
  });
}

async function listing(machine: ScenarioMachine, site: SiteRef, options: DisasOptions): Promise<Listing> {
  const addr = siteAddr(machine, site);
  if (addr === undefined) throw new UsageError(noSymbol(machine, site));
  const size = options.bytes ?? machine.inspect.core.symbols.bytesLeft(addr) ?? DEFAULT_BYTES;
  const insns = await listCode(machine, addr, size, options.intel ? 'intel' : 'att');
  if (insns.length === 0) throw new UsageError(`no memory is mapped at 0x${addr.toString(16)}`);
  return { place: site.text, name: nameTarget(machine, addr) ?? site.text, addr, insns };
}

function noSymbol(machine: ScenarioMachine, { symbol = '' }: SiteRef): string {
  const names = [...machine.inspect.core.symbols.all()].map(({ name }) => name);
  return `no symbol ${symbol} at this moment${didYouMean(symbol, names)}`;
}

function listingText({ name, addr, insns }: Listing): string {
  const { bold } = colorsFor(process.stdout);
  const lines = toTerminalUnder(
    insns.map((insn) => `  ${insnText(insn)}`),
    UNDER_BYTES,
  );
  return `${addr.toString(16).padStart(16, '0')} ${bold(`<${name}>`)}:\n${lines.join('\n')}\n`;
}
