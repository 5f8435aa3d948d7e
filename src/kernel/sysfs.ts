// The sysfs tree: directories (one a kobject) and attribute files.
// Mirrors fs/sysfs and fs/kernfs by behaviour: modes, the size of 4096, errors as -errno.
//
// A path here starts below /sys: '/kernel/livepatch/NAME/enabled'. A node that was removed stays
// reachable for whoever has it open; reading or writing it then is ENODEV, as kernfs has it.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import { UAPI } from './uapi.ts';

/** What a show gives: the file's text, or -errno. */
export type ShowResult = string | number;

export interface GuestAttribute {
  readonly kobj: Addr;
  readonly attr: Addr;
  /** In a real kernel's kernfs: its node there, and the struct sysfs_ops of its kobject's type. */
  readonly node?: { readonly kn: Addr; readonly ops: Addr };
}

/** A tree of the same root that guest code keeps: what is in a directory, asked for each time. */
export interface GuestTree {
  /** @returns undefined where no such directory is */
  children(path: string): GuestEntry[] | undefined;
}

export type GuestEntry =
  | { readonly kind: 'directory'; readonly name: string }
  | { readonly kind: 'file'; readonly attribute: SysfsAttribute }
  | { readonly kind: 'link'; readonly name: string; readonly target: string };

export interface SysfsAttribute {
  readonly name: string;
  /** Permission bits: 0o644, 0o444, 0o200. */
  readonly mode: number;
  /** Bytes, of an attribute that is binary; a page for others. */
  readonly size?: number;
  /** An attribute of guest code's own and the kobject that it belongs to: show and store are then its own. */
  readonly guest?: GuestAttribute;
  show?(): ShowResult | HostGenerator<ShowResult>;
  /** Bytes consumed, or -errno. @param call the host call of the task that writes. */
  store?(text: string, call: HostCall): number | HostGenerator<number>;
}

export class SysfsFile {
  readonly kind = 'file';
  readonly name: string;
  readonly mode: number;
  /** Bytes; what stat says, whatever the text's length is. */
  readonly size: number;
  readonly parent: SysfsDir;
  removed = false;
  readonly #attribute: SysfsAttribute;

  constructor(parent: SysfsDir, attribute: SysfsAttribute) {
    this.parent = parent;
    this.#attribute = attribute;
    this.name = attribute.name;
    this.mode = attribute.mode;
    this.size = attribute.size ?? PAGE_SIZE;
  }

  get path(): string {
    return `${this.parent.path}/${this.name}`;
  }

  get guest(): SysfsAttribute['guest'] {
    return this.#attribute.guest;
  }

  /** The text, or -errno: EIO without a show function, ENODEV once removed. */
  *show(): HostGenerator<ShowResult> {
    if (this.removed) return -UAPI.ENODEV;
    const result = this.#attribute.show?.() ?? -UAPI.EIO;
    return typeof result === 'object' ? yield* this.#active(result) : result;
  }

  /** Bytes consumed, or -errno. */
  *store(text: string, call: HostCall): HostGenerator<number> {
    if (this.removed) return -UAPI.ENODEV;
    const result = this.#attribute.store?.(text, call) ?? -UAPI.EIO;
    return typeof result === 'object' ? yield* this.#active(result) : result;
  }

  /** kernfs_get_active(): what the functions work on stays while they run. */
  *#active<T>(run: HostGenerator<T>): HostGenerator<T> {
    this.parent.hold(1);
    try {
      return yield* run;
    } finally {
      this.parent.hold(-1);
    }
  }
}

/** A symbolic link to a directory, as sysfs_create_link() makes one. */
export class SysfsLink {
  readonly kind = 'link';
  readonly name: string;
  readonly mode = 0o777;
  readonly size = 0;
  readonly parent: SysfsDir;
  readonly target: SysfsDir;
  removed = false;

  constructor(parent: SysfsDir, name: string, target: SysfsDir) {
    this.parent = parent;
    this.name = name;
    this.target = target;
  }

  get path(): string {
    return `${this.parent.path}/${this.name}`;
  }

  /** kernfs_get_target_path(): from the link's directory up to where both paths meet, and down to the target. */
  get text(): string {
    const from = this.parent.path.split('/');
    const to = this.target.path.split('/');
    let common = 0;
    while (common < from.length && common < to.length && from[common] === to[common]) common++;
    return [...from.slice(common).map(() => '..'), ...to.slice(common)].join('/');
  }
}

export class SysfsDir {
  readonly kind = 'directory';
  readonly name: string;
  readonly mode = 0o755;
  readonly size = 0;
  readonly parent: SysfsDir | undefined;
  removed = false;
  readonly #entries = new Map<string, SysfsNode>();
  /** Of the root: what guest code has beside it. */
  guest: GuestTree | undefined;
  /** Functions of files in or below it that run now. */
  #active = 0;

