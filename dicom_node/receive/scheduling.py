"""Asks the kernel to let the receiving threads run as soon as they are woken.

A receiver does little and waits often: for the peer, for the disk. When every core is busy
with an analysis, Linux lets a woken thread wait until the slice of the running one ends
(about 4 ms), at every wait; a synced instance has half a dozen of them. A thread that asks
for a short slice of its own goes first (EEVDF, Linux 6.12), gets no more of the processor
for it, and needs no privilege. Measured with two busy cores, for one synced instance:
3.7 to 7.5 ms without, 0.9 to 3.3 ms with.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct
from typing import Final

logger = logging.getLogger(__name__)

SLICE_NS: Final = 100_000
"""Slice asked for; the shortest that Linux grants."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which has no wrapper in the C library."""


def ask_for_short_slices() -> bool:
    """Apply to this thread and to those that it will start; True when the kernel agreed.

    An older kernel agrees and does nothing; another system or policy is left as it is.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or platform.system() != "Linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    agreed = ctypes.CDLL(None, use_errno=True).syscall(number, 0, attributes, 0) == 0
    logger.debug("asked for short slices", extra={"action": "short_slices", "agreed": agreed})
    return bool(agreed)
