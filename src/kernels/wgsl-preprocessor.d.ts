declare module 'wgsl-preprocessor/wgsl-preprocessor.js' {
  /**
   * Template tag for WGSL. `#if ${condition} … #elif ${condition} … #else … #endif` keep or drop text; other values are
   * inserted as they are. `#if` and `#elif` must be followed at once by a value.
   */
  export function wgsl(strings: TemplateStringsArray, ...values: unknown[]): string;
}
