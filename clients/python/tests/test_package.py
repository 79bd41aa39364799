"""The package as it is installed."""
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

HERE = pathlib.Path(__file__).parent.parent


class Package(unittest.TestCase):
    def test_the_wheel_holds_all_of_it(self):
        with tempfile.TemporaryDirectory() as work:
            # setuptools leaves its work in the source tree: it gets a copy.
            copy = pathlib.Path(work, "copy")
            subprocess.run(["cp", "-r", HERE, copy], check=True)
            subprocess.run(
                [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--no-build-isolation", "--no-index", "--wheel-dir", work, copy], check=True)
            wheel, = pathlib.Path(work).glob("*.whl")
            with zipfile.ZipFile(wheel) as opened:
                held = {name for name in opened.namelist() if name.startswith("stonetown/")}
        source = HERE / "src"
        wanted = {str(file.relative_to(source)) for file in (source / "stonetown").rglob("*")
                  if file.suffix in (".py", ".pyi", ".typed")}
        self.assertEqual(held, wanted)
        self.assertIn("stonetown/py.typed", held)

    def test_types_hold(self):
        checked = subprocess.run([sys.executable, "-m", "mypy", "--no-incremental", "src"], cwd=HERE, capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main()
