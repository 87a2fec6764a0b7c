#!/usr/bin/env python3
"""Plugins that crash, exit or do not come back: the run ends with their name, and keeps what it has.

usage: unruly_test.py PROGRAM PLUGINS [unittest arguments]
"""

import csv
import io
import json
import os
import platform
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


def toml(value):
    """As a campaign file has it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(of)}" for key, of in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Unruly(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.manual_seed(0)
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_unruly_"))
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
        torch.jit.script(network.eval()).save(str(cls.folder / "m.pt"))
        rng = numpy.random.default_rng(0)
        images = rng.standard_normal((12, 3, 8, 8)).astype(numpy.float32)
        numpy.save(cls.folder / "x.npy", images)
        numpy.save(cls.folder / "y.npy", numpy.arange(12) % 5)

    def start(
        self,
        number_format="fp32",
        metric=None,
        error_model=None,
        run="",
        name="run",
        extra="",
        plugins=("unruly",),
        arguments=(),
        per_site=400,
        threads=1,
        **environment,
    ):
        ids = [metric] if isinstance(metric, str) else metric
        metrics = f"[metrics]\nids = {toml(ids)}" if metric else ""
        paths = json.dumps([str(PLUGINS / f"{plugin}.so") for plugin in plugins])
        model = f'error_model = "{error_model}"' if error_model else ""
        (self.folder / "c.toml").write_text(f"""
