"""The pool that a task runs in, for tasks that have work for others."""

from __future__ import annotations

import sys
from pickle import dumps, loads
from typing import Any, Callable, Generic, Iterable, Mapping, Optional, TypeVar

from .outcomes import Manner, failure
from .pickling import Large, cloudpickle_dumps, dump, has_cloudpickle

T = TypeVar("T")

# The first byte of an item that is a callable with its arguments.
ALONE = b"\x03"


def current_pool() -> Optional[NestedPool]:
    """The pool in which the calling task runs; None outside of tasks.

    Its tasks run in the same workers. Waiting for one never blocks the pool: a task that nobody has begun is run by who waits
    for it (in the same process, so that it shares its time limit and its fate), to a depth of 64.
    """
    script = getattr(sys.modules.get("__main__"), "__poolctl_script__", None)
    nests = getattr(script, "nests", None)
    return None if nests is None else NestedPool(nests)


class NestedPool:
    """What a task can ask of its own pool. Only the thread that runs the task may."""

    def __init__(self, nests: Any) -> None:
        self._nests = nests

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> NestedResult[T]:
        """Has the pool call `function`. The arguments travel in one message of at most 64 MiB."""
        return NestedResult(self._nests, function, args, kwargs)

    def apply_async(self, func: Callable[..., T], args: Iterable[Any] = (),
                    kwds: Optional[Mapping[str, Any]] = None) -> NestedResult[T]:
        return NestedResult(self._nests, func, tuple(args), dict(kwds or {}))

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Optional[Mapping[str, Any]] = None) -> T:
        return self.apply_async(func, args, kwds).get()

    def map(self, func: Callable[[Any], T], iterable: Iterable[Any]) -> list[T]:
        """Calls `func` on each item, each as a task of its own; the first error is raised when all have ended."""
        return gathered([self.submit(func, item) for item in iterable])

    def starmap(self, func: Callable[..., T], iterable: Iterable[Iterable[Any]]) -> list[T]:
        return gathered([self.submit(func, *arguments) for arguments in iterable])


class NestedResult(Generic[T]):
    """What a task that another one submitted will have given."""

    def __init__(self, nests: Any, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._nests = nests
        self._call: Optional[Callable[[], T]] = lambda: function(*args, **kwargs)
        self._outcome: list[T] = []
        self._error: Optional[BaseException] = None
        self._number = nests.submit(dump_inline((function, args, kwargs)))

    def ready(self) -> bool:
        """Whether it is known here. Nothing is read meanwhile: it becomes known while this task waits for something."""
        return self._call is None or bool(self._nests.has(self._number))

    def get(self) -> T:
        """Waits for the result, or raises what the task raised."""
        if self._call is not None:
            self._settle()
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    result = get

    def _settle(self) -> None:
        call, how_and_what = self._call, self._nests.wait(self._number)
        assert call is not None, "it is settled once"
        self._call = None
        how, data, buffers = how_and_what
        try:
            if how == "yours":
                self._outcome.append(self._nests.run_own(call))
            elif how == "ok":
                self._outcome.append(loads(data, buffers=buffers))
            else:
                import json

                self._error = failure(Manner(), json.loads(bytes(data)))
        except BaseException as error:
            self._error = error

    def __del__(self) -> None:
        if getattr(self, "_number", None) is not None and self._call is not None:
            self._nests.forget(self._number)


def gathered(results: list[NestedResult[T]]) -> list[T]:
    """All results, once each has ended; else the first error."""
    for result in reversed(results):
        try:
            result.get()
        except BaseException:
            # Raised below, in the order of the items.
            continue
    return [result.get() for result in results]


def dump_inline(value: Any) -> bytes:
    """An item in one piece, whatever buffers are in it."""
    payload = dump(value, ALONE)
    if not isinstance(payload, Large):
        return payload
    if not payload.buffers:
        return bytes(payload.data)
    by_value = b"__main__" in payload.data and has_cloudpickle()
    return ALONE + (cloudpickle_dumps(value) if by_value else dumps(value, 5))
