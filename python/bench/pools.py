"""Pools of today and poolctl's, each with the calls that it offers, under one set of names.

A pool is a context manager. What one of them has no call for is missing from its class, and the benchmark then has no
figure for it. Packages are imported where they are used, since most machines lack some.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import tempfile
import time

import tasks

PATIENCE = 30


class Futures:
    """An executor: `submit` and `map`."""

    def __init__(self, executor):
        self.executor = executor

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.executor.shutdown()

    def one_after_another(self, function, items):
        submit = self.executor.submit
        return [submit(function, item).result() for item in items]

    def one_by_one(self, function, items):
        submit = self.executor.submit
        return [future.result() for future in [submit(function, item) for item in items]]

    def map_singly(self, function, items):
        return list(self.executor.map(function, items, chunksize=1))

    def map(self, function, items, chunk=None):
        return list(self.executor.map(function, items, chunksize=chunk or chunk_of(items)))

    def begin(self, function, *arguments):
        return self.executor.submit(function, *arguments).result


class Results:
    """A pool: `apply`, `apply_async` and `map`."""

    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.terminate()
        self.pool.join()

    def one_after_another(self, function, items):
        apply = self.pool.apply
        return [apply(function, (item,)) for item in items]

    def one_by_one(self, function, items):
        begin = self.pool.apply_async
        return [result.get() for result in [begin(function, (item,)) for item in items]]

    def map_singly(self, function, items):
        return self.pool.map(function, items, chunksize=1)

    def map(self, function, items, chunk=None):
        return self.pool.map(function, items, chunksize=chunk)

    def begin(self, function, *arguments):
        return self.pool.apply_async(function, arguments).get


class Mpire:
    def __init__(self, workers):
        import mpire

        self.pool = mpire.WorkerPool(workers, keep_alive=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.terminate()

    def map(self, function, items, chunk=None):
        # A tuple is unpacked into arguments; results that are arrays would be joined into one.
        arguments = [(item,) for item in items]
        return self.pool.map(function, arguments, chunk_size=chunk, concatenate_numpy_output=False)

    def map_singly(self, function, items):
        return self.map(function, items, chunk=1)


class Pebble:
    def __init__(self, workers):
        import pebble

        self.pool = pebble.ProcessPool(workers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.stop()
        self.pool.join()

    def one_after_another(self, function, items):
        return [self.pool.schedule(function, args=(item,)).result() for item in items]

    def one_by_one(self, function, items):
        return [future.result() for future in [self.pool.schedule(function, args=(item,)) for item in items]]

    def begin(self, function, *arguments):
        return self.pool.schedule(function, args=arguments).result


class Joblib:
    def __init__(self, workers):
        import joblib

        self.delayed = joblib.delayed
        self.parallel = joblib.Parallel(workers)

    def __enter__(self):
        self.parallel.__enter__()
        return self

    def __exit__(self, *error):
        self.parallel.__exit__(*error)

    def map(self, function, items, chunk=None):
        return self.parallel(self.delayed(function)(item) for item in items)


class Zooparallel:
    def __init__(self, workers):
        import zooparallel

        self.pool = zooparallel.ZooPool(workers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    def one_after_another(self, function, items):
        submit = self.pool.submit
        return [submit(function, item).result(30) for item in items]

    def one_by_one(self, function, items):
        submit = self.pool.submit
        return [future.result(30) for future in [submit(function, item) for item in items]]

    def begin(self, function, *arguments):
        return self.pool.submit(function, *arguments).result


class Echo:
    """No pool: one forked process at the other end of a socket, eight bytes each way. What the kernel leaves to do better."""

    def __init__(self, poll_ms):
        self.poll_ms = poll_ms

    def __enter__(self):
        self.socket, theirs = socket.socketpair()
        if os.fork() == 0:
            self.socket.close()
            while given := theirs.recv(8):
                theirs.send((int.from_bytes(given, "little") ** 2).to_bytes(8, "little"))
            os._exit(0)
        theirs.close()
        return self

    def __exit__(self, *_):
        self.socket.close()
        os.wait()

    def one_after_another(self, function, items):
        poller, ours, results = select.poll(), self.socket, []
        poller.register(ours, select.POLLIN)
        for item in items:
            ours.send(item.to_bytes(8, "little"))
            while not poller.poll(self.poll_ms):
                pass
            results.append(int.from_bytes(ours.recv(8), "little"))
        return results


def chunk_of(items):
    """What `multiprocessing.Pool.map` would take, for executors, which do not choose."""
    return max(1, -(-len(items) // (4 * 2)))


def poolctl_pool(workers):
    import poolctl

    return Results(poolctl.Pool(workers))


def poolctl_executor(workers):
    import poolctl

    # Like the standard library's it would give up with its first dead worker.
    return Futures(poolctl.Executor(workers, on_worker_death="replace"))


def poolctl_service(workers):
    """A pool of a service that is there already: `service` runs it meanwhile."""
    import poolctl

    return Results(poolctl.connect("measured"))


@contextlib.contextmanager
def service(workers):
    """A service with a warm pool, beside the binary that is measured."""
    import poolctl

    poold = os.path.join(os.path.dirname(os.environ["POOLCTL_BINARY"]), "poold")
    if not os.path.exists(poold):
        raise ImportError(f"there is no {poold}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POOLCTL_SOCKET"] = socket_path = os.path.join(folder, "poold.sock")
        config = os.path.join(folder, "poold.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[service]\nsocket = "{socket_path}"\n[pools.measured]\n'
                       f'target = {{ kind = "objects", interpreter = "{sys.executable}" }}\n'
                       f'workers = {workers}\nprestart = true\n')
        # Its workers import what is measured by themselves, since they are not told the clients' search path.
        path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
        daemon = subprocess.Popen([poold, "--config", config], env={**os.environ, "PYTHONPATH": path},
                                  stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    with poolctl.connect("measured") as pool:
                        pool.map(tasks.square, range(1000), chunksize=1)
                    break
                except poolctl.PoolError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            yield
        finally:
            daemon.terminate()
            daemon.wait()


def echo(workers):
    return Echo(None)


def spinning_echo(workers):
    return Echo(0)


def loky(workers):
    import loky

    return Futures(loky.ProcessPoolExecutor(workers))


def executor(workers):
    return Futures(concurrent.futures.ProcessPoolExecutor(workers))


def forked(workers):
    return Results(multiprocessing.get_context("fork").Pool(workers))


def spawned(workers):
    return Results(multiprocessing.get_context("spawn").Pool(workers))


def forkserver(workers):
    return Results(multiprocessing.get_context("forkserver").Pool(workers))


POOLS = {
    "poolctl-pool": poolctl_pool,
    "poolctl-executor": poolctl_executor,
    "poolctl-service": poolctl_service,
    "mp-fork": forked,
    "mp-spawn": spawned,
    "mp-forkserver": forkserver,
    "executor": executor,
    "echo": echo,
    "spinning-echo": spinning_echo,
    "loky": loky,
    "mpire": Mpire,
    "pebble": Pebble,
    "joblib": Joblib,
    "zooparallel": Zooparallel,
}

# What has to be there before a pool is made, and is not measured.
AROUND = {poolctl_service: service}
