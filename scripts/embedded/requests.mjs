/** The fine-tuning task: an everyday request in, one line of strict JSON out. */
import { drawRequest, intentNames, intents } from './intents.mjs';
import { Random } from './random.mjs';

/** Rows per file. The same number of rows of each intent, shuffled. */
const SIZES = { train: 96, val: 5, test: 5 };

/** `{"intent": …, slot: value, …}` with the intent's slots in their order and ", " and ": " as joints. */
function answer({ intent, values }) {
  const entries = Object.entries({ intent, ...values }).map(
    ([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `{${entries.join(', ')}}`;
}

/** @returns {Record<'train' | 'val' | 'test', { messages: { role: string, content: string }[] }[]>} */
export function requestRows() {
  return Object.fromEntries(
    Object.entries(SIZES).map(([split, perIntent]) => {
      const random = new Random(`requests ${split}`);
      const rows = new Map();
      for (const intent of intentNames) {
        for (let i = 0; i < perIntent; ) {
          const request = drawRequest(random, intent, split);
          if (rows.has(request.text)) continue;
          rows.set(request.text, {
            messages: [
              { role: 'user', content: request.text },
              { role: 'assistant', content: answer(request) },
            ],
          });
          i += 1;
        }
      }
      return [split, random.shuffle([...rows.values()])];
    }),
  );
}

/** JSON schema of an answer: exactly the keys of its intent, each a string that is not empty. */
export function requestSchema() {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'An everyday request as JSON',
    oneOf: intentNames.map((intent) => {
      const slots = Object.keys(intents[intent].slots);
      return {
        type: 'object',
        properties: {
          intent: { const: intent },
          ...Object.fromEntries(slots.map((slot) => [slot, { type: 'string', minLength: 1 }])),
        },
        required: ['intent', ...slots],
        additionalProperties: false,
      };
    }),
  };
}
