#!/bin/bash
# `make package-test`: installs the Debian package in a minimal Debian, boots its systemd, uses the service as an operator
# does, removes it, and compares the files before and after.
#   tests/package/run.sh ringroad.deb
# Needs root and debootstrap. Nothing outside a temporary folder and namespaces is changed.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
deb=$(realpath "$1")
suite=${SUITE:-bookworm}
work=$(mktemp -d)
root=$work/debian
init=

cleanup() {
    status=$?
    if [ -n "$init" ]; then kill -KILL "$init" 2>/dev/null || true; fi
    if [ "$status" != 0 ]; then
        echo "FAILED at line ${BASH_LINENO[0]}"
        tail -n 20 "$work/log" 2>/dev/null || true
    fi
    for groups in /sys/fs/cgroup /sys/fs/cgroup/systemd; do
        find "$groups/ringroad-package-test" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { echo "package-test: $*"; }
fail() {
    say "FAILED: $*"
    exit 1
}

in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

# Runs a command in the booted system.
booted() {
    nsenter -t "$init" -m -p -n -u -i -r -w env LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Waits for a command in the booted system to succeed.
await() {
    for _ in $(seq 200); do
        if booted "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "never succeeded: $*"
}

expect() {
    wanted=$1
    shift
    got=$(booted "$@" 2>&1) || true
    [[ $got == *"$wanted"* ]] || fail "'$*' printed '$got', not '$wanted'"
}

# All that a package may leave: each file with its type, permissions, owner and content. Not what apt and dpkg note for
# themselves, nor logs and caches.
snapshot() {
    (
        cd "$root"
        find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/log \
            -o -path ./var/cache -o -path ./var/lib/apt -o -path ./var/lib/dpkg -o -path ./root/ringroad.deb \
            -o -path ./var/lib/systemd/timers -o -path ./var/lib/systemd/random-seed -o -path ./var/lib/redis -o -path './etc/*-' \) -prune \
            -o ! -type d -printf '%p %y %m %u %g %l\n' -o -type d -printf '%p %y %m %u %g\n' | sort
        find etc usr/share usr/lib -xdev -type f ! -name '*-' -print0 | sort -z | xargs -0 sha256sum
    )
}

boot() {
    "$here/boot.sh" "$root" >>"$work/log" 2>&1 &
    outer=$!
    for _ in $(seq 100); do
        init=$(pgrep -P "$outer" -x systemd || true)
        [ -n "$init" ] && break
        sleep 0.1
    done
    [ -n "$init" ] || fail "systemd does not start"
    await systemctl is-active redis-server
}

say "debootstrap of $suite in $work"
mirror=$(apt-get indextargets --format '$(SITE)' | head -n 1)
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$work/log" 2>&1
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
in_root apt-get install -y -qq --no-install-recommends \
    systemd systemd-sysv dbus redis-server redis-tools adduser man-db bash-completion >>"$work/log" 2>&1
rm "$root/usr/sbin/policy-rc.d"
cp "$deb" "$root/root/ringroad.deb"
packages=$(in_root dpkg-query -W -f '${Package}\n')
boot
snapshot >"$work/before"

say "installing $(basename "$deb")"
booted apt-get install -y -qq /root/ringroad.deb >>"$work/log" 2>&1
added=$(comm -13 <(sort <<<"$packages") <(in_root dpkg-query -W -f '${Package}\n' | sort) | xargs)
[ "$added" = ringroad ] || fail "installed, besides it: $added"
[ -z "$(booted dpkg --verify ringroad)" ] || fail "dpkg --verify complains"
expect 'root ringroad 640' stat -c '%U %G %a' /etc/ringroad/ringroad.yml
expect 'ringroad-' ringroad -V
expect enabled systemctl is-enabled ringroad
for file in usr/share/bash-completion/completions/ringroad usr/share/zsh/vendor-completions/_ringroad \
    usr/share/fish/vendor_completions.d/ringroad.fish usr/share/man/man1/ringroad.1.gz usr/share/doc/ringroad/copyright; do
    [ -s "$root/$file" ] || fail "no $file"
done
warnings=$(booted man --warnings -E UTF-8 -l -Tutf8 -Z /usr/share/man/man1/ringroad.1.gz 2>&1 >/dev/null)
[ -z "$warnings" ] || fail "the manual page has: $warnings"

say "the service, as installed"
await systemctl is-active ringroad
expect OK redis-cli -p 22121 set key value
expect value redis-cli -p 22121 get key
expect serving ringroad ctl status
expect 'Started ringroad.service' journalctl --no-pager -u ringroad
pid=$(booted systemctl show -P MainPID ringroad)
status=$(booted cat "/proc/$pid/status")
uid=$(booted id -u ringroad)
for line in "Uid:	$uid	$uid" 'NoNewPrivs:	1' 'Seccomp:	2' 'CapBnd:	0000000000000000'; do
    [[ $status == *"$line"* ]] || fail "no '$line' in: $status"
done
# Systemd itself cannot exceed the limit that this test runs with.
files=$(booted sh -c 'ulimit -Hn')
if [ "$files" = unlimited ] || [ "$files" -gt 65536 ]; then files=65536; fi
expect " $files " grep 'Max open files' "/proc/$pid/limits"
# What the service sees: nothing can be written but its own directory, and no home, no device of the machine.
inside() { booted nsenter -t "$pid" -m --setuid "$uid" --setgid "$uid" "$@"; }
if inside sh -c 'echo >/etc/ringroad/new' 2>/dev/null; then fail "it can write in /etc"; fi
if inside sh -c 'echo >/var/tmp/../lib/new' 2>/dev/null; then fail "it can write in /var/lib"; fi
inside sh -c 'echo >/run/ringroad/new && rm /run/ringroad/new' || fail "it cannot write in /run/ringroad"

say "changes of its file"
cat >>"$root/etc/ringroad/ringroad.yml" <<'YAML'
second:
  listen: 127.0.0.1:22131
  redis: true
  servers:
    - 127.0.0.1:6379:1 one
YAML
booted systemctl reload ringroad
expect value redis-cli -p 22131 get key
echo 'broken: [' >>"$root/etc/ringroad/ringroad.yml"
if booted systemctl reload ringroad 2>/dev/null; then fail "a reload of an invalid file succeeds"; fi
expect 'ringroad.yml:' journalctl --no-pager -u ringroad
expect value redis-cli -p 22131 get key
if booted systemctl restart ringroad 2>/dev/null; then fail "a start with an invalid file succeeds"; fi
sed -i '/^broken/d' "$root/etc/ringroad/ringroad.yml"
booted systemctl reset-failed ringroad
booted systemctl restart ringroad
expect value redis-cli -p 22131 get key

pid=$(booted systemctl show -P MainPID ringroad)

say "installed again: the new process takes over from the old one; the changed file, its mode and the user stay"
starts() { booted journalctl --no-pager -u ringroad -o cat | grep -c 'Started ringroad.service'; }
booted chmod 644 /etc/ringroad/ringroad.yml
before=$(starts)
booted dpkg -i /root/ringroad.deb >>"$work/log" 2>&1
new_pid=$(booted systemctl show -P MainPID ringroad)
[ "$new_pid" != "$pid" ] || fail "the old process still runs"
pid=$new_pid
[ "$(starts)" = "$before" ] || fail "it was restarted"
expect 'root ringroad 644' stat -c '%U %G %a' /etc/ringroad/ringroad.yml
expect "$uid" id -u ringroad
expect value redis-cli -p 22131 get key
# With a file that the service cannot read, the old process is better than none.
booted chmod 600 /etc/ringroad/ringroad.yml
booted dpkg -i /root/ringroad.deb >>"$work/log" 2>&1
expect "$pid" systemctl show -P MainPID ringroad
expect value redis-cli -p 22131 get key
booted chmod 640 /etc/ringroad/ringroad.yml
# Twice as long as systemd waits for a message of the watchdog.
sleep 40
expect active systemctl is-active ringroad
expect "$pid" systemctl show -P MainPID ringroad
expect 0 systemctl show -P NRestarts ringroad

say "removed"
booted apt-get remove -y -qq ringroad >>"$work/log" 2>&1
[ -e "$root/etc/ringroad/ringroad.yml" ] || fail "its file is removed too"
expect 'Connection refused' redis-cli -p 22121 ping
booted apt-get install -y -qq /root/ringroad.deb >>"$work/log" 2>&1
await redis-cli -p 22131 get key

say "purged"
booted apt-get purge -y -qq ringroad >>"$work/log" 2>&1
if booted id ringroad >/dev/null 2>&1; then fail "its user stays"; fi
if booted test -e /run/ringroad; then fail "/run/ringroad stays"; fi
snapshot >"$work/after"
diff "$work/before" "$work/after" || fail "the files differ"
say "passed: nothing of it is left"
