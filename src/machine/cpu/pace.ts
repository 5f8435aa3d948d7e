// How fast the emulated CPUs are: all of one machine go at the same pace.

/** Virtual ns that an instruction takes. A kernel boots at the default one, whatever its machine's is. */
export interface Pace {
  ns: number;
}
