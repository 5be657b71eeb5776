"""pylibmc, that is libmemcached, as a plain client of the proxy: default settings, then cas, then without replies."""

import sys

import pylibmc

ADDRESS = f"{sys.argv[1]}:{sys.argv[2]}"
NAMES = [f"key-{n}" for n in range(100)]

client = pylibmc.Client([ADDRESS])
assert client.set("greeting", "hello") and client.get("greeting") == "hello"
assert client.get("none") is None
assert client.set_multi({name: {"n": name} for name in NAMES}) == []
assert client.get_multi([*NAMES, "none"]) == {name: {"n": name} for name in NAMES}
assert not client.add("greeting", "no") and client.add("added", "1")
assert client.replace("added", "2") and client.append("added", "3") and client.prepend("added", "1")
assert client.get("added") == "123"
assert client.set("count", 10) and client.incr("count", 5) == 15 and client.decr("count", 6) == 9
assert client.touch("count", 1000)
assert client.delete("added") and not client.delete("added")
assert client.delete_multi(NAMES[:50])
assert set(client.get_multi(NAMES)) == set(NAMES[50:])
(_, stats), = client.get_stats()
assert int(stats["pid"]) > 0, stats
large = b"x" * 1_000_000
assert client.set("large", large) and client.get("large") == large
try:
    client.set("too-large", b"x" * (1 << 21))
except pylibmc.Error:
    pass
else:
    raise AssertionError("two megabytes were stored")
assert client.get("greeting") == "hello"

careful = pylibmc.Client([ADDRESS], behaviors={"cas": True, "tcp_nodelay": True, "no_block": True})
value, token = careful.gets("greeting")
assert value == "hello" and careful.cas("greeting", "mine", token)
value, late = careful.gets("greeting")
assert value == "mine" and late != token

silent = pylibmc.Client([ADDRESS], behaviors={"_noreply": True})
silent.set("silent", "1")
silent.set("silent", "2")
assert silent.get("silent") == "2"

assert client.flush_all() and client.get_multi(NAMES) == {}
client.set_multi({name: "left" for name in NAMES})
client.disconnect_all()
assert client.get(NAMES[0]) == "left"
