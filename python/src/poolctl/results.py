"""What the asynchronous calls of a `Pool` give back."""

from __future__ import annotations

import time
from _thread import allocate_lock
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import Any, Callable, Optional

from .future import TaskFuture, call_later, settle

Callback = Optional[Callable[[Any], Any]]


def timed_out() -> BaseException:
    """The error of a wait that was too long: that of `multiprocessing`, which is not the builtin one."""
    from multiprocessing.context import TimeoutError as PoolTimeoutError

    return PoolTimeoutError()


class AsyncResult(TaskFuture):
    """The result of `apply_async`: as `multiprocessing.pool.AsyncResult`, and a future."""

    def __init__(self, session: Any, callback: Callback = None, error_callback: Callback = None) -> None:
        super().__init__(session)
        if callback is not None or error_callback is not None:
            self._callback, self._error_callback = callback, error_callback
            self._is_simple = False

    _callback: Callback = None
    _error_callback: Callback = None

    def get(self, timeout: Optional[float] = None) -> Any:
        """The result, or the task's exception raised; `multiprocessing.TimeoutError` after `timeout` seconds."""
        self.wait(timeout)
        if self._state is PENDING:
            raise timed_out()
        if self._state is CANCELLED_AND_NOTIFIED:
            raise CancelledError()
        return self.result()

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until the result is there, or until `timeout` seconds have passed."""
        if self._state is PENDING:
            self._session.wait(self, None if timeout is None else time.monotonic() + timeout)

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.done()

    def successful(self) -> bool:
        """Whether it ended without an exception; raises `ValueError` before it has ended."""
        if not self.done():
            raise ValueError(f"{self!r} not ready")
        return self._state is FINISHED and self._exception is None

    def _take(self, number: int, value: Any) -> None:
        self._end(value, None)

    def _fail(self, number: int, error: BaseException) -> None:
        self._end(None, error)

    def _end(self, value: Any, error: Optional[BaseException]) -> None:
        """Settles it; after its callback, which runs on a thread of its own."""
        callback = self._callback if error is None else self._error_callback
        if callback is None:
            settle(self, value, error)
            return

        def call_and_settle() -> None:
            try:
                callback(value if error is None else error)
            finally:
                settle(self, value, error)
                self._session.notice(self)

        call_later(call_and_settle)


class MapResult(AsyncResult):
    """The result of `map_async`: a list, ready when all of its chunks are."""

    _is_single = _is_simple = False

    def __init__(self, session: Any, count: int, chunk: int, callback: Callback, error_callback: Callback,
                 progress: Optional[Callable[[int], None]] = None) -> None:
        super().__init__(session, callback, error_callback)
        self._is_simple = False
        self._values: list[Any] = [None] * count
        self._count, self._chunk, self._progress = count, chunk, progress
        self._left = -(-count // chunk)
        self._counting = allocate_lock()
        self._error: Optional[BaseException] = None
        self._is_cancelled = False
        self._first = 0

    def _take_nothing(self) -> None:
        """There are no items; as in `multiprocessing`, no callback is called."""
        settle(self, [], None)

    def _take(self, number: int, value: Any) -> None:
        index = number - self._first
        if self._chunk == 1:
            self._values[index] = value
        else:
            start = index * self._chunk
            self._values[start : start + self._chunk] = value
        self._count_down(index)

    def _fail(self, number: int, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._count_down(number - self._first)

    def _drop(self, number: int) -> None:
        self._is_cancelled = True
        self._count_down(number - self._first)

    def cancel(self) -> bool:
        """Cancels the chunks that do not run yet; says whether there were any. It ends as cancelled then, after those that run."""
        super().cancel()
        return self._is_cancelled

    def _show(self, count: int, is_last: bool) -> None:
        progress = self._progress
        try:
            if progress is not None:
                progress(count)
            if progress is not None and is_last:
                progress(0)
        except Exception as error:
            # Showing how far it is must not keep it from getting there.
            self._progress = None
            import logging

            logging.getLogger("poolctl").warning("progress cannot be shown", exc_info=error)

    def _count_down(self, index: int) -> None:
        with self._counting:
            self._left -= 1
            is_last = self._left == 0
        if self._progress is not None:
            self._show(min(self._chunk, self._count - index * self._chunk), is_last)
        if not is_last:
            return
        values, self._values = self._values, []
        if self._is_cancelled and self._error is None:
            settle(self, None, None, CANCELLED_AND_NOTIFIED)
        elif self._error is not None:
            self._end(None, self._error)
        else:
            self._end(values, None)
