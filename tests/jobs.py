#!/usr/bin/env python3
"""Ten thousand jobs of RQ and of BullMQ, in their default configurations: with one redis-server, and through Ringroad
with one and with four. The programs are tests/clients/rq_jobs.py and tests/clients/bullmq_jobs.py; they check every
job. `make jobs` runs this.
"""

import argparse
import os
import subprocess
import sys

from fleet import Fleet

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLIENTS = os.path.join(ROOT, "target/clients")
# BullMQ gets a prefix with a hash tag for each queue. RQ names its keys itself: all begin with "rq:".
QUEUES = [
    ("{}", "node", "bullmq_jobs.js"),
    ("r:", os.path.join(CLIENTS, "venv/bin/python"), "rq_jobs.py"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--ringroad", default=os.path.join(ROOT, "target/release/ringroad"))
    options = parser.parse_args()
    environment = os.environ | {"CLIENTS": os.path.join(CLIENTS, "node_modules")}
    failed = False
    for hash_tag, interpreter, program in QUEUES:
        for servers, name in [(0, "one redis-server"), (1, "Ringroad with one server"), (4, "Ringroad with four servers")]:
            with Fleet(servers, options.ringroad, hash_tag) as fleet:
                command = [interpreter, os.path.join(ROOT, "tests/clients", program), fleet.host, str(fleet.port)]
                done = subprocess.run([*command, str(options.jobs)], env=environment, capture_output=True, text=True,
                                      timeout=900, check=False)
            last = (done.stdout.strip().split("\n") or [""])[-1]
            print(f"{name}: {last}" if done.returncode == 0 else f"{name}: {program} failed: {done.stderr[-2000:]}")
            failed |= done.returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
