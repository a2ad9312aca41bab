"""Silence for native libraries that write lines about themselves to standard error."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Send standard error of the process to nowhere for a while; exceptions are not touched."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        with warnings.catch_warnings():
            # MediaPipe 0.10.21 asks protobuf 6 in the way of protobuf 4
            warnings.filterwarnings("ignore", message=r"label\(\) is deprecated", category=DeprecationWarning)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
