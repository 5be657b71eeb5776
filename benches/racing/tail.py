"""Latencies at a fixed rate: how long requests wait when nobody waits for replies before asking again.

The capacity of each target is what many clients get out of it in a closed loop. Then each is asked at parts of its own
capacity, and all at one rate. The load generator counts a latency from the moment at which its request was due.
"""

import dataclasses
import sys

from .machine import median, table
from .workloads import Workload

CAPACITY_CLIENTS = 200
CAPACITY_SECONDS = 2
OWN_SHARES = (0.5, 0.8)
COMMON_SHARE = 0.5
CLIENTS = (50, 200)
# What a connection may have in flight before its next request has to wait.
PIPELINE = 16
# Instead of a share: the rate that all have in common.
COMMON = "common"


@dataclasses.dataclass(frozen=True)
class Point:
    """A part of a target's own capacity, or the rate that all have in common, with so many clients."""

    share: float | str
    clients: int


def measure(machine, targets, rounds, seconds, base):
    """Runs by target name and point, and the capacities."""
    capacities = {target.name: [] for target in targets}
    closed = Workload("capacity", 0, "get", CAPACITY_CLIENTS)
    for _ in range(rounds):
        for target in targets:
            run = machine.paced(target, closed, ["--seconds", CAPACITY_SECONDS])
            capacities[target.name].append(run)
    capacity = {name: median(runs, "per_second") for name, runs in capacities.items()}
    common = COMMON_SHARE * capacity.get(base, min(capacity.values()))
    points = [Point(share, clients) for clients in CLIENTS for share in (*OWN_SHARES, COMMON)]
    runs = {}
    for number in range(rounds):
        for point in points:
            for target in targets:
                rate = common if point.share == COMMON else point.share * capacity[target.name]
                asked = Workload("tail", 0, "get", point.clients, PIPELINE)
                run = machine.paced(target, asked, ["--seconds", seconds, "--rate", round(rate)])
                runs.setdefault((target.name, point), []).append(run)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return points, capacities, runs


def report(targets, points, capacities, runs, base):
    print(f"\nCapacity: GET in a closed loop, {CAPACITY_CLIENTS} clients\n")
    rows = [
        [target.name, f"{median(capacities[target.name], 'per_second'):.0f}", *latencies(capacities[target.name], target)]
        for target in targets
    ]
    table(["target", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/request"], rows)
    for point in points:
        at = f"{COMMON_SHARE:.0%} of {base}'s capacity" if point.share == COMMON else f"{point.share:.0%} of its capacity"
        print(f"\nGET in an open loop, {point.clients} clients, each target at {at}\n")
        rows = []
        for target in targets:
            mine = runs[target.name, point]
            rows.append([target.name, f"{median(mine, 'per_second'):.0f}", *latencies(mine, target)])
        table(["target", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/request"], rows)


def latencies(runs, target):
    cells = [f"{median(runs, field):.2f}" for field in ("p50_ms", "p99_ms", "p999_ms")]
    return [*cells, f"{median(runs, 'cpu_us'):.2f}" if target.process else ""]
