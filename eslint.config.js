import tseslint from 'typescript-eslint';

/** Biome formats and lints; these are the rules that need types: a promise must not get lost. */
export default [
  { ignores: ['dist', 'demo/dist', '.cache', 'assets', 'coverage'] },
  {
    files: ['**/*.{ts,tsx}'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
];
