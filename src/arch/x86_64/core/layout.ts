// Where things lie in the core's linear memory. Read by the core (AssemblyScript) and by the engine around it (TypeScript):
// one file, so that the two cannot differ.
//
// What executes now lies at fixed addresses, so that an access to a register is one load or store with a constant address;
// the contexts of the emulated CPUs are copied in and out around a run, their vector registers when another context needs them.

/** Cells of 64 bits: a register, a constant or something for the time of one instruction. Operations name their operands by address. */
export const REGS = 0x1000; // rax rcx rdx rbx rsp rbp rsi rdi r8 to r15, as instructions number them
export const RIP = 0x1080;
/** RFLAGS but for the six arithmetic flags, which are kept as flags.ts says. Whole in a context. */
export const RFLAGS = 0x1088;
export const FS_BASE = 0x1090;
export const GS_BASE = 0x1098;
/** What swapgs exchanges GS_BASE with. */
export const KERNEL_GS_BASE = 0x10a0;
/** Privilege level: 0 or 3. */
export const CPL = 0x10a8;
export const CR2 = 0x10b0;
export const CR3 = 0x10b8;
/** Bytes of a context from REGS on. Behind them are its vector registers, VECTOR_SIZE bytes. */
export const CONTEXT_SIZE = 0x100;
/** From one context to the next. */
export const CONTEXT_STRIDE = 0xa00;

/** Cells that no context has. */
export const ZERO = 0x1200;
/** What an instruction works with between its operations. */
export const T0 = 0x1208;
export const T1 = 0x1210;
/** The address of a memory operand that one operation cannot compute. */
export const EA = 0x1218;
export const T3 = 0x1220;

/** The flags, as flags.ts keeps them. */
export const FLAG_ZERO = 0x1240;
export const FLAG_RESULT = 0x1248;
export const FLAG_CARRIES = 0x1250;
export const FLAG_AUX = 0x1258;

/** Why the core stopped: a STOP_ of kinds.ts, and what belongs to it. */
export const STOP = 0x1280;
export const STOP_ACCESS = 0x1284;
export const STOP_UNMAPPED = 0x1288;
export const STOP_ADDR = 0x1290;
export const STOP_CODE = 0x1298;
/** Instructions of the budget that are left. */
export const LEFT = 0x12a0;
/** The operation that led to a block that was not there yet: linked to it when it is. */
export const PENDING = 0x12a8;

/** 16 bytes across a page's end are put together here. */
export const BOUNCE = 0x12c0;

/** Windows of the address space, WINDOW_SIZE bytes each: high half, low half, bytes of it, where it begins in RAM, shape, address spaces. */
export const WINDOWS = 0x1400;
export const WINDOW_SIZE = 32;
export const MAX_WINDOWS = 16;
export const WINDOW_COUNT = 0x1700;
/** Where guest RAM begins in linear memory, and where its two tables do. */
export const RAM = 0x1704;
/** A byte a page of RAM: PROT_ and PAGE_ bits; 0 where nothing is mapped. */
export const PAGES = 0x1708;
/** A word a page of RAM: the first block decoded from it. */
export const PAGE_BLOCKS = 0x170c;
export const RAM_PAGES = 0x1710;
/** Whether user and kernel are kept apart: 0 for a comparison with an engine that cannot. */
export const PROTECTION = 0x1714;
/**
 * Where in RAM every address lies that is in no window, again and again; its size is a power of 2, 0 for no such. With it,
 * addresses are nobody's: none has to be aligned.
 */
export const ELSEWHERE = 0x1718;
export const ELSEWHERE_SIZE = 0x171c;

/** A byte a page of RAM: 1 when it may have been written (engine/linear_memory.ts). */
export const TOUCHED = 0x1734;
/** Where frames are noted beside the task stacks (0: nowhere), and a word a stack: how deep. shadow.ts */
export const FRAMES = 0x1720;
export const DEPTHS = 0x1724;
/** Of whom trampolines are noted: the pointer to the current task in per-CPU data, a word in what it points to. */
export const CURRENT_TASK = 0x1728;
export const TASK_STATE = 0x172c;
/** Trampolines entered and left that the engine has not taken yet. */
export const NOTE_COUNT = 0x1730;

/**
 * What is observed of execution (observe.ts): OBSERVE_ bits. While it is 0, nothing below is looked at.
 */
export const OBSERVING = 0x1738;
/** Instructions executed by the engine when the budget of this run is used up. */
export const RUN_ENDS_AT = 0x1740;
/** The instruction that is being executed: its number, and its address. */
export const NOW = 0x1748;
export const NOW_RIP = 0x1750;
/** Events written to the ring since it was last emptied; whose they are. */
export const EVENT_COUNT = 0x1758;
export const EVENT_CONTEXT = 0x1760;
/** A transfer of control whose end is not known yet: an EVENT_ and where it is; and its number. */
export const TRANSFER = 0x1764;
export const TRANSFER_RIP = 0x1768;
export const TRANSFER_NUMBER = 0x1770;
export const WATCH_COUNT = 0x1778;
/** 0: an access that is watched ends the run before its instruction; 1: it is a hit, and goes on. */
export const WATCH_RECORDS = 0x177c;
export const HIT_COUNT = 0x1780;
/** 1: the next breakpoint is passed. */
export const BREAK_PASS = 0x1784;
/** Where stores of the context wait, 0 where they do not. */
export const STORE_QUEUE = 0x1788;

