#!/usr/bin/env python3
"""Packs: made, tampered with, signed by minisign, added, used in a campaign, removed.

usage: packs_test.py PROGRAM [unittest arguments]
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = Path(sys.argv.pop(1)).resolve()
MINISIGN = shutil.which("minisign")


def can_sandbox():
    if not shutil.which("bwrap"):
        return False
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


class Packs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_packs_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.environment = dict(
            os.environ,
            XDG_DATA_HOME=str(cls.folder / "data home"),
            XDG_CONFIG_HOME=str(cls.folder / "config"),
        )
        cls.trust = [] if can_sandbox() else ["--trust"]
        cls.bitfall("plugin", "new", "format", "nine", "--group", "my_lab")
        cls.made = cls.bitfall("plugin", "pack", "nine")
        cls.pack = cls.folder / "nine-1.0.bfp"

    @classmethod
    def bitfall(cls, *arguments, code=0, **variables):
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=cls.folder,
            capture_output=True,
            text=True,
            env=dict(cls.environment, **variables),
        )
        if done.returncode != code:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def unpacked(self, name):
        """The pack's files, and a folder of them."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with subprocess.Popen(["tar", "--zstd", "-xf", self.pack, "-C", folder]) as process:
            self.assertEqual(process.wait(), 0)
        return folder

    def packed(self, folder, name, sums=True):
        """A folder as a pack of the test's own making, with right sums if asked."""
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
        if sums:
            lines = [
                f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}\n" for p in files
            ]
            (folder / "SHA256SUMS").write_text("".join(lines))
        made = self.folder / name
        with tarfile.open(made, "w:gz") as archive:
            for path in [folder / "SHA256SUMS", *files]:
                archive.add(path, str(path.relative_to(folder)))
        return made

    def test_1_verify_says_what_it_holds(self):
        self.assertIn("its test campaign gave digest", self.made)
        said = self.bitfall("plugin", "verify", self.pack)
        for words in ("nine 1.0", "format my_lab/nine", "not signed", "all sums are right"):
            self.assertIn(words, said)
        before = self.pack.read_bytes()
        self.bitfall("plugin", "pack", "nine", "-o", "again.bfp")
        with_same_name = (self.folder / "again.bfp").read_bytes()
        self.assertEqual(before, with_same_name)  # equal sources give equal packs

    def test_2_tampered_packs_are_refused(self):
        source = self.unpacked("changed")
        (source / "nine.cc").write_text((source / "nine.cc").read_text() + "// one more line\n")
        said = self.bitfall("plugin", "add", self.packed(source, "sum.bfp", sums=False), code=4)
        self.assertIn("'nine.cc' is not what was packed", said)
        bytes_ = bytearray(self.pack.read_bytes())
        bytes_[len(bytes_) // 2] ^= 1
        (self.folder / "bit.bfp").write_bytes(bytes_)
        self.bitfall("plugin", "add", "bit.bfp", code=4)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("../../escaped")
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
        (self.folder / "dots.bfp").write_bytes(gzip.compress(archive.getvalue()))
        self.assertIn("a name with '..'", self.bitfall("plugin", "add", "dots.bfp", code=4))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
            tar.addfile(entry)
        (self.folder / "link.bfp").write_bytes(gzip.compress(archive.getvalue()))
        self.assertIn("the link 'link'", self.bitfall("plugin", "verify", "link.bfp", code=4))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("bomb")
            entry.size = 300 << 20
            with open("/dev/zero", "rb") as zeros:
                tar.addfile(entry, zeros)
        (self.folder / "bomb.bfp").write_bytes(gzip.compress(archive.getvalue(), 1))
        self.assertIn("unpacks to more than 256 MiB", self.bitfall("plugin", "add", "bomb.bfp", code=4))
        source = self.unpacked("old")
        manifest = json.loads((source / "pack.json").read_text())
        (source / "pack.json").write_text(json.dumps(manifest | {"abi": 3}))
        said = self.bitfall("plugin", "add", self.packed(source, "old.bfp"), code=4)
        self.assertIn("was made for ABI 3", said)
        self.assertFalse((self.folder / "data home").exists())
        self.assertFalse((self.folder.parent / "escaped").exists())

    def test_3_a_pack_that_gives_something_else_is_not_added(self):
        source = self.unpacked("other")
        expected = json.loads((source / "expected.json").read_text())
        codes = expected["codes"]["my_lab/nine"]
        self.assertEqual(len(codes), 256)
        codes[20] = codes[21]
        (source / "expected.json").write_text(json.dumps(expected))
        said = self.bitfall("plugin", "add", self.packed(source, "codes.bfp"), *self.trust, code=3)
        self.assertIn("gives another code here", said)
        source = self.unpacked("broken")
        (source / "nine.cc").write_text("this is no C++\n")
        said = self.bitfall("plugin", "add", self.packed(source, "broken.bfp"), *self.trust, code=3)
        self.assertIn("it does not compile", said)
        self.assertEqual(self.installed(), [])

    def installed(self):
        place = self.folder / "data home/bitfall/plugins"
        return sorted(p.name for p in place.iterdir()) if place.exists() else []

    def test_3_a_pack_that_changes_its_files_is_not_added(self):
        source = self.unpacked("spoiling")
        text = (source / "nine.cc").read_text()
        spoils = "#include <fstream>\nstatic const bool spoils = (std::ofstream(%s, std::ios::app) << 'x', true);\n"
        itself = "it changes its own files when it runs"
        cases = {'"nine.cc"': itself, '"SHA256SUMS"': itself, '"build/nine.so"': "changed while it was looked at"}
        for file, words in cases.items():
            (source / "nine.cc").write_text(spoils % file + text)
            said = self.bitfall("plugin", "add", self.packed(source, "spoiling.bfp"), *self.trust, "--unsigned", code=3)
            self.assertIn(words, said)
        self.assertEqual(self.installed(), [])

    def test_3_ctrl_c_ends_what_is_built_and_leaves_nothing(self):
        slow = self.folder / "slow_compiler"
        slow.write_text("#!/bin/sh\nsleep 300\n")
        slow.chmod(0o755)
        place = self.folder / "temporary"
        for words in (("add", self.pack, *self.trust), ("pack", "nine", "-o", "late.bfp")):
            place.mkdir()
            process = subprocess.Popen(
                [PROGRAM, "plugin", *map(str, words)], cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                text=True, env=dict(self.environment, CXX=str(slow), TMPDIR=str(place)))  # fmt: skip
            while "building it" not in process.stderr.readline():
                pass
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 75, err)
            self.assertIn("stopped", err)
            self.assertLess(time.monotonic() - started, 30)
            self.assertEqual(list(place.iterdir()), [])
            place.rmdir()
        self.assertFalse((self.folder / "late.bfp").exists())
        self.assertNotIn("nine", self.bitfall("plugin", "list"))

    def test_4_added_used_and_removed(self):
        said = self.bitfall("plugin", "add", self.pack, *self.trust)
        self.assertIn("the same digest", said)
        (installed,) = self.installed()
        self.assertTrue(installed.startswith("my_lab@nine-1.0-"), installed)
        listed = json.loads(self.bitfall("plugin", "list", "--json"))
        (plugin,) = [p for p in listed["plugins"] if p["name"] == "nine"]
        self.assertFalse(plugin["loaded"])
        # A campaign that names the id alone, and its run without the pack.
        text = (self.folder / "nine/test.toml").read_text()
        text = text.replace('paths = ["build/nine.so"]', "paths = []").replace("build/run", "used")
        (self.folder / "nine/alone.toml").write_text(text)
        self.bitfall("run", "nine/alone.toml")
        self.assertIn("removed", self.bitfall("plugin", "remove", "nine"))
        self.assertEqual(self.installed(), [])
        self.assertIn("equal", self.bitfall("replay", "nine/used", "--trial", "3"))
        self.assertIn("unknown format", self.bitfall("run", "nine/alone.toml", "-o", "no", code=2))
        self.assertIn("no pack 'nine' was added", self.bitfall("plugin", "remove", "nine", code=2))

    def test_4_packs_of_one_name_in_two_groups(self):
        self.bitfall("plugin", "new", "format", "nine", "--group", "other_lab", "--dir", "theirs")
        (self.folder / "theirs/données.txt").write_text("a name in UTF-8")
        self.bitfall("plugin", "pack", "theirs", "-o", "theirs.bfp", LC_ALL="C")
        self.assertIn("other_lab/nine", self.bitfall("plugin", "verify", "theirs.bfp", LC_ALL="C"))
        for pack in (self.pack, "theirs.bfp"):
            self.bitfall("plugin", "add", pack, *self.trust)
        self.assertEqual(sorted(name.split("-")[0] for name in self.installed()), ["my_lab@nine", "other_lab@nine"])
        said = self.bitfall("plugin", "remove", "nine", code=2)
        self.assertIn("short name of several, say which: my_lab/nine, other_lab/nine", said)
        self.bitfall("plugin", "remove", "other_lab/nine")
        self.bitfall("plugin", "remove", "nine")
        self.assertEqual(self.installed(), [])
        # What could not be added is not packed.
        (self.folder / "theirs" / ("n" * 201)).write_text("a long name")
        self.assertIn("200 bytes", self.bitfall("plugin", "pack", "theirs", "-o", "theirs.bfp", code=4))

    def test_5_without_bubblewrap_nothing_is_built_unless_trusted(self):
        tools = self.folder / "tools"
        tools.mkdir()
        for name in ("g++", "as", "ld"):
            (tools / name).symlink_to(shutil.which(name))
        said = self.bitfall("plugin", "add", self.pack, code=2, PATH=str(tools))
        self.assertIn("bubblewrap (bwrap) is not installed", said)
        self.assertIn("--trust", said)

    @unittest.skipUnless(MINISIGN, "minisign is not installed")
    def test_6_signatures(self):
        signed = self.folder / "signed.bfp"
        signed.write_bytes(self.pack.read_bytes())
        keys = {}
        for who in ("authors", "others"):
            keys[who] = self.folder / f"{who}.pub"
            secret = self.folder / f"{who}.key"
            subprocess.run([MINISIGN, "-G", "-W", "-p", keys[who], "-s", secret], check=True, capture_output=True)
        subprocess.run(
            [MINISIGN, "-S", "-s", self.folder / "authors.key", "-m", signed, "-t", "nine 1.0"],
            check=True, capture_output=True,
        )  # fmt: skip
        said = self.bitfall("plugin", "verify", signed, code=4)
        self.assertIn("the signer's key is not known", said)
        said = self.bitfall("plugin", "verify", signed, "--key", keys["others"], code=4)
        self.assertIn("was signed with another key", said)
        key = keys["authors"].read_text().splitlines()[1]
        self.assertIn(": nine 1.0", self.bitfall("plugin", "verify", signed, "--key", key))
        self.bitfall("plugin", "add", signed, "--key", keys["authors"], *self.trust)
        # The key is known now: another, or none, is refused.
        self.bitfall("plugin", "verify", signed)
        said = self.bitfall("plugin", "add", self.pack, *self.trust, code=4)
        self.assertIn("is not signed", said)
        said = self.bitfall("plugin", "verify", signed, "--key", keys["others"], code=4)
        self.assertIn("earlier packs of my_lab/nine were signed with key", said)
        changed = bytearray(signed.read_bytes())
        changed[-1] ^= 1
        other = self.folder / "changed.bfp"
        other.write_bytes(changed)
        shutil.copy(f"{signed}.minisig", f"{other}.minisig")
        self.bitfall("plugin", "verify", other, code=4)
        self.bitfall("plugin", "remove", "nine", "--forget-key")
        self.bitfall("plugin", "verify", self.pack)


if __name__ == "__main__":
    unittest.main(verbosity=2)
