# Becomes the first process of a server: run in fresh namespaces, with the server's root as the only argument.
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
# Cilium would set these for the whole machine, and does as well without.
for name in timer_migration unprivileged_bpf_disabled; do
  mount --bind "proc/sys/kernel/$name" "proc/sys/kernel/$name"
  mount -o remount,bind,ro "proc/sys/kernel/$name"
done
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for name in cpu cpuacct cpuset memory devices freezer blkio pids systemd unified; do
  mkdir "sys/fs/cgroup/$name"
  case $name in
    systemd) mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd ;;
    unified) mount -t cgroup2 cgroup2 sys/fs/cgroup/unified ;;
    *) mount -t cgroup -o "$name" cgroup "sys/fs/cgroup/$name" ;;
  esac
done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
for name in null zero full random urandom tty kmsg net/tun; do
  touch "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p .old
pivot_root . .old
umount -l .old
rmdir .old
# As systemd does it on a machine, but not where it finds itself in a container.
mount --make-rshared /
exec env -i container=oci PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
