// The two WebAssembly packages ship without types; their ports give them the few they use.

declare module '@alexaltea/keystone-js' {
  const load: () => Promise<unknown>;
  export default load;
}

declare module '@alexaltea/capstone-js' {
  const load: () => Promise<unknown>;
  export default load;
}
