import { expect, it } from 'vitest';
import { editDistance, nearest } from '../../src/platform/suggest.ts';

it.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['train', 'train', 0],
  ['trian', 'train', 1], // a swap of neighbours is one edit
  ['kitten', 'sitting', 3],
  ['ca', 'abc', 3], // no part is edited twice
])('%s → %s takes %i edits, both ways', (a, b, edits) => {
  expect(editDistance(a, b)).toBe(edits);
  expect(editDistance(b, a)).toBe(edits);
});

const known = ['batch_size', 'size', 'epochs', 'learning_rate', 'alpha', 'r'];

it.each([
  ['lerning_rate', 'learning_rate'],
  ['Epochs', 'epochs'],
  ['num_train_epochs', 'epochs'],
  ['per_device_train_batch_size', 'batch_size'], // the longest part, not "size"
  ['lora-alpha', 'alpha'],
  ['lr', undefined], // one edit from "r", but that is half the word
  ['packing', undefined],
  ['', undefined],
])('%s suggests %s', (word, expected) => {
  expect(nearest(word, known)).toBe(expected);
});
