// A mutex of the kernel, in guest memory, before its first use. Mirrors __mutex_init() of kernel/locking/mutex.c.
//
// Memory is zero: only a list of those who wait has to be made, which kernels from 7.x on have in the place of one pointer
// (mutex.first_waiter).

import type { Addr } from '../guest/addr.ts';
import { hasRow, type Structs } from './description.ts';
import { initListHead } from './list.ts';
import type { StructHome } from './struct_home.ts';

/** The list of a mutex that is a member of an object, by where the list is in it. */
export function initWaitList<Fields extends object>(
  home: StructHome,
  object: Addr,
  fields: Fields,
  list: keyof Fields,
): void {
  if (hasRow(fields, list)) initListHead(home, object + BigInt(fields[list] as number));
}

/** A mutex at an address. */
export function initMutex(home: StructHome, mutex: Addr): void {
  const { fields }: Structs['mutex'] = home.kernel.structs.mutex;
  initWaitList(home, mutex, fields, 'wait_list');
}
