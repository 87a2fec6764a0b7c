"""bitfall.cluster against the real engines: Slurm's job files and command lines, and a Dask scheduler with two workers of
which one is killed. Parts whose packages are missing are skipped, with the reason.

usage: launchers_test.py PROGRAM [unittest arguments]
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "tests"))
from cluster_test import PROGRAM, Case, bitfall, said  # noqa: E402

ENVIRONMENT = {**os.environ, "BITFALL": str(PROGRAM), "PYTHONPATH": str(SOURCE / "scripts/python")}


def cluster(*arguments, expect=0):
    done = subprocess.run([sys.executable, "-m", "bitfall.cluster", *map(str, arguments)], capture_output=True, text=True,
                          timeout=200, env=ENVIRONMENT)  # fmt: skip
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


class Files(Case):
    def test_slurm_takes_only_what_is_missing(self):
        directory = self.plan("slurm", 7)
        array, merge = cluster("slurm", directory, "--dry-run", "--", "--account=x")[0].splitlines()
        self.assertEqual(array, f"sbatch --parsable --array=1-7 --account=x {directory}/job.sh")
        self.assertEqual(merge, f"sbatch --parsable --account=x {directory}/merge.sh")
        for name in ("job.sh", "merge.sh"):
            subprocess.run(["bash", "-n", directory / name], check=True)
        with open(directory / "job.sh", "a") as file:
            file.write("# mine\n")
        for shard in (2, 4, 5):
            bitfall("work", directory, shard)
        array, _ = cluster("slurm", directory, "--dry-run")[0].splitlines()
        self.assertIn("--array=1,3,6-7 ", array)
        self.assertTrue((directory / "job.sh").read_text().endswith("# mine\n"))
        # What a task of the array does, by the script itself.
        for shard in (1, 3, 6, 7):
            subprocess.run(["bash", directory / "job.sh"], check=True, capture_output=True,
                           env={**os.environ, "SLURM_ARRAY_TASK_ID": str(shard)})  # fmt: skip
        self.assertEqual(len(cluster("slurm", directory, "--dry-run")[0].splitlines()), 1)
        subprocess.run(["bash", directory / "merge.sh"], check=True, capture_output=True)
        self.assertEqual(said("merge", directory)["digest"], self.digest)

    def test_kubernetes_job(self):
        import yaml

        directory = self.plan("K8s_plan", 5)
        job = yaml.safe_load(cluster("k8s", directory, "--image", "registry/bitfall:1")[0])
        self.assertEqual((job["kind"], job["spec"]["completions"]), ("Job", 5))
        self.assertEqual(job["metadata"]["name"], "bitfall-k8s-plan")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        words = container["command"]
        self.assertEqual(words[:2], ["sh", "-c"])
        work = words[2].replace("exec bitfall", f"exec {PROGRAM}")
        subprocess.run(["sh", "-c", work], check=True, capture_output=True, env={**os.environ, "JOB_COMPLETION_INDEX": "2"})
        self.assertEqual(said("status", directory)["each"][2]["state"], "finished")

    def test_what_is_no_plan(self):
        _, err = cluster("slurm", self.folder / "whole", expect=4)
        self.assertIn("not the directory of a plan", err)
        _, err = cluster("slurm", self.folder / "none", expect=4)
        self.assertIn("none", err)


@unittest.skipUnless(importlib.util.find_spec("distributed"), "Dask is not installed (pip install dask distributed)")
class Dask(Case):
    def setUp(self):
        self.file = self.folder / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        self.processes = [self.start([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                                      "--scheduler-file", str(self.file)])]  # fmt: skip
        for _ in range(600):
            if self.file.exists() and self.file.stat().st_size:
                break
            time.sleep(0.1)
        # No nanny: it would start a killed worker anew.
        worker = [*dask, "worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--scheduler-file", str(self.file),
                  "--local-directory", str(self.folder / "scratch")]  # fmt: skip
        self.processes += [self.start(worker), self.start(worker)]

    def start(self, line):
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)

    def tearDown(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def test_a_killed_worker_costs_nothing(self):
        campaign = self.long_campaign("dask")
        bitfall("run", campaign, "-o", self.folder / "dask_whole")
        directory = self.plan("dask_plan", 6, campaign)
        launcher = subprocess.Popen([sys.executable, "-m", "bitfall.cluster", "dask", directory, self.file],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)  # fmt: skip
        for _ in range(3000):
            if launcher.poll() is not None or any(directory.glob("shards/*/progress.json")):
                break
            time.sleep(0.02)
        self.processes[1].kill()
        out, err = launcher.communicate(timeout=120)
        self.assertEqual(launcher.returncode, 0, err)
        self.assertIn("6 of 6", err)
        self.assertEqual(
            json.loads(bitfall("merge", directory, "--json")[0])["digest"],
            said("status", self.folder / "dask_whole")["digest"],
        )


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
