/** A conversation at the terminal: what is typed, and what comes of it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Adapters } from '../../../src/cli/adapters.ts';
import { Conversation } from '../../../src/cli/chat.ts';
import { chooseModel } from '../../../src/cli/chosenModel.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { infer } from '../../../src/cli/commands/infer.ts';
import { loadChosen } from '../../../src/cli/loadChosen.ts';
import { Terminal } from '../../../src/cli/terminal.ts';
import { requestDevice } from '../../../src/index.ts';
import { fakeStream } from '../fakeStream.ts';
import { useTinyRun } from './tinyRun.ts';

const { cli, at } = useTinyRun();
const out = fakeStream({ isTTY: true });
const terminal = new Terminal(out, fakeStream(), { NO_COLOR: '1' });
let adapters: Adapters;
beforeAll(async () => {
  const typed = ['--model', at('model'), '--adapter', at('outputs/run/final_model'), '--quiet'];
  const call = (await parseCall('infer', 'chat', infer, typed, terminal))!;
  const chosen = await chooseModel(call);
  adapters = new Adapters(call, chosen, await loadChosen(call, chosen, await requestDevice(), {}));
});
afterAll(async () => {
  const { gpu } = adapters.model;
  await adapters.model.close();
  await gpu.close();
});

const options = { temperature: 0, maxNewTokens: 6, seed: 0, stream: true };
const begin = () => new Conversation(adapters, terminal, options);
/** What was said last, as a row to train on. */
async function rowOf(conversation: Conversation, name: string) {
  await conversation.command(`/save ${at(name)}`);
  const [last = ''] = readFileSync(at(name), 'utf8').trimEnd().split('\n').slice(-1);
  return (JSON.parse(last) as { messages: { role: string; content: string }[] }).messages;
}

describe('a conversation', () => {
  it('keeps what was said, until it is forgotten', async () => {
    const conversation = begin();
    expect(await conversation.command(`/save ${at('none.jsonl')}`)).toBe('there is no conversation to save');
    expect(existsSync(at('none.jsonl'))).toBe(false);
    expect(await conversation.command('/system  Be  brief. ')).toBe('the system prompt is set');
    await conversation.answer('What is 1 + 1?');
    await conversation.answer('And 2 + 2?');
    const messages = await rowOf(conversation, 'said.jsonl');
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user', 'assistant']);
    expect(messages[0]?.content).toBe('Be  brief.');
    expect(out.text()).toContain(`${messages[2]!.content}\n${messages[4]!.content}\n`);
    // The same again, from the messages alone.
    const again = await adapters.model.complete(messages.slice(0, -1), options);
    expect(messages[4]?.content).toBe(again);

    expect(await conversation.command('/reset')).toBe('forgotten');
    expect(await conversation.command('/system')).toBe('no system prompt');
    await conversation.answer('What is 1 + 1?');
    expect((await rowOf(conversation, 'said.jsonl')).map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(readFileSync(at('said.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(2);
  });

  it('stops an answer and goes on', async () => {
    const conversation = begin();
    expect(conversation.stop()).toBe(false);
    const answer = conversation.answer('What is 3 + 3?');
    await Promise.resolve();
    expect(conversation.stop()).toBe(true);
    await answer;
    expect(out.text()).toMatch(/\(stopped\)\n$/);
    await conversation.answer('What is 3 + 3?');
    expect(conversation.stop()).toBe(false);
  });

  it('answers with the base, and with adapters of any shape', async () => {
    const [first, second] = [at('outputs/run/final_model'), at('outputs/other/final_model')];
    const other = ['tuning.lora.r=2', 'output_dir=outputs/other', 'train.max_steps=3', 'train.learning_rate=0.05'];
    expect((await cli(['train', 'run.yaml', ...other.flatMap((one) => ['--set', one])])).code).toBe(0);
    const said = async () => {
      const conversation = begin();
      await conversation.answer('What is 1 + 1?');
      return (await rowOf(conversation, 'adapters.jsonl')).at(-1)?.content;
    };
    const inferred = async (...flags: string[]) => {
      const told = ['--model', 'model', ...flags, '--temperature', '0', '--max-new-tokens', '6'];
      return (await cli(['infer', ...told, '--prompt', 'What is 1 + 1?'])).stdout;
    };
    const conversation = begin();
    expect(await conversation.command('/adapter')).toBe(`* ${first}\n  off: ${at('model')}`);
    expect(await conversation.command('/adapter off')).toBe(`  ${first}\n* off: ${at('model')}`);
    expect(await said()).toBe(await inferred());
    expect(await conversation.command(`/adapter ${second}`)).toBe(`  ${first}\n* ${second}\n  off: ${at('model')}`);
    expect(await said()).toBe(await inferred('--adapter', second));
    await conversation.command(`/adapter ${first}`);
    expect(await said()).toBe(await inferred('--adapter', first));

    writeFileSync(at('outputs/other/final_model/adapter_config.json'), '{}');
    await expect(conversation.command(`/adapter ${second}`)).rejects.toThrow(
      expect.objectContaining({ code: 'ADAPTER' }),
    );
    await expect(conversation.command('/adapter nowhere')).rejects.toThrow(
      expect.objectContaining({ code: 'ADAPTER' }),
    );
    expect(await said()).toBe(await inferred('--adapter', first));
  });

  it('says what can be typed', async () => {
    expect(await begin().command('/help')).toMatch(
      /^\/reset .*\n\/system TEXT .*\n\/adapter DIR .*\n\/save FILE .*\n\/exit /,
    );
    expect(await begin().command('/rest')).toBe('/rest: unknown; did you mean /reset?');
  });
});
