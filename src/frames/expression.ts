// DWARF expressions, as far as call frame information has them: DWARF 5, 2.5 and 6.4.2.
//
// Invariant: an expression that was read has known operations only, and branches to its own operations only. Evaluating
// one takes a bounded number of steps and of values, whatever it says: one that goes round for ever is a fault.

/** An operation; operands are decoded, a branch's is the index of the operation that it leads to. */
interface Operation {
  readonly code: number;
  readonly operands: readonly bigint[];
}

export interface Expression {
  readonly operations: readonly Operation[];
}

/** What a walk has to give. undefined: it is not known. */
export interface ExpressionInput {
  register(number: number): bigint | undefined;
  load(address: bigint, size: number): bigint | undefined;
}

/** Why there is no value. */
type ExpressionFault =
  | 'does not end'
  | 'holds too much'
  | 'takes from an empty stack'
  | 'divides by zero'
  | 'asks for a register that is not known'
  | 'reads what is not on the stack';

const MOST_STEPS = 1000;
const MOST_VALUES = 64;
/** Longer ones are no address's. */
const MOST_OPERATIONS = 1000;

/** What is thrown for an expression that cannot be read, by the offset in it. */
type Refusal = (reason: string, at: number) => Error;

type Operand = 'u8' | 's8' | 'u16' | 's16' | 'u32' | 's32' | 'u64' | 's64' | 'uleb' | 'sleb' | 'branch';

/** Values, and the first thing that went wrong: from then on they mean nothing. */
class ValueStack {
  fault: ExpressionFault | undefined;
  readonly #values: bigint[] = [];

