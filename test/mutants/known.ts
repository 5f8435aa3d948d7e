// Mutants that tests do not notice: each with the reason why nobody could, or what would have to be there, or the word that
// nobody has looked at it yet.
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
    mutant: 'unwind/unwind_state.ts: distance > 0x20000 -> false',
    is: 'open',
    why: 'a pointer 4 GiB above its stack would be taken for one into it: no test puts one on a stack',
  },
  {
    mutant: 'unwind/dumpstack.ts: true -> false',
    is: 'open',
    why: 'code bytes of the task that dumps itself from its own system call registers: no test looks at them',
  },
  {
    mutant:
      'ftrace/dyn_ftrace.ts: found !== undefined && found.offset <= arch.fentry.maxOffset -> found !== undefined || found.offset <= arch.fentry.maxOffset',
    is: 'open',
    why: 'a record far behind the start of its function: only modules of weak functions have one, and their test is not of the folder',
  },
  {
    mutant: 'ftrace/text_poke.ts: callee === undefined -> true',
    is: 'open',
    why: 'the words of an int3 event, which the narration shows',
  },
  {
    mutant: 'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: drop: mov [rcx+klp_shadow_node_pprev], rbx -> ',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'asm/x86_64/livepatch.s: __klp_unpatch_object: drop: ud2 -> ',
    is: 'open',
    why: 'the warning of an unregistration that fails: no test has one fail',
  },
  {
    mutant:
      'asm/x86_64/shadow.s: __klp_shadow_get_or_alloc: exchange: mov [rbx+klp_shadow_node_next], rcx; mov [rbx+klp_shadow_node_pprev], rax -> mov [rbx+klp_shadow_node_pprev], rax; mov [rbx+klp_shadow_node_next], rcx',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'asm/x86_64/shadow.s: SHADOW_LOCK: offset: mov [rsp], rax -> mov [rsp+8], rax',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'livepatch/classic.ts: -EINVAL -> +EINVAL',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'livepatch/core.ts: -UAPI.EBUSY -> +UAPI.EBUSY',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant:
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a mutant of a template
      "livepatch/core.ts: { klp.warn(`failed to initialize patch '${patch.name}' for m ... '${name}' (${ret})`); return ret; } -> {}",
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'livepatch/transition.ts: !task || !transitionPatch -> !task && !transitionPatch',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'livepatch/transition.ts: to === this.#constants.KLP_PATCHED -> false',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: "livepatch/transition.ts: !core.events.listens('blocked') -> false",
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/ftrace.ts: mem.readU64(this.#sym.opsList) === ops.addr -> true',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/ftrace.ts: o.addr !== ops.addr -> true',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/init_functions.ts: [{ name: found.name, addr: found.addr, module }] -> []',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/ftrace.ts: this.#registered().length > 0 -> this.#registered().length >= 0',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/text_poke.ts: \'poke\' -> ""',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'ftrace/text_poke.ts: breakpoint -> true',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/shadow.ts: at < 0 -> at >= 0',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: skip === 0 -> skip !== 0',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: ipHi !== 0xffffffff -> false',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: task.onCpu !== 0 -> false',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/shadow.ts: at < 0 -> at >= 0',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: skip === 0 -> skip !== 0',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: ipHi !== 0xffffffff -> false',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
  {
    mutant: 'unwind/stacktrace.ts: task.onCpu !== 0 -> false',
    is: 'open',
    why: 'not looked at: a sample found it, and no test of its folder notices it',
  },
];
