/**
 * The everyday requests: what can be asked (intents), with which values (slots), in which words.
 *
 * Per intent
 *   kind       what people call such a request
 *   slots      slot name → rule of its values, in the order in which answers name them
 *   asks       imperatives ("wake me at {time}"), wrapped by `carriers` into whole sentences
 *   says       whole sentences of other forms
 *   replies    what a helpful assistant answers, in plain English
 *   questions  slot name → questions about that slot
 * A value is always written verbatim in the request, and no sentence begins with one.
 */
import { expand, fill, sentence } from './expand.mjs';
import { hashText } from './random.mjs';

export const intents = {
  set_alarm: {
    kind: 'alarm',
    slots: { time: '<time>', day: '<day>' },
    asks: [
      'wake me (up |)at {time} {@day}',
      'set (an|my|the) alarm for {time} {@day}',
      'set (an|my|the) alarm {@day} (for|at) {time}',
      'get me (up|out of bed) at {time} {@day}',
      'make sure (that |)I am (awake|up) at {time} {@day}',
      'let (my|the) alarm ring at {time} {@day}',
    ],
    says: [
      'I (have|need|want) to (get up|be awake|wake up) at {time} {@day}.',
      'I need (an|my) alarm {@day} at {time}.',
      '(My|The) alarm {@day} (should|must) ring at {time}.',
      'Alarm (at|for) {time} {@day}(, please|).',
    ],
    replies: [
      '<ok> I will wake you at {time} {@day}.',
      '<ok> your alarm is set for {time} {@day}.',
      'Your alarm will ring at {time} {@day}.',
    ],
    questions: { time: ['What time?', 'When will you wake me?'], day: ['Which day?', 'On which day?'] },
  },
  set_timer: {
    kind: 'timer',
    slots: { duration: '<duration>', label: '<label>' },
    asks: [
      'set a timer (of|for) {duration} for the {label}',
      'set (a|the) {label} timer (for|to) {duration}',
      'start a timer of {duration} for the {label}',
      'start a {label} timer of {duration}',
      'time the {label} for {duration}',
      'let me know in {duration} about the {label}',
    ],
    says: [
      'The {label} (needs|takes) {duration}, (please |)set a timer.',
      'I (need|want) a {label} timer (for|of) {duration}.',
      'My {label} will be ready in {duration}, start a timer.',
      'Timer for the {label}, {duration}(, please|).',
    ],
    replies: [
      '<ok> the timer for the {label} runs for {duration}.',
      'I will tell you about the {label} in {duration}.',
      '<ok> {duration} for the {label}, starting now.',
    ],
    questions: { duration: ['How long?', 'For how long?'], label: ['What is the timer for?', 'For what?'] },
  },
  play_music: {
    kind: 'music',
    slots: { song: '<song>', artist: '<artist>' },
    asks: [
      'play (me |us |){song} by {artist}',
      '(put|turn) on {song} by {artist}',
      'play the song {song} (by|from) {artist}',
      'play {artist} and their song {song}',
      'let me hear {artist} with {song}',
      'start {song} (by|from) {artist}',
      'find (the song |){song} by {artist}',
    ],
    says: [
      'I (want|would like) to (hear|listen to) {song} by {artist}.',
      'I am in the mood for {song} by {artist}.',
      'How about (the song |){song} by {artist}?',
      'Next song, {song} by {artist}(, please|).',
      'We all like {artist}, so play {song}.',
    ],
    replies: [
      '<ok> here is {song} by {artist}.',
      'Now playing {song} by {artist}.',
      '<ok> I will play {artist} with {song}.',
    ],
    questions: { song: ['Which song?', 'What are you playing?'], artist: ['Who is singing?', 'By whom?'] },
  },
  send_message: {
    kind: 'message',
    slots: { person: '<person>', text: '<text>' },
    asks: [
      'tell {person} (that |){text}',
      'text {person} (that |){text}',
      'let {person} know (that |){text}',
      'write (to |){person} that {text}',
      'send {person} a (message|text|note) saying {text}',
      'send a (message|text|note) to {person} saying (that |){text}',
    ],
    says: [
      'I want {person} to know (that |){text}.',
      'Message (for|to) {person}, {text}.',
      'Has {person} heard that {text}? Send a message.',
      'I have a message for {person}, {text}.',
    ],
    replies: [
      '<ok> I will tell {person} that {text}.',
      'I sent {person} the message "{text}".',
      '<ok> {person} will know that {text}.',
    ],
    questions: { person: ['To whom?', 'Who gets the message?'], text: ['What does it say?', 'What is the message?'] },
  },
  get_weather: {
    kind: 'weather',
    slots: { city: '<city>', day: '<day>' },
    asks: [
      'tell me the (weather|forecast) (in|for) {city} {@day}',
      'check the (weather|forecast) (in|for) {city} {@day}',
      'give me the (weather|forecast) for {city} {@day}',
      'show me the (weather|forecast) {@day} for {city}',
      'look up the weather {@day} in {city}',
    ],
    says: [
      'What (is|will be) the weather in {city} {@day}?',
      'What will the weather be like in {city} {@day}?',
      'How (is|will be) the weather {@day} in {city}?',
      'Will it (rain|snow|be <weather>) in {city} {@day}?',
      'Do I need (a coat|a hat) in {city} {@day}?',
      'How (warm|cold|hot) will it be {@day} in {city}?',
      'I am (going|flying|driving) to {city} {@day}, how is the weather?',
    ],
    replies: [
      '<ok> I will check the weather in {city} {@day}.',
      'It will be <weather> in {city} {@day}.',
      'The forecast for {city} {@day} is <weather>.',
    ],
    questions: { city: ['Which city?', 'Where?'], day: ['Which day?', 'For which day?'] },
  },
  add_to_list: {
    kind: 'list',
    slots: { item: '<item>', list: '<list>' },
    asks: [
      'add {item} to (my|the|our) {list} list',
      'put {item} on (my|the|our) {list} list',
      'write {item} on (my|the|our) {list} list',
      'make sure to put {item} on (my|the|our) {list} list',
      'do not forget {item} on (my|the|our) {list} list',
    ],
    says: [
      'I (need|want) {item} on (my|the|our) {list} list.',
      '(My|The|Our) {list} list (needs|is missing) {item}.',
      'We (have no|need|are out of) {item}, put it on the {list} list.',
      'One more thing for the {list} list, {item}.',
    ],
    replies: [
      '<ok> I added {item} to the {list} list.',
      '<ok> {item} is on your {list} list.',
      'Your {list} list now has {item}.',
    ],
    questions: { item: ['What did you add?', 'Which item?'], list: ['Which list?', 'To which list?'] },
  },
  control_device: {
    kind: 'device',
    slots: { device: '<device>', room: '<room>', state: '<state>' },
    asks: [
      '(turn|switch) {state} the {device} in the {room}',
      '(turn|switch) the {device} in the {room} {state}',
      '(turn|switch) the {room} {device} {state}',
      '(turn|switch) {state} the {room} {device}',
      'go to the {room} and turn the {device} {state}',
    ],
    says: [
      'The {device} in the {room} should be {state}.',
      'I (want|need|would like) the {room} {device} {state}.',
      'In the {room} the {device} must be {state}.',
      'No one is in the {room}, turn {state} the {device}.',
    ],
    replies: [
      '<ok> the {device} in the {room} will be {state}.',
      'I turned {state} the {device} in the {room}.',
      'The {room} {device} should be {state} now.',
    ],
    questions: {
      device: ['Which device?', 'What did you switch?'],
      room: ['Which room?', 'Where?'],
      state: ['On or off?'],
    },
  },
  book_table: {
    kind: 'table',
    slots: { place: '<restaurant>', guests: '<guests>', time: '<time>' },
    asks: [
      '(book|reserve) a table for {guests} (people |)at (the |){place} at {time}',
      '(book|reserve) a table at (the |){place} for {guests} (people |)at {time}',
      '(book|reserve) a table for {guests} at {time} at (the |){place}',
      'get us a table at (the |){place} at {time} for {guests}',
      'find a table at {time} for {guests} (people |)at (the |){place}',
    ],
    says: [
      'We are {guests} (people |)and want to eat at (the |){place} at {time}.',
      'I (need|want|would like) a table for {guests} at (the |){place} at {time}.',
      'Is there a table at (the |){place} for {guests} at {time}?',
      '(Dinner|Lunch) for {guests} at (the |){place} at {time}(, please|).',
    ],
    replies: [
      '<ok> a table for {guests} at {place} at {time}.',
      'I booked {place} for {guests} people at {time}.',
      '<ok> {place} expects {guests} guests at {time}.',
    ],
    questions: {
      place: ['Where do we eat?', 'Which restaurant?'],
      guests: ['How many people?', 'For how many?'],
      time: ['What time?', 'At what time?'],
    },
  },
  navigate: {
    kind: 'route',
    slots: { destination: '<destination>', transport: '<transport>' },
    asks: [
      'take me to the {destination} by {transport}',
      'show me the (way|route) to the {destination} by {transport}',
      'find (a|the best|the fastest) (way|route) to the {destination} by {transport}',
      'find (a|the best) {transport} (route|connection) to the {destination}',
      'guide me to the {destination} by {transport}',
      'plan a trip by {transport} to the {destination}',
    ],
    says: [
      'How do I get to the {destination} by {transport}?',
      'How (long|far) is it to the {destination} by {transport}?',
      'I (want|need|have) to go to the {destination} by {transport}.',
      'Is there a {transport} to the {destination}?',
      'By {transport}, what is the way to the {destination}?',
    ],
    replies: [
      '<ok> here is the way to the {destination} by {transport}.',
      'The route to the {destination} by {transport} is ready.',
      '<ok> I will guide you to the {destination} by {transport}.',
    ],
    questions: { destination: ['Where to?', 'Where do I want to go?'], transport: ['By what?', 'How do I get there?'] },
  },
  create_event: {
    kind: 'event',
    slots: { title: '<title>', day: '<day>', time: '<time>' },
    asks: [
      'put the {title} in my calendar {@day} at {time}',
      'add the {title} to my calendar for {time} {@day}',
      'add (a|the) {title} at {time} {@day} to my calendar',
      '(schedule|plan) (a|the) {title} {@day} at {time}',
      '(schedule|plan) (a|the) {title} for {time} {@day}',
      'save the date for the {title}, {day} at {time}',
    ],
    says: [
      'I have a {title} {@day} at {time}.',
      'The {title} is {@day} at {time}, (please |)add it to my calendar.',
      'There is a {title} at {time} {@day}, write it down.',
      'New event, {title} {@day} at {time}.',
    ],
    replies: [
      '<ok> the {title} is in your calendar {@day} at {time}.',
      'I added the {title} {@day} at {time}.',
      '<ok> {title} {@day} at {time}.',
    ],
    questions: {
      title: ['What is the event?', 'Which event?'],
      day: ['Which day?', 'On which day?'],
      time: ['What time?', 'When does it start?'],
    },
  },
  translate_text: {
    kind: 'translation',
    slots: { phrase: '<phrase>', language: '<language>' },
    asks: [
      'translate ({phrase}|"{phrase}") (in|to|into) {language}',
      'say ({phrase}|"{phrase}") in {language}',
      'tell me how to say ({phrase}|"{phrase}") in {language}',
      'write ({phrase}|"{phrase}") in {language}',
      'give me the {language} (words|translation) for ({phrase}|"{phrase}")',
    ],
    says: [
      'How do (you|I|they) say ({phrase}|"{phrase}") in {language}?',
      'What is ({phrase}|"{phrase}") in {language}?',
      'What is the {language} (phrase|translation) for ({phrase}|"{phrase}")?',
      'I want to say ({phrase}|"{phrase}") in {language}.',
    ],
    replies: [
      '<ok> I will say "{phrase}" in {language}.',
      'Here is "{phrase}" in {language}.',
      '<ok> I will look up the {language} words for {phrase}.',
    ],
    questions: {
      phrase: ['Which words?', 'What did I want to say?'],
      language: ['Which language?', 'In which language?'],
    },
  },
  convert_units: {
    kind: 'conversion',
    slots: { amount: '<amount>', from: null, to: null },
    asks: [
      'convert {amount} {from} (to|into) {to}',
      '(change|turn) {amount} {from} into {to}',
      'tell me how many {to} are {amount} {from}',
      'give me {amount} {from} in {to}',
      'calculate {amount} {from} in {to}',
    ],
    says: [
      'How many {to} (are|are in|do I get for) {amount} {from}?',
      'What (is|are) {amount} {from} in {to}?',
      'How much is {amount} {from} in {to}?',
      'I have {amount} {from}, how many {to} is that?',
      'The book says {amount} {from}, but I need {to}.',
    ],
    replies: [
      '<ok> I will convert {amount} {from} to {to}.',
      'Here is {amount} {from} in {to}.',
      'Let me turn {amount} {from} into {to}.',
    ],
    questions: {
      amount: ['How many?', 'How much?'],
      from: ['From which unit?', 'What do we have?'],
      to: ['Into which unit?', 'To what?'],
    },
  },
  set_reminder: {
    kind: 'reminder',
    slots: { task: '<task>', time: '<time>' },
    asks: [
      'remind me to {task} at {time}',
      'remind me at {time} to {task}',
      'send me a reminder to {task} at {time}',
      'set a reminder at {time} to {task}',
      'do not let me forget to {task} at {time}',
      'tell me to {task} at {time}',
    ],
    says: [
      'I (have|need|want) to {task} at {time}, (please |)remind me.',
      'At {time} I (must|have to|should) {task}, remind me.',
      'I need a reminder to {task} at {time}.',
      'I should not forget to {task} at {time}.',
    ],
    replies: [
      '<ok> I will remind you to {task} at {time}.',
      'At {time} I will tell you to {task}.',
      '<ok> your reminder to {task} is set for {time}.',
    ],
    questions: { task: ['What do I have to do?', 'Remind me of what?'], time: ['What time?', 'At what time?'] },
  },
};

