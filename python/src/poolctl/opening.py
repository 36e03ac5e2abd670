"""From what a pool shall be to a session with a supervisor that has it."""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Mapping, NamedTuple, Optional

from . import outcomes, setup
from .server import connect_service, start_server
from .session import Session


class Options(NamedTuple):
    """What a pool shall be."""

    workers: Optional[int] = None
    initializer: Optional[Callable[..., Any]] = None
    initargs: tuple[Any, ...] = ()
    on_exit: Optional[Callable[[], Any]] = None
    max_calls: Optional[int] = None
    timeout: Optional[float] = None
    retries: int = 0
    on_worker_death: str = "replace"
    env: Optional[Mapping[str, str]] = None
    max_memory: Optional[int] = None
    idle_timeout: Optional[float] = None
    prestart: bool = False
    name: str = "PoolWorker"

    def is_per_item(self) -> bool:
        """Whether something counts calls, so that each must be a task of its own."""
        return self.timeout is not None or self.retries > 0 or self.max_calls is not None

    def as_pool(self) -> dict[str, Any]:
        """The pool as docs/protocol.md has it."""
        check_count("the number of workers", self.workers, 1)
        check_count("the number of tasks per worker", self.max_calls, 1)
        check_count("retries", self.retries, 0)
        check_count("max_memory", self.max_memory, 1)
        check_seconds("timeout", self.timeout)
        check_seconds("idle_timeout", self.idle_timeout)
        for name, value in (self.env or {}).items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"env: variables and their values are strings, not {name!r}: {value!r}")
        if self.on_exit is not None and not callable(self.on_exit):
            raise TypeError(f"on_exit must be callable, not {self.on_exit!r}")
        if self.on_worker_death not in ("replace", "break"):
            raise ValueError(f'on_worker_death must be "replace" or "break", not {self.on_worker_death!r}')
        env = {**(self.env or {}), "POOLCTL_SETUP": "1"}
        settings = {
            "workers": self.workers or cpu_count(),
            "prestart": self.prestart or None,
            "retries": self.retries or None,
            "timeout_ms": milliseconds(self.timeout),
            "max_tasks": self.max_calls,
            "max_rss": self.max_memory,
            "idle_timeout_ms": milliseconds(self.idle_timeout),
            "on_worker_death": self.on_worker_death,
            "env": env,
        }
        target = {"kind": "objects", "interpreter": sys.executable}
        return {"target": target, **{name: value for name, value in settings.items() if value is not None}}


def check_whole(what: str, value: Any) -> None:
    """That it is a whole number, where it is given."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{what} must be a whole number, not {value!r}")


def check_count(what: str, value: Any, least: int) -> None:
    """That it is a whole number of at least `least`, where it is given."""
    check_whole(what, value)
    if value is not None and value < least:
        raise ValueError(f"{what} must be at least {least}, not {value}")


def check_seconds(what: str, value: Any) -> None:
    """That it is a span of time, where it is given."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if not 0 < value < 1e9:
        raise ValueError(f"{what} must be more than 0 seconds and not without end, not {value}")


def milliseconds(seconds: Optional[float]) -> Optional[int]:
    return None if seconds is None else max(1, round(seconds * 1000))


def cpu_count() -> int:
    """How many CPUs this process may use, by its affinity and by the quota of its control group."""
    count = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def open_session(options: Options, manner: outcomes.Manner) -> Session:
    """Starts a supervisor and opens the pool."""
    if setup.is_importing_main():
        raise RuntimeError(
            "a pool is made while a worker imports the main module. Put what starts it behind\n"
            "    if __name__ == '__main__':\n"
            "or install cloudpickle, which makes this import unnecessary"
        )
    pool = options.as_pool()
    setup.share_main_module()
    prepared = setup.make_setup(options.initializer, options.initargs, options.on_exit, options.name)
    session = Session(start_server(), manner)
    session.is_fragile = options.on_worker_death == "break"
    session.open(pool, prepared)
    return session


def attach_session(name: str, manner: outcomes.Manner) -> Session:
    """Attaches to a pool of the service of this user."""
    session = Session(connect_service(), manner)
    session.attach(name)
    return session
