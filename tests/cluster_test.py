"""One campaign on many machines: plan, work, status, merge, through kills, a held shard and what does not fit; the twins of
the command line that schedulers and continuous integration use.

usage: cluster_test.py PROGRAM [unittest arguments]
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

import numpy
import torch
from torch import nn

warnings.filterwarnings("ignore")
PROGRAM = pathlib.Path(sys.argv[1]).resolve()


def bitfall(*arguments, expect=0, **environment):
    """Runs the program; returns (stdout, stderr)."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})  # fmt: skip
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


def said(*arguments, **options):
    return json.loads(bitfall(*arguments, "--json", **options)[0])


class Case(unittest.TestCase):
    """A small network, 21 images in 6 chunks of 4, and a campaign over activations and weights."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_cluster_"))
        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5))
        torch.jit.script(network.eval()).save(str(cls.folder / "net.pt"))
        random = numpy.random.default_rng(3)
        numpy.save(cls.folder / "x.npy", random.standard_normal((21, 3, 8, 8), dtype=numpy.float32))
        numpy.save(cls.folder / "y.npy", numpy.arange(21) % 5)
        cls.campaign = cls.campaign_file("campaign")
        bitfall("run", cls.campaign, "-o", cls.folder / "whole")
        cls.digest = said("status", cls.folder / "whole")["digest"]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def campaign_file(cls, name, per_site=50, run="batch = 4\nthreads = 1\nworkers = 1\n", more=""):
        path = cls.folder / f"{name}.toml"
        path.write_text(
            f"""[campaign]
