"""`ThreadPool`: the programming interface of `Pool` on threads, for work that waits, and for debugging."""

from __future__ import annotations

from multiprocessing.pool import ApplyResult
from multiprocessing.pool import ThreadPool as StandardThreadPool
from typing import Any, Callable, Generator, Iterable, Mapping, Optional


class ThreadPool(StandardThreadPool):
    """As `multiprocessing.pool.ThreadPool`; `await` works on what `apply_async` and `map_async` give back.

    Its workers are threads of this process: nothing is pickled, nothing can be stopped, and a crash takes all.
    """

    def apply_async(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {},
                    callback: Any = None, error_callback: Any = None) -> Any:
        """As `Pool.apply_async`."""
        return awaitable(super().apply_async(func, args, kwds, callback, error_callback))

    def map_async(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Optional[int] = None,
                  callback: Any = None, error_callback: Any = None) -> Any:
        """As `Pool.map_async`."""
        return awaitable(super().map_async(func, iterable, chunksize, callback, error_callback))

    def starmap_async(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = None,
                      callback: Any = None, error_callback: Any = None) -> Any:
        """As `Pool.starmap_async`."""
        return awaitable(super().starmap_async(func, iterable, chunksize, callback, error_callback))


def awaitable(result: Any) -> Any:
    """The same result, of a class that can be awaited too."""
    kind = type(result)
    made = KINDS.get(kind)
    if made is None:
        made = KINDS[kind] = type(kind.__name__, (kind,), {"__await__": wait_for, "__module__": __name__})
    result.__class__ = made
    return result


KINDS: dict[type, Any] = {}


def wait_for(result: ApplyResult[Any]) -> Generator[Any, None, Any]:
    from asyncio import get_running_loop

    return get_running_loop().run_in_executor(None, result.get).__await__()
