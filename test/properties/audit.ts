// What must hold of a machine whatever was done to it, and the picture of it that an operation which failed, or was undone, must
// leave as it was: as `klpemu vet` asks for them.

export { checkInvariants } from '../../src/vet/invariants.ts';
export { heapOf, pictureOf } from '../../src/vet/picture.ts';