[campaign]
output = "{name}"
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "y.npy"
[format]
id = "{number_format}"
[[faults]]
per_site = {per_site}
{model}
{metrics}
{extra}
[plugins]
paths = {paths}
[run]
batch = 4
threads = {threads}
workers = 2
{run}
""")
        return subprocess.Popen(
            [PROGRAM, "run", "c.toml", "--force", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def ended(self, process, code=3):
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, out + err)
        return err

    def wait_for(self, process, words):
        while words not in (line := process.stderr.readline()):
            self.assertNotEqual(line, "", "it ended first")

    def assert_kept(self, name="run"):
        """The run directory is sound, whatever it holds."""
        for command in (["status", name, "--json"], ["export", name, "--csv"]):
            done = subprocess.run([PROGRAM, *command], cwd=self.folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_crashes_are_named(self):
        for number_format, words in (
            ("bad_pointer", "format 'bad_pointer' of plugin unruly crashed in emulate (segmentation fault)"),
            ("stack_overflow", "format 'stack_overflow' of plugin unruly crashed in emulate"),
            ("aborts", "format 'aborts' of plugin unruly crashed in emulate (abort)"),
            ("exits", "format 'exits' of plugin unruly ended the process in emulate"),
            ("exits_at_once", "format 'exits_at_once' of plugin unruly ended the process in emulate (it called _exit)"),
            ("crashes_aside", "plugin unruly crashed in code that was not called, such as a thread of its own (abort)"),
        ):
            with self.subTest(number_format=number_format):
                err = self.ended(self.start(number_format))
                self.assertIn(words, err)
                self.assertEqual("at site '0'" in err, number_format != "crashes_aside")
                self.assertIn("bitfall resume", err)
                self.assert_kept()

    def test_a_crash_in_a_metric_names_the_trial(self):
        err = self.ended(self.start(metric="bad_pointer"))
        self.assertRegex(err, r"metric 'bad_pointer' of plugin unruly crashed in measure .*, trial \d+")

    def test_what_throws_is_an_error_as_before(self):
        err = self.ended(self.start(error_model="endless_draw"))
        self.assertRegex(err, r"draws more edits for one fault than site .*, at site '\d', trial \d+")
        err = self.ended(self.start("rounds_up"))
        self.assertIn("changed how the processor computes in emulate, at site '0'", err)
        err = self.ended(self.start("wide_codes"))
        self.assertRegex(err, r"gives codes of more than its 4 bits in encode, at site '\d'")
        err = self.ended(self.start(metric="half_event"))
        self.assertRegex(err, r"metric 'half_event' of plugin unruly .*, at site '\d', trial \d+")

    def test_what_is_no_function_of_its_arguments_ends_the_run(self):
        for words, choice in (
            ("format 'moody", {"number_format": "moody"}),
            ("error model 'own_random' draws other edits", {"error_model": "own_random"}),
            ("metric 'counting' gives count", {"metric": "counting"}),
        ):
            with self.subTest(words):
                err = self.ended(self.start(**choice))
                self.assertIn("gives another result when it is run again", err)
                self.assertIn(words, err)
                self.ended(self.start(run="self_replay = 0", **choice), code=0)

    def test_what_is_left_unwritten_ends_the_run(self):
        for number_format in ("unwritten_code", "unwritten_value", "fickle"):
            with self.subTest(number_format):
                err = self.ended(self.start(number_format=number_format, run="self_replay = 0"))
                self.assertIn(f"format '{number_format}' of plugin unruly gives ", err)
                self.assertIn("does not write it", err)

    def test_what_is_stored_in_two_ways_ends_the_run(self):
        for number_format, words in (
            ("other_emulation", r"stores \S+ as 1 by encode and decode of \d+, and emulate of \d+ values makes it 2, at"),
            ("first_of_slice", r"encodes \S+ as 0x\w+ among \d+, and as 0x\w+ among \d+ of them, though elementwise"),
            ("false_exact", r"stores -0 as 0 by encode and decode of \d+, and exact\(\) says that it stays -0"),
        ):
            with self.subTest(number_format):
                self.assertRegex(self.ended(self.start(number_format)), words)

    def test_what_a_plugin_catches_ends_the_run_all_the_same(self):
        err = self.ended(self.start(error_model="swallows"))
        self.assertRegex(err, r"'swallows' of plugin unruly draws the operation add with NaN.*, trial \d+")

    def test_parts_are_what_the_whole_is(self):
        parts = r"elementwise\(\) says that any slice can be stored alone"
        for number_format, words in (
            ("by_size", r"encodes \S+ as 0x\w+ among \d+, and as 0x\w+ among [1-7] of them, though " + parts),
            ("by_size_decode", r"decodes 0x\w+ as \S+ among \d+, and as \S+ among [1-7] of them, though " + parts),
            ("seldom_exact", r"stores -?0.\d+ as -?0.\d+ by encode and decode of \d+, and exact\(\) says that it stays"),
            ("writes_input", r"writes to the values in encode, which it may only read"),
        ):
            with self.subTest(number_format):
                err = self.ended(self.start(number_format, plugins=("sly",), run="self_replay = 0"))
                self.assertRegex(err, f"format '{number_format}' of plugin sly {words}")

    def guarded(self, guard, code=3):
        rng = numpy.random.default_rng(2)
        numpy.save(self.folder / "lx.npy", (0.9 * rng.standard_normal((4, 3, 8, 8))).astype(numpy.float32))
        numpy.save(self.folder / "ly.npy", numpy.zeros(4, numpy.int64))
        learn = f'[[protect]]\nprotection = "{guard}"\n[learn]\npath = "lx.npy"\nlabels = "ly.npy"'
        return self.ended(self.start(extra=learn, name=guard, plugins=("sly",), run="self_replay = 0"), code)

    def test_parts_are_guarded_as_the_whole_is(self):
        alone = r"makes \S+ of \S+ in guard of \d+ values, and \S+ of it in guard of \d+ of them: what becomes of a value"
        for guard, words in (
            ("bounds_first", alone),
            ("bounds_many", alone),
            ("bounds_few", alone),
            ("counts_slices", r"detects 1 of \d+ values in guard, and 2 of them in two halves"),
            ("writes_state", "writes to its state in guard, which it may only read"),
        ):
            with self.subTest(guard):
                self.assertRegex(self.guarded(guard), f"protection '{guard}' of plugin sly {words}")
        self.guarded("bounds", code=0)

    def test_a_guard_says_the_same_when_asked_again(self):
        for guard, method in (
            ("other_state", "state_size"),
            ("other_scratch", "scratch_size"),
            ("other_wants", "wants"),
            ("other_twice", "computed_twice"),
            ("other_passes", "passes"),
        ):
            with self.subTest(guard):
                words = f"protection '{guard}' of plugin sly says \\d+ in {method}, and \\d+ when asked again"
                self.assertRegex(self.guarded(guard), words)

    def test_a_metric_may_not_write_to_logits(self):
        err = self.ended(self.start(metric="writes_logits", plugins=("sly",)))
        self.assertRegex(err, r"'writes_logits' of plugin sly writes to the faulty logits in measure, .*, trial \d+")

    def test_formats_are_made_during_create(self):
        err = self.ended(self.start(metric="asks_late", plugins=("sly",)))
        self.assertRegex(err, r"'asks_late' of plugin sly asks for format 'fp16', at site .*during create alone")

    @unittest.skipUnless(platform.machine() == "x86_64", "these registers are those of x86-64")
    def test_the_registers_of_long_double_are_put_back(self):
        for metric in ("double_precision", "leaves_mmx"):
            with self.subTest(metric):
                err = self.ended(self.start(metric=metric, plugins=("sly",)))
                self.assertIn(f"metric '{metric}' of plugin sly changed how the processor computes in measure, at", err)
                self.assertIn("MMX code ends with emms", err)

    @unittest.skipUnless(platform.machine() == "x86_64", "the plugin does nothing elsewhere")
    def test_threads_of_the_pool_are_put_back(self):
        needs = subprocess.run(["readelf", "-d", PLUGINS / "pooling.so"], capture_output=True, text=True).stdout
        if "gomp" not in needs and "omp" not in needs:
            self.skipTest("this compiler has no OpenMP")
        for metric, method in (("pools_in_create", "create"), ("pools_in_measure", "measure")):
            with self.subTest(metric):
                process = self.start(metric=metric, plugins=("pooling",), threads=2, OMP_NUM_THREADS="2")
                words = f"'{metric}' of plugin pooling changed how the processor computes in {method} (threads of OpenMP's pool)"
                self.assertIn(words, self.ended(process))

    def deed(self, what, when="create", code=3, **choice):
        process = self.start(
            metric=[{"id": "deed", "what": what, "when": when}], plugins=("deeds",), number_format="fp32", **choice
        )
        return self.ended(process, code)

    def test_signals_of_plugins_are_named(self):
        for what, how in (
            ("closed_pipe", "(it wrote to a pipe that nobody reads)"),
            ("trap", "(trap)"),
            ("bad_call", "(bad system call)"),
        ):
            for when in ("create", "measure"):
                with self.subTest(what, when=when):
                    self.assertIn(f"metric 'deed' of plugin deeds crashed in {when} {how}", self.deed(what, when))
        for what, signal_name in (("alarm", "SIGALRM"), ("profiler", "SIGPROF"), ("hangs_up", "SIGHUP")):
            with self.subTest(what):
                err = self.deed(what, "measure", per_site=60000)
                self.assertIn(f"a signal that code of the process asked for ends it ({signal_name}, ", err)
                self.assertIn("it is that of plugin deeds", err)
        for what in ("alarm", "profiler"):  # stopped before it rings
            self.assertIn("changes timers of the process in create; that is put back", self.deed(what, code=0))

    def test_signals_of_others_are_left_alone(self):
        process = self.start(metric=[{"id": "deed"}], plugins=("deeds",), per_site=60000)
        self.wait_for(process, "trials on")
        process.send_signal(signal.SIGHUP)
        self.assertNotIn("plugin", self.ended(process, code=-signal.SIGHUP))
        process = subprocess.Popen(
            [PROGRAM, "plugin", "list", "--plugin", PLUGINS / "deeds.so", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.close()
        with process.stderr:
            self.assertEqual(process.stderr.read(), "")
        self.assertEqual(process.wait(timeout=60), -signal.SIGPIPE)

    def test_limits_that_plugins_lower_are_put_back(self):
        self.assertIn("changes limits of resources of the process in create; that is put back", self.deed("limits", code=0))

    def test_an_exit_in_a_thread_of_a_plugin_is_named(self):
        for what, how in (("exit_aside", "(it called exit)"), ("exit_at_once_aside", "(it called _exit)")):
            with self.subTest(what):
                err = self.deed(what, per_site=60000)
                words = f"plugin deeds ended the process in code that was not called, such as a thread of its own {how}"
                self.assertIn(words, err)
                self.assertIn("bitfall resume", err)
                self.assert_kept()

    def test_a_worker_that_ends_without_a_word_leaves_no_finished_run(self):
        err = self.deed("ends_thread", "measure", run="self_replay = 0")
        # Whichever comes first: the watch, which looks once a second, or the run's end.
        self.assertRegex(err, r"the run came to its end with \d+ of 800 trials stored|ended the thread that had called it")
        out = subprocess.run([PROGRAM, "status", "run", "--json"], cwd=self.folder, capture_output=True, text=True)
        self.assertFalse(json.loads(out.stdout)["finished"])

    def test_a_thread_that_is_gone_is_named(self):
        err = self.deed("ends_thread", "measure", per_site=60000, run="self_replay = 0")
        words = r"plugin deeds ended the thread that had called it in measure, at site|with \d+ of 120000 trials stored"
        self.assertRegex(err, words)

    def test_a_child_that_a_plugin_forks_ends_in_the_call(self):
        err = self.deed("forks", "measure", code=0)
        self.assertIn("metric 'deed' of plugin deeds has forked, and the child came back from measure", err)
        self.assert_kept()

    def test_a_plugin_that_needs_a_library_beside_it(self):
        self.ended(self.start(metric="supported", plugins=("supported",), name="supported"), code=0)
        replayed = subprocess.run([PROGRAM, "replay", "supported", "--trial", "3"], cwd=self.folder,
                                  capture_output=True, text=True)
        self.assertEqual(replayed.returncode, 0, replayed.stderr)
        self.assertIn("equal to the stored trial", replayed.stdout)

    def test_sites_are_calibrated_in_any_order(self):
        words = r"format 'first_scale' gives other metadata in calibrate at site '\w+' when sites come in the reverse order"
        self.assertRegex(self.ended(self.start("first_scale", plugins=("sly",))), words)

    def test_golden_ranges_are_for_those_that_ask(self):
        err = self.ended(self.start(error_model="by_range_unsaid"))
        self.assertIn("(SiteView::golden is NaN unless needs_golden_range() is true)", err)
        # Not where others made them known either.
        other = '[[faults]]\nper_site = 4\nerror_model = "by_range"'
        self.assertIn("'by_range_unsaid'", self.ended(self.start(error_model="by_range_unsaid", extra=other)))
        self.ended(self.start(error_model="by_range"), code=0)

    def test_an_extension_is_not_the_component_itself(self):
        err = self.ended(self.start(error_model="itself"))
        self.assertIn("'itself' of plugin unruly gives itself in extension for 'bitfall.edit_condition/1'", err)

    def test_calls_ahead_of_the_trials_come_back(self):
        for error_model, method in (("hangs_in_create", "create"), ("hangs_in_population", "population")):
            with self.subTest(method):
                err = self.ended(self.start(error_model=error_model, run="plugin_limit = 1"))
                self.assertIn(f"'{error_model}' of plugin unruly does not come back from {method}", err)

    def test_columns_are_asked_for_once(self):
        self.ended(self.start(metric="growing"), code=0)
        table = subprocess.run(
            [PROGRAM, "export", "run", "--csv"], cwd=self.folder, capture_output=True, text=True
        )
        rows = list(csv.DictReader(io.StringIO(table.stdout)))
        self.assertEqual({row["grown_0"] for row in rows}, {"2"})
        self.assertNotIn("grown_1", rows[0])
        err = self.ended(self.start(metric="many_columns"))
        self.assertIn("2500 of them metric 'many_columns'; together they can have 1950", err)

    def test_destructors_are_calls(self):
        err = self.ended(self.start(metric="ends_in_abort"))
        self.assertIn("metric 'ends_in_abort' of plugin unruly crashed in its destructor (abort)", err)
        err = self.ended(self.start(metric="ends_never", run="plugin_limit = 1"))
        self.assertIn("metric 'ends_never' of plugin unruly does not come back from its destructor", err)

    def test_variables_that_plugins_share_are_told_of(self):
        both = ("sharing", "sharing_too")
        symbols = subprocess.run(["nm", "-D", PLUGINS / "sharing.so"], capture_output=True, text=True)
        if " u " not in symbols.stdout:
            self.skipTest("this compiler makes no variables that libraries share")
        err = self.ended(self.start(metric=both, plugins=both), code=0)
        self.assertRegex(err, r"warning: plugins .*sharing(_too)?\.so and .*sharing(_too)?\.so share the variable")
        self.assertIn("share the variable 'bitfall::table(int)::made': ", err)
        err = self.ended(self.start(metric="sharing", plugins=("sharing",)), code=0)
        self.assertNotIn("share the variable", err)

    def test_what_is_the_same_in_one_process_only_ends_the_run(self):
        choice = {"metric": "since_loading", "plugins": ("meddling",)}
        err = self.ended(self.start(**choice))
        self.assertRegex(err, r"trial \d+ at site '\d' gives another result .* metric 'since_loading' gives echo = 1")
        self.assertIn("in a process started for it", err)
        self.assert_kept()
        self.ended(self.start(**choice, run="self_replay = 0"), code=0)

    def test_what_plugins_print_is_no_result(self):
        process = self.start(metric="printing", plugins=("meddling",), arguments=("--json",))
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(json.loads(out)["state"], "finished")
        for words in ("puts, in create", "printf, in measure", "cout, in the destructor"):
            self.assertIn(words, err)

    def test_what_plugins_change_of_the_process_is_put_back(self):
        err = self.ended(self.start(metric="meddles_in_create", plugins=("meddling",)), code=0)
        self.assertIn(
            "metric 'meddles_in_create' of plugin meddling changes the working directory and the mask of new "
            "files and handlers of signals and the locale of the process in create; that is put back",
            err,
        )
        self.assert_kept()
        process = self.start(metric="meddles_in_measure", plugins=("meddling",))
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertRegex(err, "something changed the working directory and the locale of .*'meddles_in_measure'")
        self.assertNotRegex(out, r"\d,\d+ %")
        self.assert_kept()

    def test_memory_without_end_ahead_of_the_trials_has_a_name(self):
        for words, choice in (
            ("metric 'hoards_in_create' of plugin meddling asks for more memory in create", {"metric": "hoards_in_create"}),
            (
                "error_model 'hoards_in_population' of plugin meddling asks for more memory in population",
                {"error_model": "hoards_in_population"},
            ),
        ):
            with self.subTest(words):
                self.assertIn(words, self.ended(self.start(**choice, plugins=("meddling",))))

    def test_a_plugin_that_does_not_let_the_process_end(self):
        process = self.start(metric="lingering", plugins=("meddling",), run="plugin_limit = 2")
        err = self.ended(process, code=0)
        self.assertIn("the command has ended, and plugin meddling keeps the process from ending", err)
        self.assertIn("ended all the same", err)
        self.assert_kept()
        # Nor where the command fails.
        process = self.start("rounds_up", metric="lingering", plugins=("meddling", "unruly"), run="plugin_limit = 2")
        self.assertIn("ended all the same", self.ended(process, code=3))

    def test_a_child_of_a_plugin_may_end(self):
        err = self.ended(self.start(metric="forks"), code=0)
        self.assertNotIn("ended the process", err)

    def test_a_second_interrupt_is_not_laid_to_a_plugin(self):
        process = self.start(error_model="hangs_in_create", run="plugin_limit = 30")
        self.wait_for(process, "has been in create")
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        self.assertNotIn("ended the process", self.ended(process, code=130))

    def test_guards_that_do_what_they_may_not(self):
        numpy.save(self.folder / "lx.npy", numpy.zeros((4, 3, 8, 8), numpy.float32))
        numpy.save(self.folder / "ly.npy", numpy.zeros(4, numpy.int64))
        for guard, words, at in (
            ("again_at_sites", "asks in guard to compute once more, which is for the answer alone", "1"),
            ("detects_too_many", "it can detect as many as there are", "1"),
            ("crashes_in_learn", "crashed in learn", "1"),
            ("moody_guard", "protection 'moody_guard' around format 'fp32' gives ", "0"),
        ):
            with self.subTest(guard):
                # Where faults hit what is guarded, replays see its values.
                operations = "conv" if at == "0" else "relu"
                err = self.ended(self.start(name=guard, extra=f'''
[[protect]]
protection = "{guard}"
operations = ["{operations}"]
[learn]
path = "lx.npy"
labels = "ly.npy"'''))
                self.assertIn(words, err)
                self.assertEqual(err.count(f"at site '{at}'"), 1, err)

    def test_a_guard_that_only_notices(self):
        """Detection without correction, against eager PyTorch."""
        learn = (0.7 * numpy.random.default_rng(1).standard_normal((6, 3, 8, 8))).astype(numpy.float32)
        numpy.save(self.folder / "lx.npy", learn)
        numpy.save(self.folder / "ly.npy", numpy.zeros(6, numpy.int64))
        guard = '[[protect]]\nprotection = "watches"\n[learn]\npath = "lx.npy"\nlabels = "ly.npy"'
        self.ended(self.start(extra=guard, name="watched"), code=0)

        def rows(run):
            out = subprocess.run([PROGRAM, "export", run, "--csv"], cwd=self.folder, capture_output=True, text=True)
            return list(csv.DictReader(io.StringIO(out.stdout)))

        network = torch.jit.load(str(self.folder / "m.pt"))
        layers = list(network.children())
        images = torch.from_numpy(numpy.load(self.folder / "x.npy"))
        bound = layers[1](layers[0](torch.from_numpy(learn))).max().item()
        with torch.no_grad():
            convolved = [layers[0](image.unsqueeze(0)).numpy() for image in images]
        watched, seen, alarms = rows("watched/protected/watches"), 0, 0
        self.assertGreater(len(watched), 0)
        for plain, row in zip(rows("watched"), watched, strict=True):
            for column in ("trial", "element", "mask", "golden_loss", "faulty_loss", "outcome"):
                self.assertEqual(row[column], plain[column], row)  # it changes nothing
            golden = convolved[int(row["image"])].copy()
            alarm = golden > bound
            noticed = False
            if row["site"] == "0":
                golden.ravel().view(numpy.uint32)[int(row["element"])] ^= numpy.uint32(int(row["mask"], 16))
                noticed = bool(((golden > bound) & ~alarm).any())
            self.assertEqual(float(row["protect_detected"]), noticed, row)
            self.assertEqual(float(row["protect_false_alarm"]), bool(alarm.any()), row)
            seen, alarms = seen + noticed, alarms + bool(alarm.any())
        self.assertGreater(seen, 3)
        self.assertGreater(alarms, 10)
        self.assertLess(alarms, len(watched))
        # What changes an answer doubts it, whatever it says.
        self.ended(self.start(extra='[[protect]]\nprotection = "nudges"', name="nudged"), code=0)
        nudged = rows("nudged/protected/nudges")
        self.assertGreater(len(nudged), 0)
        self.assertEqual({row["protect_false_alarm"] for row in nudged}, {"1"})

    def test_an_endless_call_ends(self):
        err = self.ended(self.start("endless", run="plugin_limit = 2"))
        self.assertRegex(err, r"format 'endless' of plugin unruly has been in emulate for \d+ s")
        self.assertIn("does not come back from emulate (see [run] plugin_limit)", err)
        self.assert_kept()

    def test_a_slow_call_is_told_of_and_goes_on(self):
        process = self.start("slow", run="plugin_limit = 3")
        self.wait_for(process, "has been in emulate for")
        self.assertIsNone(process.poll())
        process.kill()
        process.communicate()

    def test_ctrl_c_in_an_endless_call(self):
        process = self.start("endless")
        self.wait_for(process, "trials on")  # then it runs
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        err = self.ended(process)
        self.assertIn("was asked to stop and does not come back from emulate", err)
        self.assert_kept()

    def test_crashes_elsewhere_are_left_alone(self):
        process = subprocess.Popen(
            [PROGRAM, "convert", "fp16", "-"],  # waits for numbers
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(1)
        process.send_signal(signal.SIGSEGV)
        self.assertNotIn("plugin", self.ended(process, code=-signal.SIGSEGV))

    def test_files_that_are_left_out_are_told_of(self):
        folder = self.folder / "plugins"
        folder.mkdir()
        for stem in ("wrong_abi", "unruly"):
            (folder / f"{stem}.so").write_bytes((PLUGINS / f"{stem}.so").read_bytes())
        (folder / "same.so").write_bytes((PLUGINS / "unruly.so").read_bytes())
        self.start("nf4").communicate()
        text = (self.folder / "c.toml").read_text()
        (self.folder / "c.toml").write_text(text.replace(str(PLUGINS / "unruly.so"), str(folder)))
        done = subprocess.run([PROGRAM, "run", "c.toml"], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown format 'nf4'", done.stderr)
        self.assertIn("wrong_abi.so is left out: it has no note", done.stderr)
        # The same file twice is one plugin, whichever is looked at first.
        self.assertEqual(done.stderr.count("does not tell what it offers"), 1)

    def test_two_files_with_one_id(self):
        self.start("nf4").communicate()  # the network and the images
        text = (self.folder / "c.toml").read_text().replace('id = "nf4"', 'id = "fp32"')
        text = text.replace("[plugins]", '[metrics]\nids = ["friendly"]\n[plugins]')
        (self.folder / "two.toml").write_text(text.replace(str(PLUGINS / "unruly.so"), str(PLUGINS / "friendly.so")))
        path = self.folder / "search"
        path.mkdir()
        (path / "friendly_changed.so").write_bytes((PLUGINS / "friendly_changed.so").read_bytes())

        def run(*arguments, code=0, **environment):
            done = subprocess.run([PROGRAM, "run", "two.toml", "--force", "--json", *arguments], cwd=self.folder,
                                  capture_output=True, text=True, env={**os.environ, **environment})
            self.assertEqual(done.returncode, code, done.stderr)
            return done

        # Named both: an error that names both. Found beside the one that is named: left out, and told of.
        err = run("--plugin", PLUGINS / "friendly_changed.so", code=3).stderr
        self.assertRegex(err, r"friendly_changed.so is refused: metric 'friendly' is already .*/friendly.so\)")
        alone = run()
        self.assertNotIn("offers one, too", alone.stderr)
        beside = run(BITFALL_PLUGIN_PATH=str(path))
        self.assertRegex(beside.stderr, r"metric 'friendly' is that of .*/friendly.so; .*/search/friendly_changed.so offers one, too")
        self.assertEqual(json.loads(beside.stdout)["digest"], json.loads(alone.stdout)["digest"])

    def test_a_run_keeps_its_plugins(self):
        library = self.folder / "mine.so"
        library.write_bytes((PLUGINS / "friendly.so").read_bytes())
        (self.folder / "k.toml").write_text("""
