// An archive that the kernel unpacks as its initramfs: cpio's "newc" format (Documentation/driver-api/early-userspace).
//
// All files are root's, whoever makes the archive. Times are 0, so that the same files give the same bytes.

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const ALIGN = 4;

export class CpioArchive {
  readonly #parts: Buffer[] = [];
  readonly #paths = new Set<string>();
  #inode = 1;

  directory(path: string): void {
    if (path === '' || this.#paths.has(path)) return;
    this.#parents(path);
    this.#add(path, S_IFDIR | 0o755, Buffer.alloc(0), 2);
  }

  file(path: string, bytes: Uint8Array | string, mode = 0o644): void {
    this.#parents(path);
    this.#add(path, S_IFREG | mode, Buffer.from(bytes));
  }

  link(path: string, target: string): void {
    this.#parents(path);
    this.#add(path, S_IFLNK | 0o777, Buffer.from(target));
  }

  /** A folder of this machine with all that is in it, at a path of the archive; `wanted` is asked for each path there. */
  tree(from: string, at: string, wanted: (path: string, isDirectory: boolean) => boolean = () => true): void {
    for (const name of readdirSync(from).sort()) {
      const [source, path] = [join(from, name), at === '' ? name : `${at}/${name}`];
      const stat = lstatSync(source);
      if (!wanted(path, stat.isDirectory())) continue;
      if (stat.isSymbolicLink()) this.link(path, readlinkSync(source));
      else if (stat.isDirectory()) this.tree(source, path, wanted);
      else if (stat.isFile()) this.file(path, readFileSync(source), stat.mode & 0o777);
    }
  }

  bytes(): Buffer {
    const trailer = entry('TRAILER!!!', 0, 0, Buffer.alloc(0), 1);
    return Buffer.concat([...this.#parts, ...trailer]);
  }

  #parents(path: string): void {
    this.directory(path.split('/').slice(0, -1).join('/'));
  }

  #add(path: string, mode: number, data: Buffer, nlink = 1): void {
    if (this.#paths.has(path)) return;
    this.#paths.add(path);
    this.#parts.push(...entry(path, this.#inode++, mode, data, nlink));
  }
}

function entry(path: string, inode: number, mode: number, data: Buffer, nlink: number): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  // inode, mode, uid, gid, nlink, mtime, size, device, device of a special file, size of the name, checksum
  const fields = [inode, mode, 0, 0, nlink, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}`);
  return [padded(Buffer.concat([header, name])), padded(data)];
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % ALIGN;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(ALIGN - rest)]);
}
