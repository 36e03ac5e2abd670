"""Runs joblib's own tests of parallel loops with poolctl as their backend.

Needs joblib, pytest, cloudpickle and numpy in the interpreter that runs this, and the package on PYTHONPATH or
installed. joblib ships its tests with itself, so nothing else has to be fetched. What is skipped is told with its reason.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "src"
sys.path.insert(1, str(HERE.parent))

import supervised_suite  # noqa: E402
from skips import SKIPS  # noqa: E402

NEEDED = ("joblib", "pytest", "cloudpickle", "numpy")
TESTS = "joblib.test.test_parallel"


def main():
    options = _options()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"joblib's tests are skipped: {sys.executable} has no {', '.join(missing)}")
        print("Ran 1 test in 0s\n\nOK (skipped=1)")
        return 0
    folders = [str(HERE)] if options.installed else [str(HERE), str(SOURCES)]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders + list(filter(None, [os.environ.get("PYTHONPATH")])))
    os.environ["POOLCTL_TESTED_BACKEND"] = options.register
    with tempfile.TemporaryDirectory() as folder:
        return run(options, pathlib.Path(folder, "items.json"))


def run(options, list_of_items):
    suite = collected(options, list_of_items)
    passed = suite.run(options.limit).report()
    supervised_suite.table([suite])
    supervised_suite.total("joblib's own tests", [suite])
    return 0 if passed else 1


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="TEST", help="functions or items to run; everything if not given")
    parser.add_argument("--register", default="poolctl.joblib_backend:register_joblib", metavar="MODULE:FUNCTION",
                        help="what registers the backend; stand_in:register shows what the tests themselves need")
    parser.add_argument("--limit", type=float, default=120, help="seconds until a test counts as hanging")
    parser.add_argument("--unskip", action="store_true", help="run what skips.py lists too")
    parser.add_argument("--installed", action="store_true", help="take the installed package, not the sources beside")
    return parser.parse_args()


class Collection(supervised_suite.Suite):
    """The items that pytest finds, learned from a process that runs none of them."""

    def __init__(self, command):
        super().__init__("collection", ["collect"], command)
        self.items = []
        self.all = 0

    def told(self, line, current):
        self.items, self.all = line["items"], line["all"]
        self.outcomes["collect"] = ("passed", "")
        return current


def collected(options, list_of_items):
    """The suite of all items that concern the backend, the listed ones skipped."""
    def command(descriptor, items=None):
        line = [sys.executable, "-m", "pytest", "-p", "backend_plugin", "-p", "no:cacheprovider", "-q", "--tb=short"]
        line += ["--limit", str(options.limit), "--told", str(descriptor)]
        return line + (["--items", items] if items else []) + ["--pyargs", TESTS]

    collection = Collection(lambda descriptor, _: command(descriptor))
    if not collection.run(options.limit).items:
        print(*(detail for _, detail in collection.outcomes.values()), sep="\n")
        print("FAILED (errors=1)")
        sys.exit("nothing was collected")
    chosen = [item for item in collection.items if not options.only or wanted(item, options.only)]
    print(f"{len(collection.items)} of {collection.all} items concern the backend; {len(chosen)} were asked for")
    for name in [*SKIPS, *options.only]:
        if not any(wanted(item, [name]) for item in collection.items):
            sys.exit(f"there is no item {name}")
    def listed(descriptor, items):
        list_of_items.write_text(json.dumps(items), encoding="utf-8")
        return command(descriptor, str(list_of_items))

    suite = supervised_suite.Suite("test_parallel", chosen, listed)
    for item in chosen:
        reasons = [reason for name, reason in SKIPS.items() if wanted(item, [name])]
        if reasons and not options.unskip:
            suite.skip(item, reasons[0])
    return suite


def wanted(item, names):
    """Whether `item` or its function is among `names`."""
    return item in names or item.partition("[")[0] in names


if __name__ == "__main__":
    sys.exit(main())
