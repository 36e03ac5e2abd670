/** Pools of worker processes, by `poolctl serve` or a running `poold`. Its protocol: docs/protocol.md, "The client protocol". */

export { Connection } from "./connection.js";
export {
  ConnectionLost, PoolctlError, RequestError, TaskCancelled, TaskError, TaskFailed, TaskQuarantined, TaskRefused,
  TaskTimedOut, WorkerDied,
} from "./errors.js";
export { Pool, connect } from "./pool.js";
