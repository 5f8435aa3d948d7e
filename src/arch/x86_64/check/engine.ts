// Unicorn as src/check opens it: without an image, its segments in a page that the check names.

import type { Addr } from '../../../guest/addr.ts';
import type { GuestMemory } from '../../../guest/memory.ts';
import type { CheckEngine } from '../../checking.ts';
import { writeGdt } from '../gdt.ts';
import { UnicornEngine } from '../unicorn/unicorn.ts';

export class CheckUnicorn extends UnicornEngine implements CheckEngine {
  loadTablesAt(mem: GuestMemory, at: Addr): void {
    this.loadSegments(at, writeGdt(mem, at));
  }
}
