"""A socket for those who ask: taken at once, or said why not."""

from __future__ import annotations

import pytest

from chartdistill.errors import ConfigError
from chartdistill.runtime.listening import listen


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: another program does"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match="no such address"):
        listen("192.0.2.1", 0)
    with listen("127.0.0.1", port):  # and is free again
        pass
