"""Where a store lies: a folder, or a prefix of an object store, by path or URI."""

import contextlib
import errno
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from magray.errors import UserError

UNFINISHED = ".tmp"  # suffix of a local file that is still being written; its name also begins with a dot


@dataclass(frozen=True)
class Location:
    """A folder on any of pyarrow's filesystems. `path` has no scheme; `uri` is absolute and opens again anywhere."""

    uri: str
    filesystem: fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        """True for a folder on this machine's disks."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def names(self) -> list[str]:
        """The files below the folder, relative to it, sorted. Empty if there is no such folder."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return sorted(info.path[len(self.path) :].lstrip("/") for info in found if info.is_file)

    def file(self, name: str) -> str:
        """The path of a file in the folder, for `filesystem`."""
        return f"{self.path}/{name}"

    def read(self, name: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        with self.filesystem.open_input_file(self.file(name)) as stream:
            content: bytes = stream.read()
            return content

    def write(self, name: str, content: pa.Buffer | bytes) -> None:
        """A whole file or none: a rename on a local disk, one put on an object store.

        Raises UserError if the disk is full or the place cannot be written to.
        """
        try:
            if self.local:
                self._write_and_rename(name, content)
            else:
                self._put(name, content)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise UserError(
                    f"no room left at {self.uri}: free some space and run again; nothing is lost"
                ) from error
            raise UserError(f"cannot write to {self.uri}: {error}") from error

    def remove(self, name: str) -> None:
        """Removes a file of the folder, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.file(name))

    def free_bytes(self) -> int | None:
        """Free space of the local disk; None on an object store."""
        if not self.local:
            return None
        existing = next(folder for folder in (Path(self.path), *Path(self.path).parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def _write_and_rename(self, name: str, content: pa.Buffer | bytes) -> None:
        self.filesystem.create_dir(self.path, recursive=True)
        unfinished = f".{name}.{uuid.uuid4().hex[:8]}{UNFINISHED}"
        try:
            self._put(unfinished, content)
            self.filesystem.move(self.file(unfinished), self.file(name))
        except BaseException:
            self.remove(unfinished)
            raise

    def _put(self, name: str, content: pa.Buffer | bytes) -> None:
        with self.filesystem.open_output_stream(self.file(name)) as stream:
            stream.write(content)


def locate(uri: str) -> Location:
    """The location that a path or URI (file://, s3:// and what else pyarrow knows) means.

    Raises UserError for a URI that pyarrow cannot open.
    """
    if "://" not in uri:
        uri = str(Path(uri).expanduser().resolve())
        return Location(uri, fs.LocalFileSystem(), uri)
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{uri} is not a place for a store: {error}") from error
    return Location(uri, filesystem, path.rstrip("/"))
