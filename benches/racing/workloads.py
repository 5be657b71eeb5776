"""The workloads, and the arguments of the two load generators."""

import dataclasses

# Bytes of a value: the beginning of its keys, and how many there are.
KEYS = {64: ("key:", 100_000), 1024: ("mid:", 10_000), 16384: ("big:", 100)}


@dataclasses.dataclass
class Workload:
    """Requests of one kind: get, set, or mget of several keys."""

    what: str
    requests: int
    kind: str
    clients: int = 50
    pipeline: int = 1
    keys: int = 1
    value_bytes: int = 64
    in_turn: bool = False

    def of_redis_benchmark(self, target, pace):
        prefix, space = KEYS[self.value_bytes]
        value = ["x" * self.value_bytes] if self.kind == "set" else []
        options = ["-c", self.clients, "-P", self.pipeline, "-r", space]
        asked = [self.kind.upper(), *[f"{prefix}__rand_int__"] * self.keys, *value]
        where = ["-h", target.address[0], "-p", target.address[1]]
        if target.ca:
            # It connects to an address; the certificate is that of a name.
            where += ["--tls", "--cacert", target.ca, "--sni", "race.test"]
        return ["redis-benchmark", *where, *pace, "--csv", *options, *asked]

    def of_own_load(self, program, protocol, target, pace):
        prefix, space = KEYS[self.value_bytes]
        where = ["--host", target.address[0], "--port", target.address[1], "--protocol", protocol]
        which = ["--prefix", prefix, "--key-space", space, *(["--in-turn"] if self.in_turn else [])]
        how = ["--clients", self.clients, "--pipeline", self.pipeline, *pace]
        what = ["--workload", self.kind, "--keys", self.keys, "--value-bytes", self.value_bytes]
        return [program, *where, *which, *how, *what]


REDIS = {
    "get_c1": Workload("GET, one client", 20_000, "get", clients=1),
    "get_c50": Workload("GET, 50 clients", 100_000, "get"),
    "set_c50": Workload("SET, 50 clients", 100_000, "set"),
    "get_c1000": Workload("GET, 1000 clients", 100_000, "get", clients=1000),
    "get_p16": Workload("GET, pipeline of 16", 600_000, "get", pipeline=16),
    "set_p16": Workload("SET, pipeline of 16", 600_000, "set", pipeline=16),
    "get_p128": Workload("GET, pipeline of 128", 1_200_000, "get", clients=8, pipeline=128),
    "mget_10": Workload("MGET of 10 keys", 50_000, "mget", keys=10),
    "mget_100": Workload("MGET of 100 keys", 10_000, "mget", clients=20, pipeline=4, keys=100),
    "get_16k": Workload("GET, 16 kB", 50_000, "get", clients=20, pipeline=4, value_bytes=16384),
    "set_16k": Workload("SET, 16 kB", 50_000, "set", clients=20, pipeline=4, value_bytes=16384),
}
MEMCACHED = {
    "get_c1": Workload("get, one client", 20_000, "get", clients=1),
    "get_c50": Workload("get, 50 clients", 100_000, "get"),
    "get_c1000": Workload("get, 1000 clients", 100_000, "get", clients=1000),
    "get_p16": Workload("get, pipeline of 16", 600_000, "get", pipeline=16),
    "mget_10": Workload("get of 10 keys", 50_000, "mget", keys=10),
    "mget_100": Workload("get of 100 keys", 10_000, "mget", clients=20, pipeline=4, keys=100),
    "set_1k": Workload("set, 1 kB", 100_000, "set", value_bytes=1024),
    "get_16k": Workload("get, 16 kB", 50_000, "get", clients=20, pipeline=4, value_bytes=16384),
}
