"""The error class for whatever a user can put right, which the CLI catches once; and messages for system errors."""

import errno
import os
import re
from reprlib import Repr

from magray.masking import mask

_ELSEWHERE = "choose another place"
_ROOM = "free some space and run again"
_FOLDER = "a file is where a folder should be", f"move it, or {_ELSEWHERE}"
_SYSTEM = {  # the reason, and what to do
    errno.ENOSPC: ("no room left on the disk", _ROOM),
    errno.EDQUOT: ("the quota of the disk is used up", _ROOM),
    errno.EFBIG: ("the file is larger than this disk or ulimit -f allows", f"raise the limit, or {_ELSEWHERE}"),
    errno.EROFS: ("the disk is read-only", _ELSEWHERE),
    errno.EACCES: ("permission denied", f"ask for access, or {_ELSEWHERE}"),
    errno.EPERM: ("not permitted", f"ask for access, or {_ELSEWHERE}"),
    errno.EIO: ("the disk cannot be read or written", "check it, and run again"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ENOENT: ("no such file or folder", "check the name"),
    errno.ENOTDIR: _FOLDER,
    errno.EEXIST: _FOLDER,
    errno.EISDIR: ("a folder is where a file should be", f"move it, or {_ELSEWHERE}"),
    errno.EMFILE: ("too many files are open", "raise the limit, as with ulimit -n 4096, and run again"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs and run again"),
    errno.ENOMEM: ("no memory left", "close other programs and run again"),
}

_FOR_A_MESSAGE = Repr()
_FOR_A_MESSAGE.maxstring = _FOR_A_MESSAGE.maxother = 80
shortened = _FOR_A_MESSAGE.repr


class UserError(Exception):
    """Bad input or a missing resource. The message is one clear line that says what to do, without any password."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


class Refused(UserError):
    """An estimate that cannot be trusted. The message says why."""

    exit_code = 3


class FilmsLost(UserError):
    """Films that a campaign had committed are gone at its end. The same command simulates them again."""

    exit_code = 1


def in_words(error: OSError) -> str:
    """Return a message for a system error: the file, the reason, and what to do."""
    said = one_line(error)
    quoted = re.search(r"(?<!\w)'([^']+)'(?!\w)", said)  # PyArrow puts the file's name there
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else quoted[1] if quoted else ""
    if error.errno in _SYSTEM:
        what, advice = _SYSTEM[error.errno]
        return f"{name}: {what}; {advice}" if name else f"{what}; {advice}"
    what = error.strerror or said
    return f"{name}: {what}" if name and name not in what else what


def one_line(error: BaseException) -> str:
    """Return the most telling line of an error's text: its first, or a traceback's last. Without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (lines[-1] if "Traceback" in lines[0] else lines[0]).rstrip(".")
