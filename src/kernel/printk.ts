// The kernel log. Mirrors kernel/printk/printk.c: levels, the `[   12.345678] ` prefix, dmesg.

import type { EventLog } from './events.ts';
import { LogRing, logBufLen } from './printk_ringbuffer.ts';
import type { Since } from './release.ts';

export const KERN_EMERG = 0;
export const KERN_ALERT = 1;
export const KERN_CRIT = 2;
export const KERN_ERR = 3;
export const KERN_WARNING = 4;
const KERN_NOTICE = 5;
export const KERN_INFO = 6;
export const KERN_DEBUG = 7;
/** MESSAGE_LOGLEVEL_DEFAULT */
export const KERN_DEFAULT = 4;

export interface LogRecord {
  /** Counts from 0 and never again. */
  readonly seq: number;
  /** Virtual ns since boot. */
  readonly t: number;
  readonly level: number;
  readonly text: string;
  /** Of syslog(3), where it is another than the kernel's own, which is 0. */
  readonly facility?: number;
}

/** `[   24.853468] ` as print_time() writes it. */
export function logPrefix(t: number): string {
  const us = Math.floor(t / 1000);
  const seconds = String(Math.floor(us / 1e6)).padStart(5);
  return `[${seconds}.${String(us % 1e6).padStart(6, '0')}] `;
}

/** PRINTKRB_RECORD_MAX: a record has room for 1,024 bytes of text, its NUL among them; before, LOG_LINE_MAX of them. */
export const LONGER_RECORDS: Since = { release: '6.3', seen: '6.12.117, 7.3.4', not: '6.1' };
/** LOG_LINE_MAX: bytes of a message that are kept, its prefix and newline among them. */
const LOG_LINE_MAX = 1024 - 32;
/** KERN_SOH and a level: part of what is formatted, and so of the room that is taken. */
const PREFIX_SIZE = 2;

export class Printk {
  readonly #events: EventLog;
  readonly #now: () => number;
  readonly #ring: LogRing<LogRecord>;
  /** Sequence number of the next record. */
  nextSeq = 0;
  /** What a kernel says while it boots, and is not in dmesg, which begins where the machine does; undefined once it has booted. */
  booting: { readonly level: number; readonly text: string }[] | undefined;

  constructor(events: EventLog, now: () => number, cpus = 1) {
    this.#events = events;
    this.#now = now;
    this.#ring = new LogRing(logBufLen(cpus));
  }

  /** What the log buffer holds, oldest first. */
  get records(): readonly LogRecord[] {
    return this.#ring.records;
  }

  /** Told of each record that a newer one took the room of. */
  set onOverwritten(told: (record: LogRecord) => void) {
    this.#ring.onOverwritten = told;
  }

  /** Records from a sequence number on, as far as they are still there. */
  since(seq: number): readonly LogRecord[] {
    return this.records.slice(Math.max(0, seq - (this.records[0]?.seq ?? seq)));
  }

  /** One message; newlines split it into records, as the kernel's record splitting does. */
  log(level: number, text: string, facility = 0): void {
    if (this.booting) {
      this.booting.push({ level, text });
      return;
    }
    const from = facility === 0 ? {} : { facility };
    for (const line of text.replace(/\n$/, '').split('\n')) {
      const record = { seq: this.nextSeq++, t: this.#now(), level, text: line, ...from };
      // Formatted size: prefix, text, newline and NUL.
      this.#ring.push(record, Math.min(PREFIX_SIZE + line.length + 2, LOG_LINE_MAX));
      this.#events.emit({ type: 'printk', level, text: line });
    }
  }

  emerg(text: string): void {
    this.log(KERN_EMERG, text);
  }
  alert(text: string): void {
    this.log(KERN_ALERT, text);
  }
  err(text: string): void {
    this.log(KERN_ERR, text);
  }
  warn(text: string): void {
    this.log(KERN_WARNING, text);
  }
  notice(text: string): void {
    this.log(KERN_NOTICE, text);
  }
  info(text: string): void {
    this.log(KERN_INFO, text);
  }
  debug(text: string): void {
    this.log(KERN_DEBUG, text);
  }

  /**
   * A message from the guest: KERN_SOH level prefixes, then text. KERN_CONT goes on with the last record.
   * @param asked its level, whatever its prefix says
   * @returns what vprintk_store() does: characters without those and the newline at the end
   */
  guest(message: string, asked?: number): number {
    let level = asked ?? KERN_DEFAULT;
    let text = message;
    let continued = false;
    while (text.charCodeAt(0) === 1) {
      if (asked === undefined && text[1] >= '0' && text[1] <= '7') level = Number(text[1]);
      if (text[1] === 'c') continued = true;
      text = text.slice(2);
    }
    const line = text.replace(/\n$/, '');
    const { last } = this.#ring;
    if (continued && last) this.#ring.extend({ ...last, text: last.text + line }, message.length + 1);
    else this.log(level, text);
    return line.length;
  }

  /** The log as dmesg prints it. */
  dmesg(): string[] {
    return this.records.map((r) => logPrefix(r.t) + r.text);
  }
}
