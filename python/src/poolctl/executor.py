"""`Executor`: the programming interface of `concurrent.futures.ProcessPoolExecutor` on poolctl's workers."""

from __future__ import annotations

import atexit
import itertools
import sys
import threading
import time
import warnings
import weakref
from _thread import allocate_lock, start_new_thread
from collections import deque
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from operator import index
from typing import Any, Callable, Iterable, Iterator, Literal, Mapping, Optional

from . import frames, outcomes
from .future import TaskFuture
from .opening import Options, check_whole, open_session
from .pickling import ONE_CALL, dump
from .session import Session
from .workers import Worker, workers_of

# Sessions whose pending work the end of the interpreter waits for.
waited_for: weakref.WeakSet[Session] = weakref.WeakSet()
EXIT = {"is_registered": False, "has_begun": False}


class Executor(BaseExecutor):
    """A pool of worker processes, used like a `ProcessPoolExecutor`.

    - `max_workers`: how many workers at most; default: the CPUs that may be used. They are started when needed.
    - `mp_context`: accepted for compatibility, and ignored: workers are always started afresh.
    - `initializer`, `initargs`: called in each worker before its first task. `on_exit`: called at its end.
    - `max_tasks_per_child`: calls after which a worker is replaced.
    - `timeout`, `retries`, `env`, `max_memory`, `idle_timeout`: as for `Pool`.
    - `on_worker_death`: with `"break"`, as in the standard library, one death ends the executor; with `"replace"`
      only the future of the task that it ran fails, with `WorkerDied`, a `BrokenProcessPool`.
    """

    def __init__(self, max_workers: Optional[int] = None, mp_context: Any = None,
                 initializer: Optional[Callable[..., Any]] = None, initargs: tuple[Any, ...] = (), *,
                 max_tasks_per_child: Optional[int] = None, timeout: Optional[float] = None, retries: int = 0,
                 on_worker_death: Literal["replace", "break"] = "break", on_exit: Optional[Callable[[], Any]] = None,
                 env: Optional[Mapping[str, str]] = None, max_memory: Optional[int] = None,
                 idle_timeout: Optional[float] = None) -> None:
        self._shutdown_lock = allocate_lock()
        self._is_shut_down = False
        check_whole("max_workers", max_workers)
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if mp_context is not None:
            warnings.warn("poolctl starts its workers in its own way; `mp_context` is ignored", stacklevel=2)
        options = Options(workers=max_workers, initializer=initializer, initargs=tuple(initargs), on_exit=on_exit,
                          max_calls=max_tasks_per_child, timeout=timeout, retries=retries, env=env,
                          on_worker_death=on_worker_death, max_memory=max_memory, idle_timeout=idle_timeout)
        self._is_per_item = options.is_per_item()
        wait_at_exit()
        self._session = open_session(options, outcomes.ExecutorManner())
        self._max_workers = self._session.workers
        waited_for.add(self._session)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Has `fn(*args, **kwargs)` called in a worker; returns its future."""
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if EXIT["has_begun"]:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        session = self._session
        future = TaskFuture(session)
        try:
            key = session.key_of(fn)
            item = dump((args, kwargs), ONE_CALL)
        except Exception as error:
            # As in the standard library, what cannot be pickled is told by the future.
            future.set_exception(error)
            return future
        session.submit(key, item, future)
        return future

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: Optional[float] = None,
            chunksize: int = 1, buffersize: Optional[int] = None) -> Iterator[Any]:
        """An iterator over `map(fn, *iterables)`, in order.

        - `timeout`: seconds from this call on, after which the iterator raises `concurrent.futures.TimeoutError`.
        - `chunksize`: how many items travel together.
        - `buffersize`: how many items may be submitted and not yet taken; default: all of the input, at once.
        """
        if index(chunksize) < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables)
        if chunksize == 1 or self._is_per_item:
            calls: Iterator[TaskFuture] = (self.submit(fn, *item) for item in items)
            results = taken(calls, buffersize, deadline)
            return results
        chunks = iter(lambda: list(itertools.islice(items, min(chunksize, sys.maxsize))), [])
        run_chunk = partial(call_each, fn)
        chunk_calls = (self.submit(run_chunk, chunk) for chunk in chunks)
        ahead = None if buffersize is None else max(1, buffersize // chunksize)
        return itertools.chain.from_iterable(taken(chunk_calls, ahead, deadline))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks; workers end when all that was submitted has.

        - `wait`: until then. Otherwise the end of the interpreter waits.
        - `cancel_futures`: what does not run yet is cancelled, but for what the workers are about to begin.
        """
        with self._shutdown_lock:
            self._is_shut_down = True
        session = self._session
        if cancel_futures:
            session.cancel_queued()
        session.close_soon()
        if wait:
            session.join()

    def terminate_workers(self) -> None:
        """Ends the workers at once; what has not ended is cancelled."""
        self._is_shut_down = True
        self._session.terminate()

    def kill_workers(self) -> None:
        """As `terminate_workers`; workers that do not heed a SIGTERM are killed in any case."""
        for worker in workers_of(self._session):
            worker.kill()
        self.terminate_workers()

    def insight(self) -> dict[str, Any]:
        """What the supervisor knows: counts of tasks, workers, and how their time was spent."""
        return self._session.stats()

    def resize(self, max_workers: int) -> None:
        """Has this many workers at most from now on; those too many finish what they hold."""
        if max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        self._session.request(frames.SCALE, {"pool": self._session.pool, "workers": max_workers})
        self._session.workers = self._max_workers = max_workers

    @property
    def _processes(self) -> dict[int, Worker]:
        session = self._session
        found = workers_of(session, lambda: min(self._max_workers, session.outstanding()))
        return {worker.pid: worker for worker in found}

    @property
    def _broken(self) -> Any:
        return self._session.broken or False

    def __del__(self) -> None:
        session = self.__dict__.get("_session")
        if session is not None and not session.has_ended and not sys.is_finalizing():
            # This may be called by the garbage collector anywhere, so nothing is locked here.
            start_new_thread(session.abandon, (True,))


def call_each(fn: Callable[..., Any], items: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*item) for item in items]


def taken(calls: Iterator[TaskFuture], ahead: Optional[int], deadline: Optional[float]) -> Iterator[Any]:
    """The results of `calls` in order, of which `ahead` are submitted beforehand; cancels what nobody takes."""
    futures = deque(itertools.islice(calls, ahead))

    def results() -> Iterator[Any]:
        try:
            while futures:
                # Nothing here may hold on to a result while its consumer has it.
                yield result_of(futures.popleft(), deadline)
                if ahead is not None:
                    futures.extend(itertools.islice(calls, 1))
        finally:
            for future in futures:
                future.cancel()

    return results()


def result_of(future: TaskFuture, deadline: Optional[float]) -> Any:
    """The result of a future, which is cancelled if it does not come in time."""
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    except BaseException:
        future.cancel()
        raise


def wait_at_exit() -> None:
    """Has the end of the interpreter wait for the work of the sessions in `waited_for`."""
    if EXIT["is_registered"]:
        return
    try:
        if hasattr(threading, "_register_atexit"):
            threading._register_atexit(finish_all)
        else:
            atexit.register(finish_all)
    except RuntimeError:
        raise RuntimeError("cannot make an executor after interpreter shutdown") from None
    EXIT["is_registered"] = True


def finish_all() -> None:
    EXIT["has_begun"] = True
    for session in list(waited_for):
        if not session.has_ended:
            session.close_soon()
            session.join()


__all__ = ["Executor", "FutureTimeoutError"]
