// What is wrong with an object file, and where in it.
// `reason` carries the kernel's words where kernel/module/main.c has words for the fault, so that a loader can
// print it to dmesg unaltered.

interface ElfErrorPlace {
  readonly section?: string | undefined;
  readonly offset?: number | undefined;
  /** What the file is instead; not in the kernel's words. */
  readonly kind?: string | undefined;
}

export class ElfError extends Error {
  readonly code = 'ENOEXEC';
  readonly file: string;
  readonly reason: string;
  readonly section: string | undefined;
  readonly offset: number | undefined;
  readonly kind: string | undefined;

  constructor(file: string, reason: string, place: ElfErrorPlace = {}) {
    super(
      `${file}: ${reason}${describePlace(place)}${place.kind === undefined ? '' : `: it is ${place.kind}`}`,
    );
    this.name = 'ElfError';
    this.file = file;
    this.reason = reason;
    this.section = place.section;
    this.offset = place.offset;
    this.kind = place.kind;
  }

  /** All of it but the file, for who names that already. */
  get withoutFile(): string {
    return this.message.slice(`${this.file}: `.length);
  }
}

interface RelocationErrorDetail extends ElfErrorPlace {
  readonly symbol: string;
  /** The relocation type's number as stored in r_info. */
  readonly type: number;
  readonly typeName: string;
  readonly value?: bigint | undefined;
}

/** A relocation that cannot be applied; names section, offset, symbol and type. */
export class RelocationError extends ElfError {
  readonly symbol: string;
  readonly type: number;
  readonly typeName: string;
  readonly value: bigint | undefined;

  constructor(file: string, reason: string, detail: RelocationErrorDetail) {
    super(file, reason, detail);
    this.name = 'RelocationError';
    this.message = `${this.message}: ${detail.typeName} against symbol '${detail.symbol}'`;
    this.symbol = detail.symbol;
    this.type = detail.type;
    this.typeName = detail.typeName;
    this.value = detail.value;
  }
}

function describePlace({ section, offset }: ElfErrorPlace): string {
  const parts: string[] = [];
  if (section !== undefined) parts.push(`section ${section}`);
  if (offset !== undefined) parts.push(`offset 0x${offset.toString(16)}`);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
