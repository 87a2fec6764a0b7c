"""Where the programs and libraries that are built look for their libraries: nowhere that follows the current folder.

An element of a run path that is empty or relative means the current folder: whoever can write there runs code as
whoever starts bitfall.

usage: rpath_test.py BUILD_DIR CXX [unittest arguments]
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv[1]).resolve()
CXX = sys.argv[2]
# What the library says that is planted in the current folder.
PLANTED = '#include <cstdio>\n__attribute__((constructor)) static void loaded() { std::fclose(std::fopen("loaded", "w")); }\n'


def elf_files(*folders):
    """Programs and shared libraries below the folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        yield path


def dynamic(path, kinds):
    """The values of these entries of the file's dynamic section."""
    table = subprocess.run(
        ["readelf", "--dynamic", "--wide", path], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    return re.findall(rf"\((?:{kinds})\)[^\[]*\[(.*)\]$", table, re.MULTILINE)


def problems(path):
    """What the loader would look up in the current folder, or in a folder relative to it."""
    found = []
    for run_path in dynamic(path, "RPATH|RUNPATH"):
        for element in run_path.split(":"):
            if not element.startswith("/") and not re.match(r"\$(ORIGIN|\{ORIGIN\})(/|$)", element):
                found.append(f"{path}: the element '{element}' of the run path '{run_path}'")
    for name in dynamic(path, "NEEDED"):
        if "/" in name and not name.startswith("/"):
            found.append(f"{path}: needs '{name}'")
    return found


class RunPaths(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_rpath_"))
        cls.installed = cls.folder / "installed"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.installed], check=True, stdout=subprocess.DEVNULL)
        (cls.folder / "planted.cc").write_text(PLANTED)
        cls.planted = cls.built("libplanted.so", "planted.cc", "-shared", "-fPIC", "-Wl,-soname,libplanted.so")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def built(cls, name, *arguments):
        subprocess.run([CXX, *arguments, "-o", name], check=True, cwd=cls.folder)
        return cls.folder / name

    def needing(self, name, run_path):
        """A program with this run path that needs libplanted.so."""
        (self.folder / "main.cc").write_text("int main() {}\n")
        return self.built(name, "main.cc", "-Wl,--no-as-needed", self.planted, f"-Wl,-rpath,{run_path}")

    def loads_planted(self, *command):
        """Whether the program loads a library from the current folder that has the name of one it needs."""
        current = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        for name in dynamic(command[0], "NEEDED"):
            shutil.copy(self.planted, current / name)
        environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        done = subprocess.run(command, cwd=current, env=environment, capture_output=True, text=True)
        return (current / "loaded").exists() or done.returncode != 0  # a symbol may be missed before code runs

    def test_no_element_follows_the_current_folder(self):
        files = list(elf_files(BUILD / "bin", BUILD / "lib", BUILD / "tests", self.installed))
        self.assertGreater(len(files), 10, "was the project built?")
        self.assertEqual([], [problem for path in files for problem in problems(path)])

    def test_a_library_in_the_current_folder_is_not_loaded(self):
        programs = [[path, "--version"] for path in elf_files(BUILD / "bin", self.installed / "bin")]
        programs += [[path, "--gtest_list_tests"] for path in (BUILD / "tests").glob("store_tests")]
        self.assertTrue(programs, "was the project built?")
        for command in programs:
            self.assertFalse(self.loads_planted(*command), command[0])

    def test_bad_run_paths_are_seen(self):
        for number, run_path in enumerate(["/usr/lib:", ":/usr/lib", "/usr/lib::/lib", "lib", "./lib", "$ORIGINAL"]):
            program = self.needing(f"bad{number}", run_path)
            self.assertEqual(1, len(problems(program)), run_path)
        for number, run_path in enumerate(["/usr/lib", "$ORIGIN", "$ORIGIN/../lib:/usr/lib", "${ORIGIN}/lib"]):
            self.assertEqual([], problems(self.needing(f"good{number}", run_path)), run_path)
        self.built("libnameless.so", "planted.cc", "-shared", "-fPIC")  # is needed by the path it was linked by
        program = self.built("relative", "main.cc", "-Wl,--no-as-needed", "./libnameless.so")
        self.assertEqual([f"{program}: needs './libnameless.so'"], problems(program))

    def test_a_bad_run_path_loads_what_is_planted(self):
        self.assertTrue(self.loads_planted(self.needing("trusting", "/usr/lib:")))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
