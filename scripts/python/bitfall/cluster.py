"""The shards of a plan (`bitfall plan`) on the machines of a scheduler. The same command again takes
only what is missing.

    python -m bitfall.cluster slurm DIR [--dry-run] [-- --account=x --time=2:00:00]
    python -m bitfall.cluster dask DIR tcp://host:8786
    python -m bitfall.cluster k8s DIR --image IMAGE

Slurm: a job array and a merge behind it, from DIR/job.sh and DIR/merge.sh, which are written once and
are yours to edit. Dask, and through dask-jobqueue the other schedulers: a task per shard on the workers
of a scheduler, then the merge here. k8s: prints an Indexed Job. All machines see DIR, model and data
under the same paths, and have the package, or the program as BITFALL.

HyperQueue, Snakemake and submitit: a line each, in scripts/python/README.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional, Sequence

from .program import Error, _is_packaged, call_json, environment, program

INTERRUPTED = 75  # the program's exit code for: the same command again

_JOB = """#!/bin/bash
#SBATCH --job-name=bitfall --requeue --open-mode=append --signal=B:TERM@60 --output={directory}/logs/%a.log
{command} work {directory} "$SLURM_ARRAY_TASK_ID" & child=$!
trap 'kill -TERM $child' TERM
while :; do wait "$child"; rc=$?; kill -0 "$child" 2>/dev/null || break; done
case $rc in 75|143) [ "${{SLURM_RESTART_COUNT:-0}}" -ge 5 ] || scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID";; esac
exit "$rc"
"""
_MERGE = """#!/bin/bash
#SBATCH --job-name=bitfall-merge --open-mode=append --output={directory}/logs/merge.log
exec {command} merge {directory}
"""


def command() -> list:
    """How the program is started on another machine: by the package, or by the path of the program."""
    path = program()
    return [sys.executable, "-m", "bitfall"] if _is_packaged(path) else [str(path)]


def missing(directory: Path) -> list:
    """The numbers of the shards that are not finished. Raises Error where there is no plan."""
    status = call_json("status", directory, "--json")
    if status["schema"] != "bitfall.plan_status/1":
        if (directory / "plan.json").exists():
            return []  # merged
        raise Error(f"{directory}: is a run, not the directory of a plan (bitfall plan)", 4)
    return [shard["shard"] for shard in status["each"] if shard["state"] != "finished"]


def ranges(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] as "1-3,7"."""
    parts: list = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


# Slurm ---------------------------------------------------------------------------------------------


def slurm(directory: Path, options: Sequence[str] = (), dry_run: bool = False) -> list:
    """Submits the missing shards as an array, and a merge that waits for its end, however it ends.
    Returns the command lines of sbatch."""
    directory = directory.absolute()
    words = {"command": shlex.join(command()), "directory": shlex.quote(str(directory))}
    # Numbers are the plan's: SLURM_ARRAY_TASK_COUNT is another where fewer are submitted again.
    shards = missing(directory)
    (directory / "logs").mkdir(exist_ok=True)
    for name, text in (("job.sh", _JOB), ("merge.sh", _MERGE)):
        if not (directory / name).exists():
            (directory / name).write_text(text.format(**words))
    lines, after = [], []
    if shards:
        line = ["sbatch", "--parsable", f"--array={ranges(shards)}", *options, str(directory / "job.sh")]
        lines.append(line)
        if not dry_run:
            job = _submit(line, directory, shards)
            after = [f"--dependency=afterany:{job}"]  # afterok waits for ever behind a task that failed
    line = ["sbatch", "--parsable", *after, *options, str(directory / "merge.sh")]
    lines.append(line)
    if not dry_run:
        _submit(line, directory, [])
    return lines


def _submit(line: list, directory: Path, shards: list) -> str:
    try:
        done = subprocess.run(line, capture_output=True, text=True)
    except FileNotFoundError:
        raise Error("sbatch was not found: this is not a machine of a Slurm cluster; --dry-run shows what "
                    "would be submitted", 1) from None  # fmt: skip
    if done.returncode != 0:
        raise Error(f"{shlex.join(line)}: {done.stderr.strip()}", 1)
    job = done.stdout.strip().split(";")[0]
    with open(directory / "jobs.jsonl", "a") as file:
        file.write(json.dumps({"job": job, "shards": ranges(shards), "time": time.strftime("%FT%T")}) + "\n")
    return job


# Dask ----------------------------------------------------------------------------------------------


