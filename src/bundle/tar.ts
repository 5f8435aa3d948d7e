// The tar of a bundle: ustar, regular files only. Read in one go, as a kernel that has the bytes does.
//
// Invariant: what readTar() gives lies inside the bytes it was given; anything cut short is an error. What it gives is
// what GNU tar gives: an extended header that says otherwise than the header it is about is an error.

import { BundleError } from './error.ts';

export interface TarEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const BLOCK = 512;
/** Fields of a ustar header: offset and length. */
const NAME = [0, 100] as const;
const MODE = [100, 8] as const;
const SIZE = [124, 12] as const;
const MTIME = [136, 12] as const;
const CHECKSUM = [148, 8] as const;
const TYPE = 156;
const MAGIC = [257, 8] as const;
const PREFIX = [345, 155] as const;

const PAX = 0x78; // x
const PAX_GLOBAL = 0x67; // g

type Field = readonly [number, number];

/** @throws BundleError EBADMSG */
export function readTar(bytes: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  const pax = new PaxHeaders();
  for (let at = 0; ; ) {
    if (at + BLOCK > bytes.length) throw bad('the tar is cut short: it has no end');
    const header = bytes.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return entries;
    const size = checkHeader(header, at);
    const start = at + BLOCK;
    if (start + size > bytes.length) throw bad(`the tar is cut short in ${nameOf(header)}`);
    const type = header[TYPE];
    // '0' or NUL: a regular file. 'x' and 'g' are the extended headers of newer writers.
    if (type === 0x30 || type === 0) {
      pax.check(nameOf(header), size);
      entries.push({ name: nameOf(header), bytes: new Uint8Array(bytes.subarray(start, start + size)) });
    } else if (type === PAX || type === PAX_GLOBAL) pax.read(bytes.subarray(start, start + size), type);
    else throw bad(`${nameOf(header)} is no regular file`);
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
}

/** Keywords of extended headers that change nothing of what a file holds or is called. */
const HARMLESS = /^([acm]time|[ug]id|[ug]name|comment|(hdr)?charset|SCHILY\..*|LIBARCHIVE\..*|NODETAR\..*)$/;

/** What extended headers say of the entry behind them. */
class PaxHeaders {
  readonly #global = new Map<string, string>();
  #next = new Map<string, string>();

  /** @throws BundleError for a keyword with a meaning of its own, and for what are no records */
  read(bytes: Uint8Array, type: number): void {
    const into = type === PAX_GLOBAL ? this.#global : this.#next;
    for (let at = 0; at < bytes.length; ) {
      const digits = /^(\d{1,9}) /.exec(Buffer.from(bytes.subarray(at, at + 10)).toString('latin1'))?.[1];
      const end = at + Number(digits ?? 0);
      const record = bytes.subarray(at + (digits?.length ?? 0) + 1, end - 1);
      const equals = record.indexOf(0x3d);
      const complete = digits !== undefined && end <= bytes.length && bytes[end - 1] === 0x0a;
      if (!complete || equals <= 0) throw bad('an extended header of the tar is damaged');
      const keyword = Buffer.from(record.subarray(0, equals)).toString('utf8');
      if (keyword === 'path' || keyword === 'size')
        into.set(keyword, Buffer.from(record.subarray(equals + 1)).toString('utf8'));
      else if (!HARMLESS.test(keyword)) throw bad(`an extended header of the tar has '${keyword}'`);
      at = end;
    }
  }

  /** @throws BundleError where the entry would be another to a reader that goes by extended headers */
  check(name: string, size: number): void {
    const path = this.#next.get('path') ?? this.#global.get('path') ?? name;
    const length = this.#next.get('size') ?? this.#global.get('size') ?? String(size);
    this.#next = new Map();
    if (path !== name) throw bad(`an extended header calls ${name} otherwise: ${path}`);
    if (length !== String(size)) throw bad(`an extended header gives ${name} another size`);
  }
}

export function writeTar(entries: readonly TarEntry[]): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const { name, bytes } of entries) {
    blocks.push(headerOf(name, bytes.length), bytes);
    blocks.push(new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK));
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return new Uint8Array(Buffer.concat(blocks));
}

function headerOf(name: string, size: number): Uint8Array {
  if (Buffer.byteLength(name) > NAME[1])
    throw new BundleError('EINVAL', `${name}: the name is too long for a tar`);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, [at, length]: Field) =>
    header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  header.write(name, NAME[0]);
  octal(0o644, MODE);
  octal(0, [108, 8]);
  octal(0, [116, 8]);
  octal(size, SIZE);
  octal(0, MTIME);
  header[TYPE] = 0x30;
  header.write('ustar\x0000', MAGIC[0], 'latin1');
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, CHECKSUM[0], 'latin1');
  return header;
}

/** Size of the entry in bytes. */
function checkHeader(header: Uint8Array, at: number): number {
  if (!text(header, MAGIC).startsWith('ustar')) throw bad(`no tar header at byte ${at}`);
  if (checksumField(header) !== checksum(header)) throw bad(`the tar header at byte ${at} is damaged`);
  return number(header, SIZE);
}

function number(header: Uint8Array, field: Field): number {
  const digits = text(header, field).trim();
  if (!/^[0-7]+$/.test(digits)) throw bad(`'${digits}' is no number of a tar header`);
  return Number.parseInt(digits, 8);
}

/**
 * All eight bytes of it: they alone are not part of the sum, so a change in one of them is seen only here. NUL and
 * space is how ustar writers end it, space and NUL how older ones and node-tar do.
 */
function checksumField(header: Uint8Array): number | undefined {
  const [at, length] = CHECKSUM;
  const field = Buffer.from(header.subarray(at, at + length)).toString('latin1');
  const digits = /^([0-7]{6})(?:\0 | \0)$/.exec(field)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

/** Sum of the header's bytes with the checksum itself as spaces. */
function checksum(header: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= CHECKSUM[0] && i < CHECKSUM[0] + CHECKSUM[1] ? 0x20 : header[i];
  return sum;
}

function nameOf(header: Uint8Array): string {
  const prefix = text(header, PREFIX);
  return prefix === '' ? text(header, NAME) : `${prefix}/${text(header, NAME)}`;
}

function text(header: Uint8Array, [at, length]: Field): string {
  const field = Buffer.from(header.subarray(at, at + length));
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

function bad(reason: string): BundleError {
  return new BundleError('EBADMSG', reason);
}
