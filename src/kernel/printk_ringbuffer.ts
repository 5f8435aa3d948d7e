// How much of the log there is: a ring of text and a ring of descriptors, and what a new record overwrites.
// Mirrors kernel/printk/printk_ringbuffer.c, and setup_log_buf() of printk.c for the size.
//
// Invariant: what is held fits the buffer that the kernel has; the oldest records make room for the newest.

/** CONFIG_LOG_BUF_SHIFT, CONFIG_LOG_CPU_MAX_BUF_SHIFT of Debian's 6.1. */
const LOG_BUF_SHIFT = 17;
const LOG_CPU_MAX_BUF_SHIFT = 12;
/** PRB_AVGBITS: a descriptor for so many bytes of text, as a power of two. */
const PRB_AVGBITS = 5;
/** sizeof(struct prb_data_block), before the text; blocks are multiples of it. */
const BLOCK_HEAD = 8;

/** log_buf_len: more for many CPUs, where their share would fill half of it. */
export function logBufLen(cpus: number): number {
  const own = 1 << LOG_BUF_SHIFT;
  const forCpus = (cpus - 1) << LOG_CPU_MAX_BUF_SHIFT;
  return forCpus <= own / 2 ? own : 2 ** Math.ceil(Math.log2(forCpus + own));
}

interface Block<T> {
  record: T;
  /** Logical position of the block; that of the next one is where the next block begins. */
  readonly begin: number;
  text: number;
}

export class LogRing<T> {
  readonly #size: number;
  readonly #descriptors: number;
  readonly #blocks: Block<T>[] = [];
  #records: readonly T[] | undefined;
  /** Logical position behind the newest block. */
  #head = 0;
  onOverwritten: ((record: T) => void) | undefined;

  /** @param size bytes of text, a power of two. */
  constructor(size: number) {
    this.#size = size;
    this.#descriptors = size >> PRB_AVGBITS;
  }

  get records(): readonly T[] {
    this.#records ??= this.#blocks.map(({ record }) => record);
    return this.#records;
  }

  get last(): T | undefined {
    return this.#blocks.at(-1)?.record;
  }

  /** prb_reserve(). @param text bytes that it takes. */
  push(record: T, text: number): void {
    this.#records = undefined;
    if (this.#blocks.length === this.#descriptors) this.#drop();
    const begin = this.#head;
    this.#head = this.#makeRoom(begin, text);
    this.#blocks.push({ record, begin, text });
  }

  /** prb_reserve_in_last(): the newest record grows by so many bytes. */
  extend(record: T, text: number): void {
    const last = this.#blocks.at(-1);
    if (!last) return;
    this.#records = undefined;
    last.record = record;
    last.text += text;
    this.#head = this.#makeRoom(last.begin, last.text);
  }

  /** data_alloc(): a block is never split; one that would reach the end is at the beginning instead. */
  #makeRoom(begin: number, text: number): number {
    const size = BLOCK_HEAD + Math.ceil(text / BLOCK_HEAD) * BLOCK_HEAD;
    const wraps = Math.floor(begin / this.#size) !== Math.floor((begin + size) / this.#size);
    const end = (wraps ? Math.ceil((begin + 1) / this.#size) * this.#size : begin) + size;
    while (this.#blocks.length > 0 && this.#blocks[0].begin < Math.min(begin, end - this.#size)) this.#drop();
    return end;
  }

  #drop(): void {
    const gone = this.#blocks.shift();
    this.#records = undefined;
    if (gone) this.onOverwritten?.(gone.record);
  }
}
