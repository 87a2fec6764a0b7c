"""bitfall.cluster against the real engines: Slurm's daemons, started here as a cluster of one node that loses a task and then
itself, and a Dask scheduler with two workers of which one is killed. Parts whose packages are missing are skipped, with the
reason.

usage: launchers_test.py PROGRAM [unittest arguments]
"""

import contextlib
import getpass
import importlib.util
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


SLURM = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def parents():
    """Of every process."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def below(process):
    """The process and all that it has started."""
    known, tree = parents(), {process}
    while more := {child for child, parent in known.items() if parent in tree} - tree:
        tree |= more
    return tree


def command_line(process):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


@unittest.skipUnless(
    all(map(shutil.which, SLURM)), "Slurm is not installed (apt-get install --no-install-recommends slurm-wlm munge)"
)
class Slurm(Case):
    """Munge, slurmctld and slurmd of our own, with all their files in one folder."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_slurm_"))
        for folder in ("munge", "state", "spool"):
            (cls.place / folder).mkdir()
        for folder in (cls.place, cls.place / "munge"):
            folder.chmod(0o711)  # munged refuses a socket that not everybody can reach
        cls.environment = {**ENVIRONMENT, "SLURM_CONF": str(cls.configure())}
        try:
            munge = cls.place / "munge"
            cls.call("mungekey", "-c", "-k", munge / "key")
            cls.call("munged", *(f"--{name}={munge / name.partition('-')[0]}" for name in
                                 ("key-file", "socket", "pid-file", "log-file", "seed-file")))  # fmt: skip
            cls.call("slurmctld", "-f", cls.environment["SLURM_CONF"], "-i")
            cls.start_node()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def configure(cls):
        name, user, place = socket.gethostname().partition(".")[0], getpass.getuser(), cls.place
        control, node = free_ports(2)
        settings = {
            "ClusterName": "test", "SlurmctldHost": f"{name}(127.0.0.1)", "SlurmctldPort": control, "SlurmdPort": node,
            "SlurmUser": user, "SlurmdUser": user, "AuthType": "auth/munge",
            "AuthInfo": f"socket={place}/munge/socket,cred_expire=5",  # else a requeued task waits 120 s
            "StateSaveLocation": place / "state", "SlurmdSpoolDir": place / "spool",
            "SlurmctldPidFile": place / "slurmctld.pid", "SlurmdPidFile": place / "slurmd.pid",
            "SlurmctldLogFile": place / "slurmctld.log", "SlurmdLogFile": place / "slurmd.log",
            "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "MpiDefault": "none",
            "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU",
            "SchedulerType": "sched/backfill", "SchedulerParameters": "sched_interval=1,bf_interval=1",
            "ReturnToService": 2, "JobRequeue": 1, "KillWait": 5, "MinJobAge": 3600,
            "NodeName": f"{name} NodeAddr=127.0.0.1 CPUs={min(2, os.cpu_count())} State=UNKNOWN",
            "PartitionName": f"main Nodes={name} Default=YES MaxTime=INFINITE State=UP",
        }  # fmt: skip
        path = place / "slurm.conf"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    @classmethod
    def call(cls, *line):
        done = subprocess.run([*map(str, line)], capture_output=True, text=True, timeout=60, env=cls.environment)
        if done.returncode != 0:
            raise AssertionError(f"{line}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    @classmethod
    def start_node(cls):
        cls.call("slurmd", "-f", cls.environment["SLURM_CONF"])
        cls.wait(lambda: cls.call("sinfo", "-h", "-o", "%t") in ("idle", "mix", "alloc"), 30, "the node is not up")

    @staticmethod
    def wait(ready, seconds, what):
        end = time.monotonic() + seconds
        while not (found := ready()):
            if time.monotonic() > end:
                raise AssertionError(what)
            time.sleep(0.02)
        return found

    @classmethod
    def tearDownClass(cls):
        processes = set()
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            with contextlib.suppress(OSError, ValueError):
                processes |= below(int((cls.place / name).read_text()))
        processes |= {process for process in parents() if str(cls.place) in " ".join(command_line(process))}
        for process in processes - {os.getpid()}:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(cls.place, ignore_errors=True)
        super().tearDownClass()

    def submit(self, directory):
        """The numbers of the array and of the merge behind it."""
        done = subprocess.run([sys.executable, "-m", "bitfall.cluster", "slurm", directory, "--", "--cpus-per-task=1"],
                              capture_output=True, text=True, timeout=60, env=self.environment)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        jobs = [json.loads(line) for line in (directory / "jobs.jsonl").read_text().splitlines()]
        return jobs[-2], jobs[-1]

    def states(self, job):
        """(state, exit code) of each task, or of the job."""
        shown = self.call("scontrol", "show", "job", "-o", job["job"])
        return [(re.search(r"JobState=(\S+)", line)[1], re.search(r"ExitCode=(\S+)", line)[1]) for line in shown.splitlines()]

    def end(self, job, seconds=120):
        """Its states, once it has ended."""
        running = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "NODE_FAIL"}
        return self.wait(lambda: (s := self.states(job)) and not {state for state, _ in s} & running and s, seconds,
                         f"job {job} does not end")  # fmt: skip

    def workers(self, directory):
        """{shard: (process, trials stored)} of the programs that have stored something and go on."""
        found = {}
        for process in parents():
            words = command_line(process)
            if words[:3] != [str(PROGRAM), "work", str(directory)]:
                continue
            database = directory / "shards" / f"{int(words[3]):04d}" / "campaign.sqlite"
            with contextlib.suppress(sqlite3.Error):
                with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as reader:
                    ((count,),) = reader.execute("SELECT count(*) FROM trials")
                if count:
                    found[int(words[3])] = process, count
        return found

    def test_what_is_lost_is_submitted_again(self):
        campaign = self.long_campaign("slurm")
        bitfall("run", campaign, "-o", self.folder / "slurm_whole")
        digest = said("status", self.folder / "slurm_whole")["digest"]
        directory = self.plan("slurm_plan", 4, campaign)

        # A task's program is killed: the merge behind the array names the shard.
        array, merge = self.submit(directory)
        self.assertEqual(array["shards"], "1-4")
        lost, (process, _) = next(iter(self.wait(lambda: self.workers(directory), 60, "nothing was stored").items()))
        os.kill(process, signal.SIGKILL)
        self.assertEqual(sorted(self.end(array)), 3 * [("COMPLETED", "0:0")] + [("FAILED", "137:0")])
        self.assertEqual(self.end(merge), [("FAILED", "75:0")])
        self.assertIn(f"1 of 4 shards are not finished: {lost};", (directory / "logs/merge.log").read_text())

        # The same command takes only that shard; the node is lost while it runs, and comes back.
        array, merge = self.submit(directory)
        self.assertEqual(array["shards"], str(lost))
        ((process, _),) = self.wait(lambda: self.workers(directory), 60, "nothing was stored").values()
        for process in below(int((self.place / "slurmd.pid").read_text())) | {process} | set(self.ancestors(process)):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        self.call("scontrol", "update", f"NodeName={socket.gethostname().partition('.')[0]}", "State=DOWN", "Reason=test")
        self.start_node()
        self.assertEqual(self.end(array), [("COMPLETED", "0:0")])
        self.assertIn("Restarts=1", self.call("scontrol", "show", "job", "-o", array["job"]))
        self.assertRegex((directory / f"logs/{lost}.log").read_text(), r"going on with \d+ of \d+ trials")
        self.assertEqual(self.end(merge), [("COMPLETED", "0:0")])
        self.assertEqual(said("merge", directory)["digest"], digest)

    @staticmethod
    def ancestors(process):
        """Up to the daemon of the step."""
        known = parents()
        while (process := known.get(process, 1)) > 1:
            yield process
            if any("slurmstepd" in word for word in command_line(process)):
                return


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
