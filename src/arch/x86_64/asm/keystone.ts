// The port to Keystone: one instruction as text with plain numbers in, its bytes out.
// Nothing else in the tree knows the engine.
//
// Keystone has no undefined symbols and no line numbers, chooses another addressing mode
// for `[disp32]`, and crashes on long texts. So it only ever sees one instruction at a
// time, free of symbols; labels, branches, data and layout are ours.

interface KeystoneResult {
  readonly mc: Uint8Array;
  readonly failed: boolean;
}

interface KeystoneEngine {
  asm(text: string, address: number): KeystoneResult;
  errno(): number;
}

interface KeystoneModule {
  readonly ARCH_X86: number;
  readonly MODE_64: number;
  readonly Keystone: new (arch: number, mode: number) => KeystoneEngine;
  strerror(code: number): string;
}

/** Instructions that Keystone does not know, or reads differently from every kernel source. */
const OWN_ENCODINGS: Readonly<Record<string, readonly number[]>> = {
  endbr64: [0xf3, 0x0f, 0x1e, 0xfa],
  sysretq: [0x48, 0x0f, 0x07],
  lretq: [0x48, 0xcb],
  // Without the suffix Keystone takes the 16-bit forms.
  pushf: [0x9c],
  popf: [0x9d],
  'xchg ax, ax': [0x66, 0x90],
};

type EncodeResult = { bytes: Uint8Array } | { error: string };

export class KeystoneEncoder {
  readonly #module: KeystoneModule;
  readonly #engine: KeystoneEngine;
  readonly #cache = new Map<string, EncodeResult>();

  constructor(module: KeystoneModule) {
    this.#module = module;
    this.#engine = new module.Keystone(module.ARCH_X86, module.MODE_64);
  }

  /** Encodes one instruction in Intel syntax. Position does not matter: no branch to a number comes here. */
  encode(text: string): EncodeResult {
    const cached = this.#cache.get(text);
    if (cached) return cached;
    const result = this.#encode(text);
    this.#cache.set(text, result);
    return result;
  }

  #encode(text: string): EncodeResult {
    const own = OWN_ENCODINGS[text];
    if (own) return { bytes: Uint8Array.from(own) };
    const result = this.#engine.asm(text, 0);
    if (!result.failed && result.mc.length > 0) return { bytes: repairNop(text, result.mc) };
    const message = this.#module.strerror(this.#engine.errno());
    const plain = message.replace(/\s*\(KS_ERR\w*\)\s*$/, '').toLowerCase();
    return { error: result.failed && plain !== 'ok' ? plain : 'not an instruction' };
  }
}

/** Keystone writes a nop with an operand as 0f 18 /4; the architecture's is 0f 1f /0. */
function repairNop(text: string, bytes: Uint8Array): Uint8Array {
  if (!text.startsWith('nop ')) return bytes;
  const at = bytes.indexOf(0x18, bytes.indexOf(0x0f));
  if (at < 0) return bytes;
  const out = Uint8Array.from(bytes);
  out[at] = 0x1f;
  out[at + 1] = (out[at + 1] as number) & ~0x38;
  return out;
}

let encoder: Promise<KeystoneEncoder> | undefined;

/** Loads the WebAssembly module at the first use, and keeps it. */
export function keystone(): Promise<KeystoneEncoder> {
  encoder ??= (async () => {
    const imported = (await import('@alexaltea/keystone-js')) as unknown as {
      default: () => Promise<KeystoneModule>;
    };
    return new KeystoneEncoder(await imported.default());
  })();
  return encoder;
}
