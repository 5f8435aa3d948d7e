import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate, readExpression } from '../../src/frames/expression.ts';

const REGISTERS = new Map([
  [6, 0xffffc90000003f48n],
  [7, 0xffffc90000003e00n],
]);
const input = {
  register: (number: number) => REGISTERS.get(number),
  load: (address: bigint, size: number) =>
    address === 0xffffc90000003e10n ? BigInt.asUintN(8 * size, 0x1122334455667788n) : undefined,
};
class Refused extends Error {}
const read = (bytes: readonly number[] | Uint8Array) =>
  readExpression(Uint8Array.from(bytes), (reason, at) => new Refused(`${reason} at ${at}`));
const run = (...bytes: number[]) => evaluate(read(bytes), input);
const MINUS_ONE = 0xffffffffffffffffn;

describe('an expression', () => {
  it.each([
    ['a register and a distance', [0x77, 0x10], 0xffffc90000003e10n],
    ['what lies there', [0x77, 0x10, 0x06], 0x1122334455667788n],
    ['a part of it', [0x77, 0x10, 0x94, 4], 0x55667788n],
    ['any register', [0x92, 6, 0x78], 0xffffc90000003f40n],
    [
      'numbers of every size',
      [0x08, 0xff, 0x09, 0xff, 0x22, 0x0a, 0, 1, 0x22, 0x0d, 0xff, 0xff, 0xff, 0xff, 0x22],
      0x1fdn,
    ],
    ['a number of many bytes', [0x10, 0x80, 0x80, 0x04], 0x10000n],
    ['a negative one', [0x11, 0x7f], MINUS_ONE],
    ['swap', [0x31, 0x32, 0x16, 0x1c], 1n],
    ['rot: the top becomes the third', [0x31, 0x32, 0x33, 0x17, 0x1c, 0x1c], 4n],
    ['pick and over', [0x39, 0x31, 0x14, 0x15, 2, 0x22, 0x1e], 18n],
    ['signed division', [0x11, 0x78, 0x32, 0x1b], 0xfffffffffffffffcn],
    ['remainder', [0x39, 0x35, 0x1d], 4n],
    ['shifts', [0x11, 0x70, 0x32, 0x26, 0x31, 0x24], 0xfffffffffffffff8n],
    ['shifts by more than there is', [0x31, 0x08, 200, 0x24], 0n],
    ['signed comparison', [0x11, 0x7f, 0x31, 0x2d], 1n],
    ['not, neg, abs', [0x30, 0x20, 0x1f, 0x1f, 0x19], 1n],
    ['a branch that is taken', [0x31, 0x28, 1, 0, 0x32, 0x33], 3n],
    ['a branch to the end', [0x31, 0x30, 0x2f, 0, 0], 0n],
    ['a loop that ends', [0x3a, 0x31, 0x1c, 0x12, 0x28, 0xfa, 0xff], 0n],
  ] as const)('gives %s', (_, bytes, value) => {
    expect(run(...bytes)).toBe(value);
  });

  it.each([
    ['goes round for ever', [0x2f, 0xfd, 0xff], 'does not end'],
    ['fills its stack', [0x31, 0x2f, 0xfc, 0xff], 'holds too much'],
    ['takes what is not there', [0x22], 'takes from an empty stack'],
    ['leaves nothing', [0x31, 0x13], 'takes from an empty stack'],
    ['divides by zero', [0x31, 0x30, 0x1b], 'divides by zero'],
    ['asks for a register nobody knows', [0x75, 0], 'asks for a register that is not known'],
    [
      'asks for a register that is none',
      [0x92, 0xff, 0xff, 0x7f, 0],
      'asks for a register that is not known',
    ],
    ['reads elsewhere', [0x30, 0x06], 'reads what is not on the stack'],
  ] as const)('that %s has no value', (_, bytes, fault) => {
    expect(run(...bytes)).toBe(fault);
  });

  it.each([
    ['an operation of location lists', [0x50], /0x50 is not one of call frames/],
    ['DW_OP_call_frame_cfa', [0x9c], /0x9c is not/],
    ['a number without its bytes', [0x0c, 1, 2], /runs out/],
    ['a number that does not end', [0x10, ...Array(12).fill(0x80)], /more than 64 bits/],
    ['a branch into an operand', [0x28, 1, 0, 0x0a, 0, 0, 0x31], /leads to no operation/],
    ['a branch before the start', [0x2f, 0xf0, 0xff], /leads to no operation/],
    ['a part of 9 bytes', [0x94, 9], /deref_size of 9/],
    ['nothing at all', [], /without an operation/],
    ['thousands of operations', Array(1001).fill(0x96), /too many/],
  ] as const)('is refused for %s', (_, bytes, reason) => {
    expect(() => read(bytes)).toThrow(reason);
  });

  it('of any bytes is refused or has a value or a fault, in bounded time', () => {
    const codes = fc.constantFrom(
      0x12,
      0x13,
      0x14,
      0x16,
      0x17,
      0x1c,
      0x22,
      0x28,
      0x2f,
      0x31,
      0x32,
      0x77,
      0xff,
      0x00,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(codes, { maxLength: 40 }), (any, likely) => {
        for (const bytes of [any, Uint8Array.from(likely)]) {
          try {
            expect(['bigint', 'string']).toContain(typeof evaluate(read(bytes), input, 5n));
          } catch (error) {
            expect(error).toBeInstanceOf(Refused);
          }
        }
      }),
    );
  });
});