  push(value: bigint): void {
    if (this.#values.length >= MOST_VALUES) this.fail('holds too much');
    else this.#values.push(BigInt.asUintN(64, value));
  }
  pop(): bigint {
    return this.#values.pop() ?? this.fail('takes from an empty stack');
  }
  /** From the top, which is 0. */
  pick(index: number): bigint {
    return this.#values[this.#values.length - 1 - index] ?? this.fail('takes from an empty stack');
  }
  /** The value that is, if it is one. */
  need(value: bigint | undefined, fault: ExpressionFault): bigint {
    return value ?? this.fail(fault);
  }
  fail(fault: ExpressionFault): bigint {
    this.fault ??= fault;
    return 0n;
  }
}

interface State {
  readonly stack: ValueStack;
  readonly input: ExpressionInput;
  /** Index of the next operation. */
  next: number;
}

interface OperationKind {
  readonly name: string;
  readonly operands: readonly Operand[];
  run(state: State, operands: readonly bigint[]): void;
}

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

function register({ input, stack }: State, number: bigint, offset: bigint): void {
  const value = stack.need(input.register(Number(number)), 'asks for a register that is not known');
  stack.push(value + offset);
}

function load({ input, stack }: State, size: number): void {
  stack.push(stack.need(input.load(stack.pop(), size), 'reads what is not on the stack'));
}

/** Of two values, the one below first. */
function binary(name: string, of: (a: bigint, b: bigint) => bigint): OperationKind {
  return {
    name,
    operands: [],
    run: ({ stack }) => {
      const b = stack.pop();
      stack.push(of(stack.pop(), b));
    },
  };
}

const unary = (name: string, of: (a: bigint) => bigint): OperationKind => ({
  name,
  operands: [],
  run: ({ stack }) => stack.push(of(stack.pop())),
});

const compare = (name: string, of: (a: bigint, b: bigint) => boolean): OperationKind =>
  binary(name, (a, b) => (of(signed(a), signed(b)) ? 1n : 0n));

const constant = (name: string, operand: Operand): OperationKind => ({
  name,
  operands: [operand],
  run: ({ stack }, [value]) => stack.push(value),
});

/** `of` two values of which the one above is not 0. */
const division = (name: string, of: (a: bigint, b: bigint) => bigint): OperationKind => ({
  name,
  operands: [],
  run: ({ stack }) => {
    const b = stack.pop();
    const a = stack.pop();
    stack.push(b === 0n ? stack.fail('divides by zero') : of(a, b));
  },
});

/** More bits than there are leave none, or copies of the sign. */
const shift = (by: bigint): bigint => (by > 64n ? 64n : by);

/** DW_OP_*, by number. What call frame information cannot have (6.4.2) is not in it. */
const KINDS: ReadonlyMap<number, OperationKind> = new Map<number, OperationKind>([
  [0x06, { name: 'deref', operands: [], run: (state) => load(state, 8) }],
  [0x08, constant('const1u', 'u8')],
  [0x09, constant('const1s', 's8')],
  [0x0a, constant('const2u', 'u16')],
  [0x0b, constant('const2s', 's16')],
  [0x0c, constant('const4u', 'u32')],
  [0x0d, constant('const4s', 's32')],
  [0x0e, constant('const8u', 'u64')],
  [0x0f, constant('const8s', 's64')],
  [0x10, constant('constu', 'uleb')],
  [0x11, constant('consts', 'sleb')],
  [0x12, { name: 'dup', operands: [], run: ({ stack }) => stack.push(stack.pick(0)) }],
  [0x13, { name: 'drop', operands: [], run: ({ stack }) => void stack.pop() }],
  [0x14, { name: 'over', operands: [], run: ({ stack }) => stack.push(stack.pick(1)) }],
  [
    0x15,
    { name: 'pick', operands: ['u8'], run: ({ stack }, [index]) => stack.push(stack.pick(Number(index))) },
  ],
  [0x16, { name: 'swap', operands: [], run: ({ stack }) => rearrange(stack, 2, [1, 0]) }],
  [0x17, { name: 'rot', operands: [], run: ({ stack }) => rearrange(stack, 3, [1, 2, 0]) }],
  [0x19, unary('abs', (a) => (signed(a) < 0n ? -signed(a) : a))],
  [0x1a, binary('and', (a, b) => a & b)],
  [0x1b, division('div', (a, b) => signed(a) / signed(b))],
  [0x1c, binary('minus', (a, b) => a - b)],
  [0x1d, division('mod', (a, b) => a % b)],
  [0x1e, binary('mul', (a, b) => a * b)],
  [0x1f, unary('neg', (a) => -a)],
  [0x20, unary('not', (a) => ~a)],
  [0x21, binary('or', (a, b) => a | b)],
  [0x22, binary('plus', (a, b) => a + b)],
  [
    0x23,
    { name: 'plus_uconst', operands: ['uleb'], run: ({ stack }, [value]) => stack.push(stack.pop() + value) },
  ],
  [0x24, binary('shl', (a, b) => a << shift(b))],
  [0x25, binary('shr', (a, b) => a >> shift(b))],
  [0x26, binary('shra', (a, b) => signed(a) >> shift(b))],
  [0x27, binary('xor', (a, b) => a ^ b)],
  [
    0x28,
    {
      name: 'bra',
      operands: ['branch'],
      run: (state, [to]) => {
        if (state.stack.pop() !== 0n) state.next = Number(to);
      },
    },
  ],
  [0x29, compare('eq', (a, b) => a === b)],
  [0x2a, compare('ge', (a, b) => a >= b)],
  [0x2b, compare('gt', (a, b) => a > b)],
  [0x2c, compare('le', (a, b) => a <= b)],
  [0x2d, compare('lt', (a, b) => a < b)],
  [0x2e, compare('ne', (a, b) => a !== b)],
  [
    0x2f,
    {
      name: 'skip',
      operands: ['branch'],
      run: (state, [to]) => {
        state.next = Number(to);
      },
    },
  ],
  ...range(
    0x30,
    (n): OperationKind => ({ name: `lit${n}`, operands: [], run: ({ stack }) => stack.push(BigInt(n)) }),
  ),
  ...range(
    0x70,
    (n): OperationKind => ({
      name: `breg${n}`,
      operands: ['sleb'],
      run: (state, [offset]) => register(state, BigInt(n), offset),
    }),
  ),
  [
    0x92,
    { name: 'bregx', operands: ['uleb', 'sleb'], run: (state, [n, offset]) => register(state, n, offset) },
  ],
  [0x94, { name: 'deref_size', operands: ['u8'], run: (state, [size]) => load(state, Number(size)) }],
  [0x96, { name: 'nop', operands: [], run: () => {} }],
]);

/** 32 operations that have a number in theirs. */
function range(first: number, kind: (n: number) => OperationKind): [number, OperationKind][] {
  return Array.from({ length: 32 }, (_, n) => [first + n, kind(n)]);
}

/** The values on top in another order: for each new place, from the top, how far below the top the value lay. */
function rearrange(stack: ValueStack, count: number, order: readonly number[]): void {
  const values = Array.from({ length: count }, () => stack.pop());
  for (let i = count - 1; i >= 0; i--) stack.push(values[order[i]]);
}

export const operationKind = (code: number): OperationKind | undefined => KINDS.get(code);

const FIXED: Readonly<Record<string, readonly [size: number, signed: boolean]>> = {
  u8: [1, false],
  s8: [1, true],
  u16: [2, false],
  s16: [2, true],
  branch: [2, true],
  u32: [4, false],
  s32: [4, true],
  u64: [8, false],
  s64: [8, true],
};

/** What cannot be read is thrown as `refuse` makes it of a reason. */
export function readExpression(bytes: Uint8Array, refuse: Refusal): Expression {
  const found: { at: number; code: number; kind: OperationKind; operands: bigint[]; end: number }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const code = bytes[at++];
    const kind = KINDS.get(code);
    if (!kind) throw refuse(`operation 0x${code.toString(16)} is not one of call frames`, start);
    if (found.length >= MOST_OPERATIONS) throw refuse('an expression of too many operations', start);
    const operands = kind.operands.map((operand) => {
      const { value, length } = readOperand(bytes, at, operand, (reason) => refuse(reason, start));
      at += length;
      return value;
    });
    if (code === DEREF_SIZE && !(operands[0] >= 1n && operands[0] <= 8n)) {
      throw refuse(`deref_size of ${operands[0]} bytes`, start);
    }
    found.push({ at: start, code, kind, operands, end: at });
  }
  if (found.length === 0) throw refuse('an expression without an operation', 0);
  const byPlace = new Map(found.map(({ at }, i) => [at, i]));
  byPlace.set(bytes.length, found.length);
  const operations = found.map(({ at, code, kind, operands, end }): Operation => {
    if (kind.operands[0] !== 'branch') return { code, operands };
    const to = byPlace.get(end + Number(operands[0]));
    if (to === undefined) throw refuse('a branch that leads to no operation', at);
    return { code, operands: [BigInt(to)] };
  });
  return { operations };
}

