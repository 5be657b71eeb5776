"""The rules for failures."""

import collections


class Excuses:
    """Expected failures: unit -> test -> reason. A test whose reason begins with "!" is skipped: it would leave the
    servers, or its connection, in a state in which later tests fail."""

    def __init__(self, reasons):
        self.reasons = reasons

    @classmethod
    def read(cls, path):
        reasons, reason = collections.defaultdict(dict), None
        with open(path, encoding="utf-8") as file:
            for line in file.read().split("\n"):
                if not line or line.startswith("# "):
                    continue
                if line.startswith("== "):
                    reason = line[3:]
                else:
                    unit, name = line.split(": ", 1)
                    reasons[unit][name] = reason
        return cls(reasons)

    def of(self, unit, name):
        return self.reasons.get(unit, {}).get(name)

    def left_out(self, unit):
        return [name for name, reason in self.reasons.get(unit, {}).items() if reason.startswith("!")]


def figures(found):
    count = collections.Counter(run[0] for tests in found.values() for runs in tests.values() for run in runs)
    return " ".join(f"{how} {number}" for how, number in sorted(count.items())) or "nothing"


def compare(name, baseline, found, excuses):
    """Prints the tests that redis passes and `name` does not; returns true if one of them has no excuse."""
    expected = passed = excused = 0
    failures, needless = [], []
    for unit, tests in baseline.items():
        for test, runs in tests.items():
            wanted = sum(run[0] == "ok" for run in runs)
            got = sum(run[0] == "ok" for run in found.get(unit, {}).get(test, []))
            expected += wanted
            passed += min(wanted, got)
            if got >= wanted:
                if excuses.of(unit, test):
                    needless.append((unit, test))
                continue
            if excuses.of(unit, test):
                excused += wanted - got
            else:
                ends = [run for run in found.get(unit, {}).get(test, []) if run[0] != "ok"]
                failures.append((unit, test, ends))
    for unit, test, ends in failures:
        why = f"{ends[0][0]}: {ends[0][1]}" if ends else "did not run"
        print(f"FAILED {name} {unit}: {test}\n    " + why.replace("\n", "\n    ")[:600])
    for unit, test in needless:
        print(f"{name} passes what is excused: {unit}: {test}")
    print(f"{name}: of {expected} that redis passes, {passed} pass, {excused} are excused, {len(failures)} are not")
    return bool(failures)
