#!/usr/bin/env bash
# Run a command where the kernel itself has no way out: a network namespace with loopback only. No root needed where
# user namespaces are allowed.
#   scripts/isolated.sh make distill
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: scripts/isolated.sh COMMAND..." >&2
    exit 2
fi
unshare --user --map-root-user --net true 2>/dev/null || {
    echo "isolated: this system does not allow network namespaces (unshare --user --net); see" \
         "kernel.unprivileged_userns_clone and AppArmor's userns rules, or use a container with --network none" >&2
    exit 3
}
# The interface lo of a new namespace is down. SIOCSIFFLAGS (0x8914) sets IFF_UP; `ip` is not installed everywhere.
exec unshare --user --map-root-user --net -- "${PYTHON:-python3}" -c '
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    fcntl.ioctl(handle, 0x8914, struct.pack("16sh", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
' "$@"
