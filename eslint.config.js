import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/**
 * The compiler finds what is unused or of the wrong type; these rules find what it lets through: promises that nobody
 * waits for, cases that a switch forgets, conditions that are always true of a promise. Style is prettier's.
 */
export default defineConfig(
  { ignores: ['dist/', 'data/'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-floating-promises': [
        'error',
        // `test` of node:test reports by itself; nobody waits for what it returns.
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { args: 'after-used', argsIgnorePattern: '^_', destructuredArrayIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: 'error',
      'no-constant-binary-expression': 'error',
      'no-self-compare': 'error',
      'no-unsafe-finally': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['tools/**/*.mjs', '*.js'],
    languageOptions: { ecmaVersion: 2022, sourceType: 'module' },
    rules: {
      'no-unused-vars': 'error',
      'no-constant-binary-expression': 'error',
      eqeqeq: 'error',
      'prefer-const': 'error',
    },
  },
  {
    // What the page uses of the browser; anything else is a word that was misspelled.
    files: ['console/*.js'],
    languageOptions: {
      ecmaVersion: 2024,
      sourceType: 'module',
      globals: Object.fromEntries(
        [
          ...['document', 'window', 'location', 'navigator', 'sessionStorage', 'fetch', 'confirm', 'getSelection'],
          ...['scrollTo', 'console', 'FormData'],
          ...['addEventListener', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
          ...['AbortController', 'AbortSignal', 'Blob', 'Event', 'Node', 'TextDecoder', 'TextDecoderStream'],
          ...['URL', 'URLSearchParams'],
        ].map((name) => [name, 'readonly']),
      ),
    },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-constant-binary-expression': 'error',
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
)
