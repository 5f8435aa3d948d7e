// The layouts that ORC entries have had, by the kernel that had each first. Loaded with the command line: no more here.

export const ORC_FORMATS = ['6.1', '6.3', '6.4', '7.2'] as const;
