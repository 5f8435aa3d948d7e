// What traps ask of the machine's other parts: whose int3 it is, where a fault is fixed up, what a ud2 means.

import type { AsmImage } from '../../asm/assembler.ts';
import type { Ftrace } from '../../ftrace/ftrace.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { CONSTANTS } from '../../kernel/layout.ts';
import { findBug, moduleFindBug, searchModuleExtable } from '../../module/extable.ts';
import type { Exit } from '../../sched/exit.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { Cpu } from '../cpu/cpu.ts';
import type { Modules } from '../modules.ts';
import type { TrapPorts } from './traps.ts';

export interface TrapParts {
  cpu(id: number): Cpu;
  readonly ftrace: Ftrace;
  readonly exit: Exit;
  readonly modules: Modules;
  readonly shadow: ShadowStacks | undefined;
  /** What is on the kernel stack is given up. */
  abandonStack(cpu: Cpu): void;
}

export function trapPorts(core: KernelCore, image: AsmImage, parts: TrapParts): TrapPorts {
  const { modules } = parts;
  const { ip: ipAt, sp: spAt } = core.kernel.structs.pt_regs.fields;
  const moduleAt = (addr: Addr) => modules.loader.modules.moduleAddress(addr);
  const user = image.sections.find((s) => s.name === '.user.text');
  const imageBugs = [...core.symbols.all()].filter((s) => !s.module && s.name.startsWith('__bug_table_'));
  return {
    cpu: parts.cpu,
    pokeInt3: (regs) => {
      const sp = core.mem.readU64(regs + BigInt(spAt));
      if (!parts.ftrace.textPoke.int3Handler(regs)) return false;
      const pushed = sp - core.mem.readU64(regs + BigInt(spAt)) === 8n;
      parts.shadow?.emulated(lo32(regs), pushed ? lo32(sp - 8n) : undefined);
      return true;
    },
    fixupException: (regs) => {
      const ip = core.mem.readU64(regs + BigInt(ipAt));
      const mod = moduleAt(ip);
      const entry = mod && searchModuleExtable(core, mod, ip);
      if (!entry) return false;
      core.mem.writeU64(regs + BigInt(ipAt), entry.fixup);
      return true;
    },
    findBug: (addr) => {
      const mod = moduleAt(addr);
      if (mod) return moduleFindBug(core, mod, addr);
      return imageBugs.map((table) => findBug(core, table, addr)).find((bug) => bug);
    },
    forceSig: (task, sig) => parts.exit.sendSignal(task, sig),
    userText: (addr) => {
      if (!user || addr < user.addr || addr >= user.addr + BigInt(user.size)) return undefined;
      return { start: user.addr, size: Math.ceil(user.size / CONSTANTS.PAGE_SIZE) * CONSTANTS.PAGE_SIZE };
    },
    abandonStack: parts.abandonStack,
  };
}
