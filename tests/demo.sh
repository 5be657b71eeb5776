#!/bin/bash
# Ringroad with four redis-servers: fills them, shows how the keys spread, adds a fifth server under load, then shows a
# live line of requests per second until Ctrl-C. DEMO_SECONDS=N ends it by itself, DEMO_HOST is its address. Started by
# `make demo`, and by a test.
set -euo pipefail
cd "$(dirname "$0")/.."

RINGROAD=${RINGROAD:-target/release/ringroad}
HOST=${DEMO_HOST:-127.0.0.1}
PORT=22121
STATS_PORT=22222
SERVER_PORTS=(22131 22132 22133 22134)
FIFTH_PORT=22135
KEYS=20000
export PATH="$PATH:/usr/sbin"

dir=$(mktemp -d)
pids=()

stop_all() {
    trap - EXIT INT TERM
    # Some may be gone already.
    set +e
    if ((${#pids[@]})); then
        kill "${pids[@]}" 2>/dev/null
        wait "${pids[@]}" 2>/dev/null
    fi
    rm -rf "$dir"
    printf '\nEverything that the demo started is stopped.\n'
}
trap stop_all EXIT
trap 'exit 0' INT TERM

fail() { echo "demo: $*" >&2; exit 1; }

answers() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

# Until the port answers or its process is gone.
await() {
    local port=$1 pid=$2 log=$3
    for _ in {1..200}; do
        answers "$port" && return
        kill -0 "$pid" 2>/dev/null || fail "port $port: $(tail -3 "$log")"
        sleep 0.05
    done
    fail "nothing answers on port $port: $(tail -3 "$log")"
}

for port in $PORT $STATS_PORT "${SERVER_PORTS[@]}" $FIFTH_PORT; do
    ! answers "$port" || fail "port $port is taken; stop what listens there and try again"
done
[ -x "$RINGROAD" ] || fail "$RINGROAD is not built; run: make demo"

start_server() {
    redis-server --bind "$HOST" --port "$1" --save '' --appendonly no --dir "$dir" >"$dir/$1.log" 2>&1 &
    pids+=($!)
    await "$1" $! "$dir/$1.log"
}

# The configuration with the servers on these ports.
write_pool() {
    printf 'demo:\n  listen: %s:%s\n  hash: murmur\n  distribution: ketama\n  redis: true\n' "$HOST" "$PORT"
    printf '  placement_guard: true\n  servers:\n'
    for port in "$@"; do printf '    - %s:%s:1\n' "$HOST" "$port"; done
}

# How many of the keys come back, 100 with every MGET.
count_found() {
    for ((n = 0; n < KEYS; n += 100)); do
        printf 'MGET'
        for ((k = n; k < n + 100; k++)); do printf ' user:%d' "$k"; done
        echo
    done | redis-cli -h "$HOST" -p "$PORT" | grep -c '^value-'
}

read_back() {
    local found
    found=$(count_found) || fail "no key is found"
    echo "    $found of $KEYS values came back"
    [ "$found" = "$KEYS" ] || fail "some are missing"
}

show_spread() {
    printf '    %-18s %8s %8s\n' server keys share
    for port in "$@"; do
        local keys
        keys=$(redis-cli -h "$HOST" -p "$port" --scan --pattern 'user:*' | sort -u | wc -l)
        printf '    %-18s %8d %7d%%\n' "$HOST:$port" "$keys" $((keys * 100 / KEYS))
    done
}

# In sessions of their own, so that Ctrl-C reaches only this script, which then stops them in order.
set -m
echo "Starting four redis-servers without persistence on ports ${SERVER_PORTS[*]}."
for port in "${SERVER_PORTS[@]}"; do start_server "$port"; done

write_pool "${SERVER_PORTS[@]}" >"$dir/demo.yml"
echo "Starting Ringroad on port $PORT (stats on $STATS_PORT) with this configuration:"
sed 's/^/    /' "$dir/demo.yml"
"$RINGROAD" -c "$dir/demo.yml" -o "$dir/ringroad.log" -a "$HOST" -s "$STATS_PORT" --show-keys >"$dir/ringroad.out" 2>&1 &
pids+=($!)
proxy=$!
await "$PORT" "$proxy" "$dir/ringroad.out"
set +m

echo "Writing $KEYS keys through it, all in one pipeline (redis-cli --pipe):"
for ((n = 0; n < KEYS; n++)); do printf 'SET user:%d value-%d\r\n' "$n" "$n"; done |
    redis-cli -h "$HOST" -p "$PORT" --pipe 2>&1 | sed 's/^/    /'
echo "Reading them back, 100 with every MGET:"
read_back

echo "How they spread:"
show_spread "${SERVER_PORTS[@]}"

echo
echo "Some load goes through it from now on (redis-benchmark, which stops at the first error)."
set -m
redis-benchmark -h "$HOST" -p "$PORT" -c 20 -l -q -r "$KEYS" -t set,get -d 64 >"$dir/load.log" 2>&1 &
load=$!
pids+=("$load")
echo "Under this load a fifth server, on port $FIFTH_PORT, gets its share of the keys:"
start_server "$FIFTH_PORT"
set +m
write_pool "${SERVER_PORTS[@]}" "$FIFTH_PORT" >"$dir/five.yml"
echo "    \$ ringroad reshard start -c demo.yml --to five.yml --yes"
"$RINGROAD" reshard start -c "$dir/demo.yml" --to "$dir/five.yml" --yes 2>&1 | sed 's/^/    /'
echo "    \$ cp five.yml demo.yml; ringroad verify -c demo.yml"
cp "$dir/five.yml" "$dir/demo.yml"
kill -HUP "$proxy"
"$RINGROAD" verify -c "$dir/demo.yml" | sed 's/^/    /'
kill -0 "$load" 2>/dev/null || fail "the load has ended: $(tail -c 300 "$dir/load.log")"
echo "The load has seen no error. Reading the first keys back:"
read_back
echo "How they spread now:"
show_spread "${SERVER_PORTS[@]}" "$FIFTH_PORT"

cat <<END

See it in a browser:
    http://$HOST:$STATS_PORT/

Try it from another terminal:
    redis-cli -h $HOST -p $PORT set greeting hello
    redis-cli -h $HOST -p $PORT mget greeting user:1 user:2 user:3
    curl -s http://$HOST:$STATS_PORT/stats
    curl -s http://$HOST:$STATS_PORT/metrics
    $RINGROAD route -c $dir/demo.yml greeting user:1

The load goes on; Ctrl-C stops everything.
END

# The requests of all servers, from the same JSON that Twemproxy gives to a plain reader.
requests() {
    { exec 3<>"/dev/tcp/$HOST/$STATS_PORT"; } 2>/dev/null || return 1
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
    wait $!
    kill -0 "$proxy" 2>/dev/null || fail "Ringroad is gone: $(tail -3 "$dir/ringroad.log")"
    now=$(requests) || fail "the stats port does not answer"
    moment=$EPOCHREALTIME
    micros=$((${moment/./} - ${then/./}))
    printf '\r    %9d requests per second, %12d in all ' $(((now - before) * 1000000 / micros)) "$now"
    before=$now
    then=$moment
done
