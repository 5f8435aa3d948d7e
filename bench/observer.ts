// What it costs to observe execution (src/guest/observer.ts): each part switched on, against the same code in an engine
// whose observer nobody ever asked for. Nothing when it is off again; and a watchpoint costs what accesses its page.

import { PAGE_SIZE } from '../src/guest/memory.ts';
import type { Observer } from '../src/guest/observer.ts';
import { BareEngine, DATA } from './lib/bare.ts';
import { type Part, timeParts } from './lib/parts.ts';
import { Report } from './lib/report.ts';

const INSTRUCTIONS = 200_000;
const TEXT = 0xffffffffc0800000n;

/** Calls, returns, stores and loads of the stack. */
const LOOP = [
  ...[0xe8, 0x0c, 0x00, 0x00, 0x00], // call +12: the function behind the loop
  ...[0x48, 0x01, 0xc3], // add rbx, rax
  ...[0x48, 0x89, 0x5c, 0x24, 0xc0], // mov [rsp-64], rbx
  ...[0xeb, 0xf1], // jmp to the call
  ...[0x0f, 0x1f], // padding
  ...[0x55], // push rbp
  ...[0x48, 0x8d, 0x43, 0x07], // lea rax, [rbx+7]
  ...[0x48, 0x33, 0x44, 0x24, 0xc0], // xor rax, [rsp-64]
  ...[0x5d], // pop rbp
  ...[0xc3], // ret
];

const untouched = { addr: DATA + BigInt(PAGE_SIZE), size: 8, access: 'both' } as const;
const onStack = { addr: DATA, size: 8, access: 'both' } as const;

const SWITCHES: Readonly<Record<string, (observer: Observer) => void>> = {
  'switched off again': (observer) => {
    observer.count(true);
    observer.trace(['blocks', 'calls', 'accesses']);
    observer.watch([onStack]);
    observer.holdStores(true);
    observer.count(false);
    observer.trace([]);
    observer.watch([]);
    observer.holdStores(false);
  },
  'a breakpoint elsewhere': (observer) => observer.breakAt([TEXT + 0x800n]),
  'a watchpoint in another page': (observer) => observer.watch([untouched]),
  'a watchpoint in the page accessed': (observer) => observer.watch([onStack]),
  'blocks traced': (observer) => observer.trace(['blocks']),
  'calls traced': (observer) => observer.trace(['calls']),
  'accesses traced': (observer) => observer.trace(['accesses']),
  'instructions counted': (observer) => observer.count(true),
  'stores held': (observer) => observer.holdStores(true),
};

const part =
  (switchOn: (observer: Observer) => void): Part =>
  () => {
    const bare = new BareEngine(Uint8Array.from(LOOP), TEXT, 'core');
    if (switchOn !== nobody) switchOn(bare.observer as Observer);
    return () => bare.counted(INSTRUCTIONS);
  };
const nobody = (): void => {};

const times = await timeParts({
  'never observed': part(nobody),
  ...Object.fromEntries(Object.entries(SWITCHES).map(([name, switchOn]) => [name, part(switchOn)])),
});
const report = new Report('observer');
const mips = (name: string): number => INSTRUCTIONS / times[name] / 1000;
const baseline = { name: 'never observed', value: mips('never observed') };
for (const name of Object.keys(SWITCHES)) {
  const aim = name === 'switched off again' ? ({ aim: { atLeast: 0.95 } } as const) : {};
  report.add({ name, value: mips(name), unit: 'million instructions/s', baseline, ...aim });
}
report.end();
