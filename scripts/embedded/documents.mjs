/**
 * The pretraining text: an endless, seeded stream of short documents in plain English.
 *
 * Two thirds are chats about everyday requests (answer, follow-up questions, notes, changes), so that the model learns
 * to understand a request and to copy its values; the rest is small talk, exercises in copying, little stories, and
 * records of invented people in several notations, so that quotes, braces and colons are known. No document answers a
 * request in JSON: that is what fine-tuning teaches.
 */
import { expand, fill, sentence } from './expand.mjs';
import { drawRequest, drawValues, intentNames, intents } from './intents.mjs';

/**
 * One document: chat messages, or plain text.
 * @param {import('./random.mjs').Random} random
 * @returns {{ messages: { role: string, content: string }[] } | { text: string }}
 */
export function drawDocument(random) {
  const share = random.below(100);
  if (share < 46) return chatAboutRequest(random);
  if (share < 62) return styledChat(random);
  if (share < 78) return copying(random);
  if (share < 84) return smallTalk(random);
  if (share < 87) return { text: story(random) };
  return { text: record(random) };
}

const user = (content) => ({ role: 'user', content });
const assistant = (content) => ({ role: 'assistant', content });
const system = (content) => ({ role: 'system', content });

/** Request, answer, then one to four turns about it. */
function chatAboutRequest(random) {
  const request = drawRequest(random, random.pick(intentNames), 'train');
  const { kind, replies } = intents[request.intent];
  const messages = [user(request.text)];
  const values = { ...request.values };
  const answer = () => fill(expand(random, random.pick(replies)), values);
  messages.push(assistant(sentence(answer())));
  const turns = random.between(1, 4);
  for (let i = 0; i < turns; i++) {
    const turn = random.below(10);
    if (turn < 5) messages.push(...question(random, request.intent, values));
    else if (turn < 8) messages.push(...note(random, kind, values));
    else if (turn < 9) {
      const slot = random.pick(Object.keys(values).filter((name) => intents[request.intent].slots[name] !== null));
      values[slot] = drawValues(random, request.intent)[slot];
      const change = `(No, make|Make) the ${slot}|(Please change|Change) the ${slot} to|No, I mean the ${slot}`;
      messages.push(user(`${expand(random, change)} ${values[slot]}.`), assistant(sentence(answer())));
    } else if (random.chance(0.3)) {
      messages.push(user(expand(random, 'What (did I ask|was my request|did I say)?')), assistant(request.text));
    } else {
      messages.push(user(expand(random, 'What kind of (request|thing) is (this|it)?')), assistant(kind));
    }
  }
  if (random.chance(0.15)) messages.push(...thanks(random));
  return { messages };
}

/** A question about one slot, answered with the bare value or in a sentence. */
function question(random, intent, values) {
  const slot = random.pick(Object.keys(values));
  const asked = random.chance(0.7)
    ? random.pick(intents[intent].questions[slot])
    : expand(random, `(What is the ${slot}?|And the ${slot}?|Tell me the ${slot}.)`);
  const form = random.pick(['{value}', '{value}', '{value}', 'You said {value}.', '"{value}"', 'I noted {value}.']);
  return [user(asked), assistant(fill(form, { value: values[slot] }))];
}

/** The request as a note, in the notation that was asked for. */
function note(random, kind, values) {
  const entries = Object.entries(values);
  const notations = {
    'Write a note.': () => [kind, ...entries.map(([slot, value]) => `${slot}: ${value}`)].join('\n'),
    'Note it down.': () => [kind, ...entries.map(([slot, value]) => `${slot}: ${value}`)].join('\n'),
    'Write a list.': () => entries.map(([slot, value]) => `- ${slot}: ${value}`).join('\n'),
    'Use signs.': () => entries.map(([slot, value]) => `${slot} = "${value}"`).join('; '),
    'Use quotes.': () => `"${kind}", ${entries.map(([, value]) => `"${value}"`).join(', ')}`,
    'Use brackets.': () => `[${kind}] ${entries.map(([, value]) => `[${value}]`).join(' ')}`,
    'As a call.': () => `${kind}(${entries.map(([slot, value]) => `${slot}="${value}"`).join(', ')})`,
  };
  const asked = random.pick(Object.keys(notations));
  return [user(asked), assistant(notations[asked]())];
}

function thanks(random) {
  return [
    user(expand(random, '(Thank you( very much|)|Thanks( a lot|))(.|!)')),
    assistant(expand(random, '(You are welcome|My pleasure|Any time|Happy to help)(.|!)')),
  ];
}