export const NOTES = 0x1800;
export const NOTE_SIZE = 32;
export const NOTES_MOST = 64;
export const NOTE_WHAT = 0;
export const NOTE_SLOT = 4;
export const NOTE_ADDRESS = 8;
export const NOTE_LEFT = 12;
export const NOTE_TASK = 16;
export const NOTE_STATE = 24;
export const NOTE_TARGET = 28;
/** NOTE_WHAT */
export const ENTERED = 1;
export const LEFT_IT = 2;

/** Translations: for kernel, user, and kernel with AC; reads, then writes, of 256 entries: tag (u64), addend (u32). */
export const TLB = 0x12000;
export const TLB_ENTRIES = 256;
export const TLB_HALF = 0x1000;
export const TLB_SET = 0x2000;
export const TLB_SETS = 3;

/** Blocks by the address that they begin at: address (u64), block (u32). */
export const LOOKUP = 0x18000;
export const LOOKUP_ENTRIES = 16384;

/** ZMM0 to ZMM31, 64 bytes each; XMM and YMM are their lower parts. */
export const ZMM = 0x58000;
export const VECTOR_REGISTER = 64;
/** The mask registers k0 to k7, cells. */
export const MASKS = 0x58800;
export const MXCSR = 0x58840;
/** What FXSAVE has before XMM0: of the x87 FPU, whose registers are kept, though nothing computes with them. */
export const X87 = 0x58860;
export const X87_SIZE = 160;
/** Bytes of it all, and of a context's. */
export const VECTOR_SIZE = 0x900;
/** Whether vector code was ever decoded, and the context whose registers are at ZMM; 0 for none. */
export const VECTOR_USED = 0x58900;
export const VECTOR_OWNER = 0x58904;
/** Registers for the time of one instruction. */
export const VECTOR_T0 = 0x58940;
export const VECTOR_T1 = 0x58980;
/** Lanes that are worked on by element, and an image of FXSAVE. */
export const LANE = 0x589c0;
export const SAVE_IMAGE = 0x58a00;

/** Operations, OP_SIZE bytes each, behind a header of each block. */
export const ARENA = 0x59000;
export const OP_SIZE = 32;
export const OP_INDEX = 2;
export const OP_START = 4;
export const OP_END = 6;
export const OP_A = 8;
export const OP_B = 12;
export const OP_IMM = 16;
export const OP_DISP = 24;
export const OP_LINK = 24;
export const OP_C = 28;

export const BLOCK_HEADER = 32;
/** Instructions in the block; 0 when its text was changed. */
export const BLOCK_COUNT = 0;
/** The next block of its first page, and of the page that it runs into. */
export const BLOCK_NEXT = 4;
export const BLOCK_NEXT_SECOND = 8;
/** The pages of RAM that it lies in; the second is 0xffffffff when there is none. */
export const BLOCK_PAGE = 12;
export const BLOCK_RIP = 16;
export const BLOCK_PAGE_SECOND = 24;
/** Instructions in the block, whatever became of its text. */
export const BLOCK_SIZE = 28;

export const ARENA_END = 0x658000;

// What is observed: written only while it is, so that none of its pages exists before.

/** OBSERVING: accesses to what is watched; a log of all; stores wait. */
export const OBSERVE_WATCH = 1;
export const OBSERVE_LOG = 2;
export const OBSERVE_HOLD = 4;

/** Watched ranges: first and last byte (u64), READ_BIT and WRITE_BIT, shape of the address, address space + 1. */
export const WATCHES = 0x658000;
export const WATCH_SIZE = 32;
export const MOST_WATCHES = 64;
export const WATCH_LAST = 8;
export const WATCH_ACCESS = 16;
export const WATCH_PHYSICAL = 20;
export const WATCH_SPACE = 24;
export const READ_BIT = 1;
export const WRITE_BIT = 2;
/** What the instruction that was executed last did to them: address, before, after (u64), bytes, READ or WRITE. */
export const HITS = 0x658800;
export const HIT_SIZE = 32;
export const MOST_HITS = 64;
export const HIT_BEFORE = 8;
export const HIT_AFTER = 16;
export const HIT_BYTES = 24;
export const HIT_ACCESS = 28;

/** How often instructions were executed, a cell each. */
export const COUNTERS = 0x659000;
export const MOST_COUNTERS = 65536;

/** Stores that wait, of a context each: how many there are, then address in linear memory, bytes, value (u64) of each, oldest first. */
export const STORE_QUEUES = 0x6d9000;
export const STORE_QUEUE_SIZE = 0x410;
export const STORE_QUEUE_HEADER = 16;
export const STORE_SIZE = 16;
export const STORE_BYTES = 4;
export const STORE_VALUE = 8;
export const MOST_STORES = 64;
export const MOST_STORE_QUEUES = 128;

/** Events, one behind the other and again from the beginning: EVENT_ and bytes, context, number, address of the instruction, address, value. */
export const EVENTS = 0x6fa000;
export const EVENT_SIZE = 40;
export const MOST_EVENTS = 65536;
export const EVENT_OF_CONTEXT = 4;
export const EVENT_NUMBER = 8;
export const EVENT_RIP = 16;
export const EVENT_ADDRESS = 24;
export const EVENT_VALUE = 32;
export const EVENT_BLOCK = 1;
export const EVENT_CALL = 2;
export const EVENT_RETURN = 3;
export const EVENT_READ = 4;
export const EVENT_WRITE = 5;

/** Where the words that depend on the size of RAM begin. */
export const TABLES = 0x97a000;

export const PAGE_BITS = 12;
