import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { answering, newConversation, send, stopAnswer, type Turn, turns, useAdapter } from '../state/chat.ts';
import { place } from '../state/shown.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Step } from './Step.tsx';

export function ChatStep() {
  const canAdapt = place.value?.outputDir !== undefined;
  const isOn = useAdapter.value && canAdapt;
  return (
    <Step number={7} title={text.chat.title} lead={text.chat.lead} state={place.value ? 'open' : 'waiting'}>
      <Conversation />
      <Form />
      <div class="buttons">
        <label class="switch">
          <input
            type="checkbox"
            role="switch"
            checked={isOn}
            aria-checked={isOn}
            disabled={!canAdapt}
            onChange={(event) => {
              useAdapter.value = event.currentTarget.checked;
            }}
          />
          {text.chat.adapter}
        </label>
        {turns.value.length > 0 && (
          <button type="button" class="small" onClick={newConversation}>
            {text.chat.fresh}
          </button>
        )}
      </div>
      <Problems place="chat" />
    </Step>
  );
}

function Conversation() {
  const log = useRef<HTMLDivElement>(null);
  const all = turns.value;
  useEffect(() => {
    const { current } = log;
    if (current && all.length > 0) current.scrollTop = current.scrollHeight;
  }, [all]);
  return (
    // Answers grow token by token; they are read out when they are whole.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div class="log" ref={log} role="log" aria-label={text.chat.log} aria-busy={answering.value} tabIndex={0}>
      {all.length === 0 && <p class="waits">{text.chat.empty}</p>}
      {all.map((turn) => (
        <Said key={turn.id} turn={turn} />
      ))}
    </div>
  );
}

function Said({ turn: { role, content, adapted, state } }: { readonly turn: Turn }) {
  const { you, withAdapter, without, wasCut } = text.chat;
  return (
    <div class="chat-turn" data-role={role} data-writing={state === 'writing'}>
      <b>{role === 'user' ? you : adapted ? withAdapter : without}</b>
      <p>
        {content}
        {state === 'cut' && <small> ({wasCut})</small>}
      </p>
    </div>
  );
}

function Form() {
  const message = useSignal('');
  const submit = async (event: Event) => {
    event.preventDefault();
    const sent = message.value;
    message.value = '';
    // What could not be sent is not lost.
    if (!(await send(sent)) && message.value === '') message.value = sent;
  };
  return (
    <form class="message" onSubmit={(event) => void submit(event)}>
      <label for="message" class="quiet">
        {text.chat.message}
      </label>
      <input
        id="message"
        type="text"
        autocomplete="off"
        placeholder={text.chat.placeholder}
        value={message.value}
        onInput={(event) => {
          message.value = event.currentTarget.value;
        }}
      />
      {answering.value ? (
        // Another element than the one below: a press on this one must not end as a press on that one.
        <button key="cut" type="button" onClick={stopAnswer}>
          {text.chat.cut}
        </button>
      ) : (
        <button key="send" type="submit" class="main">
          {text.chat.send}
        </button>
      )}
    </form>
  );
}