export const intentNames = Object.keys(intents);

const carriers = [
  '{ask}.',
  '{ask}.',
  'please {ask}.',
  '{ask}, (please|thanks|thank you).',
  '(can|could|would|will) you (please |){ask}?',
  'I (want|need|would like) you to {ask}.',
  '(hey|hello|hi|okay|well|now), (please |){ask}.',
  '(go ahead and|do me a favor and|be so kind and) {ask}.',
];

/**
 * @typedef {object} Request
 * @property {string} intent
 * @property {string} pattern the words with {slots}
 * @property {Record<string, string>} values slot → value, in the intent's order
 * @property {string} text
 */

/**
 * A random request of an intent that belongs to a split.
 *
 * Every pattern and every combination of values belongs to exactly one split, by its hash; the plainest patterns (an
 * imperative without a carrier) are for training. A request is drawn only where both agree, so what is held out has
 * words and values that never come together in training, nor in the pretraining text (which draws from `train` too).
 * @returns {Request}
 */
export function drawRequest(random, intent, split) {
  const { pattern } = until(
    () => drawPattern(random, intent),
    (candidate) => (candidate.plain ? 'train' : splitOf(candidate.pattern)) === split,
  );
  const values = until(
    () => drawValues(random, intent),
    (candidate) => splitOf(Object.values(candidate).join('|')) === split,
  );
  return { intent, pattern, values, text: fill(pattern, values) };
}

