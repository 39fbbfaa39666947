"""When a process started, by a clock that nobody sets."""

import psutil


def since_boot(process: psutil.Process) -> float:
    """Seconds from boot to the start of the process, to 10 ms.

    With its pid it names a process, also after the wall clock was set: that moves both of the times subtracted here.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    return process.create_time() - psutil.boot_time()
