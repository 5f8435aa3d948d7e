// One instruction statement into an item: branches by our own table, the rest by Keystone.

import { AsmError, type Place } from '../../../asm/error.ts';
import { evaluateTokens, isNumber, type Lookup, tokenize } from '../../../asm/expr.ts';
import { isNearKey } from '../../../asm/keys.ts';
import { splitOperands } from '../../../asm/operands.ts';
import { guard } from '../../../asm/preprocess.ts';
import type { BranchItem, BytesItem } from '../../../asm/program.ts';
import { branchForms } from './branch.ts';
import type { KeystoneEncoder } from './keystone.ts';
import { isRegister, placeFixups, rewriteInstruction } from './operand.ts';

const PREFIXES = /^(?:(?:lock|repne|repnz|repe|repz|rep|notrack|bnd|data16)\s+)+/i;

function readBranch(place: Place, mnemonic: string, operand: string, lookup: Lookup): BranchItem | undefined {
  const forms = branchForms(mnemonic);
  if (!forms) return undefined;
  let tokens = guard(place, () => tokenize(operand));
  if (tokens.includes('[') || tokens.includes(':') || isRegister(tokens[0] ?? '')) return undefined;
  const wantsShort = /^short$/i.test(tokens[0] ?? '');
  if (wantsShort) tokens = tokens.slice(1);
  const target = guard(place, () => evaluateTokens(tokens, lookup));
  // `.L` and numeric labels are of the same function; everything else may be far away.
  const near = isNumber(target) || !target.terms.every((t) => isNearKey(t.name));
  const { short } = forms;
  const relaxable = !wantsShort && !near && short !== undefined && forms.near !== undefined;
  if (wantsShort && !short) throw new AsmError(place, `${mnemonic} has no short form`, mnemonic);
  const isShort = wantsShort || relaxable || forms.near === undefined;
  return { kind: 'branch', place, short, near: forms.near, relaxable, isShort, target };
}

export function readInstruction(
  place: Place,
  text: string,
  lookup: Lookup,
  encoder: KeystoneEncoder,
): BytesItem | BranchItem {
  const prefix = (PREFIXES.exec(text)?.[0] ?? '').toLowerCase().trim().replace(/\s+/g, ' ');
  const body = text.replace(PREFIXES, '').trim();
  const mnemonic = (/^\S+/.exec(body)?.[0] ?? '').toLowerCase();
  const operandText = body.slice(mnemonic.length).trim();
  if (prefix === '' && operandText !== '') {
    const branch = readBranch(place, mnemonic, operandText, lookup);
    if (branch) return branch;
  }
  const rewritten = guard(place, () =>
    rewriteInstruction(prefix, mnemonic, splitOperands(operandText), lookup),
  );
  const encoded = encoder.encode(rewritten.text);
  if ('error' in encoded) throw new AsmError(place, encoded.error, mnemonic);
  const { bytes, fixups } = guard(place, () => placeFixups(encoded.bytes, rewritten.placeholders));
  return { kind: 'bytes', place, bytes, fixups };
}
