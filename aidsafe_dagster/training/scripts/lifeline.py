"""End a training script when its parent process dies: nothing else would, and it holds the GPU."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel for a parent-death signal (Linux only; elsewhere nothing happens).

    Args:
        parent: pid of the process that started this one.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A parent that died before the call above sends no signal.
    if os.getppid() != parent:
        sys.exit("the process that started this training is gone")
