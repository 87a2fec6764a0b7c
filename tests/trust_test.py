"""What nobody had thought to touch: other data under a resumed run, links in a run directory, a user's own files, a
finished run that was changed, models that write files, names with escape sequences, pipes in place of files.

usage: trust_test.py BITFALL [TEST...]
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

import numpy
import torch
from PIL import Image

PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, 2)
        self.fc = torch.nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


class Writes(Net):
    def forward(self, x):
        torch.save(x, "FILE")
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


class WritesWhileLoading(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 5)

    @torch.jit.export
    def __getstate__(self):
        return self.fc.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "FILE")
        self.training = state[1]

    def forward(self, x):
        return x.mean((2, 3))


class Prints(Net):
    def forward(self, x):
        print("looked at", x.shape)
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def bitfall(*arguments, expect=0, cwd=None, **environment):
    done = subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, timeout=300, cwd=cwd,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


class Trust(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.original = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_trust_"))
        torch.manual_seed(3)
        torch.jit.script(Net().eval()).save(str(cls.original / "net.pt"))
        numbers = numpy.random.default_rng(3)
        numpy.save(cls.original / "x.npy", numbers.standard_normal((24, 3, 12, 12)).astype("f"))
        numpy.save(cls.original / "other.npy", numbers.standard_normal((24, 3, 12, 12)).astype("f"))
        numpy.save(cls.original / "y.npy", numpy.arange(24) % 5)
        for name in "abcde":
            (cls.original / "images" / name).mkdir(parents=True)
            for i in range(4):
                Image.fromarray(numbers.integers(0, 256, (12, 12, 3), dtype=numpy.uint8)).save(
                    cls.original / "images" / name / f"{i}.bmp")  # all of one size

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.original)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_trust_")).resolve()
        shutil.rmtree(self.folder)
        shutil.copytree(self.original, self.folder)
        self.addCleanup(shutil.rmtree, self.folder)

    def campaign(self, name="campaign", per_site=40, data='path = "x.npy"\nlabels = "y.npy"', model="net.pt"):
        path = self.folder / f"{name}.toml"
        path.write_text(f'[campaign]\nseed = 5\n[model]\npath = "{model}"\n[data]\n{data}\n[format]\nid = "fp16"\n'
                        f"[[faults]]\nper_site = {per_site}\n"
                        "[run]\nbatch = 8\nthreads = 1\nworkers = 1\ncommit_every = 20\n")
        return path

    def run_it(self, name="run", **options):
        bitfall("run", self.campaign(**options), "-o", self.folder / name)
        return self.folder / name

    def digest(self, run):
        return json.loads(bitfall("status", run, "--json")[0])["digest"]

    def begun(self, **options):
        """A run that was stopped in the middle."""
        run = self.folder / "run"
        process = subprocess.Popen([str(PROGRAM), "run", str(self.campaign(per_site=4000, **options)), "-o", str(run)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while time.time() < deadline and process.poll() is None:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(
                    sqlite3.connect(f"file:{run}/campaign.sqlite?mode=ro", uri=True)) as database:
                if database.execute("SELECT count(*) FROM trials").fetchone()[0] > 100:
                    break
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=120), 75, "it ended before it could be stopped")
        return run

    def sql(self, run, change):
        with contextlib.closing(sqlite3.connect(run / "campaign.sqlite")) as database, database:
            database.execute(change)

    # Other data ----------------------------------------------------------------------------------

    def test_other_images_are_refused(self):
        run = self.begun()
        shutil.copy(self.folder / "other.npy", self.folder / "x.npy")
        _, err = bitfall("resume", run, expect=4)
        self.assertRegex(err, "data_digest: [0-9a-f]{64} then, [0-9a-f]{64} now")
        # The same numbers under another header are the same data.
        array = numpy.load(self.original / "x.npy")
        with (self.folder / "x.npy").open("wb") as out:
            numpy.lib.format.write_array(out, array, version=(2, 0))
        bitfall("resume", run)

    def test_images_that_change_places_are_refused(self):
        run = self.begun(data='path = "images"')
        a, b = (self.folder / "images" / name for name in ("a/0.bmp", "b/1.bmp"))
        self.assertEqual(a.stat().st_size, b.stat().st_size)
        a_bytes, b_bytes = a.read_bytes(), b.read_bytes()
        a.write_bytes(b_bytes)
        b.write_bytes(a_bytes)
        _, err = bitfall("resume", run, expect=4)
        self.assertIn("data_digest", err)
        a.write_bytes(a_bytes)
        b.write_bytes(b_bytes)
        bitfall("resume", run)

    def test_golden_results_of_other_arithmetic_are_refused(self):
        run = self.begun()
        self.sql(run, "UPDATE golden SET loss = loss + 1e-15")
        _, err = bitfall("resume", run, expect=4)
        self.assertRegex(err, "image '[0-9]+': without a fault its loss was .* when the run began, and now")

    def test_a_training_goes_on_with_its_own_data_alone(self):
        path = self.folder / "train.toml"
        path.write_text('[training]\nepochs = 100000\nbatch = 8\n[model]\npath = "net.pt"\n[data]\npath = "x.npy"\n'
                        'labels = "y.npy"\n[run]\nthreads = 1\nworkers = 1\n')
        process = subprocess.Popen([str(PROGRAM), "train", str(path), "-o", str(self.folder / "trained")],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (self.folder / "trained/log.csv").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=120), 75)
        shutil.copy(self.folder / "other.npy", self.folder / "x.npy")
        _, err = bitfall("train", path, "-o", self.folder / "trained", "--resume", expect=4)
        self.assertIn("is of another training", err)

    def test_shards_and_comparisons_of_other_data_are_refused(self):
        campaign = self.campaign()
        for i in (1, 2):
            if i == 2:
                shutil.copy(self.folder / "other.npy", self.folder / "x.npy")
            bitfall("run", campaign, "--shard", f"{i}/2", "-o", self.folder / f"part{i}")
        _, err = bitfall("merge", self.folder / "part1", self.folder / "part2", "-o", self.folder / "whole", expect=4)
        self.assertIn("data_digest", err)
        self.assertFalse((self.folder / "whole").exists())
        second = self.run_it("second")
        shutil.copy(self.original / "x.npy", self.folder / "x.npy")
        first = self.run_it("first")
        _, err = bitfall("compare", first, second, expect=4)
        self.assertIn("it saw other images or labels", err)

    def test_a_list_that_was_edited_in_the_run_directory_is_not_used(self):
        drawn = self.run_it("drawn", per_site=4000)
        faults = self.folder / "list.csv"
        bitfall("export", drawn, "--faults", "-o", faults)
        run = self.folder / "listed"
        process = subprocess.Popen([str(PROGRAM), "run", str(self.campaign(per_site=4000)), "--faults", str(faults),
                                    "-o", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (run / "campaign.sqlite").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(timeout=120), (75, -signal.SIGINT))
        lines = (run / "faults.csv").read_text().splitlines(keepends=True)
        (run / "faults.csv").write_text("".join([lines[0], *reversed(lines[1:])]))
        _, err = bitfall("resume", run)
        self.assertIn("is not the list that the run was made from; the run's own list is used", err)
        self.assertEqual(self.digest(run), self.digest(drawn))

    # Links and files of the user -------------------------------------------------------------------

    def test_nothing_is_written_through_links(self):
        victim = self.folder / "victim.txt"
        for name in ("lock", "campaign.sqlite.new", "campaign.toml", "campaign.sqlite-wal", "report.html"):
            for link in (os.symlink, os.link):
                victim.write_text("precious")
                run = self.folder / "run"
                run.mkdir()
                link(victim, run / name)
                done = subprocess.run([str(PROGRAM), "run", str(self.campaign()), "-o", str(run)], capture_output=True,
                                      text=True)
                self.assertEqual(victim.read_text(), "precious", name)
                self.assertIn(done.returncode, (0, 2), done.stderr)
                self.assertIn(name, done.stderr if done.returncode else name)
                shutil.rmtree(run)

    def test_a_users_files_stay(self):
        run = self.folder / "run"
        for name, command in (("campaign.toml", ["run", self.campaign(), "-o", run]),):
            run.mkdir()
            (run / name).write_text("# by hand\n")
            _, err = bitfall(*command, expect=2)
            self.assertIn(f"{run / name}: is there already", err)
            self.assertEqual((run / name).read_text(), "# by hand\n")
            bitfall(*command, "--force")
            shutil.rmtree(run)
        # A campaign that lies where its run goes is its own.
        run.mkdir()
        shutil.copy(self.campaign(), run / "campaign.toml")
        (run / "campaign.toml").write_text((run / "campaign.toml").read_text().replace('"net', '"../net')
                                           .replace('"x.', '"../x.').replace('"y.', '"../y.'))
        bitfall("run", run / "campaign.toml", "-o", run)
        (run / "report.html").write_text("<p>by hand</p>")
        _, err = bitfall("report", run, expect=2)
        self.assertIn("is not a page of this program", err)
        self.assertEqual((run / "report.html").read_text(), "<p>by hand</p>")
        (run / "report.html").unlink()
        bitfall("report", run)
        bitfall("report", run)
        (self.folder / "compare.html").write_text("by hand")
        bitfall("compare", run, run, expect=2)
        self.assertEqual((self.folder / "compare.html").read_text(), "by hand")

    # Finished runs, and stores of somebody else ------------------------------------------------------

    def test_a_finished_run_that_was_changed_is_refused(self):
        run = self.run_it()
        copy = self.folder / "copy"
        for change in ("UPDATE trials SET faulty_loss = faulty_loss + 1 WHERE outcome = 1 OR outcome = 2",
                       "DELETE FROM golden WHERE image = 3", "UPDATE images SET label = 1",
                       "UPDATE facts SET value = 'bf16' WHERE key = 'format'", "UPDATE golden SET top1 = top1 + 1"):
            shutil.copytree(run, copy)
            self.sql(copy, change)
            for command in (["status"], ["report"], ["export", "--csv"], ["export", "--faults"], ["compare", run]):
                _, err = bitfall(command[0], copy, *command[1:], expect=4)
                self.assertIn("was changed after the run had finished", err)
            shutil.rmtree(copy)
        self.assertEqual(len(self.digest(run)), 64)

    def test_a_store_of_somebody_else_crashes_nothing(self):
        begun = self.begun()
        copy = self.folder / "copy"
        for change in ("UPDATE golden SET image = 1000000000", "UPDATE golden SET image = -1",
                       "UPDATE campaign SET trials = -1", "UPDATE campaign SET trials = 1152921504606846976",
                       "UPDATE trials SET site = 77", "DELETE FROM facts WHERE key = 'campaign_file'"):
            shutil.copytree(begun, copy)
            self.sql(copy, change + (" WHERE image = (SELECT min(image) FROM golden)" if "golden" in change else ""))
            for command in ("status", "report", "resume"):
                _, err = bitfall(command, copy, expect=4) if command != "status" or "golden" not in change else ("", "copy")
                self.assertIn("copy", err)
            shutil.rmtree(copy)

    def test_control_characters_never_reach_the_terminal(self):
        run = self.begun()
        self.sql(run, "UPDATE sites SET name = name || char(27) || '[31m' || char(155) || char(8238)")
        self.sql(run, "UPDATE facts SET value = char(27) || ']0;title' || char(7) WHERE key = 'model_path'")
        for command in (["status", run], ["report", run], ["report", run, "--markdown"], ["resume", run]):
            done = subprocess.run([str(PROGRAM), *map(str, command)], capture_output=True)
            text = (done.stdout + done.stderr).decode()
            self.assertFalse(set(text) & set("\x1b\x07\x9b\u202e"), command)
        bad = self.folder / "bad.toml"
        bad.write_text('[model]\npath = "net.pt"\n[data]\npath = "x"\n"\\u001b[31mred" = 1\n')
        for path in (bad, self.folder / "\x1b[31mnone.toml"):
            done = subprocess.run([str(PROGRAM), "run", str(path)], capture_output=True)
            self.assertNotEqual(done.returncode, 0)
            self.assertNotIn(b"\x1b", done.stdout + done.stderr)

    # Models and inputs -----------------------------------------------------------------------------

    def test_a_model_that_writes_files_is_refused_before_it_runs(self):
        for network in (Writes(), WritesWhileLoading()):
            torch.jit.script(network.eval()).save(str(self.folder / "writes.pt"))
            for command in (["sites", "writes.pt", "--input", "3x12x12"], ["run", self.campaign(model="writes.pt")]):
                _, err = bitfall(*command, expect=4, cwd=self.folder)
                self.assertRegex(err, r"writes.pt: calls torch.save in line \d+ of code/")
                self.assertFalse((self.folder / "FILE").exists())

    def test_a_model_that_prints_keeps_json_whole(self):
        torch.jit.script(Prints().eval()).save(str(self.folder / "prints.pt"))
        out, _ = bitfall("sites", "prints.pt", "--input", "3x12x12", "--json", cwd=self.folder)
        self.assertIn("sites", json.loads(out))

    def test_pipes_and_devices_are_no_files(self):
        pipe = self.folder / "pipe.npy"
        os.mkfifo(pipe)
        for path in (pipe, pathlib.Path("/dev/zero")):
            for command in (["run", path], ["sites", path, "--input", "3x8x8"], ["train", path],
                            ["run", self.campaign(), "--faults", path], ["embeddings", pipe]):
                done = subprocess.run([str(PROGRAM), *map(str, command)], capture_output=True, text=True, timeout=20)
                self.assertIn(done.returncode, (2, 4), done.stderr)
                self.assertIn("not a regular file", done.stderr, command)

    def test_a_full_standard_output_is_an_error(self):
        run = self.run_it()
        for command in (["--help"], ["--version"], ["status", run], ["export", run, "--csv"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([str(PROGRAM), *map(str, command)], stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 1, command)


if __name__ == "__main__":
    unittest.main()
