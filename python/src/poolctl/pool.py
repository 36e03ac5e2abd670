"""`Pool`: the programming interface of `multiprocessing.Pool` on poolctl's workers."""

from __future__ import annotations

import sys
import warnings
from _thread import start_new_thread
from operator import index
from typing import Any, Callable, Iterable, Literal, Mapping, Optional

from . import frames, outcomes
from .errors import PoolError
from .iterators import Flow, IMapIterator, Part
from .opening import Options, check_whole, open_session
from .pickling import MANY_CALLS, MANY_SPREAD, ONE_CALL, Payload, dump
from .results import AsyncResult, Callback, MapResult
from .session import Session
from .workers import Worker, workers_of

RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"
# Chunks where nothing else is said: so many per worker that none is left with a long tail, and none so large that the
# client and the workers wait for each other's.
CHUNKS_PER_WORKER, MAX_CHUNK = 8, 5000
MIN_WINDOW = 1024


class Pool:
    """A pool of worker processes, used like a `multiprocessing.Pool`.

    - `processes`: how many workers; default: the CPUs that may be used.
    - `initializer`, `initargs`: called in each worker before its first task. `on_exit`: called at its end.
    - `maxtasksperchild`: calls after which a worker is replaced.
    - `context`: accepted for compatibility, and ignored: workers are always started afresh.
    - `timeout`: seconds that a task may run. It is stopped then, and raises `TaskTimedOut`.
    - `retries`: how often a task is tried again when it fails, runs too long or its worker dies.
    - `on_worker_death`: with `"replace"` the task that a dead worker ran raises `WorkerDied`, and everything else goes
      on; with `"break"` the pool ends.
    - `env`: environment variables of the workers, beside those of this process.
    - `max_memory`: bytes of memory above which a worker is replaced. `idle_timeout`: seconds after which one that has
      nothing to do is let go.
    """

    _state = TERMINATE
    _session: Session

    def __init__(self, processes: Optional[int] = None, initializer: Optional[Callable[..., Any]] = None,
                 initargs: Iterable[Any] = (), maxtasksperchild: Optional[int] = None, context: Any = None, *,
                 timeout: Optional[float] = None, retries: int = 0,
                 on_worker_death: Literal["replace", "break"] = "replace",
                 on_exit: Optional[Callable[[], Any]] = None, env: Optional[Mapping[str, str]] = None,
                 max_memory: Optional[int] = None, idle_timeout: Optional[float] = None) -> None:
        check_whole("the number of processes", processes)
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if context is not None:
            warnings.warn("poolctl starts its workers in its own way; `context` is ignored", stacklevel=2)
        options = Options(workers=processes, initializer=initializer, initargs=tuple(initargs), on_exit=on_exit,
                          max_calls=maxtasksperchild, timeout=timeout, retries=retries, on_worker_death=on_worker_death,
                          env=env, max_memory=max_memory, idle_timeout=idle_timeout, prestart=True)
        self._session = open_session(options, outcomes.Manner())
        self._begin(options.is_per_item())

    def _begin(self, is_per_item: bool) -> None:
        # Where time limits, retries or lives count calls, each call is a task of its own.
        self._is_per_item = is_per_item
        self._processes = self._session.workers
        # So many are there from the start; what `resize` adds is started when there is work for it.
        self._kept = self._processes
        self._state = RUN

    # One call.

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """Calls `func(*args, **kwds)` in a worker and returns its result."""
        if self._state != RUN:
            raise ValueError("Pool not running")
        session = self._session
        return session.call(session.key_of(func), dump((args, kwds), ONE_CALL))

    def apply_async(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {},
                    callback: Callback = None, error_callback: Callback = None) -> AsyncResult:
        """As `apply`, without waiting. A callback is called with the result before `get` returns it."""
        if self._state != RUN:
            raise ValueError("Pool not running")
        session = self._session
        result = AsyncResult(session, callback, error_callback)
        session.submit(session.key_of(func), dump((args, kwds), ONE_CALL), result)
        return result

    # Many calls.

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Optional[int] = None, *,
            progress: bool = False) -> list[Any]:
        """`[func(item) for item in iterable]`, in the workers; the first error is raised when all have ended."""
        return self._map(func, iterable, MANY_CALLS, chunksize, None, None, progress, True).get()  # type: ignore

    def map_async(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Optional[int] = None,
                  callback: Callback = None, error_callback: Callback = None, *, progress: bool = False) -> MapResult:
        """As `map`, without waiting."""
        return self._map(func, iterable, MANY_CALLS, chunksize, callback, error_callback, progress)

    def starmap(self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: Optional[int] = None, *,
                progress: bool = False) -> list[Any]:
        """As `map`, with each item spread over the parameters of `func`."""
        return self._map(func, iterable, MANY_SPREAD, chunksize, None, None, progress, True).get()  # type: ignore

    def starmap_async(self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]],
                      chunksize: Optional[int] = None, callback: Callback = None, error_callback: Callback = None, *,
                      progress: bool = False) -> MapResult:
        """As `starmap`, without waiting."""
        return self._map(func, iterable, MANY_SPREAD, chunksize, callback, error_callback, progress)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1, *,
             window: Optional[int] = None) -> IMapIterator:
        """The results of `map` as an iterator, in order.

        - `window`: how many items may be between input and consumer; the input is read no further ahead.
        """
        return self._imap(func, iterable, chunksize, True, window)

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1, *,
                       window: Optional[int] = None) -> IMapIterator:
        """As `imap`, each result as soon as it is there."""
        return self._imap(func, iterable, chunksize, False, window)

    def _map(self, func: Callable[..., Any], iterable: Iterable[Any], kind: bytes, chunksize: Optional[int],
             callback: Callback, error_callback: Callback, progress: bool, will_wait: bool = False) -> MapResult:
        self._check_running()
        items = iterable if isinstance(iterable, (list, tuple, range)) else list(iterable)
        chunk = self._chunk_of(len(items), chunksize)
        session = self._session
        show = None
        if progress:
            from .progress import bar

            show = bar(len(items))
        result = MapResult(session, len(items), chunk, callback, error_callback, show)
        if not items:
            result._take_nothing()
            return result
        key = session.key_of(func)
        session.constants.pin(key)
        try:
            result._first = session.reserve(result._left, result)
            if chunk == 1:
                submit_singly(session, key, items, kind, result)
            else:
                submit_chunks(session, key, items, kind, result)
        finally:
            session.constants.unpin(key)
        if not will_wait:
            session.push()
        return result

    def _chunk_of(self, count: int, chunksize: Optional[int]) -> int:
        if chunksize is not None and index(chunksize) < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        if self._is_per_item:
            return 1
        return chunksize or max(1, min(MAX_CHUNK, -(-count // (self._session.workers * CHUNKS_PER_WORKER))))

    def _imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, is_ordered: bool,
              window: Optional[int]) -> IMapIterator:
        self._check_running()
        if index(chunksize) < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        # An input is never longer than this.
        chunk = 1 if self._is_per_item else min(chunksize, sys.maxsize)
        session = self._session
        key = session.key_of(func)
        if chunk == 1:

            def submit(items: list[Any], part: Part) -> None:
                session.submit(key, dump(((items[0],), {}), ONE_CALL), part, True)
        else:

            def submit(items: list[Any], part: Part) -> None:
                session.submit(key, dump(items, MANY_CALLS), part, True)

        session.constants.pin(key)
        ahead = window if window is not None else max(MIN_WINDOW, 4 * session.workers * chunk)

        # What is known by identity has to live until then.
        def finish(_func: Any = func) -> None:
            session.constants.unpin(key)

        return IMapIterator(Flow(session, submit, finish, iterable, chunk, is_ordered, max(ahead, chunk)))

    # Looking and steering.

    def insight(self) -> dict[str, Any]:
        """What the supervisor knows: counts of tasks, workers, and how their time was spent."""
        self._check_running()
        return self._session.stats()

    def resize(self, processes: int) -> None:
        """Has this many workers from now on, started when there is work for them; those too many finish what they hold."""
        self._check_running()
        check_whole("the number of processes", processes)
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        self._session.request(frames.SCALE, {"pool": self._session.pool, "workers": processes})
        self._session.workers = self._processes = processes
        self._kept = min(self._kept, processes)

    @property
    def _pool(self) -> list[Worker]:
        if self._session.has_ended or self._session.is_closing:
            return []
        return workers_of(self._session, lambda: self._kept if self._state == RUN else 0)

    def _repopulate_pool(self) -> None:
        """Nothing: the supervisor does so by itself."""

    # The end.

    def close(self) -> None:
        """Takes no more tasks; workers end when all that was submitted has."""
        if self._state == RUN:
            self._state = CLOSE
            self._session.close_soon()

    def terminate(self) -> None:
        """Ends the workers at once; what has not ended is cancelled."""
        self._state = TERMINATE
        self._session.terminate()

    def join(self) -> None:
        """Waits until the workers have gone, after `close` or `terminate`."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        self._session.join()

    def exit_results(self) -> list[Any]:
        """What `on_exit` gave in the workers that have ended, in the order of their ends; an exception where it raised.

        After `close` and `join`, those of all workers that ended in good order.
        """
        from .outcomes import exit_result

        return [exit_result(self._session.manner, failed, payload) for failed, payload in self._session.exits]

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *error: Any) -> None:
        self.terminate()

    def __del__(self) -> None:
        session = self.__dict__.get("_session")
        if self._state == RUN and session is not None:
            warnings.warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
        if session is not None and not session.has_ended and not sys.is_finalizing():
            # This may be called by the garbage collector anywhere, so nothing is locked here.
            start_new_thread(session.abandon, (self._state == CLOSE,))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} state={self._state} " \
               f"pool_size={self.__dict__.get('_processes', 0)}>"

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")


class ServicePool(Pool):
    """A pool of a service, shared with other programs; closing it only lets go of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._begin(is_per_item=False)


def submit_singly(session: Session, key: bytes, items: Any, kind: bytes, result: MapResult) -> None:
    """Each item as a task of its own; first a few, so that workers begin, then more at a time."""
    start, step = 0, 2 * session.workers
    while start < len(items):
        payloads: list[Optional[Payload]] = []
        first = result._first + start
        for offset, item in enumerate(items[start : start + step]):
            try:
                call: Any = ((item,), {}) if kind is MANY_CALLS else (tuple(item), {})
                payloads.append(dump(call, ONE_CALL))
            except Exception as error:
                refuse(session, first + offset, result, error)
                payloads.append(None)
        session.submit_reserved(first, key, payloads)
        start += step
        step = min(4 * step, 512)


def submit_chunks(session: Session, key: bytes, items: Any, kind: bytes, result: MapResult) -> None:
    """Each chunk as one task, a list."""
    chunk = result._chunk
    for index, start in enumerate(range(0, len(items), chunk)):
        number = result._first + index
        payload = pickled(session, list(items[start : start + chunk]), kind, number, result)
        session.submit_reserved(number, key, [payload])


def pickled(session: Session, items: Any, kind: bytes, number: int, result: MapResult) -> Optional[Payload]:
    try:
        if kind is MANY_SPREAD:
            items = [tuple(item) for item in items]
        return dump(items, kind)
    except Exception as error:
        refuse(session, number, result, error)
        return None


def refuse(session: Session, number: int, result: MapResult, error: BaseException) -> None:
    """An item that cannot be pickled: its error counts as that of its task."""
    if session.calls.pop(number, None) is not None:
        result._fail(number, error)


__all__ = ["Pool", "PoolError", "ServicePool"]
