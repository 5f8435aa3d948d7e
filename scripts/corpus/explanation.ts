// Why something is as it is at a place of a kernel that pages of the corpus name.

export interface Explanation {
  /** Of the module, without `.ko` and what it is packed with. */
  readonly object: RegExp;
  /** Of the function. */
  readonly place: RegExp;
  /** What klpemu says of the difference, where that has to be it. */
  readonly reason?: RegExp;
  readonly why: string;
}