/** A system message says how to answer. */
function styledChat(random) {
  const request = drawRequest(random, random.pick(intentNames), 'train');
  const { kind, replies } = intents[request.intent];
  const slots = Object.keys(request.values);
  const slot = random.pick(slots);
  const reply = sentence(fill(expand(random, random.pick(replies)), request.values));
  const styles = [
    ['(Name|Say) the kind of (each|the) request.', kind],
    ['(Name|Say) the kind of (each|the) request.', kind],
    ['(Name|Say) the kind of (each|the) request.', kind],
    [`(Name|Give) the kind and the ${slot}.`, `${kind}, ${request.values[slot]}`],
    [`(Name|Give) the kind and the ${slot} in quotes.`, `"${kind}", "${request.values[slot]}"`],
    ['(Be brief|Answer in one word).', expand(random, '(Done.|Okay.|Sure.)')],
    ['(Answer like|Talk like|You are) a pirate.', `${expand(random, '(Aye, captain!|Yo ho!|Aye aye!)')} ${reply}`],
    [
      '(Be|Always be) (polite|friendly).',
      `${expand(random, '(My dear friend,|With pleasure, my friend!|Good day!)')} ${reply}`,
    ],
    ['(Repeat|Say back) (each|the) request.', request.text],
    [`(Name|Say|Give) the ${slot} only.`, request.values[slot]],
    [`(Name|Say|Give) the ${slot} only.`, request.values[slot]],
    [`(Name|Give) the ${slots.join(' and the ')}.`, slots.map((name) => request.values[name]).join(', ')],
    [
      `(Name|Give) the ${slots.join(' and the ')} in quotes.`,
      slots.map((name) => `"${request.values[name]}"`).join(', '),
    ],
    ['You are a (helpful|kind|friendly) assistant.', reply],
  ];
  const [instruction, answer] = random.pick(styles);
  return { messages: [system(expand(random, instruction)), user(request.text), assistant(answer)] };
}

/** Exercises in copying words that do not belong together. */
function copying(random) {
  const anyWord = `(<thing>|<animal>|<color>|<firstName>|<made>|<made>|<food>|<hour>|<noun>|<weekday>|<room>|<digits>|
    <digitHour>:<digits>|<time>|<city>|<label>)`;
  const words = Array.from({ length: random.between(2, 7) }, () => expand(random, anyWord));
  const text = words.join(' ');
  const tasks = [
    [`Say ${text}.`, text],
    [`Repeat after me: ${text}`, text],
    [`Repeat "${text}".`, text],
    [`Put this in quotes: ${text}`, `"${text}"`],
    [`Write as a list: ${words.join(', ')}`, words.map((word) => `- ${word}`).join('\n')],
    [`Put each word in quotes: ${words.join(', ')}`, words.map((word) => `"${word}"`).join(', ')],
    [`What is the last word? ${words.join(', ')}`, words.at(-1)],
    [`What is the first word? ${words.join(', ')}`, words[0]],
    [`Say it twice: ${text}`, `${text}, ${text}`],
    [`Say it backwards: ${words.join(', ')}`, words.toReversed().join(', ')],
  ];
  const [asked, answer] = random.pick(tasks);
  return { messages: [user(asked), assistant(answer)] };
}

const numbers = 'one two three four five six seven eight nine ten eleven twelve'.split(' ');
const weekdays = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ');
const opposites = [
  ...['hot cold', 'big small', 'old new', 'early late', 'happy sad', 'open closed', 'full empty', 'fast slow'],
  ...['loud quiet', 'day night', 'summer winter', 'black white', 'left right', 'first last'],
];

