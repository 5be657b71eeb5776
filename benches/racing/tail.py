"""Latencies at a fixed rate: how long requests take if clients do not wait for replies before sending more.

The capacity of each target is its throughput with 50 clients in a closed loop; more only wait in longer batches. Then
each gets a fraction of its own capacity, and all get the same fractions of one target's. The load generator counts
a latency from the time at which its request was due.
"""

import dataclasses
import sys

from .machine import median, table
from .workloads import Workload

CAPACITY_CLIENTS = 50
CAPACITY_SECONDS = 2
SECONDS = 3
SHARES = (0.5, 0.8)
CLIENTS = (50, 200)
# Requests that a connection may have in flight before its next request must wait.
PIPELINE = 16
COLUMNS = ["target", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/request"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A fraction of a target's own capacity, or of that of the base, with a number of clients."""

    share: float
    is_own: bool
    clients: int


def measure(machine, targets, rounds, scale, base):
    """Runs by target name and point, and the capacities."""
    capacities = {target.name: [] for target in targets}
    closed = Workload("capacity", 0, "get", CAPACITY_CLIENTS)
    for _ in range(rounds):
        for target in targets:
            run = machine.paced(target, closed, ["--seconds", CAPACITY_SECONDS * scale])
            capacities[target.name].append(run)
    # Other load can only lower it, and all rates are fractions of it: the best round counts.
    capacity = {name: max(run.per_second for run in runs) for name, runs in capacities.items()}
    points = [Point(share, is_own, clients) for clients in CLIENTS for is_own in (True, False) for share in SHARES]
    runs = {}
    for number in range(rounds):
        for point in points:
            for target in targets:
                rate = point.share * capacity[target.name if point.is_own else base]
                asked = Workload("tail", 0, "get", point.clients, PIPELINE)
                run = machine.paced(target, asked, ["--seconds", SECONDS * scale, "--rate", round(rate)])
                runs.setdefault((target.name, point), []).append(run)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return points, capacities, runs


def report(targets, points, capacities, runs, base):
    print(f"\nCapacity: GET in a closed loop, {CAPACITY_CLIENTS} clients\n")
    table(COLUMNS, [row(target, capacities[target.name]) for target in targets])
    for point in points:
        whose = "its own" if point.is_own else f"{base}'s"
        print(f"\nGET in an open loop, {point.clients} clients, each target at {point.share:.0%} of {whose} capacity\n")
        table(COLUMNS, [row(target, runs[target.name, point]) for target in targets])


def row(target, runs):
    cells = [target.name, f"{median(runs, 'per_second'):.0f}"]
    cells += [f"{median(runs, field):.2f}" for field in ("p50_ms", "p99_ms", "p999_ms")]
    return [*cells, f"{median(runs, 'cpu_us'):.2f}" if target.process else ""]
