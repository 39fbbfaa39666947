"""When a process started, by a clock that nobody sets."""

import psutil


def since_boot(process: psutil.Process) -> float:
    """Return the seconds from boot to the start of the process, to 10 ms.

    Together with its pid this identifies a process, even after the wall clock was set. Setting it
    moves both of the times that are subtracted here.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    return process.create_time() - psutil.boot_time()
