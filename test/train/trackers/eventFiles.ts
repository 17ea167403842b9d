/** Reads TensorBoard event files as TensorFlow's record_reader does. */

/** The steps that the records of a file are of. Throws where a record is not whole. */
export function stepsOfRecords(file: Uint8Array): number[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const steps: number[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    const data = file.subarray(at + 12, at + 12 + length);
    const isWhole =
      view.getUint32(at + 8, true) === maskedCrc(file.subarray(at, at + 8)) &&
      view.getUint32(at + 12 + length, true) === maskedCrc(data);
    if (!isWhole) throw new Error(`the record at byte ${at} is not whole`);
    // Field 2, after the time, which takes nine bytes.
    if (data[9] === 0x10) steps.push(readVarint(data, 10));
    at += length + 16;
  }
  return steps;
}

function readVarint(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] ?? 0;
  return byte < 128 ? byte : byte - 128 + 128 * readVarint(bytes, at + 1);
}

/** CRC-32C, turned and shifted as records have it. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  crc = ~crc;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