[campaign]
output = "kept"
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "y.npy"
[[faults]]
per_site = 4
[metrics]
ids = ["friendly"]
[plugins]
paths = ["mine.so"]
[run]
batch = 4
threads = 1
workers = 1
""")

        def bitfall(*arguments, code=0):
            done = subprocess.run(
                [PROGRAM, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True
            )
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout + done.stderr

        bitfall("run", "k.toml")
        (copy,) = (self.folder / "kept" / "plugins").iterdir()
        self.assertEqual(copy.read_bytes(), library.read_bytes())
        library.write_bytes(b"something else by now")
        self.assertIn("equal", bitfall("replay", "kept", "--trial", "3"))
        library.unlink()
        self.assertIn("equal", bitfall("replay", "kept", "--trial", "3"))
        # A copy that was changed is not loaded, and nothing else is either.
        code = bytearray(copy.read_bytes())
        code[-1] ^= 1
        copy.write_bytes(code)
        said = bitfall("replay", "kept", "--trial", "3", code=4)
        self.assertIn("plugin friendly 1.0, which the run used, is not there", said)
        self.assertIn("mine.so", said)
        self.assertIn("--plugin", said)
        self.assertIn(
            "equal", bitfall("replay", "kept", "--trial", "3", "--plugin", PLUGINS / "friendly.so")
        )
        # Of another user's: neither the copy nor what the campaign names, unless it is asked for.
        if os.geteuid() == 0:
            copy.write_bytes((PLUGINS / "friendly.so").read_bytes())
            os.chown(copy, 1234, 1234)
            library.write_bytes(copy.read_bytes())
            os.chown(library, 1234, 1234)
            said = bitfall("replay", "kept", "--trial", "3", code=4)
            self.assertIn(f"which another user made: kept/plugins/{copy.name}", said)
            self.assertIn(f"names {library}, which another user made; --trust-plugins loads it", said)
            self.assertIn("equal", bitfall("replay", "kept", "--trial", "3", "--trust-plugins"))
            copy.unlink()
            bitfall("replay", "kept", "--trial", "3", code=4)
            self.assertIn("equal", bitfall("replay", "kept", "--trial", "3", "--trust-plugins"))
            os.chown(library, 0, 0)
            self.assertIn("equal", bitfall("replay", "kept", "--trial", "3"))
        # What is written into the file while it runs changes nothing.
        library.write_bytes((PLUGINS / "friendly.so").read_bytes())
        long = (self.folder / "k.toml").read_text().replace("per_site = 4", "per_site = 20000")
        (self.folder / "long.toml").write_text(long)
        bitfall("run", "long.toml", "-o", "undisturbed")
        running = subprocess.Popen([PROGRAM, "run", "long.toml", "-o", "disturbed", "-q"], cwd=self.folder)
        while not (self.folder / "disturbed" / "plugins").is_dir():
            self.assertIsNone(running.poll(), "it ended first")
            time.sleep(0.01)
        time.sleep(0.1)
        library.write_bytes(b"in the middle of a run")
        self.assertIsNone(running.poll(), "it ended first")
        self.assertEqual(running.wait(timeout=120), 0)
        digests = [json.loads(bitfall("status", run, "--json"))["digest"] for run in ("undisturbed", "disturbed")]
        self.assertEqual(*digests)
        # Named on the command line, where the file names none.
        text = (self.folder / "k.toml").read_text().replace('paths = ["mine.so"]', "")
        (self.folder / "n.toml").write_text(text)
        friendly = PLUGINS / "friendly.so"
        bitfall("run", "n.toml", "-o", "named", "--plugin", friendly)
        self.assertIn("equal", bitfall("replay", "named", "--trial", "3"))
        self.assertIn("unknown metric 'friendly'", bitfall("run", "n.toml", "-o", "no", code=2))
        bitfall("convert", "bad_pointer", "1", "--plugin", PLUGINS / "unruly.so", code=3)
        # The same file by another name.
        again = self.folder / "elsewhere"
        again.mkdir()
        (again / "other_name.so").write_bytes((PLUGINS / "friendly.so").read_bytes())
        self.assertIn("equal", bitfall("replay", "kept", "--trial", "3", "--plugin", again))

    def test_a_plugin_is_built_again_before_protected_runs_begin(self):
        self.start("nf4").communicate()  # the network and the images
        own, good = self.folder / "own.so", (PLUGINS / "examples/top_k.so").read_bytes()
        own.write_bytes(good)
        text = (self.folder / "c.toml").read_text().replace('id = "nf4"', 'id = "fp32"')
        text = text.replace(str(PLUGINS / "unruly.so"), str(own)).replace("per_site = 400", "per_site = 20000")
        text += '[metrics]\nids = ["top_k"]\n[[protect]]\nprotection = "nan_guard"\n'
        (self.folder / "again.toml").write_text(text)
        process = subprocess.Popen([PROGRAM, "run", "again.toml", "-o", "rebuilt"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(process, "trials on 12 images into")
        own.unlink()
        own.write_bytes(good + b"built again")
        self.ended(process, code=0)
        for run in ("rebuilt", "rebuilt/protected/nan_guard"):
            (kept,) = (self.folder / run / "plugins").iterdir()
            self.assertEqual(kept.read_bytes(), good)
            replayed = subprocess.run([PROGRAM, "replay", run, "--trial", "5,30000"], cwd=self.folder,
                                      capture_output=True, text=True)
            self.assertEqual(replayed.returncode, 0, replayed.stderr)
            self.assertEqual(replayed.stdout.count("equal to the stored trial"), 2)

    def test_a_run_goes_on_with_a_mended_plugin(self):
        self.start("nf4").communicate()  # the network and the images
        text = (self.folder / "c.toml").read_text().replace('id = "nf4"', 'id = "fp16"')
        text = text.replace(str(PLUGINS / "unruly.so"), str(PLUGINS / "friendly_broken.so"))
        text = text.replace("[plugins]", '[metrics]\nids = ["friendly"]\n[plugins]')
        (self.folder / "m.toml").write_text(text + "commit_every = 16\n")

        def bitfall(*arguments, code=0):
            done = subprocess.run(
                [PROGRAM, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True
            )
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout if code == 0 and "--json" in arguments else done.stdout + done.stderr

        self.assertIn("out of luck", bitfall("run", "m.toml", "-o", "broken", code=3))
        begun = json.loads(bitfall("status", "broken", "--json"))
        self.assertGreater(begun["done"], 0)
        # Another plugin, one that gives something else, and no plugin at all.
        said = bitfall("resume", "broken", "--with", PLUGINS / "intruder.so", code=2)
        self.assertIn("it is plugin 'intruder', and the run uses", said)
        said = bitfall("resume", "broken", "--with", PLUGINS / "friendly_changed.so", code=3)
        self.assertIn("metric 'friendly' gives echo = 1, then 2", said)
        self.assertIn("does not go on with this plugin", said)
        said = bitfall("resume", "broken", "--with", PLUGINS / "not_a_library.so", code=4)
        self.assertIn("does not tell its name without being run", said)
        self.assertEqual(json.loads(bitfall("status", "broken", "--json"))["done"], begun["done"])
        self.assertIn("friendly 1.0", bitfall("resume", "broken", "--with", PLUGINS / "friendly.so"))
        # The same trials as where nothing ever broke; both plugins are told and kept.
        (self.folder / "w.toml").write_text(text.replace("friendly_broken", "friendly"))
        whole = json.loads(bitfall("run", "w.toml", "-o", "whole", "--json"))
        report = json.loads(bitfall("report", "broken", "--json"))
        self.assertEqual(report["done"], report["planned"])
        digest = json.loads(bitfall("resume", "broken", "--json"))["digest"]
        self.assertEqual(digest, whole["digest"])
        self.assertIn("friendly 0.9", report["facts"]["mended_plugins"])
        self.assertEqual(len(list((self.folder / "broken" / "plugins").iterdir())), 2)
        self.assertIn("equal", bitfall("replay", "broken", "--trial", "3"))
        (friendly,) = [p for p in report["plugins"] if p["name"] == "friendly"]
        self.assertEqual(friendly["version"], "1.0")
        self.assertEqual(friendly["uses"], ["metric 'friendly'"])
        self.assertFalse(friendly["comes_with_bitfall"])
        self.assertIn("friendly", bitfall("report", "broken"))
        page = (self.folder / "broken" / "report.html").read_text()
        self.assertIn(friendly["sha256"], page)
        # Other binaries of one plugin in two runs are told of.
        again = self.folder / "again.so"
        again.write_bytes((PLUGINS / "friendly.so").read_bytes() + b"built again")
        (self.folder / "a.toml").write_text(
            text.replace(str(PLUGINS / "friendly_broken.so"), str(again))
        )
        bitfall("run", "a.toml", "-o", "again")
        said = bitfall("compare", "whole", "again")
        self.assertIn("binaries of plugin friendly differ", " ".join(said.split()))

    def test_a_metric_of_others_reaches_every_report(self):
        self.start("nf4").communicate()  # the network and the images
        text = (self.folder / "c.toml").read_text().replace('id = "nf4"', 'id = "fp32"')
        text = text.replace(str(PLUGINS / "unruly.so"), str(PLUGINS / "examples/top_k.so"))
        text += '[metrics]\nids = [{ id = "top_k", k = 1 }, { id = "top_k", k = 2 }]\n'
        (self.folder / "t.toml").write_text(text)

        def bitfall(*arguments):
            done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        bitfall("run", "t.toml", "-o", "top")
        rows = list(csv.DictReader(io.StringIO(bitfall("export", "top", "--csv"))))
        told, full = bitfall("report", "top"), bitfall("report", "top", "--metrics")
        markdown = bitfall("report", "top", "--markdown").replace("\\", "")
        page = (self.folder / "top/report.html").read_text()
        report = json.loads(bitfall("report", "top", "--json"))
        both = bitfall("compare", "top", "top", "--markdown").replace("\\", ""), bitfall("compare", "top", "top", "--json")
        self.assertNotEqual(sum(row["top1_lost"] != row["top2_lost"] for row in rows), 0)
        for column in ("top1_lost", "top2_lost"):
            block = full.split("\n" + column + "\n")[1].split("\ntop")[0]
            for site in ("0", "3", None):
                of = [float(row[column]) for row in rows if site in (None, row["site"])]
                share = f"{100 * sum(of) / len(of):.2f} % ["
                line = next(line for line in block.splitlines() if line.split()[0] == (site or "all"))
                self.assertIn(share, line)
                self.assertIn(share, markdown.split("## Metrics")[1].split("##")[0])
                self.assertIn(share, page)
            for part in (*report["layers"], *report["bit_classes"], report["network"]):
                low, high = part["metrics"][column]["rate"]["interval"]
                self.assertLess(low, high)
            for text in (told, *both):
                self.assertIn(column, text)

    def test_a_file_in_the_search_path_does_nothing(self):
        self.start("nf4").communicate()  # the network and the images
        text = (self.folder / "c.toml").read_text()
        text = text.replace('id = "nf4"', 'id = "bf16"').replace(str(PLUGINS / "unruly.so"), "")
        (self.folder / "c.toml").write_text(text.replace('paths = [""]', "paths = []"))
        place = self.folder / "beside"
        place.mkdir()
        for stem in ("intruder", "unruly", "fast_math"):  # one with a note that tells all
            (place / f"{stem}.so").write_bytes((PLUGINS / f"{stem}.so").read_bytes())
        mark = self.folder / "mark"
        beside = dict(
            os.environ, BITFALL_PLUGIN_PATH=str(place), INTRUDER_MARK=str(mark), INTRUDER_CRASH="1"
        )

        def said(*arguments, env=os.environ, code=0):
            done = subprocess.run(
                [PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True, env=env
            )
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout

        digests = []
        for name, env in (("alone", dict(os.environ)), ("beside", beside)):
            digests.append(json.loads(said("run", "c.toml", "-o", name, "--json", env=env))["digest"])
        self.assertEqual(*digests)
        listed = json.loads(said("plugin", "list", "--json", env=beside))
        (intruder,) = [p for p in listed["plugins"] if p["name"] == "intruder"]
        self.assertEqual((intruder["loaded"], intruder["licence"]), (False, "MIT"))
        self.assertIn({"strangers/intruder"}, [{c["id"]} for c in listed["components"]])
        refused = {Path(r["path"]).name: r["reason"] for r in listed["refused"]}
        self.assertEqual(set(refused), {"unruly.so", "fast_math.so"})
        for reason in refused.values():
            self.assertIn("runs only where the file itself is named", reason)
        for arguments in (["formats"], ["convert", "bf16", "1e-39"], ["env"], ["sites", "m.pt", "--input", "3x8x8"]):
            said(*arguments, env=beside)
        self.assertFalse(mark.exists())
        # It is there for the campaign that names it: then it crashes, and has a name.
        done = subprocess.run(
            [PROGRAM, "plugin", "info", "strangers/intruder"],
            cwd=self.folder, env=beside, capture_output=True, text=True,
        )  # fmt: skip
        self.assertEqual(done.returncode, 3)
        self.assertIn("intruder.so", done.stderr)
        self.assertTrue(mark.exists())

    def test_fast_math_in_the_search_path_changes_nothing(self):
        arguments = [PROGRAM, "convert", "bf16", "1e-39", "--json"]
        clean = subprocess.run(arguments, capture_output=True, text=True)
        path = dict(os.environ, BITFALL_PLUGIN_PATH=str(PLUGINS / "fast_math.so"))
        beside = subprocess.run(arguments, capture_output=True, text=True, env=path)
        self.assertEqual(clean.stdout, beside.stdout)
        self.assertNotEqual(json.loads(clean.stdout)["code"], "0x0000")


if __name__ == "__main__":
    unittest.main(verbosity=2)
