import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import {
  Connection, ConnectionLost, Pool, RequestError, TaskCancelled, TaskFailed, TaskRefused, TaskTimedOut, WorkerDied,
  connect,
} from "../index.js";

const sqrt = { target: { kind: "python", module: "math", function: "sqrt" }, workers: 2 };
const shell = (script) => ({ target: { kind: "command", argv: ["sh", "-c", script, "sh", "{}"] }, encoding: "utf8" });
const numbers = (count) => Array.from({ length: count }, (_, index) => index);

/** A test with a pool that is gone behind it. */
function poolTest(name, options, body) {
  test(name, async () => {
    const pool = await Pool.open(options);
    try {
      await body(pool);
    } finally {
      await pool.terminate();
    }
  });
}

async function all(results) {
  const found = [];
  for await (const result of results) found.push(result);
  return found;
}

poolTest("tasks are applied at the same time, each with its own result", sqrt, async (pool) => {
  const results = await Promise.all(numbers(500).map((number) => pool.apply(number * number)));
  assert.deepEqual(results, numbers(500));
  const { kind, ok, workers } = await pool.stats();
  assert.deepEqual([kind, ok, workers], ["python", 500, 2]);
  assert.equal((await pool.idle()).queued, 0);
});

poolTest("a map gives its results in order, from arrays, generators and streams", sqrt, async (pool) => {
  async function* later() {
    for (const number of numbers(1000)) yield await Promise.resolve(number * number);
  }
  assert.deepEqual(await all(pool.map([0, 1, 4])), [0, 1, 2]);
  assert.deepEqual(await all(pool.map(later())), numbers(1000));
  const unordered = await all(pool.map(later(), { ordered: false, window: 1000 }));
  assert.deepEqual(unordered.sort((one, other) => one - other), numbers(1000));
  assert.deepEqual(await all(pool.map([])), []);
});

const square = { target: { kind: "native", function: "square" }, workers: 2 };
poolTest("more items than there is credit for go through in turn", square, async (pool) => {
  let next = 0;
  for await (const result of pool.map(numbers(150_000), { window: 100_000 })) assert.equal(result, next++ ** 2);
  assert.equal(next, 150_000);
});

poolTest("the input is read no further ahead than the window", sqrt, async (pool) => {
  let [read, taken] = [0, 0];
  const endless = function* () {
    for (;;) yield (read++) ** 2;
  };
  for await (const result of pool.map(endless(), { window: 5 })) {
    assert.equal(result, taken++);
    assert.ok(read - taken <= 5, `${read} read, ${taken} taken`);
    if (taken === 100) break;
  }
  const before = read;
  await pool.idle();
  assert.equal(read, before, "a map that was left reads nothing more");
});

poolTest("an error of a task has its type", sqrt, async (pool) => {
  const error = await pool.apply(-1).catch((error) => error);
  assert.ok(error instanceof TaskFailed);
  assert.deepEqual([error.name, error.outcome, error.type, error.attempts], ["TaskFailed", "failed", "ValueError", 1]);
  assert.match(error.message, /math domain/);
  assert.match(error.trace, /ValueError/);
  await assert.rejects(pool.apply(undefined), TypeError);
});

poolTest("a map throws the first error in order, or gives each", sqrt, async (pool) => {
  const found = [];
  const ran = async () => {
    for await (const result of pool.map([4, -1, 9])) found.push(result);
  };
  await assert.rejects(ran(), (error) => error instanceof TaskFailed && error.index === 1);
  assert.deepEqual(found, [2]);
  const settled = await all(pool.map([4, -1, 9], { settled: true }));
  const told = settled.map(({ index, value, error }) => [index, value, error?.type]);
  assert.deepEqual(told, [[0, 2, undefined], [1, undefined, "ValueError"], [2, 3, undefined]]);
});

poolTest("an input that fails in the middle is an error behind the results so far", sqrt, async (pool) => {
  const found = [];
  const broken = function* () {
    yield 4;
    yield 9;
    throw new RangeError("the input broke");
  };
  const ran = async () => {
    for await (const result of pool.map(broken())) found.push(result);
  };
  await assert.rejects(ran(), /the input broke/);
  assert.deepEqual(found, [2, 3]);
});

const evaluate = { target: { kind: "python", module: "builtins", function: "eval" }, workers: 1 };
poolTest("a worker that dies is told by how it died", evaluate, async (pool) => {
  const downs = [];
  pool.on("down", (event) => downs.push(event));
  const error = await pool.apply("__import__('os').kill(__import__('os').getpid(), 9)").catch((error) => error);
  assert.ok(error instanceof WorkerDied, String(error));
  assert.deepEqual([error.outcome, error.signal, error.pid], ["died", "SIGKILL", downs[0].pid]);
  assert.deepEqual([downs.length, downs[0].signal], [1, 9]);
  assert.equal(await pool.apply("1 + 1"), 2);
});

poolTest("what a command prints is its result, and what fails tells its exit code", shell("echo $1; exit $1"), async (pool) => {
  const log = once(pool, "log");
  assert.equal(await pool.apply("0"), "0\n");
  const error = await pool.apply("7").catch((error) => error);
  assert.deepEqual([error.outcome, error.exit], ["failed", 7]);
  const [{ stream, text }] = await log;
  assert.deepEqual([stream, text], ["stdout", "7\n"]);
});

