// Why packed bytes cannot be unpacked, in the words of the programs that do it.

type UnpackCode = 'damaged' | 'cut' | 'unsupported' | 'too-large';

const WORDS: Readonly<Record<Exclude<UnpackCode, 'unsupported'>, string>> = {
  damaged: 'Compressed data is corrupt',
  cut: 'Unexpected end of input',
  'too-large': 'more than the limit',
};

export class UnpackError extends Error {
  readonly code: UnpackCode;

  constructor(code: UnpackCode, what = '') {
    super(code === 'unsupported' ? `Unsupported options (${what})` : WORDS[code] + (what && ` (${what})`));
    this.name = 'UnpackError';
    this.code = code;
  }
}