function smallTalk(random) {
  const number = random.below(9);
  const other = random.between(number + 1, 11);
  const sum = random.below(6);
  const day = random.below(7);
  const pair = random.shuffle(random.pick(opposites).split(' '));
  const name = expand(random, '<firstName>');
  const things = Array.from({ length: random.between(2, 4) }, () => expand(random, '<item>'));
  const talks = [
    [
      '(Hello|Hi|Good morning|Good evening)(.|!)',
      '(Hello! How can I help you?|Hi! What can I do for you?|Good day! What do you need?)',
    ],
    ['(How are you|How do you do)?', '(I am fine, thank you.|Very well, thank you.)'],
    ['(Who|What) are you?', '(I am a small assistant.|I am an assistant. I can help you with your day.)'],
    ['What can you do?', 'I can set alarms, play music, send messages and write lists.'],
    [`(My name is|I am) ${name}.`, `(Hello|Nice to meet you|Welcome), ${name}.`],
    [`Count from ${numbers[number]} to ${numbers[other]}.`, numbers.slice(number, other + 1).join(', ')],
    [`What is ${numbers[sum]} plus ${numbers[number % 6]}?`, numbers[sum + (number % 6) + 1]],
    [`(Which|What) day comes after ${weekdays[day]}?`, weekdays[(day + 1) % 7]],
    [`(Which|What) day comes before ${weekdays[day]}?`, weekdays[(day + 6) % 7]],
    [`What is the opposite of ${pair[0]}?`, pair[1]],
    [`I bought ${things.join(' and ')}. What did I buy?`, `You bought ${things.join(' and ')}.`],
    [`(Tell me|Write) a (short |)story.`, story(random)],
    ['(Good night|Goodbye|Bye)(.|!)', '(Good night!|Goodbye!|See you soon!)'],
  ];
  const [asked, answer] = random.pick(talks);
  return { messages: [user(expand(random, asked)), assistant(expand(random, answer))] };
}

/** Three or four sentences about one person on one day. */
function story(random) {
  const scene = Object.fromEntries(
    [
      'firstName',
      'knownCity',
      'color',
      'animal',
      'thing',
      'item',
      'weekday',
      'time',
      'room',
      'transport',
      'text',
      'weather',
      'destination',
      'task',
    ].map((rule) => [rule, expand(random, `<${rule}>`)]),
  );
  scene.friend = expand(random, '<firstName>');
  const lines = [
    '{firstName} lives in {knownCity} with a {color} {animal}.',
    'On {weekday} it was {weather}, so {firstName} stayed in the {room}.',
    'At {time} {friend} came by {transport} and said, "{text}."',
    '{firstName} bought {item} for {friend}.',
    'They went to the {destination} by {transport}.',
    'The {animal} found a {color} {thing} in the {room}.',
    '{friend} asked {firstName} to {task}.',
    'At {time} they came home, and {friend} gave {firstName} the {thing}.',
  ];
  const start = random.below(3);
  return lines
    .filter((_, index) => index >= start && random.chance(0.55))
    .concat('It was a good day.')
    .map((line) => fill(line, scene))
    .join(' ');
}

/** Facts about an invented person, told in a sentence and then written down in some notation. */
function record(random) {
  const facts = [
    ['name', expand(random, '<firstName>|<firstName> <lastName>|<made>')],
    ['town', expand(random, '<city>'), '(lives in|comes from|works in) {}'],
    ['job', expand(random, '<job>'), '(is|works as) a {}'],
    ['pet', expand(random, '<color> <animal>|<animal>|<animal>'), 'has a {}'],
    ['age', expand(random, '<digits>'), 'is {} years old'],
    ['hobby', expand(random, '<hobby>'), 'likes {}'],
    ['owns', expand(random, '<color> <thing>|<thing>|<item>'), '(owns|wants|needs) {}'],
    ['says', expand(random, '<phrase>|<text>'), '(often |)says "{}"'],
  ];
  const [name, ...others] = facts;
  const chosen = random.shuffle(others).slice(0, random.between(1, 4));
  const told = chosen.map(([, value, words]) => expand(random, words).replace('{}', () => value));
  const entries = [name, ...chosen].map(([key, value]) => [key, value]);
  const subject = name[1];
  const sentences = `${subject} ${told.length === 1 ? told[0] : `${told.slice(0, -1).join(', ')} and ${told.at(-1)}`}.`;
  return `${sentences}\n${notation(random, entries)}`;
}

function notation(random, entries) {
  const quoted = entries.map(([key, value]) => `"${key}": "${value}"`);
  const form = random.below(10);
  if (form < 4) return `{${quoted.join(', ')}}`;
  if (form < 5) return `{\n${quoted.map((line) => `  ${line}`).join(',\n')}\n}`;
  if (form < 6) return entries.map(([key, value]) => `${key}: ${value}`).join('\n');
  if (form < 7) return `[${entries.map(([, value]) => `"${value}"`).join(', ')}]`;
  if (form < 8) return `{"people": [{${quoted.join(', ')}}]}`;
  return `${call(random)}(${entries.map(([key, value]) => `${key}="${value}"`).join(', ')})`;
}

/** A function name, such as `send_rabbit`. */
function call(random) {
  return expand(
    random,
    '(set|get|add|play|send|book|create|control|convert|translate|navigate)_(<animal>|<color>|<hobby>)',
  );
}