seed = 7
hit_value = "clamped"
[model]
path = "net.pt"
[data]
path = "x.npy"
labels = "y.npy"
preprocess = {{ scale = 1.0 }}
[format]
id = "int8"
[[faults]]
per_site = {per_site}
[[faults]]
target = "weight"
per_site = 3
permanent = true
{more}
[run]
{run}"""
        )
        return path

    def long_campaign(self, name, per_site=4000):
        """Some seconds long: without the shortcuts, which change no result."""
        run = "batch = 4\nthreads = 1\nworkers = 1\ncommit_every = 20\nsuffix = false\nearly_stop = false\nshare = false\n"
        return self.campaign_file(name, per_site=per_site, run=run + "regions = false\n")

    def plan(self, name, shards, campaign=None, *more):
        directory = self.folder / name
        bitfall("plan", campaign or self.campaign, "-o", directory, "--shards", shards, "--no-estimate", *more)
        return directory


class Shards(Case):
    def test_any_number_of_shards_merges_to_the_undivided_digest(self):
        trials = said("status", self.folder / "whole")["trials"]
        for shards in (1, 2, 6, 7, 20):  # 6 chunks of images
            directory = self.plan(f"plan{shards}", shards)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda k: bitfall("work", directory, k), range(1, shards + 1)))
            done = [said("status", directory / "shards" / f"{k:04d}")["done"] for k in range(1, shards + 1)]
            self.assertEqual(sum(done), trials)
            self.assertLessEqual(max(done) - min(done), 1)
            bitfall("merge", directory)
            self.assertEqual(said("status", directory / "shards" / "0001")["facts"]["shard"], f"1/{shards}")
            self.assertEqual(said("status", directory)["digest"], self.digest)
            self.assertEqual(self.golden(directory), self.golden(self.folder / "whole"))

    def test_trials_of_all_sites_together(self):
        campaign = self.campaign_file("total", per_site=7)
        campaign.write_text(campaign.read_text().replace("[[faults]]\n", "[[faults]]\ntotal = 3000\n[[faults]]\n", 1))
        bitfall("run", campaign, "-o", self.folder / "total_whole")
        directory = self.plan("total", 9, campaign)
        for shard in range(1, 10):
            bitfall("work", directory, shard)
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], said("status", self.folder / "total_whole")["digest"])

    def golden(self, directory):
        with sqlite3.connect(directory / "campaign.sqlite") as database:
            return list(database.execute("SELECT * FROM golden ORDER BY image"))

    def test_more_shards_than_trials(self):
        campaign = self.campaign_file("few", per_site=1)
        campaign.write_text(re.sub(r'\[\[faults\]\]\ntarget = "weight".*?\n\n', "", campaign.read_text(), flags=re.S))
        bitfall("run", campaign, "-o", self.folder / "few")
        shards = [self.folder / f"few{k}" for k in range(1, 6)]
        for k, shard in enumerate(shards, 1):
            bitfall("run", campaign, "--shard", f"{k}/5", "-o", shard)
        bitfall("merge", *shards, "-o", self.folder / "few_merged")
        self.assertEqual(
            said("status", self.folder / "few_merged")["digest"], said("status", self.folder / "few")["digest"]
        )

    def test_a_machine_that_computes_otherwise_is_found(self):
        shards = [self.folder / f"other{k}" for k in (1, 2, 3, 4)]
        for k, shard in enumerate(shards, 1):
            bitfall("run", self.campaign, "--shard", f"{k}/4", "-o", shard)
        with sqlite3.connect(shards[1] / "campaign.sqlite") as database:
            database.execute("UPDATE golden SET loss = loss + 1e-9")
        _, err = bitfall("merge", *shards, "-o", self.folder / "otherwise", expect=4)
        self.assertIn("was changed after the run had finished", err)  # its seal tells first
        self.assertFalse((self.folder / "otherwise" / "campaign.sqlite").exists())


class Work(Case):
    def test_the_same_words_start_go_on_and_finish(self):
        campaign = self.long_campaign("long")
        bitfall("run", campaign, "-o", self.folder / "long_whole")
        directory = self.plan("long", 2, campaign)
        for how, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)):
            process = subprocess.Popen([PROGRAM, "work", directory, "1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.wait_until_done(directory, 1, process)
            process.send_signal(how)
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, code, err)
            if code == 75:
                self.assertIn(f"bitfall work {directory} 1", err)
        _, err = bitfall("merge", directory, expect=75)
        self.assertIn("2 of 2 shards are not finished: 1, 2", err)
        bitfall("work", directory, 1)
        out, err = bitfall("work", directory, 1)
        self.assertIn("finished already", out)
        _, err = bitfall("merge", directory, expect=75)
        self.assertIn("1 of 2 shards are not finished: 2", err)
        bitfall("work", directory, 2)
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], said("status", self.folder / "long_whole")["digest"])

    def wait_until_done(self, directory, shard, process):
        """Until this session has stored something."""
        database = directory / "shards" / f"{shard:04d}" / "campaign.sqlite"
        before = None
        for _ in range(30000):
            with contextlib.suppress(sqlite3.Error):
                with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as reader:
                    ((count,),) = reader.execute("SELECT count(*) FROM trials")
                if before is None:
                    before = count
                elif count > before:
                    return
            if process.poll() is not None:
                self.fail(process.communicate())
            time.sleep(0.002)
        self.fail("nothing was stored")

    def test_a_shard_that_another_writes_is_for_later(self):
        campaign = self.long_campaign("held", per_site=40_000)  # never comes to its end
        directory = self.plan("held", 1, campaign)
        process = subprocess.Popen([PROGRAM, "work", directory, "1"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.wait_until_done(directory, 1, process)
        _, err = bitfall("work", directory, 1, expect=75)
        self.assertIn(f"process {process.pid} on {socket.gethostname()} is writing this run", err)
        self.assertIn(f"shard 1 of {directory}", err)
        status = said("status", directory)
        self.assertEqual(status["each"][0]["state"], "running")
        self.assertEqual(status["each"][0]["process"], process.pid)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 75)

    def test_a_launcher_that_dies_leaves_no_orphan(self):
        campaign = self.long_campaign("orphan")
        directory = self.plan("orphan", 1, campaign)
        launcher = subprocess.Popen(
            [sys.executable, "-c", "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()",
             PROGRAM, "-q", "work", directory, "1", "--with-parent"], stdout=subprocess.PIPE, text=True)  # fmt: skip
        worker = int(launcher.stdout.readline())
        self.wait_until_done(directory, 1, launcher)
        launcher.kill()
        launcher.wait()
        launcher.stdout.close()
        for _ in range(1000):
            state = pathlib.Path(f"/proc/{worker}/stat")
            if not state.exists() or state.read_text().split()[2] == "Z":
                break
            time.sleep(0.02)
        else:
            self.fail("the worker lives on")
        self.assertFalse(said("status", directory)["each"][0]["state"] == "finished")

    def test_what_does_not_fit_is_said_before_anything_is_computed(self):
        directory = self.plan("fit", 3)
        _, err = bitfall("work", directory, 1, expect=4, ATEN_CPU_CAPABILITY="default")
        self.assertRegex(err, r"shard 1 of .*: the run cannot go on.*\n  cpu: .* then, .* now")
        self.assertFalse((directory / "shards" / "0001").exists())
        shutil.copy(self.folder / "net.pt", self.folder / "kept.pt")
        other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5))
        torch.jit.script(other.eval()).save(str(self.folder / "net.pt"))
        try:
            _, err = bitfall("work", directory, 1, expect=4)
            self.assertIn("model_sha256", err)
            self.assertFalse((directory / "shards" / "0001").exists())
        finally:
            shutil.move(self.folder / "kept.pt", self.folder / "net.pt")
        for shard in (0, 4):
            _, err = bitfall("work", directory, shard, expect=2)
            self.assertIn("has shards 1 to 3", err)
        _, err = bitfall("work", self.folder, 1, expect=4)
        self.assertIn("is not the directory of a plan", err)
        # A shard of another plan, and half a copy of this one.
        other = self.plan("fit_other", 2)
        bitfall("work", other, 1)
        (directory / "shards").mkdir()
        shutil.copytree(other / "shards" / "0001", directory / "shards" / "0001")
        (directory / "shards" / "0001" / "progress.json").unlink()
        _, err = bitfall("work", directory, 1, expect=4)
        self.assertIn("is of another plan", err)
        whole = (directory / "plan" / "campaign.sqlite").read_bytes()
        (directory / "plan" / "campaign.sqlite").write_bytes(whole[: len(whole) // 2])
        again = "copy the directory of the plan again, or plan anew"
        self.assertIn(again, bitfall("work", directory, 2, expect=4)[1])
        shutil.rmtree(directory / "plan")
        _, err = bitfall("work", directory, 2, expect=4)
        self.assertIn("is not a run directory", err)
        self.assertIn(again, err)
        (directory / "plan.json").write_text('{"schema": "bitfall.plan/1", "shards": 3}')
        self.assertIn("is damaged", bitfall("work", directory, 2, expect=4)[1])
        (directory / "plan.json").write_text("{")
        self.assertIn(again, bitfall("status", directory, expect=4)[1])

    def test_a_finished_shard_is_looked_at(self):
        directory, other = self.plan("looked", 2), self.plan("looked_other", 2, self.campaign_file("more", per_site=52))
        for shard in (1, 2):
            bitfall("work", directory, shard)
        bitfall("work", other, 1)
        folder = directory / "shards" / "0001"
        kept = self.folder / "looked_kept"
        shutil.move(folder, kept)

        def brought(source):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)

        # Another plan's, whose notes say that it is finished.
        brought(other / "shards" / "0001")
        self.assertIn("is of another plan; remove that folder", bitfall("work", directory, 1, expect=4)[1])
        # Half a database.
        brought(kept)
        whole = (folder / "campaign.sqlite").read_bytes()
        (folder / "campaign.sqlite").write_bytes(whole[: len(whole) // 2])
        self.assertIn("again, or remove it and start the shard anew", bitfall("work", directory, 1, expect=4)[1])
        self.assertIn(f"done anew: bitfall work {directory} SHARD", bitfall("merge", directory, expect=4)[1])
        # Half of the notes: they are written anew.
        brought(kept)
        (folder / "progress.json").write_bytes((kept / "progress.json").read_bytes()[:20])
        self.assertEqual([each["state"] for each in said("status", directory)["each"]], ["unreadable", "finished"])
        self.assertIn("not finished: 1;", bitfall("merge", directory, expect=75)[1])
        self.assertIn("finished already", bitfall("work", directory, 1)[0])
        self.assertEqual([each["state"] for each in said("status", directory)["each"]], ["finished", "finished"])
        # The notes without the run: it is done again.
        (folder / "campaign.sqlite").unlink()
        self.assertIn("not finished: 1;", bitfall("merge", directory, expect=75)[1])
        bitfall("work", directory, 1)
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], self.digest)

    @unittest.skipUnless(os.geteuid() == 0, "only root can mount a small disk")
    def test_a_full_disk(self):
        directory, small = self.plan("full", 2), self.folder / "small"
        small.mkdir()
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) + 80_000
        line = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small]
        if subprocess.run(line, capture_output=True).returncode != 0:
            self.skipTest("no disk can be mounted here")
        try:
            shutil.copytree(directory, small / "plan")
            _, err = bitfall("work", small / "plan", 1, expect=1)
            self.assertIn(f"shard 1 of {small / 'plan'}: ", err)
            self.assertRegex(err, "disk is full|No space left on device")
            subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
            for shard in (1, 2):
                bitfall("work", small / "plan", shard)
            bitfall("merge", small / "plan")
            self.assertEqual(said("merge", small / "plan")["digest"], self.digest)
        finally:
            subprocess.run(["umount", small], check=True)

    def test_another_version_of_torch(self):
        directory = self.plan("torch", 2)
        with contextlib.closing(sqlite3.connect(directory / "plan" / "campaign.sqlite")) as database, database:
            database.execute("UPDATE facts SET value = '2.12.1' WHERE key = 'torch_version'")
        _, err = bitfall("work", directory, 1, expect=4)
        self.assertRegex(err, r"torch_version: 2\.12\.1 then, 2\.\d+\.\d+ now")
        self.assertFalse((directory / "shards").exists())

    def test_planning_again(self):
        directory = self.folder / "again"
        first = said("plan", self.campaign, "-o", directory, "--shards", 3)
        self.assertEqual(first["trials"], said("status", self.folder / "whole")["trials"])
        self.assertGreater(first["seconds"], 0)
        self.assertEqual(said("plan", self.campaign, "-o", directory, "--shards", 3), first)
        _, err = bitfall("plan", self.campaign, "-o", directory, "--shards", 4, expect=2)
        self.assertIn("holds a plan of 3 shards", err)
        other = self.campaign_file("another", per_site=51)
        _, err = bitfall("plan", other, "-o", directory, "--shards", 3, expect=2)
        self.assertIn("another campaign file", err)

    def test_a_merge_that_is_killed_is_done_again(self):
        directory = self.plan("killed", 2)
        for shard in (1, 2):
            bitfall("work", directory, shard)
        process = subprocess.Popen([PROGRAM, "merge", str(directory)], stdout=subprocess.DEVNULL)
        time.sleep(0.05)
        process.kill()
        process.wait()
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], self.digest)
        self.assertEqual([p.name for p in directory.glob("campaign.sqlite*")], ["campaign.sqlite"])
        self.assertEqual(said("status", directory)["digest"], self.digest)  # the plan's directory is the run

    def rebuilt(self, name, sources):
        """A program whose format was compiled by another compiler, of files with this hash."""
        place = self.folder / name
        plugins = PROGRAM.parents[1] / "lib" / "bitfall" / "plugins"
        (place / "bin").mkdir(parents=True)
        for program in (PROGRAM, PROGRAM.with_name("bitfall-torch")):
            shutil.copy(program, place / "bin")
        shutil.copytree(plugins, place / "lib" / "bitfall" / "plugins")
        root = pathlib.Path(__file__).parents[1]
        subprocess.run(
            ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-ffp-contract=off", f"-I{root / 'core/include'}",
             f'-DBITFALL_SOURCES="{sources}"', root / "formats" / "integer.cc",
             "-o", place / "lib" / "bitfall" / "plugins" / "formats_integer.so"], check=True)  # fmt: skip
        return place / "bin" / PROGRAM.name

    def test_plugins_of_the_same_files_agree_whatever_compiled_them(self):
        built = (PROGRAM.parents[1] / "lib/bitfall/plugins/formats_integer.so").read_bytes()
        sources = re.search(rb"sources ([0-9a-f]{64})\n", built)[1].decode()
        directory = self.plan("rebuilt", 2)
        bitfall("work", directory, 1)
        other = self.rebuilt("other_files", "0" * 64)
        done = subprocess.run([other, "work", directory, "2"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("plugin formats_integer 1.0, which the run used, is not there", done.stderr)
        same = self.rebuilt("same_files", sources)
        self.assertNotEqual((same.parents[1] / "lib/bitfall/plugins/formats_integer.so").read_bytes(), built)
        done = subprocess.run([same, "work", directory, "2"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("is another build of the sources", done.stderr)
        bitfall("merge", directory)
        self.assertEqual(said("status", directory)["digest"], self.digest)
        subprocess.run([same, "replay", directory, "--trial", "3"], check=True, capture_output=True)


class Packed(Case):
    """Machines without a shared folder: each has a copy of the plan, and nothing else."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_packed_"))
        self.addCleanup(shutil.rmtree, self.place)

    def images(self, folder):
        """A folder of classes with more images than the campaign takes, and a class without any."""
        random = numpy.random.default_rng(1)
        for label, count in enumerate((7, 3, 5)):
            (folder / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (8, 8, 3), dtype=numpy.uint8)
                (folder / f"class{label}" / f"{number}.ppm").write_bytes(b"P6 8 8 255\n" + pixels.tobytes())
        return folder

    @contextlib.contextmanager
    def elsewhere(self, directory, name, hidden):
        """A copy of the plan, worked while what the campaign names is out of sight."""
        copy = self.place / name
        shutil.copytree(directory, copy)
        away = [(path, path.with_name(path.name + ".away")) for path in hidden]
        for path, aside in away:
            path.rename(aside)
        try:
            yield copy
        finally:
            for path, aside in away:
                aside.rename(path)

    def test_shards_of_copies_merge_to_the_undivided_digest(self):
        hidden = [self.folder / name for name in ("net.pt", "x.npy", "y.npy", "campaign.toml")]
        directory = self.plan("pack", 3, None, "--pack")
        returned = []
        for shard in (1, 2, 3):
            with self.elsewhere(directory, f"node{shard}", hidden) as copy:
                bitfall("work", copy, shard)
                self.assertIn("finished already", bitfall("work", copy, shard)[0])
                if shard == 2:
                    said("replay", copy / "shards" / "0002", "--trial", self.first_trial(copy / "shards" / "0002"))
            returned.append(copy / "shards" / f"{shard:04d}")
        for shard in returned[:2]:
            shutil.copytree(shard, directory / "shards" / shard.name)
        _, err = bitfall("merge", directory, expect=75)
        self.assertIn("1 of 3 shards are not finished: 3", err)
        shutil.copytree(returned[2], directory / "shards" / "0003")
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], self.digest)

    def first_trial(self, run):
        with contextlib.closing(sqlite3.connect(run / "campaign.sqlite")) as database:
            return database.execute("SELECT min(trial) FROM trials").fetchone()[0]

    def test_only_the_images_that_are_used(self):
        folder = self.images(self.place / "images")
        (self.place / "names.txt").write_text("class0\nclass1\nclass2\nclass3\nclass4\n")
        for name in ("class3", "class4"):
            (folder / name).mkdir()
            shutil.copy(folder / "class0" / "0.ppm", folder / name)
        campaign = self.place / "folder.toml"
        campaign.write_text(f"""[model]
path = "{self.folder / "net.pt"}"
[data]
path = "images"
classes = "names.txt"
limit = 9
[[faults]]
per_site = 40
[run]
batch = 4
threads = 1
workers = 1
""")
        bitfall("run", campaign, "-o", self.place / "folder_whole")
        directory = self.place / "folder_plan"
        bitfall("plan", campaign, "-o", directory, "--shards", 2, "--no-estimate", "--pack")
        self.assertEqual(len(list((directory / "pack").glob("*/images/*/*.ppm"))), 9)
        with self.elsewhere(directory, "node", [folder, self.place / "names.txt", self.folder / "net.pt"]) as copy:
            for shard in (1, 2):
                bitfall("work", copy, shard)
        bitfall("merge", copy)
        self.assertEqual(said("merge", copy)["digest"], said("status", self.place / "folder_whole")["digest"])

    def test_images_of_the_calibration_come_along(self):
        folder, others = self.images(self.place / "images"), self.images(self.place / "others")
        (self.place / "names.txt").write_text("class0\nclass1\nclass2\nclass3\nclass4\n")
        (self.place / "late.csv").write_text("file,label\nclass0/6.ppm,0\nclass2/4.ppm,2\n")  # that limit leaves out
        for name, source in (("others", 'path = "others"'), ("same", 'path = "images"\nlist = "late.csv"')):
            campaign = self.place / f"{name}.toml"
            campaign.write_text(f"""[model]
path = "{self.folder / "net.pt"}"
[data]
path = "images"
classes = "names.txt"
limit = 3
[format]
id = "int8"
[calibration]
{source}
[[faults]]
per_site = 20
[run]
batch = 3
threads = 1
workers = 1
""")
            bitfall("run", campaign, "-o", self.place / f"{name}_whole")
            directory = self.place / f"{name}_plan"
            bitfall("plan", campaign, "-o", directory, "--shards", 1, "--no-estimate", "--pack")
            hidden = [folder, others, *(self.place / file for file in ("names.txt", "late.csv")), self.folder / "net.pt"]
            with self.elsewhere(directory, f"{name}_node", hidden) as copy:
                bitfall("work", copy, 1)
            bitfall("merge", copy)
            self.assertEqual(said("merge", copy)["digest"], said("status", self.place / f"{name}_whole")["digest"])

    def test_copies_that_are_not_whole(self):
        directory = self.plan("half", 2, None, "--pack")
        other = self.plan("half_other", 2, self.campaign_file("other", per_site=51), "--pack")
        packed = json.loads((directory / "pack" / "pack.json").read_text())
        model = next(name for name in packed["files"] if name.endswith("net.pt"))
        copy = self.place / "copy"
        shutil.copytree(directory, copy)
        (copy / "pack" / model).unlink()
        _, err = bitfall("work", copy, 1, expect=4)
        self.assertIn(f"is not a whole copy of the plan's: {model} is missing; copy it again", err)
        size = packed["files"][model]
        (copy / "pack" / model).write_bytes((directory / "pack" / model).read_bytes()[: size // 2])
        _, err = bitfall("work", copy, 1, expect=4)
        self.assertIn(f"{model} has {size // 2} of {size} bytes", err)
        self.assertFalse((copy / "shards").exists())
        shutil.copy(directory / "pack" / model, copy / "pack" / model)
        images = next(name for name in packed["files"] if name.endswith("x.npy"))
        with open(copy / "pack" / images, "r+b") as file:  # of the right length, and another content
            file.seek(-4, os.SEEK_END)
            file.write(b"\0\0\0\0")
        _, err = bitfall("work", copy, 1, expect=4)
        self.assertIn("data_digest", err)
        self.assertFalse((copy / "shards").exists())
        (copy / "pack" / "pack.json").write_text("{}")
        self.assertIn("is damaged", bitfall("work", copy, 1, expect=4)[1])
        # A shard that comes back to the wrong plan, half of one, and one under another's number.
        for shard in (1, 2):
            bitfall("work", other, shard)
            bitfall("work", directory, shard)
        kept = self.place / "kept"
        shutil.move(directory / "shards" / "0002", kept)
        shutil.copytree(other / "shards" / "0002", directory / "shards" / "0002")
        _, err = bitfall("merge", directory, expect=4)
        self.assertIn("another campaign file", err)
        shutil.rmtree(directory / "shards")
        shutil.copytree(other / "shards", directory / "shards")
        _, err = bitfall("merge", directory, expect=4)
        self.assertIn("of another plan", err)
        shutil.rmtree(directory / "shards")
        for name in ("0001", "0002"):
            shutil.copytree(kept, directory / "shards" / name)
        _, err = bitfall("merge", directory, expect=4)
        self.assertIn("is shard 2/2, which is given twice", err)
        shutil.rmtree(directory / "shards" / "0001")
        bitfall("work", directory, 1)
        database = directory / "shards" / "0002" / "campaign.sqlite"
        whole = database.read_bytes()
        database.write_bytes(whole[: len(whole) // 2])
        _, err = bitfall("merge", directory, expect=4)
        self.assertIn("0002", err)
        database.write_bytes(whole)
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], self.digest)

    def test_planning_again(self):
        directory = self.plan("unpacked", 2)
        _, err = bitfall("plan", self.campaign, "-o", directory, "--shards", 2, "--pack", expect=2)
        self.assertIn("holds a plan without a pack", err)
        packed = self.plan("packed", 2, None, "--pack")
        out, _ = bitfall("plan", self.campaign, "-o", packed, "--shards", 2, "--pack")
        self.assertIn("copy it to each", out)


class Protected(Case):
    """[[protect]] entries: their runs are divided and merged, too."""

    MORE = """[[protect]]
protection = { id = "range" }
[[protect]]
name = "twice"
protection = { id = "duplicate" }
[learn]
path = "x.npy"
labels = "y.npy"
"""

    def arms(self, run):
        return {name: said("status", run / "protected" / name)["digest"] for name in ("range", "twice")}

    def test_arms_merge_to_the_digests_of_undivided_ones(self):
        campaign = self.campaign_file("protected", per_site=60, more=self.MORE)
        bitfall("run", campaign, "-o", self.folder / "protected_whole")
        wanted = self.arms(self.folder / "protected_whole")
        directory = self.plan("protected", 3, campaign)
        bitfall("work", directory, 1)
        bitfall("work", directory, 2)
        # Of the last one the run without a protection alone is done: the shard is not.
        shard = directory / "shards" / "0003"
        bitfall("work", directory, 3)
        shutil.rmtree(shard / "protected" / "twice")
        progress = json.loads((shard / "progress.json").read_text())
        (shard / "progress.json").write_text(json.dumps({**progress, "finished": False}))
        _, err = bitfall("merge", directory, expect=75)
        self.assertIn("not finished: 3", err)
        bitfall("work", directory, 3)
        out, _ = bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], said("status", self.folder / "protected_whole")["digest"])
        self.assertEqual(self.arms(directory), wanted)
        page = said("report", directory)
        whole = said("report", self.folder / "protected_whole")
        self.assertEqual(page["protections"], whole["protections"])
        # A merge that ended between the runs goes on with those that are missing.
        shutil.rmtree(directory / "protected" / "range")
        bitfall("merge", directory)
        self.assertEqual(self.arms(directory), wanted)

    def test_shards_without_a_plan(self):
        campaign = self.campaign_file("protected_shards", per_site=20, more=self.MORE)
        bitfall("run", campaign, "-o", self.folder / "p_whole")
        shards = [self.folder / f"p{k}" for k in (1, 2)]
        for k, shard in enumerate(shards, 1):
            bitfall("run", campaign, "--shard", f"{k}/2", "-o", shard)
        bitfall("merge", *shards, "-o", self.folder / "p_merged")
        self.assertEqual(self.arms(self.folder / "p_merged"), self.arms(self.folder / "p_whole"))
        shutil.rmtree(shards[1] / "protected" / "range")
        _, err = bitfall("merge", *shards, "-o", self.folder / "p_again", expect=4)
        self.assertIn(f"{shards[1]}: was not run with the protection 'range' yet; go on with: bitfall resume", err)


