/**
 * TensorBoard event files: `runs/<date>_<host>/events.out.tfevents.…`, as the Hugging Face Trainer names them.
 *
 * A file is a sequence of records: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data; all little-endian
 * (tensorflow/core/lib/io/record_writer). Data is an `Event` message of tensorflow/core/util/event.proto, written by hand: it has
 * five fields.
 */
import { environmentVariable, hostName, processId } from '#platform';
import { concatBytes } from '../../platform/stores.ts';
import { curves, type OpenTracker } from './tracker.ts';

export const openTensorboard: OpenTracker = async ({ store }) => {
  const now = new Date();
  const host = hostName();
  const seconds = Math.floor(now.getTime() / 1000);
  const folder = environmentVariable('TENSORBOARD_LOGGING_DIR') ?? `runs/${stamp(now)}_${host}`;
  const file = `${folder}/events.out.tfevents.${seconds}.${host}.${processId()}.0`;
  await store.append(file, record(event(now, { fileVersion: 'brain.Event:2' })));
  return {
    name: 'tensorboard',
    log: (row) => store.append(file, record(event(new Date(), { step: row.step, values: curves(row) }))),
    close: async () => {},
  };
};

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Nov28_15-04-05`, local time. */
function stamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join('-');
  return `${MONTHS[date.getMonth()]}${two(date.getDate())}_${time}`;
}

interface EventFields {
  readonly fileVersion?: string;
  readonly step?: number;
  readonly values?: readonly (readonly [tag: string, value: number])[];
}

/** An `Event`: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5 {value = 1 {tag = 1, simple_value = 2}}. */
function event(time: Date, { fileVersion, step, values }: EventFields): Uint8Array {
  const parts = [field(1, FIXED64, double(time.getTime() / 1000))];
  if (step !== undefined) parts.push(field(2, VARINT, varint(step)));
  if (fileVersion !== undefined) parts.push(bytesField(3, text(fileVersion)));
  if (values) {
    const summary = values.map(([tag, value]) =>
      bytesField(1, concatBytes([bytesField(1, text(tag)), field(2, FIXED32, float(value))])),
    );
    parts.push(bytesField(5, concatBytes(summary)));
  }
  return concatBytes(parts);
}

const [VARINT, FIXED64, LENGTH, FIXED32] = [0, 1, 2, 5];

function field(number: number, wireType: number, content: Uint8Array): Uint8Array {
  return concatBytes([varint(number * 8 + wireType), content]);
}

function bytesField(number: number, content: Uint8Array): Uint8Array {
  return field(number, LENGTH, concatBytes([varint(content.length), content]));
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.of(...bytes, rest);
    bytes.push((rest % 128) + 128);
  }
}

const text = (value: string) => new TextEncoder().encode(value);

function double(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return bytes;
}

function float(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return bytes;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function record(data: Uint8Array): Uint8Array {
  const length = concatBytes([u32(data.length), u32(0)]);
  return concatBytes([length, u32(maskedCrc(length)), data, u32(maskedCrc(data))]);
}

/** CRC-32C (Castagnoli), reflected polynomial 0x82f63b78. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
