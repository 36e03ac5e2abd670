/** Pools: tasks, maps, and what else is asked of them. */

import { EventEmitter } from "node:events";

import { Connection } from "./connection.js";
import { Credit } from "./credit.js";
import { TaskError } from "./errors.js";
import { Mapping } from "./mapping.js";
import { Kind } from "./wire.js";

/** Targets whose items and results are JSON; those of the others are bytes. */
const JSON_KINDS = new Set(["python", "native", "worker"]);

/**
 * @typedef {{target: {kind: string, [key: string]: any}, workers?: number, [setting: string]: any}} PoolOptions
 *   as in docs/protocol.md, "A pool"; and `poolctl`: the program to start, `connection`: one to open the pool on,
 *   `encoding`: what results in bytes are decoded with, such as "utf8"
 */

/**
 * Attaches to a pool of a running `poold`. `close` only lets go of it.
 * @param {{name: string, socket?: string, encoding?: BufferEncoding}} options
 */
export async function connect({ name, socket, encoding }) {
  const link = await Connection.socket(socket);
  return begin(link, true, encoding, Kind.ATTACH, { name });
}

/** @param {Connection} link @param {boolean} isOwn @param {BufferEncoding | undefined} encoding @param {number} kind @param {object} body */
async function begin(link, isOwn, encoding, kind, body) {
  try {
    // Credit and events come right behind the reply, so the pool is there before they are looked at.
    return await link.request(kind, null, body, (told) => new Pool(link, told, isOwn, encoding));
  } catch (error) {
    if (isOwn) await link.close();
    throw error;
  }
}

/** A pool. Emits `up`, `down`, `gone`, `lost`, `progress` and `log`; what nobody listens to as `log` goes to stderr. */
export class Pool extends EventEmitter {
  /** @type {WeakMap<Promise<any>, number>} */
  #tasks = new WeakMap();
  #isOwn;
  #encoding;

  /** Opens a pool, by default with a server of its own. @param {PoolOptions} options */
  static async open({ poolctl, connection, encoding, ...spec }) {
    const link = connection ?? await Connection.serve(poolctl);
    return begin(link, !connection, encoding, Kind.OPEN, spec);
  }

  /** Use `Pool.open` and `connect`. */
  constructor(link, { pool, workers, kind }, isOwn, encoding) {
    super();
    this.link = link;
    this.number = pool;
    this.workers = workers;
    this.kind = kind;
    this.credit = new Credit();
    this.#isOwn = isOwn;
    this.#encoding = encoding;
    link.pools.set(pool, this);
    this.on("lost", () => this.credit.open());
  }

  /**
   * Runs one task.
   * @param {any} item what JSON can express, or bytes, as the target wants it
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>} its result; rejects with a TaskError
   */
  apply(item, { signal } = {}) {
    const id = this.link.nextId();
    const result = this.#apply(id, item, signal);
    this.#tasks.set(result, id);
    return result;
  }

  async #apply(id, item, signal) {
    signal?.throwIfAborted();
    const payload = this.encode(item);
    const { link, credit } = this;
    return new Promise((resolve, reject) => {
      let isSent = false;
      const abort = () => {
        if (isSent) this.#cancel(id).catch(() => {});
        else link.forget(id);
        reject(signal.reason);
      };
      const send = () => {
        if (signal?.aborted) return credit.giveBack(1, payload.length);
        isSent = true;
        link.send(Kind.SUBMIT, id, { pool: this.number }, payload);
      };
      link.listen(id, (reply) => {
        if (reply.kind === Kind.PROGRESS) return this.tellProgress(reply);
        signal?.removeEventListener("abort", abort);
        if (reply.kind === Kind.ERROR) {
          credit.giveBack(1, payload.length);
          reject(link.errorOf(reply));
        } else if (reply.meta.outcome) reject(TaskError.of(reply.meta, reply.payload));
        else resolve(this.decode(reply.payload));
        return true;
      });
      signal?.addEventListener("abort", abort, { once: true });
      const wait = credit.take(payload.length);
      if (wait) wait.then(send);
      else send();
    });
  }

  /**
   * Runs a task for each item. The input is read only as far as `window` items ahead of the results that were taken.
   * @param {Iterable<any> | AsyncIterable<any>} items
   * @param {{ordered?: boolean, window?: number, settled?: boolean, signal?: AbortSignal}} [options]
   *   `ordered`: results come in the order of the items (default); `settled`: gives `{index, value}` or `{index, error}`
   *   for each item, instead of throwing the first error
   * @returns {AsyncGenerator<any>} the results; ends what is left when it is left early
   */
  map(items, options = {}) {
    const { ordered = true, window = Math.max(64, 16 * this.workers), settled = false, signal } = options;
    if (!(window >= 1)) throw new RangeError("a window has room for at least one item");
    return new Mapping(this, items, { ordered, window, settled, signal }).results();
  }

  /** Cancels a task, also one that runs; says whether it had no outcome yet. @param {Promise<any>} task what `apply` gave */
  async cancel(task) {
    const id = this.#tasks.get(task);
    if (id === undefined) throw new TypeError("that is no task of this pool");
    return (await this.#cancel(id)).cancelled > 0;
  }

  #cancel(task) {
    return this.link.request(Kind.CANCEL, { task });
  }

  /** How it stands. @returns {Promise<Record<string, any>>} */
  async stats() {
    return (await this.link.request(Kind.STATS, { pool: this.number })).pools[0];
  }

  /** Waits until it has nothing to do; says how it stands then. @returns {Promise<Record<string, any>>} */
  async idle() {
    return (await this.link.request(Kind.STATS, { pool: this.number, when: "idle" })).pools[0];
  }

  /** From now on it has so many workers at most. @param {number} workers */
  async scale(workers) {
    this.workers = (await this.link.request(Kind.SCALE, { pool: this.number, workers })).workers;
  }

  /** Ends it when its tasks have ended. */
  close() {
    return this.#end(Kind.CLOSE);
  }

  /** Ends it now; what runs is stopped. */
  terminate() {
    return this.#end(Kind.TERMINATE);
  }

  async #end(kind) {
    await this.link.request(kind, { pool: this.number });
    this.link.pools.delete(this.number);
    if (this.#isOwn) await this.link.close();
  }

  [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    return this.close();
  }

  /** An item as its bytes. @param {any} item @returns {Buffer} */
  encode(item) {
    if (JSON_KINDS.has(this.kind)) {
      const text = JSON.stringify(item);
      if (text === undefined) throw new TypeError(`JSON cannot express ${typeof item}`);
      return Buffer.from(text);
    }
    const bytes = Buffer.from(item);
    if (this.kind === "lines" && bytes.includes(10)) throw new TypeError("an item of a line filter is one line");
    return bytes;
  }

  /** A result from its bytes. @param {Buffer} payload */
  decode(payload) {
    if (JSON_KINDS.has(this.kind)) return JSON.parse(payload.toString());
    return this.#encoding ? payload.toString(this.#encoding) : Buffer.from(payload);
  }

  /** What was printed or logged. @param {Record<string, any>} meta @param {Buffer} payload */
  tellLog(meta, payload) {
    const text = payload.toString();
    if (!this.emit("log", { ...meta, text })) process.stderr.write(meta.level ? `${text}\n` : text);
  }

  /** @returns {boolean} */
  tellProgress({ id, meta }) {
    this.emit("progress", { task: id, ...meta });
    return false;
  }
}