function drawPattern(random, intent) {
  const { asks, says } = intents[intent];
  if (random.chance(0.4)) return { pattern: expand(random, random.pick(says)), plain: false };
  const ask = expand(random, random.pick(asks));
  const carrier = expand(random, random.pick(carriers));
  return { pattern: sentence(carrier.replace('{ask}', () => ask)), plain: carrier === '{ask}.' };
}

/** Random values for the slots of an intent. */
export function drawValues(random, intent) {
  const values = {};
  for (const [slot, rule] of Object.entries(intents[intent].slots)) {
    if (rule !== null) values[slot] = expand(random, rule);
  }
  if (intent === 'convert_units') {
    const unit = random.pick(['<lengthUnit>', '<weightUnit>', '<volumeUnit>', '<timeUnit>']);
    values.from = expand(random, unit);
    values.to = until(
      () => expand(random, unit),
      (to) => to !== values.from,
    );
  }
  return values;
}

/** 90 % of all texts belong to training, 5 % to validation, 5 % to testing. */
export function splitOf(text) {
  const share = hashText(text) % 20;
  return share === 0 ? 'test' : share === 1 ? 'val' : 'train';
}

function until(draw, accept) {
  for (;;) {
    const candidate = draw();
    if (accept(candidate)) return candidate;
  }
}
