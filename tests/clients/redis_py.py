"""redis-py: connect, set, get, pipeline, MGET; in its default configuration, or with RESP2 when the third argument is 2.

Over TLS if TLS_CA names a file, with the certificate in TLS_CERT and the key in TLS_KEY if there are any.
"""

import os
import sys

import redis

options = {"protocol": 2} if sys.argv[3:] == ["2"] else {}
if "TLS_CA" in os.environ:
    options.update(ssl=True, ssl_ca_certs=os.environ["TLS_CA"])
    options.update(ssl_certfile=os.environ.get("TLS_CERT"), ssl_keyfile=os.environ.get("TLS_KEY"))
client = redis.Redis(host=sys.argv[1], port=int(sys.argv[2]), **options)
assert client.ping()
assert client.set("greeting", "hello")
assert client.get("greeting") == b"hello"

names = [f"key-{n}" for n in range(100)]
pipeline = client.pipeline(transaction=False)
for n, name in enumerate(names):
    pipeline.set(name, n)
    pipeline.get(name)
replies = pipeline.execute()
assert replies[0::2] == [True] * 100, replies
assert replies[1::2] == [b"%d" % n for n in range(100)], replies

assert client.mget(names + ["none"]) == [b"%d" % n for n in range(100)] + [None]
assert client.mset({f"more-{n}": n for n in range(50)})
assert client.exists(*names) == 100
assert client.delete(*names[:10], "none") == 10
assert client.hset("hash", mapping={"a": 1, "b": 2}) == 2
assert client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
assert set(client.keys("*")) == set(client.scan_iter(count=7))
assert len(client.keys("*")) == client.dbsize()
try:
    client.bgsave()
except redis.ResponseError as error:
    assert "bgsave" in str(error).lower(), error
else:
    raise AssertionError("BGSAVE was answered")
assert client.get("greeting") == b"hello"
