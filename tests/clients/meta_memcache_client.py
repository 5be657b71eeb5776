"""meta-memcache: a client that uses only the meta commands."""

import sys

from meta_memcache import CacheClient, Key, LeasePolicy, ServerAddress, SetMode, connection_pool_factory_builder

client = CacheClient.cache_client_from_servers(
    servers=[ServerAddress(host=sys.argv[1], port=int(sys.argv[2]))],
    connection_pool_factory_fn=connection_pool_factory_builder(connection_timeout=10, recv_timeout=10),
)
NAMES = [f"key-{n}" for n in range(100)]

assert client.set("greeting", "hello", ttl=1000) and client.get("greeting") == "hello"
assert client.get("none") is None
for name in NAMES:
    assert client.set(name, {"n": name}, ttl=1000, no_reply=True)
found = client.multi_get([*NAMES, "none"])
assert {key.key: value for key, value in found.items()} == {name: {"n": name} for name in NAMES} | {"none": None}

assert client.set("added", "1", ttl=1000, set_mode=SetMode.ADD)
assert not client.set("added", "2", ttl=1000, set_mode=SetMode.ADD)
value, token = client.get_cas("added")
assert value == "1" and client.set("added", "2", ttl=1000, cas_token=token)
assert not client.set("added", "3", ttl=1000, cas_token=token)
assert client.get("added", touch_ttl=500) == "2"
assert client.touch("added", ttl=1000) and not client.touch("none", ttl=1000)
assert client.invalidate("added", cas_token=None)
assert client.delete("greeting") and not client.set("none", "1", ttl=10, set_mode=SetMode.REPLACE)

assert client.delta_initialize("count", delta=1, initial_value=10, initial_ttl=1000)
assert client.delta_and_get("count", delta=5) == 15
assert client.delta("count", delta=-6) and int(client.get("count")) == 9
assert client.delta("count", delta=1, no_reply=True) and int(client.get("count")) == 10
assert client.delta_initialize_and_get("fresh", delta=1, initial_value=3, initial_ttl=1000) == 3

for odd in (Key("unicode-\N{BEER MUG}"), Key("long-" + "k" * 400), Key("with space")):
    assert client.set(odd, "odd", ttl=1000) and client.get(odd) == "odd", odd
    assert client.delete(odd) and client.get(odd) is None

assert client.get_or_lease("leased", lease_policy=LeasePolicy(ttl=30)) is None
assert client.set("leased", "mine", ttl=1000)
assert client.get_or_lease("leased", lease_policy=LeasePolicy(ttl=30)) == "mine"
large = b"x" * 1_000_000
assert client.set("large", large, ttl=1000) and client.get("large") == large
