"""Tests of joblib's that are not run with poolctl as the backend: function, or function with parameters → why."""

_MEMMAPS = "expects joblib's files mapped by numpy; arrays travel in memory of their own here, and stay writable"

SKIPS = {
    "test_parallel_pickling": "expects loky's own words for what cannot be pickled; here the error comes as it is",
    "test_auto_memmap_on_arrays_from_generator[poolctl]": _MEMMAPS,
    "test_memmapping_leaks[poolctl]": _MEMMAPS,
}