class Mixed(Case):
    """[run] cpu = "avx2": a machine with more computes as one that has no more."""

    def setUp(self):
        if "avx2" not in pathlib.Path("/proc/cpuinfo").read_text():
            self.skipTest("the processor has no AVX2")
        run = 'batch = 4\nthreads = 1\nworkers = 1\ncpu = "avx2"\n'
        self.avx2 = self.campaign_file("avx2", run=run)

    def test_is_a_fact_that_decides(self):
        record = said("run", self.avx2, "-o", self.folder / "avx2")
        facts = said("status", self.folder / "avx2")["facts"]
        self.assertEqual(facts["cpu"], "AVX2 alone")
        # Whatever the variables of the machine say; and it is what PyTorch computes under the same limits.
        other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
        again = said("run", self.avx2, "-o", self.folder / "avx2_again", **other)
        self.assertEqual(again["digest"], record["digest"])
        said("replay", self.folder / "avx2", "--trial", 3)
        directory = self.plan("avx2_plan", 2, self.avx2)
        for shard in (1, 2):
            bitfall("work", directory, shard)
        bitfall("merge", directory)
        self.assertEqual(said("merge", directory)["digest"], record["digest"])

    def test_what_mkl_is_told_is_a_fact_too(self):
        directory = self.plan("mkl", 2, self.avx2)
        _, err = bitfall("work", directory, 1, expect=4, MKL_CBWR="COMPATIBLE")
        self.assertIn("cpu: AVX2 alone then, AVX2 alone, MKL_CBWR=COMPATIBLE now", err)
        self.assertNotIn("both kinds", err)
        directory = self.folder / "mkl_compatible"
        bitfall("plan", self.avx2, "-o", directory, "--shards", 1, "--no-estimate", MKL_CBWR="COMPATIBLE")
        bitfall("work", directory, 1, MKL_CBWR="COMPATIBLE")
        self.assertEqual(said("status", directory / "shards/0001")["facts"]["cpu"], "AVX2 alone, MKL_CBWR=COMPATIBLE")

    def test_another_processor_is_told_of_it(self):
        directory = self.plan("native", 2)
        _, err = bitfall("work", directory, 1, expect=4, ATEN_CPU_CAPABILITY="default")
        self.assertIn('machines of both kinds can share a campaign with [run] cpu = "avx2"', err)
        _, err = bitfall("run", self.campaign_file("odd", run='cpu = "avx3"\n'), expect=2)
        self.assertIn("avx2", err)


