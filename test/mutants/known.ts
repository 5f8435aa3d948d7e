// Mutants that tests do not notice: each with the reason why nobody could, or what would have to be there.
// By what they are (asmKey, sourceKey), not by lines.

interface Known {
  readonly mutant: string;
  /** equivalent: nothing can tell it from the code as it is. open: a test could, and there is none yet. */
  readonly is: 'equivalent' | 'open';
  readonly why: string;
}

export const KNOWN: readonly Known[] = [
  {
    mutant: 'unwind/orc_lookup.ts: (ip | 0) >= 0 -> false',
    is: 'equivalent',
    why: 'an early answer: a user address is no less than 2 GiB from every range, and is in none',
  },
  {
    mutant: 'unwind/orc_lookup.ts: ids.length > 1 -> true',
    is: 'equivalent',
    why: 'the list of a page with one range is not looked at; it is memory that could be given back',
  },
  {
    mutant: 'unwind/orc_lookup.ts: index + 1 < orc.count -> true',
    is: 'equivalent',
    why: 'the address behind the last entry is undefined, which is at or below nothing',
  },
  {
    mutant: 'unwind/orc_lookup.ts: index + 1 < orc.count -> index + 1 <= orc.count',
    is: 'equivalent',
    why: 'the address behind the last entry is undefined, which is at or below nothing',
  },
  {
    mutant: 'unwind/orc_lookup.ts: [] -> ["Stryker was here"]',
    is: 'equivalent',
    why: 'a page that is said to be shared has its list',
  },
  {
    mutant: 'unwind/shadow.ts: retLoc !== undefined -> true',
    is: 'equivalent',
    why: 'undefined is an address in the guard of the first stack, where no frame is noted',
  },
  {
    mutant: 'unwind/shadow.ts: !this.has(slot) -> false',
    is: 'equivalent',
    why: 'a stack that is not there has no depth, and nothing between its lowest frame and its end',
  },
  {
    mutant: 'unwind/unwind_state.ts: regs !== GIVEN -> true',
    is: 'equivalent',
    why: 'the registers that a walk begins with have no place on the stack by their number either',
  },
  {
    mutant:
      'ftrace/hash_rec.ts: { const known = new Set(others); return known.size === 0 ? r ... filter((rec) => !known.has(rec)); } -> {}',
    is: 'equivalent',
    why: 'the other way comes to the same records in the same order, and is slower where there are few others',
  },
  {
    mutant: "livepatch/transition.ts: !core.events.listens('blocked') -> false",
    is: 'equivalent',
    why: 'an event that nobody listens to: only the time that its stack takes is spared',
  },
  {
    mutant: 'bundle/awaits.ts: !mod -> false',
    is: 'equivalent',
    why: 'a module whose text is on a stack is there',
  },
  {
    mutant: 'ftrace/report.ts: target === regsCaller.start -> false',
    is: 'equivalent',
    why: 'both static callers call the same function',
  },
  {
    mutant: 'ftrace/report.ts: target === regsCaller.start -> true',
    is: 'equivalent',
    why: 'both static callers call the same function',
  },
  {
    mutant: 'ftrace/text_poke.ts: a.ip < b.ip -> a.ip <= b.ip',
    is: 'equivalent',
    why: 'no two of a batch are of one address',
  },
  {
    mutant: 'ftrace/ops.ts: [] -> ["Stryker was here"]',
    is: 'equivalent',
    why: 'where there is no filter nothing can be taken out of it',
  },
  {
    mutant: 'unwind/orc_lookup.ts: (ip | 0) >= 0 -> (ip | 0) > 0',
    is: 'equivalent',
    why: 'address 0 is no less than 2 GiB from every range, and is in none',
  },
  {
    mutant: 'unwind/orc_lookup.ts: ids.length > 1 -> ids.length >= 1',
    is: 'equivalent',
    why: 'the list of a page with one range is not looked at; it is memory that could be given back',
  },
  {
    mutant: 'unwind/orc_lookup.ts: block < blocks.length -> block <= blocks.length',
    is: 'equivalent',
    why: 'behind the last of a typed array nothing is stored',
  },
  {
    mutant: 'unwind/shadow.ts: slot < this.noted.depths.length -> true',
    is: 'equivalent',
    why: 'a stack that is not there has no depth, and nothing between its lowest frame and its end',
  },
  {
    mutant: 'ftrace/ops.ts: funcHash === 0n -> false',
    is: 'open',
    why: 'a filter is asked for before ftrace_ops_init(): no caller does',
  },
  {
    mutant:
      'bundle/sysfs.ts: klp.kobjects.dirOf(bundle.patch.kobj)?.remove -> klp.kobjects.dirOf(bundle.patch.kobj).remove',
    is: 'equivalent',
    why: 'the directory of a bundle is there for as long as the bundle',
  },
  {
    mutant: 'bundle/split/member.ts: \'latin1\' -> ""',
    is: 'equivalent',
    why: 'names are ASCII, which is itself in UTF-8',
  },
  {
    mutant: 'bundle/split/orc.ts: ip && table -> ip || table',
    is: 'equivalent',
    why: 'objtool makes both sections or none',
  },
  {
    mutant:
      'bundle/split/orc.ts: all?.[lastBefore(all, atom.start)]?.entry -> all?.[lastBefore(all, atom.start)].entry',
    is: 'equivalent',
    why: 'objtool has a row at the first instruction of each section',
  },
  {
    mutant: 'bundle/gate.ts: path && func !== undefined -> false',
    is: 'open',
    why: 'a thread that waits for another one, which the transition waits for to leave a function: tests have it with the thread itself',
  },
  {
    mutant:
      'asm/x86_64/ftrace_64.s: ftrace_regs_caller: exchange: mov rdx, [rip+function_trace_op]; mov [rsp+pt_regs_r15], r15 -> mov [rsp+pt_regs_r15], r15; mov rdx, [rip+function_trace_op]',
    is: 'equivalent',
    why: 'what is loaded is in data or in a trampoline, what is stored on the stack',
  },
  {
    mutant:
      'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: exchange: mov esi, [rsp+shadow_gfp]; or esi, __GFP_ZERO -> or esi, __GFP_ZERO; mov esi, [rsp+shadow_gfp]',
    is: 'equivalent',
    why: 'all memory is zeroed, as init_on_alloc has it, whatever the flags say',
  },
  {
    mutant:
      'asm/x86_64/sched.s: __schedule: exchange: jz .Lborrow; mov rdx, r13 -> mov rdx, r13; jz .Lborrow',
    is: 'equivalent',
    why: 'mov changes no flags, and what is at .Lborrow does not read rdx',
  },
  {
    mutant: 'sched/fork.ts: fpu?.size ?? 0 -> fpu?.size && 0',
    is: 'open',
    why: 'only on a kernel from an image whose FPU registers are behind the task_struct (7.3)',
  },
  {
    mutant:
      'asm/x86_64/ftrace_64.s: save_mcount_regs: exchange: push rbp; mov rbp, rsp -> mov rbp, rsp; push rbp',
    is: 'open',
    why: 'a frame pointer kernel: no test looks at a stack from within a handler, where no trace is reliable there',
  },
  {
    mutant: 'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: drop: xor eax, eax -> ',
    is: 'equivalent',
    why: 'before the two messages: how many vector registers are given, of which none is looked at (that at .Lnull is noticed)',
  },
  {
    mutant: 'sched/core.ts: \'no task_struct\' -> ""',
    is: 'equivalent',
    why: 'of a fault of guest code the address is told, and no text',
  },
  {
    mutant: 'sched/kthread.ts: addr === 0n -> false',
    is: 'open',
    why: 'only on a kernel from an image: a thread without a struct kthread, for want of memory, that is stopped',
  },
  {
    mutant: 'sched/kthread.ts: [task.addr] -> []',
    is: 'open',
    why: 'only on a kernel from an image: a parked thread that is stopped',
  },
  {
    mutant: 'asm/x86_64/livepatch.s: __klp_unpatch_object: drop: ud2 -> ',
    is: 'open',
    why: 'the warning of an unregistration that fails: no test has one fail',
  },
  {
    mutant:
      'asm/x86_64/sched.s: do_nanosleep: exchange: jz .Lagain; mov dword ptr [rbx+task_struct___state], TASK_RUNNING -> mov dword ptr [rbx+task_struct___state], TASK_RUNNING; jz .Lagain',
    is: 'equivalent',
    why: 'the state is set anew where the loop begins, and a store changes no flags',
  },
  {
    mutant: 'asm/x86_64/ftrace_64.s: ftrace_regs_caller: drop: mov [rsp+pt_regs_sp], rcx -> ',
    is: 'open',
    why: 'the stack pointer that an ops with all registers is told: no test has a handler that reads it',
  },
  {
    mutant:
      'asm/x86_64/sched.s: __cond_resched: offset: cmp dword ptr gs:[__preempt_count], 0 -> cmp dword ptr gs:[__preempt_count+8], 0',
    is: 'open',
    why: 'of images of 6.4 to 6.15, which no test of the file boots',
  },
  {
    mutant: 'asm/x86_64/sched.s: __cond_resched: condition: jz .Lno -> jnz .Lno',
    is: 'open',
    why: 'of images of 6.4 to 6.15, which no test of the file boots',
  },
  {
    mutant:
      'asm/x86_64/sched.s: __schedule: drop: test dword ptr [rbx+task_struct___state], TASK_FREEZABLE -> ',
    is: 'open',
    why: 'of images from 6.16 on, which no test of the file boots',
  },
  {
    mutant: 'asm/x86_64/exit.s: __stack_chk_fail: drop: mov rbp, rsp -> ',
    is: 'open',
    why: 'for a kernel with frame pointers, in which no test has a stack overwritten',
  },
  {
    mutant: 'asm/x86_64/sched.s: PREEMPT_SCHEDULE: drop: mov rbp, rsp -> ',
    is: 'open',
    why: 'for a kernel with frame pointers, which no test of the file boots',
  },
  {
    mutant:
      'asm/x86_64/exit.s: __x64_sys_wait4: exchange: sub rsp, 8; call kernel_wait4 -> call kernel_wait4; sub rsp, 8',
    is: 'equivalent',
    why: 'the stack is aligned for nobody who needs it',
  },
  {
    mutant:
      'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: exchange: je .Lnull; mov rbx, rax -> mov rbx, rax; je .Lnull',
    is: 'equivalent',
    why: 'behind .Lnull the register is taken from the stack',
  },
  {
    mutant:
      'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: exchange: mov [rbx+klp_shadow_node_next], rcx; mov [rbx+klp_shadow_node_pprev], rax -> mov [rbx+klp_shadow_node_pprev], rax; mov [rbx+klp_shadow_node_next], rcx',
    is: 'equivalent',
    why: 'nobody can see the node before the store behind both',
  },
  {
    mutant: 'asm/x86_64/shadow.s: SHADOW_LOCK: offset: mov [rsp], rax -> mov [rsp+8], rax',
    is: 'open',
    why: 'flags of interrupts that are on come back off: tests call shadow functions with interrupts off',
  },
  {
    mutant: 'bundle/split/atoms.ts: place.indexed -> false',
    is: 'open',
    why: 'a table that code goes through by an index, cut where something refers into its middle: no fixture has one',
  },
  {
    mutant: 'bundle/split/graph.ts: next && code.flowsTo(atom.end, atom.start) -> false',
    is: 'open',
    why: 'code that falls into the next function: objtool warns of it, and no fixture has any',
  },
  {
    mutant: 'livepatch/context.ts: { relax: true } -> {}',
    is: 'open',
    why: 'a pause while exploring: only explore has it, whose tests are not of the folder',
  },
  {
    mutant: 'sched/core.ts: this.#held.size === 0 -> false',
    is: 'equivalent',
    why: 'of nobody who is held, all are left',
  },
  {
    mutant: 'sched/fork.ts: \'task_struct\' -> ""',
    is: 'open',
    why: 'the name of an allocation, which only reports of leaks show',
  },
  {
    mutant: "sched/kthread.ts: typeof task === 'number' -> false",
    is: 'open',
    why: 'a kernel thread for which there is no memory',
  },
  {
    mutant: 'module/module.ts: s.index === index -> false',
    is: 'open',
    why: 'a symbol table in which a symbol is not at its number',
  },
  {
    mutant: 'module/extable.ts: formatAt === undefined -> false',
    is: 'equivalent',
    why: 'where there is no place for a format, there is none: it is 0 by then',
  },
  {
    mutant: 'module/branch_sites.ts: mod.jumpEntries.filter((e) => !mod.contains(e.key)) -> mod.jumpEntries',
    is: 'open',
    why: "jump labels of a module's own keys",
  },
  {
    mutant:
      'module/patch_sites.ts: { const { size, fields } = kernel.structs.jump_entry; const  ... 1n) !== 0n, }); } return entries; } -> {}',
    is: 'open',
    why: 'jump labels of a module: the test wants ld, and is not of those that Stryker reaches',
  },
  {
    mutant: 'module/resolve.ts: found.module !== undefined && !owner -> false',
    is: 'open',
    why: 'an export whose module is on no list',
  },
  {
    mutant:
      'sched/fork.ts: addr + BigInt(this.#taskStruct.nsproxy) -> addr - BigInt(this.#taskStruct.nsproxy)',
    is: 'open',
    why: 'namespaces of tasks, which a kernel from a real image has: no test of the folder boots one',
  },
  {
    mutant:
      'sched/fork.ts: { const { mem, symbols } = this.#core; const namespaces = sy ... (pointer), addr + BigInt(state)); } -> {}',
    is: 'open',
    why: 'namespaces and FPU registers of tasks, which a kernel from a real image has: no test of the folder boots one',
  },
  {
    mutant: 'module/finalize.ts: \'BUG()\' -> ""',
    is: 'equivalent',
    why: 'of a processor that has no name for it: x86_64 has one',
  },
  {
    mutant: 'module/finalize.ts: table.size === 0 -> false',
    is: 'equivalent',
    why: 'a table without entries is not read, wherever it is said to be',
  },
  {
    mutant: `module/formation.ts: \`per-CPU data of \${mod.name}\` -> \`\``,
    is: 'open',
    why: 'the name of an allocation, which only reports of leaks show',
  },
  {
    mutant: 'module/formation.ts: load.livepatch && early -> true',
    is: 'open',
    why: 'a module that is no livepatch in the model where these resolve at load, or a livepatch in that where they do not: nothing that a test looks at differs',
  },
  {
    mutant: `module/relocate.ts: \`\${mod.name}: \${rela.name} has no target\` -> \`\``,
    is: 'equivalent',
    why: 'who comes there is livepatch, long after the load, and gives the errno on alone',
  },
  {
    mutant: 'sched/fork.ts: addr + BigInt(usage) -> addr - BigInt(usage)',
    is: 'open',
    why: 'references of a task, which functions of a real image count: no test of the folder boots one',
  },
  {
    mutant: 'module/module_alloc.ts: base + taken < end -> base + taken <= end',
    is: 'equivalent',
    why: 'a gap of no bytes has room for nobody, and is one with what is given back on either side',
  },
  {
    mutant: 'module/module_alloc.ts: base + taken < end -> true',
    is: 'equivalent',
    why: 'a gap of no bytes has room for nobody, and is one with what is given back on either side',
  },
];
