// How the modules of a livepatch are told from each other.

/** As the proposal names them. */
export const submoduleName = (patch: string, object: string): string => `${patch}__${object}`;

/** Tag of .modinfo by which the module for vmlinux names an object that there is a submodule for: klp_patch.obj_names. */
export const OBJECT_TAG = 'klp_object';
