/** One map: its input is pulled while there is credit and room, its results are handed out as they are asked for. */

import { TaskError } from "./errors.js";
import { Kind, sized } from "./wire.js";

/** Items that go in one frame have at most so many bytes together, but for the last. */
const FRAME_BYTES = 1 << 20;

export class Mapping {
  /** @type {({index: number, value?: any, error?: any})[]} */
  #results = [];
  /** Items that are read, and results that were taken. */
  #read = 0;
  #taken = 0;
  /** @type {Buffer[]} */
  #batch = [];
  #batchBytes = 0;
  /** @type {{error: any} | null} what ends it before its time */
  #failure = null;
  /** @type {{error: any} | null} what its input threw */
  #inputFailure = null;
  #isOver = false;
  #isLeft = false;
  /** @type {(() => void)[]} */
  #watching = [];

  /**
   * @param {import("./pool.js").Pool} pool
   * @param {Iterable<any> | AsyncIterable<any>} items
   * @param {{ordered: boolean, window: number, settled: boolean, signal?: AbortSignal}} options
   */
  constructor(pool, items, options) {
    this.pool = pool;
    this.items = items;
    this.options = options;
    this.id = pool.link.nextId();
  }

  async *results() {
    const { signal, settled, ordered } = this.options;
    const { link, number } = this.pool;
    signal?.throwIfAborted();
    const abort = () => this.#fail(signal.reason);
    signal?.addEventListener("abort", abort, { once: true });
    link.listen(this.id, (reply) => this.#take(reply));
    link.send(Kind.MAP, this.id, { pool: number, ...(ordered ? {} : { unordered: true }) });
    this.#pull();
    try {
      for (;;) {
        const result = this.#results.shift();
        if (this.#failure) throw this.#failure.error;
        if (result) {
          this.#taken += 1;
          this.#wake();
          if (!settled && result.error) throw result.error;
          yield settled ? result : result.value;
        } else if (this.#isOver) break;
        else await this.#change();
      }
      if (this.#inputFailure) throw this.#inputFailure.error;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#leave();
    }
  }

  /** Reads the input, as far as there is room. */
  async #pull() {
    try {
      for await (const item of this.items) {
        const payload = this.pool.encode(item);
        const credit = this.pool.credit.take(payload.length);
        if (credit) {
          this.#flush();
          await credit;
        }
        this.#add(payload);
        while (this.#read - this.#taken >= this.options.window && !this.#isLeft) {
          this.#flush();
          await this.#change();
        }
        if (this.#isLeft) break;
      }
    } catch (error) {
      this.#inputFailure = { error };
    }
    this.#flush();
    if (!this.#isLeft) this.pool.link.send(Kind.END, this.id);
  }

  /** @param {Buffer} payload */
  #add(payload) {
    this.#read += 1;
    this.#batchBytes += payload.length;
    // What comes in the same turn of the event loop goes in one frame.
    if (this.#batch.push(payload) === 1) setImmediate(() => this.#flush());
    if (this.#batchBytes >= FRAME_BYTES) this.#flush();
  }

  #flush() {
    const [batch, bytes] = [this.#batch, this.#batchBytes];
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    // Once the map is left nothing is sent, and what is not sent is not counted.
    if (this.#isLeft) this.pool.credit.giveBack(batch.length, bytes);
    else this.pool.link.send(Kind.ITEMS, this.id, { n: batch.length }, sized(batch));
  }

  /** @param {{kind: number, id: number, meta: Record<string, any>, payload: Buffer}} reply */
  #take(reply) {
    const { kind, meta, payload } = reply;
    if (kind === Kind.PROGRESS) return this.pool.tellProgress(reply);
    if (kind === Kind.ERROR) this.#fail(this.pool.link.errorOf(reply));
    else if (meta.index === undefined) this.#isOver = true;
    else if (!this.#isLeft) {
      const { index } = meta;
      if (meta.outcome) this.#results.push({ index, error: TaskError.of(meta, payload) });
      else this.#results.push({ index, value: this.pool.decode(payload) });
    }
    this.#wake();
    return this.#isOver;
  }

  /** @param {any} error */
  #fail(error) {
    this.#failure ??= { error };
    this.#wake();
  }

  /** Nobody wants results any more. */
  #leave() {
    this.#isLeft = true;
    this.#wake();
    if (!this.#isOver) this.pool.link.request(Kind.CANCEL, { task: this.id }).catch(() => {});
  }

  #change() {
    return new Promise((resolve) => { this.#watching.push(() => resolve(undefined)); });
  }

  #wake() {
    for (const resolve of this.#watching.splice(0)) resolve();
  }
}
