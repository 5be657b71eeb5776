#!/bin/bash
# Ringroad with four redis-servers: fills them, shows how the keys spread, then a live line of requests per second
# until Ctrl-C. DEMO_SECONDS=N ends it by itself. Started by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."

RINGROAD=${RINGROAD:-target/release/ringroad}
PORT=22121
STATS_PORT=22222
SERVER_PORTS=(22131 22132 22133 22134)
KEYS=20000
export PATH="$PATH:/usr/sbin"

dir=$(mktemp -d)
pids=()

stop_all() {
    trap - EXIT INT TERM
    if ((${#pids[@]})); then
        kill "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
    rm -rf "$dir"
    printf '\nEverything that the demo started is stopped.\n'
}
trap stop_all EXIT
trap 'exit 0' INT TERM

fail() { echo "demo: $*" >&2; exit 1; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Until the port answers or its process is gone.
await() {
    local port=$1 pid=$2 log=$3
    for _ in {1..200}; do
        answers "$port" && return
        kill -0 "$pid" 2>/dev/null || fail "port $port: $(tail -3 "$log")"
        read -rt 0.05 <> <(:) || true
    done
    fail "nothing answers on port $port: $(tail -3 "$log")"
}

for port in $PORT $STATS_PORT "${SERVER_PORTS[@]}"; do
    ! answers "$port" || fail "port $port is taken; stop what listens there and try again"
done
[ -x "$RINGROAD" ] || fail "$RINGROAD is not built; run: make demo"

# In sessions of their own, so that Ctrl-C reaches only this script, which then stops them in order.
set -m
echo "Starting four redis-servers without persistence on ports ${SERVER_PORTS[*]}."
for port in "${SERVER_PORTS[@]}"; do
    redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" >"$dir/$port.log" 2>&1 &
    pids+=($!)
    await "$port" $! "$dir/$port.log"
done

{
    printf 'demo:\n  listen: 127.0.0.1:%s\n  hash: murmur\n  distribution: ketama\n  redis: true\n  servers:\n' "$PORT"
    for port in "${SERVER_PORTS[@]}"; do printf '    - 127.0.0.1:%s:1\n' "$port"; done
} >"$dir/demo.yml"
echo "Starting Ringroad on port $PORT (stats on $STATS_PORT) with this configuration:"
sed 's/^/    /' "$dir/demo.yml"
"$RINGROAD" -c "$dir/demo.yml" -o "$dir/ringroad.log" -a 127.0.0.1 -s "$STATS_PORT" >"$dir/ringroad.out" 2>&1 &
pids+=($!)
proxy=$!
await "$PORT" "$proxy" "$dir/ringroad.out"
set +m

echo "Writing $KEYS keys through it, all in one pipeline (redis-cli --pipe):"
for ((n = 0; n < KEYS; n++)); do printf 'SET user:%d value-%d\r\n' "$n" "$n"; done |
    redis-cli -p "$PORT" --pipe 2>&1 | sed 's/^/    /'
echo "Reading them back, 100 with every MGET:"
found=$(for ((n = 0; n < KEYS; n += 100)); do
    printf 'MGET'
    for ((k = n; k < n + 100; k++)); do printf ' user:%d' "$k"; done
    echo
done | redis-cli -p "$PORT" | grep -c '^value-' || true)
echo "    $found of $KEYS values came back"
[ "$found" = "$KEYS" ] || fail "some are missing"

echo "How they spread:"
printf '    %-18s %8s %8s\n' server keys share
for port in "${SERVER_PORTS[@]}"; do
    keys=$(redis-cli -p "$port" DBSIZE)
    printf '    %-18s %8d %7d%%\n' "127.0.0.1:$port" "$keys" $((keys * 100 / KEYS))
done

cat <<END

Try it from another terminal:
    redis-cli -p $PORT set greeting hello
    redis-cli -p $PORT mget greeting user:1 user:2 user:3
    curl -s http://127.0.0.1:$STATS_PORT/stats
    curl -s http://127.0.0.1:$STATS_PORT/metrics
    $RINGROAD route -c $dir/demo.yml greeting user:1

Some load goes through it now; Ctrl-C stops everything.
END

redis-benchmark -p "$PORT" -c 20 -l -q -r "$KEYS" -t set,get -d 64 >/dev/null 2>&1 &
pids+=($!)

# The requests of all servers, from the same JSON that Twemproxy gives to a plain reader.
requests() {
    { exec 3<>"/dev/tcp/127.0.0.1/$STATS_PORT"; } 2>/dev/null || return 1
    python3 -c '
import json, sys
pool = json.load(sys.stdin)["demo"]
print(sum(server["requests"] for server in pool.values() if isinstance(server, dict)))' <&3
    exec 3>&-
}

before=$(requests) || fail "the stats port does not answer"
then=$EPOCHREALTIME
ends=$((SECONDS + ${DEMO_SECONDS:-86400 * 365}))
while ((SECONDS < ends)); do
    sleep 1 &
    wait $! || true
    kill -0 "$proxy" 2>/dev/null || fail "Ringroad is gone: $(tail -3 "$dir/ringroad.log")"
    now=$(requests) || fail "the stats port does not answer"
    moment=$EPOCHREALTIME
    micros=$((${moment/./} - ${then/./}))
    printf '\r    %9d requests per second, %12d in all ' $(((now - before) * 1000000 / micros)) "$now"
    before=$now
    then=$moment
done
