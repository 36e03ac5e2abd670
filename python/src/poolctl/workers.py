"""The workers of a pool, as objects like those of `multiprocessing`."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any, Callable, Optional

from .errors import PoolError

START_SECONDS = 10.0


class Worker:
    """One life of a worker. It is no child of this process; what is known of it is told by the supervisor."""

    def __init__(self, session: Any, name: str, pid: int) -> None:
        self._session, self.name, self.pid = session, name, pid
        self.daemon = True

    @property
    def ident(self) -> int:
        return self.pid

    @property
    def exitcode(self) -> Optional[int]:
        """None while it lives; else its status, or minus the signal that ended it."""
        if self._exists():
            return None
        if self._session.workers_seen.get(self.name, {}).get("event") != "down":
            # What the supervisor has said of it comes before the answer to a question.
            try:
                self._session.stats()
            except PoolError:
                return -1
        seen = self._session.workers_seen.get(self.name, {})
        if seen.get("event") != "down":
            return 0
        if seen.get("signal") is not None:
            return -int(seen["signal"])
        return int(seen.get("exit") or 0)

    def is_alive(self) -> bool:
        return self._exists() and self._session.workers_seen.get(self.name, {}).get("event") != "down"

    def _exists(self) -> bool:
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except OSError:
            return False

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits until it has gone."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Opened first, looked at then: if it is this worker still, the descriptor is its own.
            if self.is_alive():
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll(None if timeout is None else max(timeout, 0) * 1000)
        finally:
            os.close(pidfd)

    def __repr__(self) -> str:
        return f"<Worker {self.name} pid={self.pid}>"


def workers_of(session: Any, count: Callable[[], int] = lambda: 0) -> list[Worker]:
    """Those that live now. They are started in the background: waits for 10 s at most until `count()` are ready."""
    living = session.living(count, time.monotonic() + START_SECONDS)
    return [Worker(session, worker["worker"], worker["pid"]) for worker in living]
