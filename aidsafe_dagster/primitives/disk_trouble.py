"""A disk that is full or fails, told from any other error, however deep it is wrapped."""

import errno
import sqlite3

_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_WORDS = ("disk is full", "disk full", "No space left", "disk I/O error")
_MOST_CAUSES = 30


def disk_trouble(error: BaseException | None) -> str | None:
    """Return the system's words for what is wrong with a disk; None if the error is another.

    Looks through what the error was raised from, since libraries wrap what their database says.
    """
    for _ in range(_MOST_CAUSES):
        if error is None:
            return None
        # SQLAlchemy keeps the driver's error apart.
        for candidate in (error, getattr(error, "orig", None)):
            words = _words(candidate)
            if words:
                return words
        error = error.__cause__ or error.__context__
    return None


def _words(error: BaseException | None) -> str | None:
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return error.strerror or str(error)
    message = str(error)
    is_of_a_database = isinstance(error, sqlite3.Error) or hasattr(error, "pgcode")
    if is_of_a_database and any(words in message for words in _WORDS):
        return message.partition("\n")[0]
    return None
