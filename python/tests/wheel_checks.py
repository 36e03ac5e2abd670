"""Builds the wheel, installs it into a fresh environment, and uses it as somebody who did nothing else.

Run by a Python that has maturin: `python wheel_checks.py`. Nothing but the wheel is installed, nothing of this
repository is on a path, and the binary is neither on PATH nor named by the environment.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest
import venv
import zipfile

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
PATIENCE = 120

PROGRAM = """
    import os, poolctl

    def square(x):
        return x * x

    def pid(_):
        return os.getpid()

    if __name__ == "__main__":
        with poolctl.Pool(2) as pool:
            print(sum(pool.map(square, range(1000))), os.getpid() in pool.map(pid, range(10)))
        with poolctl.Executor(2) as executor:
            print(executor.submit(square, 12).result())
"""


@unittest.skipIf(importlib.util.find_spec("maturin") is None, f"{sys.executable} has no maturin, which builds wheels")
class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.top = pathlib.Path(cls.folder.name)
        build = [sys.executable, "-m", "maturin", "build", "--release", "--out", str(cls.top)]
        subprocess.run(build, cwd=PACKAGE, check=True)
        [cls.wheel] = cls.top.glob("*.whl")
        venv.create(cls.top / "venv", with_pip=True)
        cls.bin = cls.top / "venv/bin"
        cls.ran("python", "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", str(cls.wheel))

    @classmethod
    def ran(cls, program, *arguments):
        """What a program of the environment prints; its error output is part of what a failure shows."""
        clean = {"PATH": os.defpath, "HOME": str(cls.top), "LANG": "C.UTF-8"}
        ended = subprocess.run([cls.bin / program, *arguments], cwd=cls.top, env=clean, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=PATIENCE, check=False)
        if ended.returncode != 0 or ended.stderr:
            raise AssertionError(f"{program} {arguments} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def test_it_holds_the_package_the_binary_the_types_and_the_licenses_only(self):
        files = zipfile.ZipFile(self.wheel).namelist()
        info = next(name.split("/")[0] for name in files if ".dist-info/" in name)
        data = info.replace(".dist-info", ".data")

        expected = {f"poolctl/{path.relative_to(PACKAGE / 'src/poolctl')}"
                    for path in (PACKAGE / "src/poolctl").rglob("*")
                    if path.is_file() and "__pycache__" not in path.parts}
        expected |= {f"{data}/scripts/poolctl"}
        expected |= {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE-MIT",
                                                   "licenses/LICENSE-APACHE")}
        self.assertEqual({name for name in files if "/sboms/" not in name}, expected)
        self.assertIn("poolctl/py.typed", files)

    def test_the_command_is_there_and_has_the_version_of_the_package(self):
        version = self.ran("python", "-c", "from importlib.metadata import version; print(version('poolctl'))")

        self.assertEqual(self.ran("poolctl", "--version"), f"poolctl {version}")

    def test_a_function_of_the_main_module_is_mapped_by_other_processes(self):
        program = self.top / "program.py"
        program.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")

        self.assertEqual(self.ran("python", str(program)), "332833500 False\n144\n")

    def test_importing_it_starts_and_imports_little(self):
        told = self.ran("python", "-c", textwrap.dedent("""
            import sys, threading
            before = set(sys.modules)
            import poolctl
            import os
            heavy = {"numpy", "joblib", "cloudpickle", "tqdm", "multiprocessing.managers"}
            children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
            print(sorted(heavy & set(sys.modules)), threading.active_count(), children)
        """))

        self.assertEqual(told, "[] 1 []\n")


if __name__ == "__main__":
    unittest.main()
