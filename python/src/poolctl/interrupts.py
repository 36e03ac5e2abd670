"""Ctrl-C comes where it does no harm.

A `KeyboardInterrupt` can be raised between any two steps of the main thread: between a write and the note that it was
written, too, after which nothing more could be sent. So the usual handler of SIGINT is replaced by one that puts it off
for a moment while the main thread is inside of the parts that share the socket, unless it waits there. A handler that
the program has set itself is left alone.
"""

from __future__ import annotations

import signal
import threading
import time
from _thread import start_new_thread
from types import FrameType
from typing import Optional

GUARDED = {f"{__package__}.{name}" for name in ("driver", "session", "submission")}
# What the driver waits by; it changes nothing that is shared.
WAITER = f"{__package__}.spinning"
PAUSE = 0.001
# For so long it is put off at most: what is unpickled may be the program's own code.
MAX_SECONDS = 1.0
put_off_since: list[float] = []


def guard() -> None:
    """Replaces the usual handler, where it is in place and this is the main thread."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)


def unguard() -> None:
    """Puts the usual handler back, where nobody has set another one meanwhile."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt(number: int, frame: Optional[FrameType]) -> None:
    """Raises `KeyboardInterrupt` now, or has it raised soon."""
    now = time.monotonic()
    if is_waiting(frame) or not is_inside(frame) or put_off_since and now - put_off_since[0] > MAX_SECONDS:
        put_off_since.clear()
        raise KeyboardInterrupt
    if not put_off_since:
        put_off_since.append(now)
    start_new_thread(repeat, (number, threading.get_ident()))


def repeat(number: int, thread: int) -> None:
    time.sleep(PAUSE)
    signal.pthread_kill(thread, number)


def is_waiting(frame: Optional[FrameType]) -> bool:
    """Whether it sleeps, where it can be woken at any time."""
    while frame is not None and frame.f_globals.get("__name__") == WAITER:
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") not in GUARDED:
        return False
    name = frame.f_code.co_name
    return name == "sleep" or name == "turn" and bool(frame.f_locals["self"].may_sleep)


def is_inside(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in GUARDED:
            return True
        frame = frame.f_back
    return False
