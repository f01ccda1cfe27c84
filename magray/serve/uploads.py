"""Pictures that came by HTTP, as files in memory: nothing of them is written to a disk."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

NAME_LENGTH = 80
_IN_MEMORY = re.compile(r"/proc/self/fd/(\d+)")


@dataclass(frozen=True)
class Upload:
    """A file as it came: the name that the sender gave it, and its bytes."""

    name: str
    data: bytes

    @property
    def shown_name(self) -> str:
        """Return the name without folders and control characters, short enough for a message."""
        name = PureWindowsPath(PurePosixPath(self.name).name).name
        printable = "".join(letter for letter in name if letter.isprintable())
        return printable[:NAME_LENGTH] or "picture"


@dataclass(frozen=True)
class MemoryFiles:
    """Files in memory that can be opened by their `paths` as long as the context of `in_memory` lasts."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]

    def named(self, text: str) -> str:
        """Return a text in which the paths of the files are replaced by the names that the sender gave them."""
        known = dict(zip(map(str, self.paths), self.names, strict=True))
        return _IN_MEMORY.sub(lambda found: known.get(found[0], "picture"), text)


@contextmanager
def in_memory(uploads: Sequence[Upload]) -> Iterator[MemoryFiles]:
    """Hold uploads as files of Linux that have no place in any folder, and are gone afterwards."""
    with ExitStack() as files:
        paths = []
        for upload in uploads:
            file = files.enter_context(os.fdopen(os.memfd_create("picture"), "wb", buffering=0))
            data = memoryview(upload.data)
            while data:
                data = data[file.write(data) :]
            paths.append(Path(f"/proc/self/fd/{file.fileno()}"))
        yield MemoryFiles(tuple(paths), tuple(upload.shown_name for upload in uploads))
