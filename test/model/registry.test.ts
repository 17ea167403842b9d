import { expect, test } from 'vitest';
import { ARCHITECTURES, registerArchitecture } from '../../src/model/architectures/registry.ts';

test('an architecture is registered once, and takes the place of none', () => {
  const own = { ...ARCHITECTURES.llama!, modelType: 'own' };
  registerArchitecture(own);
  expect(ARCHITECTURES.own).toBe(own);
  registerArchitecture(own);
  expect(() => registerArchitecture({ ...own })).toThrow(/model_type "own" has an architecture already/);
  expect(() => registerArchitecture({ ...own, modelType: 'llama' })).toThrow(/"llama"/);
});