class Table(unittest.TestCase):
    def test_another_digest_is_marked_and_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "bitfall"  # tells another digest of what had three shards
            program.write_text(f"""#!/bin/sh
[ "$2" = status ] && [ -d "$3/shards/0003" ] || exec {PROGRAM} "$@"
{PROGRAM} "$@" | sed 's/"digest": "./"digest": "x/'
""")
            program.chmod(0o755)
            script = pathlib.Path(__file__).resolve().parent.parent / "scripts/digest_table.py"
            done = subprocess.run(
                [sys.executable, script, program, "--parts", "3", "2", "--per-site", "40", "--images", "48", "--no-emulated"],
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (1, "digest_table: 1 rows have another digest\n"), done.stdout)
        rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][2:]
        self.assertEqual([row.split(" | ")[0] for row in rows if "another**" in row], ["| 3 parts"])
        self.assertEqual(len(rows), 12 if "avx2" in pathlib.Path("/proc/cpuinfo").read_text() else 10)


class Twins(Case):
    def test_run_resume_starts_goes_on_and_is_done(self):
        output = self.folder / "resumed"
        record = said("run", self.campaign, "-o", output, "--resume")
        self.assertEqual((record["schema"], record["state"], record["digest"]), ("bitfall.run/1", "finished", self.digest))
        again = said("run", self.campaign, "-o", output, "--resume")
        self.assertEqual(again["digest"], self.digest)
        other = self.campaign_file("resumed_other", per_site=51)
        _, err = bitfall("run", other, "-o", output, "--resume", expect=2)
        self.assertIn("holds a run of another campaign file", err)
        _, err = bitfall("run", self.campaign, "-o", output, expect=2)
        self.assertIn("holds a run already", err)
        long = self.long_campaign("resumed_long")
        process = subprocess.Popen([PROGRAM, "run", long, "-o", self.folder / "half", "--json"], stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        while not (self.folder / "half" / "campaign.sqlite").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, err)
        record = json.loads(out)
        self.assertEqual((record["state"], record["digest"]), ("interrupted", None))
        record = said("run", long, "-o", self.folder / "half", "--resume")
        self.assertEqual((record["state"], record["done"]), ("finished", record["trials"]))

    def test_progress_as_json(self):
        _, err = bitfall("--progress", "json", "-q", "run", self.campaign, "-o", self.folder / "progress")
        lines = [json.loads(line) for line in err.splitlines()]
        self.assertEqual({line["schema"] for line in lines}, {"bitfall.progress/1"})
        last = [line for line in lines if line["what"] == "trials"][-1]
        self.assertTrue(last["finished"])
        self.assertEqual(last["done"], last["total"])
        _, err = bitfall("run", self.campaign, "--progress", "xml", expect=2)

    def test_a_gate_fails_a_build(self):
        network = said("report", self.folder / "whole")["network"]["mismatch"]
        low, high = network["interval"]
        self.assertLess(network["rate"], high)
        middle = (network["rate"] + high) / 2
        _, err = bitfall("report", self.folder / "whole", "--fail-if", f"mismatch > {middle}", expect=5)
        self.assertIn("gate failed: mismatch is", err)
        self.assertRegex(err, r"the worst trial: bitfall replay .* --trial \d+")
        _, err = bitfall("report", self.folder / "whole", "--fail-if", f"mismatch > {100 * high + 0.01} %",
                         "--fail-if", f"mismatch < {low - 1e-4}")  # fmt: skip
        self.assertEqual(err.count("gate passed"), 2)
        wide = said("report", self.folder / "whole", "--confidence", "0.9999")["network"]["mismatch"]["interval"]
        self.assertGreater(wide[1], high)
        bitfall("report", self.folder / "whole", "--fail-if", "nonsense", expect=2)

    def test_a_file_to_start_from(self):
        card = {"schema": "bitfall.model/1", "preprocess": {"mean": [0.5], "std": [0.25], "resize": 8, "crop": 8}}
        model = torch.jit.load(self.folder / "net.pt")
        model.save(str(self.folder / "carded.pt"), _extra_files={"bitfall.json": json.dumps(card)})
        started = self.folder / "started"
        started.mkdir()
        bitfall("init", self.folder / "carded.pt", self.folder / "x.npy", "--labels", self.folder / "y.npy",
                "-o", started / "c.toml")  # fmt: skip
        text = (started / "c.toml").read_text()
        self.assertIn("mean = [0.5], std = [0.25], resize = 8, crop = 8", text)
        _, err = bitfall("init", self.folder / "net.pt", self.folder / "x.npy", "-o", self.folder / "n.toml", expect=4)
        self.assertIn("name it with --labels", err)
        _, err = bitfall("init", self.folder / "net.pt", self.folder / "x.npy", "--labels", self.folder / "y.npy",
                         "-o", self.folder / "n.toml")  # fmt: skip
        self.assertIn("does not say how its images are prepared", err)
        bitfall("run", self.folder / "n.toml", "-o", self.folder / "begun")
        self.assertIn('path = "net.pt"', (self.folder / "n.toml").read_text())
        bitfall("init", self.folder / "none.pt", self.folder, expect=4)
        bitfall("init", self.folder / "net.pt", self.folder, "-o", self.folder / "n.toml", expect=2)

    def test_completion_and_manual(self):
        script = bitfall("completion", "bash")[0]
        check = subprocess.run(
            ["bash", "-c", f"{script}\n" + r"""
             complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _bitfall; printf '%s\n' "${COMPREPLY[@]}"; }
             complete_line bitfall re; echo --; complete_line bitfall run --res; echo --
             complete_line bitfall head inf; echo --; complete_line bitfall head attach --emb"""],
            capture_output=True, text=True, cwd=self.folder)  # fmt: skip
        first, second, third, fourth = check.stdout.split("--\n", 1)[0], *check.stdout.split("\n--\n")[1:]
        self.assertTrue({"resume", "report", "replay"} <= set(first.split()), check.stdout + check.stderr)
        self.assertEqual(second.split(), ["--resume"])
        self.assertEqual(third.split(), ["info"])
        self.assertTrue(all(word.startswith("--emb") for word in fourth.split()) and fourth.strip())
        for shell in ("bash", "zsh", "fish"):
            if shutil.which(shell):
                script = bitfall("completion", shell)[0]
                done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), shell)
        page = bitfall("man")[0]
        names = re.findall(r"^  (\w+) {2,}", bitfall("--help")[0].split("Subcommands:")[1], re.M)
        for name in names:
            self.assertIn(f".SS bitfall {name}\n", page)
        if shutil.which("man") and shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
            self.assertEqual(done.stderr, "")

    def test_schema_accepts_what_the_program_accepts(self):
        schema = json.loads(bitfall("config", "--json-schema")[0])
        try:
            import jsonschema
        except ImportError:
            self.skipTest("jsonschema is not installed")
        import tomllib

        validator = jsonschema.Draft7Validator(schema)
        validator.check_schema(schema)
        validator.validate(tomllib.loads(self.campaign.read_text()))
        for wrong in ("[model]\npath = 3\n[data]\npath = 'x'", "[model]\npath = 'm'",
                      "[model]\npath = 'm'\n[data]\npath = 'x'\n[[faults]]\nprecision = 0.5"):  # fmt: skip
            self.assertFalse(validator.is_valid(tomllib.loads(wrong)), wrong)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
