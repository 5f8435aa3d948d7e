// The numbers of the ELF64 format that a relocatable object may hold.
// Mirrors include/uapi/linux/elf.h and the generic ABI; names are the format's own.

export const ELF_MAGIC = '\u007fELF';
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const ET_REL = 1;

export const EHDR_SIZE = 64;
export const SHDR_SIZE = 64;
export const SYM_SIZE = 24;
/** st_value */
export const SYM_VALUE = 8;
export const RELA_SIZE = 24;

export const SHT_NULL = 0;
export const SHT_PROGBITS = 1;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_RELA = 4;
export const SHT_NOBITS = 8;
export const SHT_REL = 9;
/** 32 bits a symbol, for those whose st_shndx is SHN_XINDEX. */
export const SHT_SYMTAB_SHNDX = 18;

export const SHF_WRITE = 0x1;
export const SHF_ALLOC = 0x2;
export const SHF_EXECINSTR = 0x4;
export const SHF_MERGE = 0x10;
export const SHF_STRINGS = 0x20;
/** sh_info is the index of a section. */
export const SHF_INFO_LINK = 0x40;
/** Kernel's own flags, in the range that the format leaves to the operating system. */
export const SHF_RELA_LIVEPATCH = 0x00100000;
export const SHF_RO_AFTER_INIT = 0x00200000;

export const SHN_UNDEF = 0;
export const SHN_LORESERVE = 0xff00;
export const SHN_LIVEPATCH = 0xff20;
export const SHN_ABS = 0xfff1;
export const SHN_COMMON = 0xfff2;
export const SHN_XINDEX = 0xffff;

export const STB_LOCAL = 0;
export const STB_GLOBAL = 1;
export const STB_WEAK = 2;

export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_SECTION = 3;
