/** Frames: a header of 16 bytes, then meta (JSON), then payload. */

/** The kinds that this client sends or understands. */
export const Kind = {
  HELLO: 0, PROGRESS: 5, LOG: 7, BATCH: 10, OPEN: 32, ATTACH: 33, SUBMIT: 34, MAP: 35, ITEMS: 36, CREDIT: 37, END: 38,
  CANCEL: 39, SCALE: 40, STATS: 41, CLOSE: 46, TERMINATE: 47, RESULT: 64, EVENT: 65, ERROR: 66,
};

const HEADER_BYTES = 16;
/** More than a server may send: what is longer is no frame. */
const MAX_BODY_BYTES = 65 << 20;

/**
 * @param {number} kind
 * @param {number} id
 * @param {object | null} [meta]
 * @param {Buffer} [payload]
 */
export function frame(kind, id, meta = null, payload = Buffer.alloc(0)) {
  const text = Buffer.from(meta ? JSON.stringify(meta) : "");
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32LE(text.length + payload.length, 0);
  head.writeUInt8(kind, 4);
  head.writeUInt16LE(text.length, 6);
  head.writeBigUInt64LE(BigInt(id), 8);
  return Buffer.concat([head, text, payload]);
}

/** Byte strings with their lengths before them. @param {Buffer[]} items */
export function sized(items) {
  return Buffer.concat(items.flatMap((item) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(item.length);
    return [length, item];
  }));
}

/** The byte strings of a batch. @param {Buffer} bytes */
export function* unsized(bytes) {
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32LE(at);
    yield bytes.subarray(at + 4, end);
    at = end;
  }
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  /** @type {Buffer[]} */
  #parts = [];
  #length = 0;
  #wanted = HEADER_BYTES;

  /** Takes in bytes; gives the frames that are whole now. @param {Buffer} bytes */
  *push(bytes) {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    // Parts are put together only once they may hold a whole frame.
    if (this.#length < this.#wanted) return;
    let rest = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts);
    this.#wanted = HEADER_BYTES;
    while (rest.length >= HEADER_BYTES) {
      const bodyLength = rest.readUInt32LE(0);
      if (bodyLength > MAX_BODY_BYTES) throw new Error(`a frame of ${bodyLength} bytes`);
      this.#wanted = HEADER_BYTES + bodyLength;
      if (rest.length < this.#wanted) break;
      const metaEnd = HEADER_BYTES + rest.readUInt16LE(6);
      const meta = rest.subarray(HEADER_BYTES, metaEnd).toString();
      const [kind, id] = [rest.readUInt8(4), Number(rest.readBigUInt64LE(8))];
      yield { kind, id, meta: meta ? JSON.parse(meta) : {}, payload: rest.subarray(metaEnd, this.#wanted) };
      rest = rest.subarray(this.#wanted);
      this.#wanted = HEADER_BYTES;
    }
    this.#parts = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
  }
}
