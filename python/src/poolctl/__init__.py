"""Process pools that lose nothing when a worker dies.

    from poolctl import Pool

    with Pool(4) as pool:
        print(pool.map(abs, range(-3, 3)))

`Pool` is used like `multiprocessing.Pool`, `Executor` like `concurrent.futures.ProcessPoolExecutor`, `ThreadPool` like
`multiprocessing.pool.ThreadPool`. `connect` attaches to a warm pool of the service.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from .errors import BinaryNotFound, ForkedPool, NotShareable, PoolError, RemoteError, TaskTimedOut
from .opening import cpu_count
from .pool import Pool
from .results import AsyncResult, MapResult

if TYPE_CHECKING:
    from .broken import ObjectUnreadable, PoolBroken, PoolLost, Quarantined, WorkerDied
    from .executor import Executor
    from .joblib_backend import register_joblib
    from .nested import current_pool
    from .threads import ThreadPool

__version__ = "0.1.0"

__all__ = [
    "AsyncResult", "BinaryNotFound", "Executor", "ForkedPool", "MapResult", "NotShareable", "ObjectUnreadable", "Pool",
    "PoolBroken", "PoolError", "PoolLost", "Quarantined", "RemoteError", "TaskTimedOut", "ThreadPool", "WorkerDied",
    "connect", "cpu_count", "current_pool", "register_joblib", "worker_id",
]

# What takes long to import is imported when it is asked for.
LATER = {
    "Executor": "executor", "ObjectUnreadable": "broken", "PoolBroken": "broken", "PoolLost": "broken",
    "Quarantined": "broken", "ThreadPool": "threads", "WorkerDied": "broken", "current_pool": "nested", "register_joblib": "joblib_backend",
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{LATER[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


def connect(name: str) -> Pool:
    """Attaches to the pool `name` of the service (`poold`), whose workers are warm. Closing it only lets go of it."""
    from .opening import attach_session
    from .outcomes import Manner
    from .pool import ServicePool

    return ServicePool(attach_session(name, Manner()))


def worker_id() -> Optional[int]:
    """In a worker: which of the places for workers this one has, from 0; a successor gets the same. Else None."""
    slot = os.environ.get("POOLCTL_SLOT")
    return None if slot is None else int(slot)
