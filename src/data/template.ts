/** The chat template of a model: where it comes from, and how a conversation is rendered with it. */

import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { isObject, readJsonObject, readText } from './files.ts';
import type { Template } from './jinja.ts';
import { parseTemplate, renderTemplate, TemplateRaised } from './jinja.ts';
import type { Span } from './labels.ts';
import type { Message } from './rows.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface RenderRequest {
  readonly messages: readonly Message[];
  readonly tools?: readonly unknown[] | undefined;
  /** Ends with what begins an assistant's turn. */
  readonly addGenerationPrompt?: boolean;
  /** `file:line` of the row, for messages. */
  readonly where?: string;
}

export interface RenderedChat {
  readonly text: string;
  /** What `{% generation %}` blocks printed, in UTF-16 offsets. */
  readonly generation: Span[];
}

/** The names under which rows hold an assistant's reasoning, the first that is there counts. */
export const REASONING_FIELDS = ['reasoning_content', 'thinking', 'reasoning'] as const;

/** A parsed chat template. */
export class ChatTemplate {
  /** The Jinja source, to be saved as `chat_template.jinja`. */
  readonly text: string;
  /** Where it came from, for messages. */
  readonly source: string;
  /** Whether it has `{% generation %}` blocks, which then say what is trained. */
  readonly marksGeneration: boolean;
  readonly #template: Template;
  readonly #tokens: Tokenizer['namedTokens'];

  /** Throws `TEMPLATE` when `text` is no Jinja that can be parsed. */
  constructor(text: string, source: string, namedTokens: Tokenizer['namedTokens'] = {}) {
    this.text = text;
    this.source = source;
    this.#tokens = namedTokens;
    try {
      this.#template = parseTemplate(text);
    } catch (cause) {
      throw new SftError('TEMPLATE', `${source}: expected a Jinja chat template, got: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.marksGeneration = this.#template.marksGeneration;
  }

  /** Renders a conversation. Throws `TEMPLATE` when the template raises, fails or does not end. */
  render({ messages, tools, addGenerationPrompt = false, where }: RenderRequest): RenderedChat {
    const variables = {
      ...this.#tokens,
      messages: messages.map(aliasReasoning),
      tools: tools ?? null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
    };
    const place = where === undefined ? this.source : `${where}: ${this.source}`;
    try {
      return renderTemplate(this.#template, variables);
    } catch (cause) {
      const reason =
        cause instanceof RangeError ? 'it calls itself without end, or makes too much text' : (cause as Error).message;
      if (cause instanceof TemplateRaised) {
        throw new SftError(
          'TEMPLATE',
          `${place}: expected messages that the chat template takes, got its complaint: ${reason}`,
          {
            hint: 'change the row (such as the order of its roles), or choose another model.chat_template',
            cause,
          },
        );
      }
      throw new SftError('TEMPLATE', `${place}: expected the chat template to render, got: ${reason}`, { cause });
    }
  }
}

/** Templates read reasoning as `reasoning_content` or `thinking`; transformers fills both from either. */
function aliasReasoning(message: Message): Message {
  const reasoning = REASONING_FIELDS.map((field) => message[field]).find(
    (value) => value !== undefined && value !== null,
  );
  return reasoning === undefined ? message : { thinking: reasoning, ...message, reasoning_content: reasoning };
}

/** The text of a template and where it came from, for messages. */
export interface TemplateText {
  readonly text: string;
  readonly source: string;
}

export interface TemplateChoice {
  /** Taken instead of the model's own (`model.chat_template`). */
  readonly chatTemplate?: TemplateText | undefined;
  /** Asked for where the model has none (`chat_templates/default.jinja`). */
  readonly defaultTemplate?: (() => Promise<TemplateText | undefined>) | undefined;
}

/**
 * The chat template of a model folder: `chatTemplate` if given, else `chat_template.jinja`, else `chat_template` of
 * `tokenizer_config.json` (a text, or the one named "default" of a list), else `defaultTemplate`. Null when there is none.
 */
export async function loadChatTemplate(
  folder: ReadableFolder,
  namedTokens: Tokenizer['namedTokens'],
  { chatTemplate, defaultTemplate }: TemplateChoice = {},
): Promise<ChatTemplate | null> {
  const found = chatTemplate ?? (await ownTemplate(folder)) ?? (await defaultTemplate?.());
  return found ? new ChatTemplate(found.text, found.source, namedTokens) : null;
}

async function ownTemplate(folder: ReadableFolder): Promise<TemplateText | undefined> {
  const jinja = await readText(folder, 'chat_template.jinja', 'TEMPLATE');
  if (jinja !== null) return { text: jinja, source: 'chat_template.jinja' };
  const config = await readJsonObject(folder, 'tokenizer_config.json', 'MODEL');
  const text = defaultOf(config?.['chat_template']);
  return text === null ? undefined : { text, source: 'tokenizer_config.json' };
}

function defaultOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  const named = Array.isArray(value) ? value.filter(isObject) : [];
  const text = named.find(({ name }) => name === 'default')?.['template'];
  if (typeof text === 'string') return text;
  throw new SftError(
    'TEMPLATE',
    'tokenizer_config.json: expected chat_template to be a text or to have one named "default"',
    {
      hint: 'choose a template with model.chat_template',
    },
  );
}
