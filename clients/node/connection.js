/** A connection to a server: who waits for which reply, and what happens when it ends. */

import { spawn } from "node:child_process";
import { connect as connectTo } from "node:net";
import { join } from "node:path";

import { ConnectionLost, RequestError } from "./errors.js";
import { FrameReader, Kind, frame, unsized } from "./wire.js";

/** The id of frames that belong to no request, as a number. */
const NO_REQUEST = Number(2n ** 64n - 1n);

/** @typedef {(frame: {kind: number, id: number, meta: Record<string, any>, payload: Buffer}) => boolean} Listener */

export class Connection {
  /** What the server said of itself; `pools` are the names that can be attached to. @type {Record<string, any>} */
  server = {};
  /** By their numbers. @type {Map<number, import("./pool.js").Pool>} */
  pools = new Map();
  /** Called with each reply to a request, until it says that it was the last. @type {Map<number, Listener>} */
  #waiting = new Map();
  #ids = 0;
  #reader = new FrameReader();
  /** @type {Error | null} */
  #lost = null;
  #ended;

  /**
   * @param {import("node:stream").Readable} input
   * @param {import("node:stream").Writable} output
   * @param {any[]} handles what keeps this process alive while a reply is awaited
   */
  constructor(input, output, handles) {
    this.output = output;
    this.handles = handles;
    this.#ended = new Promise((resolve) => { this.end = resolve; });
    input.on("data", (bytes) => {
      try {
        for (const each of this.#reader.push(bytes)) this.#take(each);
      } catch (error) {
        this.lose(`the server sent what cannot be understood: ${error.message}`);
      }
    });
    input.on("close", () => this.lose("the server is gone"));
    for (const stream of [input, output]) stream.on("error", (error) => this.lose(error.message));
    output.write(frame(Kind.HELLO, 0, null, Buffer.from('{"poolctl":1,"client":"poolctl-node 0.1.0","caps":[]}')));
  }

  /** Starts `poolctl serve`, which goes with this process. @param {string} [program] */
  static async serve(program = process.env.POOLCTL_BIN ?? "poolctl") {
    const child = spawn(program, ["serve"], { stdio: ["pipe", "pipe", "inherit"] });
    const link = new Connection(child.stdout, child.stdin, [child, child.stdin, child.stdout]);
    child.on("error", (error) => link.lose(`cannot start ${program}: ${error.message}`));
    child.on("exit", (code, signal) => link.lose(`poolctl serve ended (${signal ?? `exit code ${code}`})`));
    return link.#greeted();
  }

  /** Connects to a running `poold`. @param {string} [path] */
  static async socket(path = join(process.env.XDG_RUNTIME_DIR ?? "", "poolctl", "poold.sock")) {
    const socket = connectTo(path);
    return new Connection(socket, socket, [socket]).#greeted();
  }

  /** @returns {Promise<Connection>} */
  #greeted() {
    return new Promise((resolve, reject) => {
      this.listen(0, ({ kind, payload }) => {
        if (kind !== Kind.HELLO) {
          reject(this.#lost ?? new RequestError(JSON.parse(payload.toString())));
          return true;
        }
        this.server = JSON.parse(payload.toString());
        resolve(this);
        return true;
      });
    });
  }

  /** A number that no other request has. */
  nextId() {
    this.#ids += 1;
    return this.#ids;
  }

  /** Has `listener` called with the replies to this request. @param {number} id @param {Listener} listener */
  listen(id, listener) {
    if (this.#lost) {
      listener({ kind: Kind.ERROR, id, meta: {}, payload: Buffer.alloc(0) });
      return;
    }
    if (this.#waiting.size === 0) for (const handle of this.handles) handle.ref?.();
    this.#waiting.set(id, listener);
  }

  /** @param {number} kind @param {number} id @param {object | null} [meta] @param {Buffer} [payload] */
  send(kind, id, meta, payload) {
    if (!this.#lost) this.output.write(frame(kind, id, meta, payload));
  }

  /** Nobody waits for replies to this request, which was not sent. @param {number} id */
  forget(id) {
    this.#waiting.delete(id);
    this.#rest();
  }

  /**
   * Sends a request; gives the JSON of its reply, or what `read` makes of it before the next frame is looked at.
   * @param {number} kind @param {object | null} meta @param {object} [body] @param {(told: any) => any} [read]
   */
  request(kind, meta, body, read = (told) => told) {
    const id = this.nextId();
    return new Promise((resolve, reject) => {
      this.listen(id, (reply) => {
        if (reply.kind === Kind.RESULT) resolve(read(JSON.parse(reply.payload.toString())));
        else reject(this.errorOf(reply));
        return true;
      });
      this.send(kind, id, meta, body && Buffer.from(JSON.stringify(body)));
    });
  }

  /** Why a request was refused. @param {{payload: Buffer}} reply */
  errorOf({ payload }) {
    return this.#lost ?? new RequestError(JSON.parse(payload.toString()));
  }

  /** Ends the connection, and all of it that is not shared. */
  async close() {
    if (!this.#lost) {
      for (const handle of this.handles) handle.ref?.();
      this.output.end();
    }
    await this.#ended;
  }

  /** @param {string} why */
  lose(why) {
    if (this.#lost) return;
    this.#lost = new ConnectionLost(why);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [id, listener] of waiting) listener({ kind: Kind.ERROR, id, meta: {}, payload: Buffer.alloc(0) });
    for (const pool of this.pools.values()) pool.emit("lost", { why });
    this.output.destroy();
    this.end();
  }

  /** @param {{kind: number, id: number, meta: Record<string, any>, payload: Buffer}} each */
  #take(each) {
    const { kind, id, meta, payload } = each;
    if (kind === Kind.EVENT) {
      const event = JSON.parse(payload.toString());
      this.pools.get(id)?.emit(event.event, event);
    } else if (kind === Kind.CREDIT) {
      this.pools.get(id)?.credit.grant(JSON.parse(payload.toString()));
    } else if (kind === Kind.LOG) {
      this.pools.get(meta.pool)?.tellLog(meta, payload);
    } else if (kind === Kind.BATCH) {
      let task = id;
      for (const result of unsized(payload)) this.#take({ kind: Kind.RESULT, id: task++, meta: {}, payload: result });
    } else if (kind === Kind.ERROR && id === NO_REQUEST) {
      this.lose(JSON.parse(payload.toString()).msg);
    } else if (this.#waiting.get(id)?.(each)) {
      this.#waiting.delete(id);
    }
    this.#rest();
  }

  /** Where nothing is awaited, nothing keeps this process from ending. */
  #rest() {
    if (this.#waiting.size === 0) for (const handle of this.handles) handle.unref?.();
  }
}
