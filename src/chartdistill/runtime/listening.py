"""A socket that listens for those who ask (`serve`, `review`): taken before anything long begins."""

from __future__ import annotations

import errno
import socket

from chartdistill.errors import ConfigError


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens at an IP address, so that nobody else can. `port` 0: any that is free.

    Raises:
        ConfigError: why not, and what to do.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen at {address} port {port}: {_why(error)}") from None
    return bound


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                "another program does, perhaps another `chartdistill`. End that one, or choose another --port (0 takes "
                "any that is free)."
            )
        case errno.EACCES:
            return "ports below 1024 are the administrator's. Choose another --port."
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return "this machine has no such address. Choose another --host."
    return f"{error.strerror}. Choose another --host or --port."
