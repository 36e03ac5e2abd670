"""Futures that cost little: a `concurrent.futures.Future` whose condition is made when somebody needs one.

# Protocol
`SETTLING` is the lock under which a future without a condition is settled, and under which its condition is made. So
either a waiter finds it settled, or the one who settles it finds the condition and settles it under that one, as the
base class does. Nobody takes another lock while holding `SETTLING`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from _thread import allocate_lock
from collections import deque
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import Any, Callable, Generator, Optional

SETTLING = allocate_lock()
# Held while the thread for callbacks is started.
STARTING = allocate_lock()


class TaskFuture(Future):  # type: ignore[type-arg]
    """The result of one task, or of many that belong together.

    As a `concurrent.futures.Future`, and can be awaited in asyncio. Who waits for it reads the pool's socket meanwhile.
    """

    _state: str = PENDING
    _result: Any = None
    _exception: Optional[BaseException] = None
    _lazy_condition: Optional[threading.Condition] = None
    # Its number, once it is submitted.
    _number = 0
    # Whether it is one task, and whether nothing is to be done at its end but to settle it.
    _is_single = _is_simple = True

    def __init__(self, session: Any) -> None:
        # The base class would make a condition and two lists; they come with the first use of `_condition`.
        self._session = session

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        condition = self._lazy_condition
        if condition is None:
            made = threading.Condition()
            with SETTLING:
                condition = self._lazy_condition
                if condition is None:
                    self._waiters: list[Any] = []
                    self._done_callbacks: list[Any] = []
                    condition = self._lazy_condition = made
        return condition

    def result(self, timeout: Optional[float] = None) -> Any:
        """The task's result, or its exception raised.

        Raises `concurrent.futures.TimeoutError` when `timeout` seconds have passed first, `CancelledError` when it was
        cancelled.
        """
        if self._state is not FINISHED:
            self._await(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                # Break a reference cycle with the exception in self._exception
                self = None  # type: ignore[assignment]
        return self._result

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """The task's exception, or None; raises as `result` does while there is none of either."""
        if self._state is not FINISHED:
            self._await(timeout)
        return self._exception

    def done(self) -> bool:
        """Whether it has ended, in any way."""
        return self._state is not PENDING

    def running(self) -> bool:
        """Whether a worker is at it right now; asks the supervisor."""
        return self._state is PENDING and self._session.is_running(self)

    def cancelled(self) -> bool:
        return self._state is CANCELLED_AND_NOTIFIED

    def cancel(self) -> bool:
        """Cancels it if it does not run yet; says whether it is cancelled."""
        if self._state is PENDING:
            self._session.cancel(self, is_queued_only=True)
        return self._state is CANCELLED_AND_NOTIFIED

    def stop(self) -> bool:
        """Cancels it even while it runs: its worker is stopped and replaced. Says whether it is cancelled."""
        if self._state is PENDING:
            self._session.cancel(self, is_queued_only=False)
        return self._state is CANCELLED_AND_NOTIFIED

    def _await(self, timeout: Optional[float]) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._session.wait(self, deadline):
            raise FutureTimeoutError()
        if self._state is CANCELLED_AND_NOTIFIED:
            raise CancelledError()

    def __await__(self) -> Generator[Any, None, Any]:
        from asyncio import wrap_future

        return wrap_future(self).__await__()

    # What the session calls.

    def _take(self, number: int, value: Any) -> None:
        """The result with this number has come."""
        settle(self, value, None)

    def _fail(self, number: int, error: BaseException) -> None:
        settle(self, None, error)

    def _drop(self, number: int) -> None:
        """What has this number was cancelled."""
        settle(self, None, None, CANCELLED_AND_NOTIFIED)


def settle(future: Any, value: Any, error: Optional[BaseException], state: str = FINISHED) -> None:
    """Ends a future, once; wakes who waits for it, but not the seats of its session."""
    with SETTLING:
        if future._state is not PENDING and future._state is not RUNNING:
            return
        condition = future._lazy_condition
        if condition is None:
            future._result, future._exception = value, error
            future._state = state
            return
    with condition:
        if future._state is not PENDING and future._state is not RUNNING:
            return
        future._result, future._exception = value, error
        future._state = state
        for waiter in future._waiters:
            if state is CANCELLED_AND_NOTIFIED:
                waiter.add_cancelled(future)
            elif error is not None:
                waiter.add_exception(future)
            else:
                waiter.add_result(future)
        condition.notify_all()
        has_callbacks = bool(future._done_callbacks)
    if has_callbacks:
        call_later(future._invoke_callbacks)


class Callbacks:
    """Calls what is to be called when something has ended, in that order, on a thread of its own."""

    def __init__(self) -> None:
        self.pid, self.has_some, self.waiting = os.getpid(), threading.Condition(), deque()  # type: ignore[var-annotated]
        threading.Thread(target=self.run, name="poolctl-callbacks", daemon=True).start()

    def put(self, call: Callable[[], Any]) -> None:
        self.waiting.append(call)
        with self.has_some:
            self.has_some.notify()

    def run(self) -> None:
        while True:
            with self.has_some:
                while not self.waiting:
                    self.has_some.wait()
            try:
                self.waiting.popleft()()
            except BaseException:
                sys.excepthook(*sys.exc_info())


started: list[Callbacks] = []


def call_later(call: Callable[[], Any]) -> None:
    """Has `call` called on the thread for callbacks, which is started at first need (a forked copy has none)."""
    with STARTING:
        if not started or started[0].pid != os.getpid():
            started[:] = [Callbacks()]
    started[0].put(call)
