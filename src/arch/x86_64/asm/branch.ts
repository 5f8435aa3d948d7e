// Direct calls and jumps: the encodings that depend on how far the target is.
//
//   call rel32  e8          jmp rel8  eb    jmp rel32  e9
//   jcc  rel8   70+cc       jcc rel32 0f 80+cc
//   loopne e0, loope e1, loop e2, jrcxz e3: rel8 only

const CONDITIONS: Readonly<Record<string, number>> = {
  o: 0,
  no: 1,
  b: 2,
  c: 2,
  nae: 2,
  ae: 3,
  nb: 3,
  nc: 3,
  e: 4,
  z: 4,
  ne: 5,
  nz: 5,
  be: 6,
  na: 6,
  a: 7,
  nbe: 7,
  s: 8,
  ns: 9,
  p: 10,
  pe: 10,
  np: 11,
  po: 11,
  l: 12,
  nge: 12,
  ge: 13,
  nl: 13,
  le: 14,
  ng: 14,
  g: 15,
  nle: 15,
};

interface BranchForms {
  readonly short: readonly number[] | undefined;
  readonly near: readonly number[] | undefined;
}

const FORMS = new Map<string, BranchForms>([
  ['call', { short: undefined, near: [0xe8] }],
  ['jmp', { short: [0xeb], near: [0xe9] }],
  ['loopne', { short: [0xe0], near: undefined }],
  ['loope', { short: [0xe1], near: undefined }],
  ['loop', { short: [0xe2], near: undefined }],
  ['jrcxz', { short: [0xe3], near: undefined }],
]);
for (const [name, cc] of Object.entries(CONDITIONS)) {
  FORMS.set(`j${name}`, { short: [0x70 + cc], near: [0x0f, 0x80 + cc] });
}

/** The forms of a branch mnemonic; undefined for every other instruction. */
export const branchForms = (mnemonic: string): BranchForms | undefined => FORMS.get(mnemonic);
