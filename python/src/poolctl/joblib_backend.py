"""joblib on poolctl: `register_joblib()`, then `joblib.parallel_config("poolctl")`.

One pool is kept warm between calls, as loky does it, for as long as the calls want the same of it. Its workers end when
they have been idle for `IDLE_SECONDS`; it itself ends with the program, or by `KEPT.close()`.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    cpu_count,
    register_parallel_backend,
)

from .pool import Pool

IDLE_SECONDS = 300.0


class PoolctlBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Batches of calls as tasks of a pool."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    supports_sharedmem = False
    uses_threads = False

    _pool: Optional[Pool] = None

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        """How many workers `n_jobs` means; negative numbers count from the CPUs that may be used."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(cpu_count() + 1 + n_jobs, 1)

    def configure(self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None,
                  **options: Any) -> int:
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        options = {**self.backend_kwargs, **options}
        idle = options.pop("idle_worker_timeout", None)
        options = {name: value for name, value in options.items() if name in POOL_OPTIONS and value is not None}
        options["env"] = {**self._prepare_worker_env(n_jobs=n_jobs), **options.get("env", {})}
        options.setdefault("idle_timeout", IDLE_SECONDS if idle is None else idle)
        self._pool = KEPT.pool(n_jobs, options)
        self._n_jobs, self._options = n_jobs, options
        self.parallel = parallel
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        assert self._pool is not None, "joblib configures a backend before it uses it"
        result = self._pool.apply_async(Batch(func))
        if callback is not None:
            result.add_done_callback(callback)
        return result

    # The name of `submit` before joblib 1.5.
    apply_async = submit

    def retrieve_result_callback(self, out: Any) -> Any:
        return out.result()

    def terminate(self) -> None:
        self._pool = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._pool is not None:
            KEPT.end(self._pool)
            self._pool = None
        if ensure_ready:
            self._pool = KEPT.pool(self._n_jobs, self._options)


class Batch:
    """A batch of calls, for which its worker knows the backend by its name, too."""

    def __init__(self, func: Callable[[], Any]) -> None:
        self.func = func

    def __call__(self) -> Any:
        register_joblib()
        return self.func()


class Kept:
    """The pool that is kept between calls."""

    def __init__(self) -> None:
        self._pool: Optional[Pool] = None
        self._wanted: Any = None

    def pool(self, n_jobs: int, options: dict[str, Any]) -> Pool:
        """The pool with these options: the one there is, if it has them. In a forked copy there is none."""
        wanted = (n_jobs, options, os.getpid())
        if self._pool is not None and self._wanted[-1] != os.getpid():
            self._pool = None
        if self._pool is None or self._wanted != wanted:
            self.close()
            self._pool, self._wanted = Pool(n_jobs, **options), wanted
        return self._pool

    def close(self) -> None:
        """Ends the pool, where there is one, when it has done what it holds."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            pool.join()

    def end(self, pool: Pool) -> None:
        """Stops what it does, and forgets it."""
        if self._pool is pool:
            self._pool = None
        pool.terminate()


KEPT = Kept()

POOL_OPTIONS = ("initializer", "initargs", "maxtasksperchild", "timeout", "retries", "on_worker_death", "on_exit", "env",
                "max_memory", "idle_timeout")


def register_joblib(name: str = "poolctl", make_default: bool = False) -> None:
    """Makes `joblib.parallel_config(name)` use poolctl's workers."""
    register_parallel_backend(name, PoolctlBackend, make_default=make_default)
