#!/usr/bin/env python3
"""run --isolate: plugins that crash in some trials, and what a worker may not do.

usage: isolation_test.py PROGRAM PLUGINS [unittest arguments]
"""

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy
import torch
from torch import nn

PROGRAM, PLUGINS = (Path(argument).resolve() for argument in (sys.argv.pop(1), sys.argv.pop(1)))


class Isolation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.manual_seed(0)
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_isolation_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
        torch.jit.script(network.eval()).save(str(cls.folder / "m.pt"))
        rng = numpy.random.default_rng(0)
        numpy.save(cls.folder / "x.npy", rng.standard_normal((12, 3, 8, 8)).astype(numpy.float32))
        numpy.save(cls.folder / "y.npy", numpy.arange(12) % 5)
        (cls.folder / "secret.txt").write_text("secret")
        cls.plain = cls.trials(cls.run_campaign("plain"))
        cls.moved = sorted(int(t["trial"]) for t in cls.plain if t["golden_top1"] != t["faulty_top1"])

    @classmethod
    def campaign(cls, name, number_format="fp32", metric="", run="", per_site=25):
        (cls.folder / f"{name}.toml").write_text(f"""
[campaign]
output = "{name}"
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "y.npy"
[format]
{number_format if "=" in number_format else f'id = "{number_format}"'}
[[faults]]
error_model = {{ id = "bit_flip", bit_class = "{"any" if number_format == "fp32" else "mantissa"}", bit_range = [27, 30] }}
per_site = {per_site}
{f'[metrics]{chr(10)}ids = [{metric}]' if metric else ""}
[plugins]
paths = ["{PLUGINS / "crashing.so"}"]
[run]
batch = 4
threads = 1
workers = 2
commit_every = 8
{run}
""")
        return f"{name}.toml"

    @classmethod
    def start(cls, *arguments):
        return subprocess.Popen(
            [PROGRAM, *map(str, arguments)], cwd=cls.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @classmethod
    def bitfall(cls, *arguments, code=0):
        process = cls.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err)
        return out, err

    @classmethod
    def run_campaign(cls, name, *arguments, code=0, **choice):
        cls.last = cls.bitfall("run", cls.campaign(name, **choice), "--force", *arguments, code=code)
        return name

    @classmethod
    def trials(cls, run):
        return list(csv.DictReader(io.StringIO(cls.bitfall("export", run, "--csv")[0])))

    def digest(self, run):
        return json.loads(self.bitfall("status", run, "--json")[0])["digest"]

    def outcomes(self, run):
        text = self.bitfall("export", run, "--jsonl")[0]
        return [json.loads(line) for line in text.splitlines()]

    def test_nothing_changes_where_nothing_crashes(self):
        self.run_campaign("isolated", "--isolate")
        self.assertIn("isolated: ", self.last[1])
        self.assertEqual(self.digest("isolated"), self.digest("plain"))
        self.bitfall("replay", "isolated", "--trial", 3)
        out = self.bitfall("run", self.campaign("isolated_json"), "--isolate", "--json", "-q")[0]
        self.assertEqual(json.loads(out)["digest"], self.digest("plain"))

    def test_a_campaign_survives_each_kind_of_crash(self):
        few = {"per_site": 10}
        plain = self.trials(self.run_campaign("few", **few))
        moved = sorted(int(t["trial"]) for t in plain if t["golden_top1"] != t["faulty_top1"])
        self.assertTrue(2 <= len(moved) <= 5, moved)  # each is a process
        words = {
            "pointer": r"crashed in measure \(segmentation fault\)",
            "stack": r"crashed in measure \(segmentation fault\)",
            "abort": r"crashed in measure \(abort\)",
            "exit": r"ended the process in measure \(it called exit\)",
            "exit_at_once": r"ended the process in measure \(it called _exit\)",
            "system_call": r"a worker was ended by a plugin's code \(exit code 0\)",
            "thread": "plugin crashing crashed in code that was not called, such as a thread of its own",
            "throw": r"failed in measure, at site '\d', trial \d+: it did not work out",
            "memory": r"asks for more memory in measure, at site '\d', trial \d+ than there is",
            "endless": "does not come back from measure",
            "kill": "a worker was killed",
        }
        named = {"kill": "killed", "system_call": "was ended", "thread": "plugin crashing"}  # what is known of these
        for deed, told in words.items():
            with self.subTest(deed):
                self.run_campaign(
                    deed,
                    *("--isolate", "--max-crashes", "20"),
                    metric=f'{{ id = "fragile", deed = "{deed}" }}',
                    run="plugin_limit = 1" if deed == "endless" else "",
                    **few,
                )
                self.assertRegex(self.last[1], told)
                trials = self.outcomes(deed)
                crashed = sorted({t["trial"] for t in trials if t["outcome"] == "crashed"})
                self.assertEqual(crashed, moved)
                for trial in trials:
                    if trial["outcome"] == "crashed":
                        self.assertIn(named.get(deed, "measure"), trial["message"])
                # All others are those of the run that nothing crashes in.
                others = {t["trial"]: t["faulty_loss"] for t in trials if t["outcome"] != "crashed"}
                losses = {int(t["trial"]): float(t["faulty_loss"]) for t in plain}
                self.assertEqual(len(others) + len(crashed), len(losses))
                for trial, loss in others.items():
                    if loss is not None:
                        self.assertEqual(loss, losses[trial])
                self.assertIn("crashed", self.bitfall("report", deed)[0])

    def test_a_crash_within_a_pass_is_found(self):
        self.run_campaign("fussy", "--isolate", "--max-crashes", "99", number_format='id = "fussy"\ndeed = "abort"')
        self.assertIn("one trial at a time", self.last[1])
        crashed = [t for t in self.outcomes("fussy") if t["outcome"] == "crashed"]
        self.assertTrue(crashed)
        self.assertTrue(all("format 'fussy'" in t["message"] for t in crashed))

    def test_it_ends_where_no_crash_is_allowed_and_goes_on_later(self):
        self.run_campaign("ends", "--isolate", metric='{ id = "fragile", deed = "pointer" }', code=3)
        self.assertRegex(self.last[1], r"metric 'fragile' of plugin crashing crashed in measure .*, at site '\d', trial \d+")
        self.assertIn("bitfall resume ends --isolate --max-crashes", self.last[1])
        self.bitfall("resume", "ends", "--isolate", "--max-crashes", 20)
        crashed = {t["trial"] for t in self.outcomes("ends") if t["outcome"] == "crashed"}
        self.assertEqual(sorted(crashed), self.moved)

    def test_what_a_worker_may_not_do(self):
        self.run_campaign("free", metric='"escape"')
        self.assertTrue(all(t["wrote"] == t["connected"] == t["connected_at_load"] == t["read_home"] == "1" for t in self.trials("free")))
        (self.folder / "escaped.txt").unlink()
        self.run_campaign("confined", "--isolate", metric='"escape"')
        trials = self.trials("confined")
        if "no seccomp" not in self.last[1]:
            self.assertTrue(all(t["connected"] == t["connected_at_load"] == "0" for t in trials))
        if "no Landlock" not in self.last[1]:
            self.assertTrue(all(t["wrote"] == t["read_home"] == "0" for t in trials))
            self.assertFalse((self.folder / "escaped.txt").exists())

    def test_ctrl_c(self):
        file = self.campaign("stopped", run="batch = 1")
        (self.folder / file).write_text((self.folder / file).read_text().replace("batch = 4", "").replace("= 25", "= 100000"))
        process = self.start("run", file, "--isolate")
        while "isolated: " not in process.stderr.readline():
            pass
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, err)
        self.assertIn("bitfall resume stopped --isolate", err)
        self.bitfall("status", "stopped")

    def protected(self, name, **choice):
        file = self.folder / self.campaign(name, **choice)
        protections = '[[protect]]\nprotection = "nan_guard"\n[[protect]]\nprotection = "range"\n[learn]\npath = "x.npy"\nlabels = "y.npy"\n'
        file.write_text(file.read_text().replace("per_site = 25", f"per_site = {self.PER_SITE}") + protections)
        return file

    PER_SITE = 10  # a crash is a process

    def arms(self, run):
        return [str(self.folder / run / "protected" / arm) for arm in ("nan_guard", "range")]

    def test_protections_are_run_isolated_too(self):
        told = self.bitfall("run", self.protected("guarded"))[0]
        out, err = self.bitfall("run", self.protected("guarded_apart"), "--isolate")
        table = told[told.index("\nprotection"):] if "\nprotection" in told else told[-600:]
        self.assertIn(table, out)
        for one, other in zip(self.arms("guarded"), self.arms("guarded_apart")):
            self.assertEqual(self.digest(one), self.digest(other))
        self.assertEqual(err.count("protection '"), 2)  # told once each
        self.bitfall("resume", "guarded_apart", "--isolate")  # all is there

    def test_a_crash_in_a_protected_run_is_one_of_its_trials(self):
        fragile = '{ id = "fragile", deed = "abort" }'
        file = self.protected("guarded_fragile", metric=fragile)
        self.bitfall("run", file, "--isolate", "--max-crashes", 99)
        for arm in self.arms("guarded_fragile"):
            trials = {t["trial"]: t for t in self.outcomes(arm)}
            moved = {k for k, t in trials.items() if t["outcome"] == "top1_changed"}
            self.assertFalse(moved, "the plugin ends the process where the answer changes")
            self.assertEqual(len(trials), 2 * self.PER_SITE)
            self.assertIn("crashed", {t["outcome"] for t in trials.values()})
            for trial in trials.values():
                if trial["outcome"] == "crashed":
                    self.assertIn("measure", trial["message"])
        # Without leave it ends, names the run, and goes on later.
        err = self.bitfall("run", self.protected("guarded_ends", metric=fragile), "--isolate", code=3)[1]
        self.assertRegex(err, "bitfall resume .*guarded_ends --isolate --max-crashes")
        self.bitfall("resume", "guarded_ends", "--isolate", "--max-crashes", 99)
        for one, other in zip(self.arms("guarded_fragile"), self.arms("guarded_ends")):
            self.assertEqual(self.digest(one), self.digest(other))

    def test_memory_without_end_has_a_name_in_a_plain_run(self):
        greedy = {"metric": '{ id = "fragile", deed = "memory" }', "run": "plugin_memory = 1000"}
        self.run_campaign("greedy", code=3, **greedy)
        err = self.last[1]
        self.assertRegex(err, r"metric 'fragile' of plugin crashing asks for more memory in measure, at site '\d', trial \d+")
        self.assertIn("[run] plugin_memory", err)
        self.assertIn("what was stored before is kept", err)
        free = self.run_campaign("not_greedy", run="plugin_memory = 1000")
        self.assertEqual(self.digest(free), self.digest("plain"))

    def test_what_is_refused(self):
        file = self.campaign("refused")
        self.assertIn("--isolate", self.bitfall("run", file, "--max-crashes", 3, code=2)[1])


if __name__ == "__main__":
    unittest.main()
