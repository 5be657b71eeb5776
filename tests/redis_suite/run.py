#!/usr/bin/env python3
"""Redis's own test suite, from outside, against Ringroad.

Fetches the source of Redis 7.0 from the Debian mirror that apt is configured with (its checksum is pinned), and runs
the units of its suite one by one in external mode: against one plain redis-server for the baseline, and against
Ringroad with one and with four. A test that the server passes and Ringroad does not is a failure, unless it is
listed with its reason in excused.txt next to this file. Unused excuses are reported.

The suite runs with --cluster-mode, in which it skips what needs keys on several servers, and with --durable, so
that a broken test does not end its unit. Every unit has its own servers; a unit that hangs is killed, the test that hung
is recorded and skipped, and the unit runs again.
"""

import argparse
import concurrent.futures
import json
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from fleet import Fleet  # noqa: E402
from suite import Suite, UNITS  # noqa: E402
from verdict import Excuses, compare, figures  # noqa: E402

WHAT = {"redis": 0, "one": 1, "four": 4}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    options = arguments()
    os.makedirs(options.work, exist_ok=True)
    suite = Suite.fetch(options.work)
    units = options.only.split(",") if options.only else UNITS
    excuses = Excuses.read(os.path.join(HERE, "excused.txt"))
    found = {}
    for name in options.against.split(","):
        kept = os.path.join(options.work, f"{name}.json")
        if name == "redis" and os.path.exists(kept) and not options.afresh:
            with open(kept, encoding="utf-8") as file:
                found[name] = {unit: tests for unit, tests in json.load(file).items() if unit in units}
            if len(found[name]) == len(units):
                continue
        found[name] = run_all(suite, units, name, options, excuses)
        if not options.only:
            with open(kept, "w", encoding="utf-8") as file:
                json.dump(found[name], file, indent=1)
    for name in found:
        print(f"{name}: {figures(found[name])}")
    if "redis" not in found:
        return
    failed = [compare(name, found["redis"], found[name], excuses) for name in found if name != "redis"]
    if any(failed):
        sys.exit(1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="redis,one,four", help="which of redis,one,four, with commas between")
    parser.add_argument("--only", help="units, with commas between: unit/multi,unit/type/list")
    parser.add_argument("--afresh", action="store_true", help="the baseline anew, also where it is known")
    parser.add_argument("--ringroad", default=os.path.join(ROOT, "target/release/ringroad"))
    parser.add_argument("--work", default=os.path.join(ROOT, "target/redis-suite"), help="where the suite is unpacked")
    parser.add_argument("--at-once", type=int, default=2, help="units that run at the same time")
    parser.add_argument("--patience", type=int, default=40, help="seconds without progress that mean a test hangs")
    return parser.parse_args()


def run_all(suite, units, name, options, excuses):
    """The results of all units: unit -> test -> results."""

    def run(unit):
        tests = suite.run(unit, Fleet(WHAT[name], options.ringroad), options.patience, excuses.left_out(unit) if WHAT[name] else [])
        print(f"{name} {unit}: {figures({unit: tests})}", file=sys.stderr, flush=True)
        return tests

    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        return dict(zip(units, pool.map(run, units)))


if __name__ == "__main__":
    main()
