"""pymemcache: every method of its Client with default settings, then with replies to everything.."""

import sys

from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import MemcacheClientError, MemcacheIllegalInputError, MemcacheUnknownCommandError

ADDRESS = (sys.argv[1], int(sys.argv[2]))
NAMES = [f"key-{n}" for n in range(100)]


def every_method(client, noreply):
    # Without a reply pymemcache returns True for everything it could send, so the proof is what is read afterwards.
    assert client.set("greeting", "hello") is True
    assert client.get("greeting") == b"hello"
    assert client.get("none") is None and client.get("none", "default") == "default"
    client["item"] = "value"
    assert client["item"] == b"value"
    del client["item"]
    assert client.get("item") is None

    assert client.set_many({name: name for name in NAMES}) == []
    found = client.get_many([*NAMES, "none"])
    assert found == {name: name.encode() for name in NAMES}, found
    assert client.get_multi(NAMES[:3]) == client.get_many(NAMES[:3])
    tokens = client.gets_many([*NAMES, "none"])
    assert set(tokens) == set(NAMES) and all(value == name.encode() for name, (value, _) in tokens.items())

    assert client.add("greeting", "no") is (True if noreply else False)
    assert client.get("greeting") == b"hello"
    assert client.add("added", "1") is True and client.get("added") == b"1"
    assert client.replace("added", "2") is True and client.get("added") == b"2"
    assert client.replace("none", "2") is (True if noreply else False) and client.get("none") is None
    assert client.append("added", "3") is True and client.prepend("added", "1") is True
    assert client.get("added") == b"123"

    value, token = client.gets("added")
    assert value == b"123" and client.gets("none") == (None, None)
    assert client.cas("added", "mine", token) is True
    assert client.cas("added", "late", token) is False
    assert client.cas("none", "late", token) is None
    assert client.get("added") == b"mine"

    assert client.set("count", "10") is True
    assert client.incr("count", 5) == 15 and client.decr("count", 6) == 9
    assert client.incr("none", 1) is None and client.decr("none", 1) is None
    assert client.incr("count", 1, noreply=True) is None and client.get("count") == b"10"

    assert client.touch("count", 1000) is True and client.touch("none", 1000) is (True if noreply else False)
    assert client.touch("count", -1) is True and client.get("count") is None
    assert client.delete("added") is True and client.get("added") is None
    assert client.delete("added") is (True if noreply else False)
    assert client.delete_many(NAMES[:50]) is True and client.delete_multi(NAMES[50:60]) is True
    assert set(client.get_many(NAMES)) == set(NAMES[60:])

    assert client.set("flagged", "f", flags=77) is True
    assert client.raw_command("get flagged", "END\r\n") == b"VALUE flagged 77 1\r\nf\r\n"
    assert client.raw_command(b"gat 0 flagged", b"END\r\n") == b"VALUE flagged 77 1\r\nf\r\n"
    assert client.raw_command("mg flagged s f") == b"HD s1 f77"
    assert client.set("large", b"x" * 1_000_000) is True and len(client.get("large")) == 1_000_000
    assert client.get("k" * 250) is None
    for wrong in ("k" * 251, "a b", "a\r\nb"):
        try:
            client.get(wrong)
        except MemcacheIllegalInputError:
            pass
        else:
            raise AssertionError(f"pymemcache accepts {wrong!r}")
    try:
        client.cas("greeting", "x", "nonsense")
    except MemcacheIllegalInputError:
        pass

    assert client.version().startswith(b"1.")
    stats = client.stats()
    assert stats[b"pid"] > 0 and stats[b"curr_connections"] >= 1, stats
    assert client.cache_memlimit(64) is True
    try:
        client.shutdown()
    except (MemcacheUnknownCommandError, MemcacheClientError):
        pass
    else:
        raise AssertionError("shutdown was obeyed")
    assert client.get("greeting") == b"hello"

    assert client.flush_all() is True
    assert client.get_many(["greeting", *NAMES]) == {}
    client.set_many({name: "left" for name in NAMES}, noreply=False)
    client.quit()
    assert client.get(NAMES[0]) == b"left", "it connects again"
    client.close()
    client.disconnect_all()
    assert client.get(NAMES[1]) == b"left", "it connects again"
    client.close()


every_method(Client(ADDRESS), noreply=True)
every_method(Client(ADDRESS, default_noreply=False), noreply=False)

pooled = PooledClient(ADDRESS, max_pool_size=4)
assert pooled.set("pooled", "1", noreply=False) and pooled.get("pooled") == b"1"
assert pooled.get_many(NAMES) == {name: b"left" for name in NAMES}
pooled.close()
