"""joblib's own loky, registered as "poolctl": with it the runner shows what the tests themselves need."""

from joblib import register_parallel_backend
from joblib.parallel import BACKENDS


class PoolctlBackend(BACKENDS["loky"]):
    pass


def register():
    register_parallel_backend("poolctl", PoolctlBackend)
