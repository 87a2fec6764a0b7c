"""What a wheel would have to take along of this build: its libraries are those of scripts/python/wheel_libraries.py, and none
asks for a newer glibc than the wheel may. scripts/python/build_wheel.sh makes and checks the wheel itself; this takes a second.

usage: wheel_test.py BUILD_DIR CXX [unittest arguments]
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv[1]).resolve()
CXX = sys.argv[2]
sys.path.insert(0, str(SOURCE / "scripts/python"))
from wheel_libraries import BUNDLED, GLIBC, STATIC, is_given  # noqa: E402


def said(*command):
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout


def needed(path):
    """The libraries that the file names."""
    return re.findall(r"\(NEEDED\)[^\[]*\[(.*)\]$", said("readelf", "--dynamic", "--wide", path), re.MULTILINE)


def glibc(path):
    """The newest version of glibc's symbols that the file asks for."""
    versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", said("readelf", "--version-info", "--wide", path))
    return max(((int(major), int(minor)) for major, minor in versions), default=(0, 0))


def places():
    """Where this system has its libraries."""
    found = re.findall(r"^\s+(\S+) \(.*x86-64.*\) => (.*)$", said("/sbin/ldconfig", "-p"), re.MULTILINE)
    return {name: path for name, path in reversed(found)}


def brought(path):
    """{library: path} of all that the file needs beside what is given; nothing of what is linked statically."""
    system, found, left = places(), {}, [path]
    while left:
        for name in needed(left.pop()):
            if is_given(name) or name in found:
                continue
            more = STATIC.get(name)
            if more is None:
                found[name] = system[name]
                left.append(system[name])
            else:
                found.update({other: system[other] for other in more})
    return found


def files():
    return [BUILD / "bin/bitfall", BUILD / "bin/bitfall-torch", *sorted((BUILD / "lib/bitfall/plugins").glob("*.so"))]


@unittest.skipUnless("Debian GNU/Linux 12" in pathlib.Path("/etc/os-release").read_text(), "wheels are made on Debian 12")
class Wheel(unittest.TestCase):
    def test_takes_along_what_is_listed(self):
        found = {}
        for file in files():
            found.update(brought(file))
        self.assertEqual(set(found) - set(BUNDLED), set(), "new to the wheel: look at what it brings, then list it")
        self.assertEqual(set(BUNDLED) - set(found), set(), "listed, and not needed any more")
        self.assertEqual(set(STATIC) - {name for file in files() for name in needed(file)}, set(), "not needed any more")

    def test_asks_for_no_newer_glibc(self):
        for file in [*files(), *map(pathlib.Path, brought(files()[0]).values())]:
            self.assertLessEqual(glibc(file), GLIBC, file)

    def test_a_new_library_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "main.cc").write_text("int main() {}\n")
            new = places()["libxml2.so.2"]  # there, since libarchive needs it
            subprocess.run([CXX, "main.cc", "-o", "program", "-Wl,--no-as-needed", new], check=True, cwd=folder)
            self.assertIn("libxml2.so.2", set(brought(folder / "program")) - set(BUNDLED))

    def test_a_newer_glibc_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "main.cc").write_text("#include <cstdlib>\nint main() { return arc4random() == 0; }\n")
            subprocess.run([CXX, "main.cc", "-o", "program"], check=True, cwd=folder)
            self.assertGreater(glibc(folder / "program"), GLIBC)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