const DEREF_SIZE = 0x94;

function readOperand(
  bytes: Uint8Array,
  at: number,
  operand: Operand,
  refuse: (reason: string) => Error,
): { value: bigint; length: number } {
  const [size, isSigned] = FIXED[operand] ?? [0, operand === 'sleb'];
  let value = 0n;
  if (size > 0) {
    if (at + size > bytes.length) throw refuse('an operation that runs out of its expression');
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]);
    return { value: isSigned ? BigInt.asIntN(8 * size, value) : value, length: size };
  }
  for (let length = 0, bits = 0n; length < 10; length++, bits += 7n) {
    const byte = bytes[at + length];
    if (byte === undefined) throw refuse('an operation that runs out of its expression');
    value |= BigInt(byte & 0x7f) << bits;
    if (byte & 0x80) continue;
    const whole = isSigned ? BigInt.asIntN(Number(bits) + 7, value) : value;
    return { value: whole, length: length + 1 };
  }
  throw refuse('a number of more than 64 bits');
}

/** `initial`: what lies on the stack before, as DWARF says of rules for registers: the CFA. */
export function evaluate(
  { operations }: Expression,
  input: ExpressionInput,
  initial?: bigint,
): bigint | ExpressionFault {
  const stack = new ValueStack();
  const state: State = { stack, input, next: 0 };
  if (initial !== undefined) stack.push(initial);
  for (let steps = 0; state.next < operations.length && !stack.fault; steps++) {
    if (steps >= MOST_STEPS) return 'does not end';
    const { code, operands } = operations[state.next++];
    (KINDS.get(code) as OperationKind).run(state, operands);
  }
  const value = stack.pop();
  return stack.fault ?? value;
}
