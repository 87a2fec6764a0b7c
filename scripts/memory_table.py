#!/usr/bin/env python3
"""Peak memory and time of one campaign under several memory budgets, as a markdown table.

  scripts/memory_table.sh                (sets up, exports a ResNet-50 and calls this)
  scripts/memory_table.py BITFALL CAMPAIGN.toml MIB...

Each run is a process of its own. The digest of the trials must be the same under every budget; exit
status 1 where it is not.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def run(command: list) -> tuple:
    """Standard output and peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return text, usage.ru_maxrss // 1024


def main() -> int:
    bitfall, campaign = sys.argv[1:3]
    budgets = list(map(int, sys.argv[3:]))
    text = Path(campaign).read_text(encoding="utf-8")
    if "[run]" not in text or "memory_budget" in text:
        sys.exit(f"{campaign}: needs a [run] table without memory_budget")
    rows, digests = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for budget in budgets:
            file = Path(campaign).with_name(f"memory_{budget}.toml")
            file.write_text(text.replace("[run]", f"[run]\nmemory_budget = {budget}"))
            output = Path(folder) / str(budget)
            try:
                told, peak = run([bitfall, "run", "--explain", "-o", str(output), str(file)])
            finally:
                file.unlink()
            status, _ = run([bitfall, "status", str(output)])
            digests.add(re.search(r"digest\s+(\w+)", status).group(1))
            seconds = {
                name: float(re.search(rf"^{name}\s+([\d.]+)", told, re.MULTILINE).group(1))
                for name in ("all", "golden passes")
            }
            rows.append((budget, peak, seconds))
    first = rows[-1][2]
    print("| memory_budget, MiB | peak memory, MiB | time | of it golden passes |")
    print("| ---: | ---: | ---: | ---: |")
    for budget, peak, seconds in rows:
        print(
            f"| {budget} | {peak} | {seconds['all'] / first['all']:.2f} "
            f"| {seconds['golden passes'] / first['all']:.2f} |"
        )
    print("\nTime is relative to the last row's.", end=" ")
    print("The trials have the same digest in all rows." if len(digests) == 1 else f"DIGESTS DIFFER: {digests}")
    return 0 if len(digests) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
