"""One client that sends single requests, alone and next to one that pipelines continuously.

Both load generators and the servers share a core, and a server answers the flood, too. The share of
that in a longer latency is measured by the same client connected directly to a server, while the flood goes through
the proxy.
"""

import sys

from .machine import median, table
from .workloads import Workload

SINGLE = Workload("single questions", 0, "get", clients=1)
SECONDS = 3
PIPELINES = (128, 1024, 8192)
# Longer than the run of the other client.
FLOOD_SECONDS = 60


def measure(machine, targets, rounds, scale):
    """Runs by target, pipeline of the flood (0: none), and whether the requests bypass the proxy."""
    direct = targets[0]
    runs = {}
    for number in range(rounds):
        for target in targets:
            for pipeline in (0, *PIPELINES):
                flood = None
                if pipeline:
                    asked = Workload("flood", 0, "get", clients=1, pipeline=pipeline)
                    flood = machine.background(target, asked, ["--seconds", FLOOD_SECONDS])
                for asked_of in dict.fromkeys((target.name, direct.name)):
                    asked = target if asked_of == target.name else direct
                    run = machine.paced(asked, SINGLE, ["--seconds", SECONDS * scale])
                    runs.setdefault((target.name, pipeline, asked_of), []).append(run)
                if flood:
                    if flood.poll() is not None:
                        raise SystemExit(f"{target.name}: the flood ended with {flood.returncode}")
                    flood.kill()
                    flood.wait()
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return runs


def report(targets, runs):
    direct = targets[0].name
    print("\nOne client that sends single requests next to a flood\n")
    rows = []
    for target in targets:
        alone = runs[target.name, 0, target.name]
        for pipeline in (0, *PIPELINES):
            mine = runs[target.name, pipeline, target.name]
            beside = runs[target.name, pipeline, direct]
            row = [target.name, str(pipeline or "none"), *(f"{median(mine, field):.3f}" for field in ("p50_ms", "p99_ms"))]
            row += [f"{median(mine, field) / median(alone, field):.1f}" for field in ("p50_ms", "p99_ms")]
            row.append("" if target.name == direct else f"{median(beside, 'p99_ms'):.3f}")
            rows.append(row)
    columns = ["target", "pipeline of the flood", "p50 ms", "p99 ms", "p50 to alone", "p99 to alone"]
    table([*columns, "p99 ms of a client connected directly"], rows)
