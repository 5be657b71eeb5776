"""Envoy's Redis proxy for the same servers."""

import json
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = ROOT / "target/envoy/bin/envoy"
API = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
# Batches requests to the same server: fewer writes, later replies. Without it, which is Envoy's default, each request
# is written separately.
GATHERING = {"max_buffer_size_before_flush": 1024, "buffer_flush_timeout": "0.003s"}


def program():
    """The binary that .ci/setup.sh installed, or the one in PATH, or None."""
    return str(INSTALLED) if INSTALLED.exists() else shutil.which("envoy")


def configuration(address, servers, gathering):
    """JSON, which is YAML too. Envoy places keys differently from Twemproxy, so each target is filled separately."""
    endpoints = [{"endpoint": {"address": socket_address(server)}} for server in servers]
    settings = {"op_timeout": "5s", "enable_hashtagging": True, **(GATHERING if gathering else {})}
    proxy = {
        "@type": API,
        "stat_prefix": "race",
        "settings": settings,
        "prefix_routes": {"catch_all_route": {"cluster": "servers"}},
    }
    chain = {"filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}]}
    listener = {"name": "race", "address": socket_address(address), "filter_chains": [chain]}
    cluster = {
        "name": "servers",
        "connect_timeout": "1s",
        "type": "STATIC",
        "lb_policy": "MAGLEV",
        "load_assignment": {"cluster_name": "servers", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def socket_address(address):
    return {"socket_address": {"address": address[0], "port_value": address[1]}}
