"""What became of a task that has no result, as an exception."""

from __future__ import annotations

import json
from typing import Any, Optional

from .errors import BY_VALUE, RemoteError, TaskTimedOut

# The server's word for a pool that one death has ended; other types are of workers that cannot start.
BROKEN_POOL = "BrokenPool"


class Manner:
    """Whose classes are used: those of `multiprocessing.Pool` here, those of `ProcessPoolExecutor` in the subclass."""

    def cause(self, trace: str) -> BaseException:
        """What an exception of a task has as its cause, which shows where it was raised."""
        from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

        cause: BaseException = RemoteTraceback(f'\n"""\n{trace}"""')
        return cause

    def unwritable(self, error: BaseException, value: str) -> BaseException:
        """For a result that cannot be pickled."""
        from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]

        unwritten: BaseException = MaybeEncodingError(error, value)
        return unwritten

    def not_running(self) -> BaseException:
        return ValueError("Pool not running")

    def tell_broken(self, message: str) -> None:
        """Logs why no task can be run any more, where that is usual."""


class ExecutorManner(Manner):
    def cause(self, trace: str) -> BaseException:
        try:
            from concurrent.futures.process import _RemoteTraceback
        except RuntimeError:
            # The interpreter is ending, and that module cannot be imported any more.
            return super().cause(trace)
        return _RemoteTraceback(f'\n"""\n{trace}"""')  # type: ignore[arg-type]

    def unwritable(self, error: BaseException, value: str) -> BaseException:
        return error

    def not_running(self) -> BaseException:
        return RuntimeError("cannot schedule new futures after shutdown")

    def tell_broken(self, message: str) -> None:
        import logging

        logging.getLogger("concurrent.futures").critical("the pool is broken: %s", message)


def error_of(session: Any, meta: dict[str, Any], payload: bytes) -> BaseException:
    """The exception for an outcome other than ok and cancelled."""
    outcome = meta["outcome"]
    said = json.loads(payload or b"{}")
    if outcome == "failed":
        return failure(session.manner, said)
    message = said.get("msg") or f"the task {outcome}"
    if outcome == "timed out":
        return TaskTimedOut(message, meta)
    from . import broken

    if outcome == "quarantined":
        return broken.Quarantined(message, meta)
    if outcome == "died":
        if session.is_fragile:
            session.broken = message
        return broken.WorkerDied(message, meta)
    if session.is_closing:
        return session.manner.not_running()  # type: ignore[no-any-return]
    if said.get("type", BROKEN_POOL) != BROKEN_POOL:
        message = f"a worker cannot start: {said['type']}: {message}"
    if not session.broken:
        session.manner.tell_broken(message)
    session.broken = message
    refused = broken.PoolBroken(message)
    if said.get("trace"):
        refused.__cause__ = session.manner.cause(said["trace"])
    return refused


def failure(manner: Manner, said: dict[str, Any]) -> BaseException:
    """The exception that a task raised, or one that stands for it."""
    error, trace = rebuilt(said)
    if said.get("stage") == "reading":
        from .broken import ObjectUnreadable

        message = f"the worker cannot unpickle this task: {said.get('type')}: {said.get('msg')}"
        unread = ObjectUnreadable(message, hint=BY_VALUE if "__mp_main__" in message else None)
        unread.__cause__ = error
        return unread
    if error is None:
        error = RemoteError(said.get("type", "Exception"), said.get("msg", ""))
    if said.get("stage") == "writing":
        return manner.unwritable(error, said.get("value", "?"))
    if trace:
        error.__cause__ = manner.cause(trace)
    return error


def exit_result(manner: Manner, has_failed: bool, payload: bytes) -> Any:
    """What an exit function gave, or the exception that it raised."""
    if has_failed:
        return failure(manner, json.loads(payload))
    from pickle import loads

    return loads(payload)


def rebuilt(said: dict[str, Any]) -> tuple[Optional[BaseException], str]:
    """The exception itself, where it could be pickled and can be unpickled, and the text of its traceback."""
    trace: str = said.get("trace") or ""
    if "data" in said:
        from base64 import b64decode
        from pickle import loads

        try:
            error, text = loads(b64decode(said["data"]))
            if isinstance(error, BaseException):
                return error, text or trace
        except BaseException:
            pass
    return None, trace


def unreadable(error: BaseException) -> BaseException:
    """For a result that cannot be unpickled here."""
    from .broken import ObjectUnreadable

    unread = ObjectUnreadable(f"the result of this task cannot be unpickled: {type(error).__name__}: {error}")
    unread.__cause__ = error
    return unread


def lost(session: Any) -> BaseException:
    from .broken import PoolLost

    if session.broken:
        return PoolLost(f"the pool is broken: {session.broken}")
    return PoolLost("the connection to the supervisor has ended")


def not_running(session: Any) -> BaseException:
    """Why nothing can be submitted."""
    session.check_fork()
    if session.is_closing:
        return session.manner.not_running()  # type: ignore[no-any-return]
    if session.broken:
        from .broken import PoolBroken

        return PoolBroken(f"the pool is broken: {session.broken}")
    return lost(session)
