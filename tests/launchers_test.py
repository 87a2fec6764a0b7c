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
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
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

    @unittest.skipUnless(importlib.util.find_spec("yaml"), "PyYAML is not installed (it comes with timm, by scripts/setup.sh)")
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


def workers(directory):
    """{shard: (process, trials stored)} of the programs that have stored something and go on."""
    found = {}
    for process in parents():
        words = command_line(process)
        if words[1:3] != ["work", str(directory)] or pathlib.Path(words[0]).name != PROGRAM.name:
            continue
        database = directory / "shards" / f"{int(words[3]):04d}" / "campaign.sqlite"
        with contextlib.suppress(sqlite3.Error):
            with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as reader:
                ((count,),) = reader.execute("SELECT count(*) FROM trials")
            if count:
                found[int(words[3])] = process, count
    return found


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


class Lines(Case):
    """What the package's README says of other launchers, as it stands there."""

    @staticmethod
    def documented(tool, directory, shards):
        """The lines of this tool, for the plan; the comment cut off."""
        lines = (SOURCE / "scripts/python/README.md").read_text().splitlines()
        (first,) = (i for i, line in enumerate(lines) if re.search(rf"  # {tool}\b", line))
        last = next(i for i in range(first + 1, len(lines)) if not lines[i].startswith(8 * " "))
        text = textwrap.dedent("\n".join([lines[first].partition("  # ")[0].rstrip(), *lines[first + 1 : last]]))
        text = text.replace("DIR", str(directory)).replace("1-64", f"1-{shards}").replace("65", str(shards + 1))
        return text + "\n"

    def launch(self, *line, expect=0):
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        done = subprocess.run([*map(str, line)], capture_output=True, text=True, timeout=200, cwd=self.folder,
                              env={**os.environ, "PATH": path})  # fmt: skip
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)

    def check(self, directory):
        self.assertEqual(said("merge", directory)["digest"], self.digest)

    @unittest.skipUnless(importlib.util.find_spec("submitit"), "submitit is not installed (pip install submitit)")
    def test_submitit(self):
        directory = self.plan("submitit", 3)
        script = f"""import submitit
executor = submitit.AutoExecutor(folder="submitit_logs", cluster="local")
executor.update_parameters(timeout_min=5)
[job.result() for job in {self.documented("submitit", directory, 3).strip()}]
"""
        self.launch(sys.executable, "-c", script)
        self.check(directory)

    @unittest.skipUnless(importlib.util.find_spec("snakemake"), "Snakemake is not installed (pip install snakemake)")
    def test_snakemake(self):
        campaign = self.long_campaign("snakemake")
        bitfall("run", campaign, "-o", self.folder / "snakemake_whole")
        directory = self.plan("snakemake", 3, campaign)
        goal = f'rule all:\n    input: expand("{directory}/shards/{{k:04d}}/progress.json", k=range(1, 4))\n'
        (self.folder / "Snakefile").write_text(goal + self.documented("Snakemake", directory, 3))
        line = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", self.folder / "Snakefile"]
        found = []
        killer = threading.Thread(target=lambda: found.append(self.kill_one(directory)))
        killer.start()
        self.launch(*line, expect=1)
        killer.join()
        shard, before = found[0]
        self.assertFalse((directory / "shards" / f"{shard:04d}" / "progress.json").exists())
        self.assertGreater(before, 0)
        self.launch(*line)
        self.assertEqual(
            said("merge", directory)["digest"], said("status", self.folder / "snakemake_whole")["digest"]
        )

    @staticmethod
    def kill_one(directory):
        """Kills the first worker that has stored something; its shard, and how many trials it had."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for shard, (process, count) in workers(directory).items():
                os.kill(process, signal.SIGKILL)
                return shard, count
            time.sleep(0.02)
        return 0, 0

    @unittest.skipUnless(
        shutil.which("hq") or importlib.util.find_spec("hyperqueue"), "HyperQueue is not installed (pip install hyperqueue)"
    )
    def test_hyperqueue(self):
        directory = self.plan("hyperqueue", 3)
        line = self.documented("HyperQueue", directory, 3)
        if shutil.which("hq"):
            script = f"export HQ_SERVER_DIR={self.folder}/server\nhq server start & sleep 2\nhq worker start & sleep 2\n"
            submit = line.replace("hq submit", "hq submit --wait")
            self.launch("bash", "-c", f"{script}{submit}code=$?\nhq server stop\nwait\nexit $code")
        else:  # what `hq` would hand to the server; the first task has the number 0
            words = shlex.split(line.partition(" -- ")[2])
            script = f"""import hyperqueue, os
from hyperqueue.cluster import WorkerConfig
job = hyperqueue.Job(max_fails=None)
for task in range(4):
    job.program({words} if task else ["true"], env={{"PATH": os.environ["PATH"]}})
with hyperqueue.LocalCluster(worker_config=WorkerConfig(cores=2)) as cluster:
    client = cluster.client()
    assert client.wait_for_jobs([client.submit(job)])
"""
            self.launch(sys.executable, "-c", script)
        self.check(directory)


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

    def test_what_is_lost_is_submitted_again(self):
        campaign = self.long_campaign("slurm")
        bitfall("run", campaign, "-o", self.folder / "slurm_whole")
        digest = said("status", self.folder / "slurm_whole")["digest"]
        directory = self.plan("slurm_plan", 4, campaign)

        # A task's program is killed: the merge behind the array names the shard.
        array, merge = self.submit(directory)
        self.assertEqual(array["shards"], "1-4")
        lost, (process, _) = next(iter(self.wait(lambda: workers(directory), 60, "nothing was stored").items()))
        os.kill(process, signal.SIGKILL)
        self.assertEqual(sorted(self.end(array)), 3 * [("COMPLETED", "0:0")] + [("FAILED", "137:0")])
        self.assertEqual(self.end(merge), [("FAILED", "75:0")])
        self.assertIn(f"1 of 4 shards are not finished: {lost};", (directory / "logs/merge.log").read_text())

        # The same command takes only that shard; the node is lost while it runs, and comes back.
        array, merge = self.submit(directory)
        self.assertEqual(array["shards"], str(lost))
        ((process, _),) = self.wait(lambda: workers(directory), 60, "nothing was stored").values()
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
