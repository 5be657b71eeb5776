#!/bin/bash
# Boots the systemd of a folder, in namespaces of its own:  tests/package/boot.sh FOLDER
# Ends when that systemd does. Its process 1 is the child of the unshare that this process becomes.
set -eu
root=$1
# The hierarchy of systemd: of version 1 of control groups, or the only one of version 2.
groups=/sys/fs/cgroup/systemd
[ -d "$groups" ] || groups=/sys/fs/cgroup

if [ "${2:-}" != inside ]; then
    # Systemd makes groups below the one that it finds itself in.
    mkdir -p "$groups/ringroad-package-test"
    echo $$ >"$groups/ringroad-package-test/cgroup.procs"
    exec unshare --pid --mount --net --uts --ipc --cgroup --fork --kill-child "$0" "$root" inside
fi

mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
if [ -d /sys/fs/cgroup/systemd ]; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
# Devices of its own: systemd changes their permissions.
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<"$device"
    mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/pts dev/shm dev/mqueue
mount -t tmpfs tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --show-status=no
