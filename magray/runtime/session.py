"""The folder of a local Ray: private, short enough for its sockets, and removed with its driver.

Ray's own is not: it opens /tmp/ray and all below to every user of the machine, its token in ~/.ray may be read
by them, too, its folders stay behind, and it fails where TMPDIR is long.

    <temporary folder>/magray-<8 characters>/   open to its owner alone
        driver.lock   locked by the driver as long as it lives
        auth_token    what Ray's processes show each other
        ray/          all else, which Ray opens to everybody as far as it can
"""

import atexit
import fcntl
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from magray.errors import UserError

_PREFIX = "magray-"
LOCK, TOKEN, RAY = "driver.lock", "auth_token", "ray"
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107  # of the path of a Unix socket
_LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # tried if the environment names none that is usable


@dataclass(frozen=True)
class Session:
    """A private folder for one local Ray, and the open file whose lock says that its driver lives."""

    folder: Path
    lock: int

    @property
    def ray_folder(self) -> Path:
        """Return the folder that Ray writes to."""
        return self.folder / RAY

    @property
    def token_file(self) -> Path:
        """Return the file with the token of this Ray."""
        return self.folder / TOKEN

    def end(self) -> None:
        """Remove the folder. Ray must have been shut down."""
        _remove(self.folder)
        os.close(self.lock)


def new_session(shut_down: Callable[[], object]) -> Session:
    """Make the folder of a local Ray, and remove those whose drivers are dead.

    It is removed when this process ends, after `shut_down`. Raises UserError if there is no place for it.
    """
    for place in _places():
        _remove_dead(place)
        try:
            session = _made_in(place)
        except OSError:  # it is read-only, full, or not there
            continue
        atexit.register(_end, session, shut_down)
        return session
    raise UserError(
        "there is no folder for Ray's sockets: set RAY_TMPDIR to one that can be written to, "
        f"with a path of at most {_longest_place()} bytes"
    )


def _end(session: Session, shut_down: Callable[[], object]) -> None:
    shut_down()
    session.end()


def _places() -> Iterator[Path]:
    """Yield the folders in which a session's may lie, the preferred first."""
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")]
    for place in dict.fromkeys([*filter(None, named), *PLACES]):
        if len(os.fsencode(Path(place).absolute())) <= _longest_place():
            yield Path(place).absolute()


def _longest_place() -> int:
    return _SOCKET_BYTES - len(f"/{_PREFIX}12345678{_LONGEST_SOCKET}")


def _made_in(place: Path) -> Session:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        lock = _private_file(folder / f"{LOCK}.new")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / f"{LOCK}.new").rename(folder / LOCK)  # nobody sees it without its lock
        token = _private_file(folder / TOKEN)
        os.write(token, secrets.token_hex(32).encode())
        os.close(token)
        (folder / RAY).mkdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Session(folder, lock)


def _private_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def _remove(folder: Path) -> None:
    """Remove a session; one that a dying process still writes to keeps its lock file until the next start."""
    shutil.rmtree(folder / RAY, ignore_errors=True)
    if not (folder / RAY).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(place: Path) -> None:
    """Remove the sessions of this user whose drivers were killed."""
    for folder in place.glob(f"{_PREFIX}????????"):
        try:
            about = folder.lstat()
            ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
            if not ours or not {LOCK} <= {path.name for path in folder.iterdir()} <= {LOCK, TOKEN, RAY}:
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # its own driver removes it at this moment
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        except BlockingIOError:  # its driver lives
            pass
        finally:
            os.close(lock)
