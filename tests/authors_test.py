#!/usr/bin/env python3
"""Plugins as their authors make them, from an installed tree alone: new, build, check, use.

usage: authors_test.py BUILD [unittest arguments]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy
import torch

BUILD = Path(sys.argv.pop(1)).resolve()
KINDS = {
    "format": "log8",
    "error_model": "channel_flip",
    "metric": "top_k",
    "head_init": "orthogonal",
    "protection": "clamp",
}
CLANG = next((name for name in ("clang++", "clang++-16") if shutil.which(name)), None)
COMPILERS = ["g++", *([CLANG] if CLANG else [])]
LIBCXX = f"{CLANG} -stdlib=libc++"


def has_libcxx():
    if CLANG is None:
        return False
    command = [*LIBCXX.split(), "-std=c++20", "-fsyntax-only", "-xc++", "-"]
    return subprocess.run(command, input=b"#include <array>\n", capture_output=True).returncode == 0


class Authors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_authors_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = cls.folder / "installed tree"
        subprocess.run(
            ["cmake", "--install", BUILD, "--prefix", cls.prefix], check=True, stdout=subprocess.DEVNULL
        )
        cls.program = cls.prefix / "bin" / "bitfall"
        # As pip does with what a wheel brings: a folder __pycache__ beside each script.
        subprocess.run([sys.executable, "-m", "compileall", "-q", cls.prefix / "share"], check=True)

    def bitfall(self, *arguments, code=0, cwd=None, **variables):
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            env=dict(os.environ, **variables),
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def shell(self, command, cwd, **variables):
        done = subprocess.run(
            command, shell=True, cwd=cwd, capture_output=True, text=True, env=dict(os.environ, **variables)
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def commands(self, told):
        """What `plugin new` printed, without the `cd` ahead."""
        lines = [line.strip() for line in told.splitlines() if line.startswith("  ")]
        self.assertTrue(lines[0].startswith("cd "), told)
        self.assertEqual(len(lines), 4, told)
        return lines[1:]

    def test_each_kind_is_made_built_checked_and_used(self):
        for kind, example in KINDS.items():
            for compiler in COMPILERS:
                with self.subTest(kind=kind, compiler=compiler):
                    name = f"my_{example}"
                    folder = self.folder / f"{name} {compiler}"
                    told = self.bitfall("plugin", "new", kind, name, "--dir", folder, "--group", "my_lab")
                    build, check, use = self.commands(told)
                    self.shell(build, folder, CXX=compiler)
                    checked = self.shell(check, folder)
                    self.assertRegex(checked, r"\d+ checks, all passed")
                    self.assertIn(f"{kind}/my_lab/{name}", checked)
                    self.shell(use, folder)
                    run = json.loads(self.bitfall("status", folder / "build/run", "--json"))
                    self.assertTrue(run["finished"], run)
                    self.assertGreater(run["done"], 0)
                    # Nothing of the example's own name is left.
                    self.assertFalse(list(folder.rglob(f"{example}.*")))
                    for file in folder.iterdir():
                        if file.is_file():
                            self.assertIsNone(re.search(rf"(?<!my_)\b{example}\b", file.read_text()), file)

    @unittest.skipUnless(has_libcxx(), "no clang with libc++ (clang-16, libc++-16-dev)")
    def test_libcxx_gives_the_same_bytes(self):
        for kind, example in (("format", "log8"), ("metric", "top_k")):
            digests = []
            for compiler in ("g++", LIBCXX):
                name = f"std_{example}"
                folder = self.folder / f"{name} {compiler.replace('/', '_')}"
                told = self.bitfall("plugin", "new", kind, name, "--dir", folder)
                build, check, use = self.commands(told)
                self.shell(build, folder, CXX=compiler)
                self.assertRegex(self.shell(check, folder), r"\d+ checks, all passed")
                self.shell(use, folder)
                digests.append(json.loads(self.bitfall("status", folder / "build/run", "--json"))["digest"])
            self.assertEqual(*digests)
            listed = self.bitfall("plugin", "info", name, "--plugin", folder / f"build/{name}.so")
            self.assertIn("standard library libc++", listed)

    def test_cmake_finds_the_sdk(self):
        root = self.folder / "cmake"
        root.mkdir()
        (root / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(all LANGUAGES CXX)\ninclude(CTest)\n"
            "find_package(Bitfall 0.1 REQUIRED)\n"
            "message(STATUS \"ABI ${BITFALL_ABI} program ${BITFALL_PROGRAM}\")\n"
            + "".join(f"bitfall_add_plugin(c_{e} {k}/c_{e}.cc)\n" for k, e in KINDS.items())
        )
        for kind, example in KINDS.items():
            self.bitfall("plugin", "new", kind, f"c_{example}", "--dir", root / kind)
        configured = self.shell(f"cmake -B b -DCMAKE_PREFIX_PATH='{self.prefix}'", root)
        header = (self.prefix / "include/bitfall/plugin.h").read_text()
        abi = re.search(r"kAbi = (\d+);", header)[1]
        self.assertIn(f"ABI {abi} program {self.program}", configured)
        self.shell("cmake --build b", root)
        self.assertIn("100% tests passed, 0 tests failed out of 5", self.shell("ctest --test-dir b", root))
        self.shell(f"cmake --install b --prefix '{self.folder}/other'", root)
        listed = self.bitfall("plugin", "list", BITFALL_PLUGIN_PATH=f"{self.folder}/other/lib/bitfall/plugins")
        for example in KINDS.values():
            self.assertIn(f"c_{example}", listed)
        # What a plugin is compiled with came along: the same source asks for nothing itself.
        flags = (root / "b/CMakeFiles/c_log8.dir/flags.make").read_text()
        for flag in ("-ffp-contract=off", "-fno-fast-math", "-std=c++20", "-O2", "-fvisibility=hidden"):
            self.assertIn(flag, flags)
        self.assertIn("-fno-fast-math", (root / "b/CMakeFiles/c_log8.dir/link.txt").read_text())

    def test_one_project_as_it_is_written(self):
        folder = self.folder / "alone"
        self.bitfall("plugin", "new", "metric", "alone", "--dir", folder)
        self.shell(f"cmake -B b -DCMAKE_PREFIX_PATH='{self.prefix}' && cmake --build b && ctest --test-dir b", folder)

    def test_a_version_that_is_not_there_is_refused(self):
        folder = self.folder / "version"
        folder.mkdir()
        (folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(v LANGUAGES CXX)\nfind_package(Bitfall 9.0 REQUIRED)\n"
        )
        done = subprocess.run(
            ["cmake", "-B", "b", f"-DCMAKE_PREFIX_PATH={self.prefix}"], cwd=folder, capture_output=True, text=True
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("9.0", done.stderr)

    def test_new_refuses(self):
        (self.folder / "taken").mkdir()
        for arguments, words in (
            (["format", "taken"], "is there already; nothing was written"),
            (["format", "Has-Capitals"], "small letters, digits and '_'"),
            (["format", "x", "--group", "My Lab"], "small letters, digits and '_'"),
            (["formt", "x"], "there is no kind 'formt' of component; kinds are format, "),
            (["format", "test"], "is one of CMake's own targets"),
            (["format", "fp16"], "there is a format 'fp16' of plugin formats_ieee already"),
        ):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.bitfall("plugin", "new", *arguments, code=2))
        self.assertEqual(list((self.folder / "taken").iterdir()), [])
        for name in ("metric", "options", "edit"):  # classes of the SDK
            folder = self.folder / f"named_{name}"
            build, check, _ = self.commands(self.bitfall("plugin", "new", "metric", name, "--dir", folder))
            self.shell(build, folder)
            self.shell(check + " --only create", folder)
        self.bitfall("plugin", "new", "head", "spelled", "--dir", self.folder / "a")
        self.bitfall("plugin", "new", "error-model", "spelled", "--dir", self.folder / "b")

    def test_flags_need_nothing_else(self):
        flags = self.bitfall("plugin", "flags")
        self.assertIn("-std=c++20", flags)
        self.assertIn("-ffp-contract=off", flags)

    def test_check_ends_with_3_and_tells_in_json(self):
        faulty = BUILD / "tests/plugins/faulty.so"
        told = self.bitfall("plugin", "check", faulty, "--only", "half_event columns", code=3)
        self.assertIn("metric/half_event", told)
        self.assertIn("1 check, 1 not passed", told)
        told = json.loads(
            self.bitfall("plugin", "check", faulty, "--only", "format/good_format", "--json", "--seed", 5)
        )
        self.assertEqual((told["schema"], told["seed"], told["failures"]), ("bitfall.plugin_check/1", 5, 0))
        self.assertIn("any_state", self.bitfall("plugin", "check", "--list"))
        self.assertIn("name the shared library", self.bitfall("plugin", "check", code=2))
        self.bitfall("plugin", "check", self.folder / "none.so", code=4)

    def example(self, name):
        return BUILD / "tests/plugins/examples" / f"{name}.so"

    def test_log8_against_numpy(self):
        rng = numpy.random.default_rng(1)
        values = numpy.concatenate(
            [rng.standard_normal(500) * 2.0 ** rng.integers(-20, 20, 500), [0, 1e-30, 3e38, -3e38]]
        ).astype(numpy.float32)
        (self.folder / "values.txt").write_text("\n".join(repr(float(v)) for v in values))
        told = self.bitfall("convert", "log8", "--plugin", self.example("log8"), "--json", "-f", "values.txt")
        rows = [json.loads(line) for line in told.splitlines()]
        with numpy.errstate(divide="ignore"):
            e = numpy.rint(4 * numpy.log2(numpy.abs(values.astype(numpy.float64)))) + 64
        e = numpy.where(e < 1, 0, numpy.minimum(e, 127)).astype(int)
        expected = numpy.where(e == 0, 0, numpy.exp2((e - 64) / 4)).astype(numpy.float32)
        expected = numpy.where(numpy.signbit(values), -expected, expected)
        codes = e + 128 * numpy.signbit(values)
        self.assertEqual([int(row["code"], 16) for row in rows], codes.tolist())
        numpy.testing.assert_array_equal(
            numpy.array([row["decoded"] for row in rows], numpy.float32), expected
        )

    def test_orthogonal_against_numpy(self):
        network = self.prefix / "share/bitfall/examples/network/model.pt"
        self.bitfall(
            "head", "attach", network, "--init", "orthogonal", "--plugin", self.example("orthogonal"),
            "--set", "gain=3", "-o", "head.pt",
        )  # fmt: skip
        model = torch.jit.load(str(self.folder / "head.pt"))
        (weight,) = [p for n, p in model.named_parameters() if p.shape == (5, 24)]
        weight = weight.detach().numpy().astype(numpy.float64)
        numpy.testing.assert_allclose(weight @ weight.T, 9 * numpy.eye(5), atol=1e-5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
