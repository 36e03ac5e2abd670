"""Errors that are a `concurrent.futures.process.BrokenProcessPool`, so that code written for that one handles them."""

from __future__ import annotations

from typing import Any, Optional

try:
    from concurrent.futures.process import BrokenProcessPool
except RuntimeError:
    # The interpreter is ending, and that module cannot be imported any more: nobody can have asked for its class.
    from concurrent.futures import BrokenExecutor as BrokenProcessPool  # type: ignore[assignment]

from .errors import PoolError


class WorkerDied(BrokenProcessPool, PoolError):
    """The worker of this task died while it ran it.

    `exit` or `signal` tell how, `oom` whether for memory, `worker` and `pid` which; each is None where unknown.
    """

    def __init__(self, message: str, details: Optional[dict[str, Any]] = None) -> None:
        PoolError.__init__(self, message)
        details = details or {}
        self.details = details
        self.worker, self.pid = details.get("worker"), details.get("pid")
        self.exit, self.signal = details.get("exit"), details.get("signal")
        self.oom, self.attempts = details.get("oom", False), details.get("attempts", 1)

    def __reduce__(self) -> Any:
        return type(self), (self.args[0], self.details)


class Quarantined(WorkerDied):
    """The task has killed so many workers that it is not tried again."""


class PoolBroken(BrokenProcessPool, PoolError):
    """The task was not run: a worker died and the pool ends then, or no worker can be started."""

    def __init__(self, message: str) -> None:
        PoolError.__init__(self, message)


class PoolLost(PoolBroken):
    """The connection to the supervisor has ended."""


class ObjectUnreadable(BrokenProcessPool, PoolError):
    """What was pickled at one end cannot be unpickled at the other."""

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        PoolError.__init__(self, message, hint=hint)
