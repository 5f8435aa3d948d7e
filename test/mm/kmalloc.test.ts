import { afterEach, describe, expect, it } from 'vitest';
import { HeapMachine } from './machine.ts';

let heap: HeapMachine;
afterEach(() => heap.machine.close());

/** A machine that has loaded the module which does `what`, and unloaded it where that could be. */
async function did(what: string): Promise<number | undefined> {
  heap = await HeapMachine.boot();
  const before = () => heap.machine.inspect.core.slab.used();
  // A first task, so that what the boot leaves for the first one to free is gone.
  heap.cat('/proc/version');
  used = before();
  const status = heap.insmod('klpdemo_heap', `what=${what}`);
  heap.rmmod('klpdemo_heap');
  heap.machine.runFor(100e6);
  used = before() - used;
  return status;
}
let used = 0;

describe('the heap of a module', () => {
  it('is zeroed, grows, copies text, and is whole again when all was freed', async () => {
    expect(await did('clean')).toBe(0);
    expect(heap.logFrom('things')[0]).toBe('things 3, zeroed 1');
    expect(heap.leaks).toEqual([]);
    expect(heap.machine.inspect.mm.objects()).toEqual([]);
    expect(used).toBe(0);
  });

  it('is looked over at unload: what it left has a size and a function', async () => {
    await did('leak');
    expect(heap.leaks).toHaveLength(1);
    expect(heap.leaks[0].module).toBe('klpdemo_heap');
    expect(heap.leaks[0].objects.map(({ size, caller }) => `${size} ${caller.split('+')[0]}`)).toEqual([
      '40 klpdemo_new',
      '5 klpdemo_heap_init',
    ]);
    expect(heap.machine.inspect.mm.leaks().map((o) => o.size)).toEqual([40, 5]);
  });

  it('has a red zone behind each object', async () => {
    expect(await did('overflow')).toBe(0);
    const log = heap.logFrom('=====');
    expect(log[1]).toMatch(/^BUG kmalloc-32 \(Tainted: G .*OE.*\): Right Redzone overwritten$/);
    expect(log[4]).toMatch(/@offset=20\. First byte 0x41 instead of 0xcc$/);
    expect(log[5]).toMatch(
      /^Allocated in klpdemo_overflow\+0x\w+\/0x\w+ \[klpdemo_heap\] age=0 cpu=\d pid=\d+$/,
    );
    expect(log[7]).toBe('Disabling lock debugging due to kernel taint');
    expect(log[8]).toMatch(/^FIX kmalloc-32: Restoring Right Redzone/);
  });

  it('has one before each object', async () => {
    await did('underflow');
    const log = heap.logFrom('=====');
    expect(log[1]).toMatch(/^BUG kmalloc-64 .*: Left Redzone overwritten$/);
    expect(log[4]).toMatch(/@offset=-1\. First byte 0x42 instead of 0xcc$/);
  });

  it('gives nothing back twice: the second kfree is an oops of its caller', async () => {
    expect(await did('double_free')).toBe(128 + 9);
    const log = heap.logFrom('kfree: object pointer');
    expect(log[0]).toMatch(/is not allocated$/);
    expect(log.find((line) => line.startsWith('RIP: 0010:'))).toMatch(/kfree\+/);
  });

  it('keeps what kfree_rcu() was given for as long as a reader may be in it', async () => {
    await did('rcu');
    expect(heap.logFrom('still')[0]).toBe('still 5');
    expect(heap.leaks).toEqual([]);
    expect(used).toBe(0);
  });

  it('is aligned as kmalloc() promises, whatever is around it', async () => {
    heap = await HeapMachine.boot();
    const { mm, core } = heap.machine.inspect;
    heap.insmod('klpdemo_heap', 'what=clean');
    const caller = core.symbols.require('klpdemo_heap:klpdemo_new') + 8n;
    for (const size of [1, 8, 24, 64, 100, 128, 200, 256, 1000, 4096, 8192, 9000, 65536]) {
      const addr = mm.alloc({ cpu: 0, args: [], sp: 0n, caller }, BigInt(size));
      const power = 2 ** Math.ceil(Math.log2(size));
      const align = power === size ? Math.min(size, 4096) : 8;
      expect(addr % BigInt(align), `${size}`).toBe(0n);
      core.mem.fill(addr, size, 0xff);
      mm.free(addr);
    }
    expect(mm.checkAll()).toBe(0);
    expect(heap.logFrom('Redzone')).toEqual([]);
  });
});

describe('checks of lists and counts', () => {
  it('end a task that adds an entry twice', async () => {
    expect(await did('list_twice')).toBe(128 + 11);
    const log = heap.logFrom('list_add');
    expect(log[0]).toMatch(/^list_add double add: new=(\w{16}), prev=\w{16}, next=\1\.$/);
    expect(log[2]).toBe('kernel BUG at lib/list_debug.c:33!');
    expect(log.find((line) => line.startsWith('RIP: 0010:'))).toMatch(/__list_add_valid\+/);
  });

  it('end a task that takes an entry out twice', async () => {
    expect(await did('del_twice')).toBe(128 + 11);
    expect(heap.logFrom('list_del')[0]).toMatch(
      /^list_del corruption, \w{16}->next is LIST_POISON1 \(dead000000000100\)$/,
    );
  });

  it('warn of a count that comes back from zero, and saturate it', async () => {
    expect(await did('refcount')).toBe(0);
    const log = heap.logFrom('refcount_t');
    expect(log[0]).toBe('refcount_t: addition on 0; use-after-free.');
    expect(log[1]).toMatch(/^WARNING: CPU: \d PID: \d+ at lib\/refcount\.c:25 refcount_warn_saturate\+/);
    expect(log.at(-1)).toBe('count c0000000');
  });
});

describe('a shadow variable that is there already', () => {
  it('is a warning and NULL for klp_shadow_alloc(), with a trace', async () => {
    expect(await did('shadow')).toBe(0);
    const log = heap.logFrom('Duplicate');
    expect(log[0]).toMatch(/^Duplicate shadow variable <[0-9a-f]{16}, 1>$/);
    expect(log[1]).toMatch(
      /^WARNING: CPU: \d PID: \d+ at kernel\/livepatch\/shadow\.c:165 __klp_shadow_get_or_alloc\+/,
    );
    expect(log.at(-1)).toBe('first 1 second 0 same 1');
    expect(used).toBe(0);
  });
});

describe('random numbers of the guest', () => {
  it('are a function of the machine seed', async () => {
    const lines: string[] = [];
    for (const seed of [1, 1, 2]) {
      heap = await HeapMachine.boot({ seed });
      heap.insmod('klpdemo_heap', 'what=random');
      lines.push(heap.logFrom('random ')[0]);
      if (lines.length < 3) heap.machine.close();
    }
    expect(lines[0]).toMatch(/^random \d+ \w\w \w\w \w\w \w\w$/);
    expect(lines[1]).toBe(lines[0]);
    expect(lines[2]).not.toBe(lines[0]);
  });
});
