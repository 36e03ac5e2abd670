"""What can go wrong. Those that are a `BrokenProcessPool` as well are in `broken.py`, since it takes long to import."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Optional

# What helps where something cannot be found by its name in a worker.
BY_VALUE = "define it in a module that workers can import, or install cloudpickle, which sends it by value"


class PoolError(Exception):
    """The base of what poolctl raises of its own.

    - `code`: the server's word for it, where it comes from there (docs/protocol.md, Replies).
    - `hint`: what to do about it.
    """

    def __init__(self, message: str, code: Optional[str] = None, hint: Optional[str] = None) -> None:
        super().__init__(message if hint is None else f"{message} ({hint})")
        self.code, self.hint = code, hint


class BinaryNotFound(PoolError):
    """The program `poolctl` is not there."""


class ForkedPool(PoolError):
    """A forked copy of the process whose pool it is cannot use it; make a pool of its own."""


class NotShareable(PoolError, TypeError):
    """An argument is an object of `multiprocessing` that only a child of this process could use."""


class TaskTimedOut(PoolError, FutureTimeoutError):
    """A task ran longer than its time limit and was stopped."""

    def __init__(self, message: str, details: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.details = details or {}

    def __reduce__(self) -> Any:
        return TaskTimedOut, (self.args[0], self.details)


class RemoteError(PoolError):
    """An exception of a task that could not be carried over; `type` is its name, `message` its text."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(f"{type_name}: {message}")
        self.type, self.message = type_name, message

    def __reduce__(self) -> Any:
        return RemoteError, (self.type, self.message)