  constructor(name: string, parent: SysfsDir | undefined) {
    this.name = name;
    this.parent = parent;
  }

  get path(): string {
    return this.parent ? `${this.parent.path}/${this.name}` : '';
  }

  /** One function of a file here more, or less, for the directory and all above it. */
  hold(by: 1 | -1): void {
    this.#active += by;
    this.parent?.hold(by);
  }

  /** kernfs_drain(): nobody is in the functions of its files any more; of use once it is removed. */
  *drain(sleep: Addr): HostGenerator<void> {
    while (this.#active > 0) yield { call: sleep, args: [1], polls: true };
  }

  /** 2 and one for each directory in it. */
  get nlink(): number {
    let links = 2;
    for (const node of this.entries()) if (node.kind === 'directory') links++;
    return links;
  }

  /** Of this tree alone. */
  own(name: string): SysfsNode | undefined {
    return this.#entries.get(name);
  }

  get(name: string): SysfsNode | undefined {
    return this.#entries.get(name) ?? this.#ofGuest().find((node) => node.name === name);
  }

  /** Entries by name, as ls shows them. */
  entries(): SysfsNode[] {
    const own = [...this.#entries.values()];
    const others = this.#ofGuest().filter(({ name }) => !this.#entries.has(name));
    return [...own, ...others].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get #root(): SysfsDir {
    return this.parent ? this.parent.#root : this;
  }

  #ofGuest(): SysfsNode[] {
    const root = this.#root;
    return (root.guest?.children(this.path) ?? []).map((entry) => {
      if (entry.kind === 'directory') return new SysfsDir(entry.name, this);
      if (entry.kind === 'file') return new SysfsFile(this, entry.attribute);
      return new SysfsLink(this, entry.name, at(root, entry.target));
    });
  }

  /** @returns the new directory; undefined when the name is taken (EEXIST). */
  addDir(name: string): SysfsDir | undefined {
    if (this.#entries.has(name)) return undefined;
    const dir = new SysfsDir(name, this);
    this.#entries.set(name, dir);
    return dir;
  }

  /** @returns the new file; undefined when the name is taken (EEXIST). */
  addFile(attribute: SysfsAttribute): SysfsFile | undefined {
    if (this.#entries.has(attribute.name)) return undefined;
    const file = new SysfsFile(this, attribute);
    this.#entries.set(attribute.name, file);
    return file;
  }

  /** @returns the new link; undefined when the name is taken (EEXIST). */
  addLink(name: string, target: SysfsDir): SysfsLink | undefined {
    if (this.#entries.has(name)) return undefined;
    const link = new SysfsLink(this, name, target);
    this.#entries.set(name, link);
    return link;
  }

  /** Removes one entry and all below it. */
  remove(name: string): void {
    const node = this.#entries.get(name);
    if (!node) return;
    this.#entries.delete(name);
    node.removed = true;
    if (node.kind === 'directory') for (const child of node.entries()) node.remove(child.name);
  }
}

/** A directory at a path, whatever is in it. */
function at(root: SysfsDir, path: string): SysfsDir {
  let dir = root;
  for (const name of path.split('/').filter(Boolean)) {
    const next = dir.own(name);
    dir = next?.kind === 'directory' ? next : new SysfsDir(name, dir);
  }
  return dir;
}

export type SysfsNode = SysfsDir | SysfsFile | SysfsLink;

export class Sysfs {
  readonly root = new SysfsDir('', undefined);

  /** The directory at a path, made with its parents where missing. @throws Error where a file is in the way. */
  mkdirs(path: string): SysfsDir {
    let dir = this.root;
    for (const name of path.split('/').filter(Boolean)) {
      const next = dir.own(name) ?? dir.addDir(name);
      if (next?.kind !== 'directory') throw new Error(`sysfs: ${path}: ${name} is a file`);
      dir = next;
    }
    return dir;
  }

  /** Follows links, but for one that the path ends in where that itself is wanted. */
  lookup(path: string, wanted?: 'what it leads to'): SysfsDir | SysfsFile | undefined;
  lookup(path: string, wanted: 'itself'): SysfsNode | undefined;
  lookup(path: string, wanted = 'what it leads to'): SysfsNode | undefined {
    let node: SysfsNode | undefined = this.root;
    for (const name of path.split('/').filter(Boolean)) {
      if (node?.kind === 'link') node = node.target;
      if (node?.kind !== 'directory') return undefined;
      node = node.get(name);
    }
    return node?.kind === 'link' && wanted !== 'itself' ? node.target : node;
  }
}