class _Again(Exception):
    """A shard that was stopped: Dask tries it again."""


def _work(line: list, shard: int, variables: Optional[dict]) -> tuple:
    """On a worker. The program ends with this thread, so a killed worker leaves nothing behind."""
    done = subprocess.run([*line, str(shard), "--with-parent"], capture_output=True, text=True, env=variables)
    if done.returncode == INTERRUPTED or done.returncode < 0:
        raise _Again(f"shard {shard}: {done.stderr.strip() or f'signal {-done.returncode}'}")
    return done.returncode, done.stderr.strip()


def dask(directory: Path, address: str, retries: int = 5) -> int:
    """Works the missing shards on the workers of a Dask scheduler (address, or scheduler file), and
    merges. Returns the exit code."""
    from distributed import Client, as_completed

    directory = directory.absolute()
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    path = program()
    line = [*command(), "-q", "work", str(directory)]
    variables = environment(path) if _is_packaged(path) else None
    failed = False
    with Client(**where) as client:
        tasks = {
            client.submit(_work, line, shard, variables, key=f"bitfall-{directory}-{shard}-{time.time_ns()}",
                          retries=retries, pure=False): shard
            for shard in missing(directory)
        }  # fmt: skip
        for done, task in enumerate(as_completed(tasks), 1):
            shard = tasks[task]
            code, said = task.result() if task.status == "finished" else (1, str(task.exception()))
            failed |= code != 0
            state = "finished" if code == 0 else f"exit {code}: {said}"
            print(f"bitfall: {done} of {len(tasks)}: shard {shard} {state}", file=sys.stderr, flush=True)
    if failed:
        print("bitfall: shards are missing; the same command again takes only these", file=sys.stderr)
        return INTERRUPTED
    return subprocess.run([*command(), "merge", str(directory)]).returncode


# Kubernetes ----------------------------------------------------------------------------------------


def k8s(directory: Path, image: str, claim: str = "data") -> str:
    """An Indexed Job as YAML; the claim's volume is mounted where the directory lies."""
    missing(directory)  # is it a plan?
    directory = directory.absolute()
    shards = json.loads((directory / "plan.json").read_text())["shards"]
    return f"""apiVersion: batch/v1
kind: Job
metadata: {{name: bitfall-{directory.name.lower().replace("_", "-")}}}
spec:
  completionMode: Indexed
  completions: {shards}
  parallelism: {min(shards, 16)}
  backoffLimitPerIndex: 5
  podFailurePolicy:
    rules:
    - {{action: Ignore, onPodConditions: [{{type: DisruptionTarget}}]}}
    - {{action: Ignore, onExitCodes: {{operator: In, values: [75]}}}}
    - {{action: FailIndex, onExitCodes: {{operator: In, values: [2, 3, 4]}}}}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 120
      containers:
      - name: work
        image: {image}
        command: [sh, -c, {json.dumps(f'exec bitfall work {shlex.quote(str(directory))} $((JOB_COMPLETION_INDEX + 1))')}]
        volumeMounts: [{{name: data, mountPath: {json.dumps(str(directory.parent))}}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m bitfall.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="engine", required=True)
    by_slurm = parts.add_parser("slurm", help="a job array, and a merge behind it; options of sbatch follow --")
    by_slurm.add_argument("directory", type=Path)
    by_slurm.add_argument("--dry-run", action="store_true", help="write the job files and print what would be submitted")
    by_dask = parts.add_parser("dask", help="the workers of a Dask scheduler")
    by_dask.add_argument("directory", type=Path)
    by_dask.add_argument("address", help="tcp://host:port, or a scheduler file")
    by_k8s = parts.add_parser("k8s", help="print an Indexed Job")
    by_k8s.add_argument("directory", type=Path)
    by_k8s.add_argument("--image", required=True)
    by_k8s.add_argument("--claim", default="data", help="persistent volume claim")
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options: Any = parser.parse_args(words[:end])
    try:
        if options.engine == "slurm":
            for line in slurm(options.directory, words[end + 1 :], options.dry_run):
                print(shlex.join(line))
        elif options.engine == "dask":
            return dask(options.directory, options.address)
        else:
            print(k8s(options.directory, options.image, options.claim), end="")
    except Error as error:
        print(f"bitfall: error: {error}", file=sys.stderr)
        return error.code
    except ModuleNotFoundError as error:
        print(f"bitfall: error: {error.name} is not installed: pip install distributed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
