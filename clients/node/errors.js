/** What can go wrong, one class each. */

import { constants } from "node:os";

/** All errors of this package. */
export class PoolctlError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** A request that was refused: `code` says what kind of mistake it is, `hint` perhaps what to do. */
export class RequestError extends PoolctlError {
  /** @param {{code: string, msg: string, hint?: string}} body */
  constructor({ code, msg, hint }) {
    super(hint ? `${msg} (${hint})` : msg);
    this.code = code;
    this.hint = hint;
  }
}

/** The other end is gone, and with it every pool of the connection. */
export class ConnectionLost extends PoolctlError {}

/** A task that is not ok. Its message is that of the remote error. */
export class TaskError extends PoolctlError {
  /**
   * @param {Record<string, any>} meta what is known of its end
   * @param {Record<string, any>} error the error itself
   */
  constructor(meta, error) {
    super(error.msg);
    /** `failed`, `timed out`, `cancelled`, `died`, `quarantined` or `refused`. @type {string} */
    this.outcome = meta.outcome;
    /** Who ran it last, `slot.generation`, and that process. @type {string | undefined} */
    this.worker = meta.worker;
    /** @type {number | undefined} */
    this.pid = meta.pid;
    /** With what its process ended: a code, or the name of a signal. @type {number | undefined} */
    this.exit = meta.exit;
    /** @type {string | number | undefined} */
    this.signal = SIGNALS.get(meta.signal) ?? meta.signal;
    /** @type {number | undefined} */
    this.attempts = meta.attempts;
    /** How long it ran, in milliseconds. @type {number | undefined} */
    this.ms = meta.ms;
    /** Whether the kernel killed it for memory. */
    this.oom = meta.oom ?? false;
    /** In a map: the place of its item. @type {number | undefined} */
    this.index = meta.index;
    /** The type of the remote error, such as `ValueError`. @type {string} */
    this.type = error.type;
    /** Its traceback, or the last lines on stderr. @type {string | undefined} */
    this.trace = error.trace;
  }

  /**
   * @param {Record<string, any>} meta
   * @param {Buffer} payload
   */
  static of(meta, payload) {
    return new (OUTCOMES.get(meta.outcome) ?? TaskError)(meta, JSON.parse(payload.toString()));
  }
}

/** Its function raised, its command failed, or its worker broke the protocol. */
export class TaskFailed extends TaskError {}
/** It ran too long and was stopped. */
export class TaskTimedOut extends TaskError {}
/** Nobody wanted it any more. */
export class TaskCancelled extends TaskError {}
/** The process that ran it died: `exit` or `signal` says how. */
export class WorkerDied extends TaskError {}
/** It took so many workers with it that it was given up. */
export class TaskQuarantined extends TaskError {}
/** It was never run: the pool is closed, broken or has given up. */
export class TaskRefused extends TaskError {}

const OUTCOMES = new Map([
  ["failed", TaskFailed], ["timed out", TaskTimedOut], ["cancelled", TaskCancelled], ["died", WorkerDied],
  ["quarantined", TaskQuarantined], ["refused", TaskRefused],
]);

const SIGNALS = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