const sed = { target: { kind: "lines", argv: ["sed", "-u", "s/a/b/"] }, workers: 1, encoding: "utf8" };
poolTest("lines go through a filter", sed, async (pool) => {
  assert.deepEqual(await all(pool.map(["xa", "é", ""])), ["xb", "é", ""]);
  await assert.rejects(pool.apply("two\nlines"), TypeError);
});

poolTest("tasks are cancelled, by the pool and by a signal", { ...shell("sleep 1000"), workers: 1 }, async (pool) => {
  const task = pool.apply("x");
  task.catch(() => {});
  assert.equal(await pool.cancel(task), true);
  await assert.rejects(task, TaskCancelled);
  assert.equal(await pool.cancel(task), false);
  const controller = new AbortController();
  const aborted = pool.apply("x", { signal: controller.signal });
  const mapped = all(pool.map(["x"], { signal: controller.signal }));
  controller.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(mapped, /enough/);
  await assert.rejects(pool.apply("x", { signal: controller.signal }), /enough/);
  assert.equal((await pool.idle()).running, 0);
});

poolTest("a task that takes too long is stopped", { ...shell("sleep 1000"), timeout_ms: 50 }, async (pool) => {
  await assert.rejects(pool.apply("x"), TaskTimedOut);
});

poolTest("workers come with scale, and events tell", { ...sqrt, workers: 1 }, async (pool) => {
  const workers = [];
  pool.on("up", ({ worker }) => workers.push(worker));
  await pool.apply(1);
  assert.deepEqual(workers, ["0.0"]);
  await pool.scale(2);
  assert.equal(pool.workers, 2);
});

test("what cannot be opened is refused in words", async () => {
  await assert.rejects(Pool.open({ target: { kind: "worm" } }), { name: "RequestError", code: "bad argument" });
  await assert.rejects(Pool.open({ target: { kind: "command", argv: [] } }), { name: "RequestError", code: "cannot start" });
  await assert.rejects(Pool.open({ ...sqrt, poolctl: "/nonexistent/poolctl" }), /cannot start \/nonexistent\/poolctl/);
});

test("a closed pool finishes its tasks and takes no more", async () => {
  const pool = await Pool.open(sqrt);
  const results = Promise.all(numbers(100).map((number) => pool.apply(number ** 2)));
  await pool.close();
  assert.deepEqual(await results, numbers(100));
  await assert.rejects(pool.apply(1), ConnectionLost);
  await assert.rejects(all(pool.map([1])), ConnectionLost);
});

test("several pools share a connection", async () => {
  const connection = await Connection.serve();
  const floor = { ...sqrt, target: { ...sqrt.target, function: "floor" } };
  const [one, other] = await Promise.all([Pool.open({ ...sqrt, connection }), Pool.open({ ...floor, connection })]);
  assert.deepEqual(await Promise.all([one.apply(6.25), other.apply(6.25)]), [2.5, 6]);
  await one.close();
  assert.equal(await other.apply(1.5), 1);
  await assert.rejects(one.apply(1), RequestError);
  await connection.close();
});

const exit = { target: { kind: "python", module: "os", function: "_exit" }, workers: 1, on_worker_death: "break" };
poolTest("a pool that broke refuses", exit, async (pool) => {
  await assert.rejects(pool.apply(3), (error) => error instanceof WorkerDied && error.exit === 3);
  await assert.rejects(pool.apply(3), TaskRefused);
});

test("a server that is shot rejects all that waits", async () => {
  const pool = await Pool.open({ ...shell("sleep 1000"), workers: 1 });
  const lost = once(pool, "lost");
  const [task, mapped] = [pool.apply("x"), all(pool.map(["x"]))];
  process.kill(pool.link.handles[0].pid, "SIGKILL");
  await Promise.all([assert.rejects(task, ConnectionLost), assert.rejects(mapped, ConnectionLost), lost]);
});

test("a program that closes nothing ends all the same", async () => {
  const index = fileURLToPath(new URL("../index.js", import.meta.url));
  const program = `import { Pool } from ${JSON.stringify(index)};
    const pool = await Pool.open(${JSON.stringify(sqrt)});
    console.log(await pool.apply(16));`;
  const arguments_ = ["--input-type=module", "-e", program];
  const child = spawn(process.execPath, arguments_, { stdio: ["ignore", "pipe", "inherit"] });
  const printed = once(child.stdout, "data");
  const [code] = await once(child, "exit");
  assert.deepEqual([code, (await printed)[0].toString()], [0, "4\n"]);
});

const socket = join(process.env.XDG_RUNTIME_DIR ?? "/nonexistent", "poolctl", "poold.sock");
const skip = existsSync(socket) ? false : "no poold runs here";
test("a pool of poold is attached to and let go of", { skip }, async () => {
  const pool = await connect({ name: "double", encoding: "utf8" });
  assert.equal(await pool.apply("ab"), "abab");
  assert.deepEqual(await all(pool.map(["x", "y"])), ["xx", "yy"]);
  await pool.close();
  await assert.rejects(connect({ name: "nobody", socket }), { code: "no such pool" });
  const large = await connect({ name: "large" });
  assert.equal((await large.apply("x")).length, 1_000_000);
  await large.close();
});
