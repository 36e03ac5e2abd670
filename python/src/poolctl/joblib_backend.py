"""joblib on poolctl: `register_joblib()`, then `joblib.parallel_config("poolctl")`."""

from __future__ import annotations

from typing import Any, Callable, Optional

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from .opening import cpu_count
from .pool import Pool


class PoolctlBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """A backend that keeps one pool for as long as joblib keeps the backend configured."""

    supports_sharedmem = False
    supports_retrieve_callback = False
    uses_threads = False
    default_n_jobs = -1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # What `Pool` takes may be given to `parallel_config`, and is of no use to the base class.
        self._options = {name: options.pop(name) for name in POOL_OPTIONS if name in options}
        super().__init__(*arguments, **options)
        self._pool: Optional[Pool] = None

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        """How many workers `n_jobs` means; negative numbers count from the CPUs that may be used."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs < 0:
            return max(cpu_count() + 1 + n_jobs, 1)
        return n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None,
                  **options: Any) -> int:
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            from joblib.parallel import FallbackToBackend, SequentialBackend

            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._pool = Pool(n_jobs, **self._options)
        self.parallel = parallel
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        assert self._pool is not None, "joblib configures a backend before it uses it"
        return self._pool.apply_async(func, (), {}, callback, callback)

    # The name of `submit` before joblib 1.5.
    apply_async = submit

    def terminate(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool.join()
            self._pool = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)


POOL_OPTIONS = ("initializer", "initargs", "maxtasksperchild", "timeout", "retries", "on_worker_death", "on_exit", "env",
                "max_memory", "idle_timeout")


def register_joblib(name: str = "poolctl", make_default: bool = False) -> None:
    """Makes `joblib.parallel_config(name)` use poolctl's workers."""
    register_parallel_backend(name, PoolctlBackend, make_default=make_default)
