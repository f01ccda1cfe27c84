"""The place of a store: a folder, or a prefix of an object store, by path or URI.

s3:// goes through pyarrow's own filesystem, not s3fs. Measured against a SeaweedFS server on the same two cores,
pyarrow and then s3fs: writing 64 MB 0.6-0.8 s and 0.9-1.2 s with 0.05 s and 0.25 s of processor, reading it 0.16-0.19 s
and 0.28-0.42 s, listing 500 files 9 ms and 210 ms, opening the first file in a new process 0.25 s and 0.95 s; only a
0.1 MB write is faster in s3fs, 5 ms against 8-11 ms. s3fs answers listings from a cache that other processes' commits
do not reach, and its errors are of several families, botocore's among them; pyarrow's are OSErrors with AWS's code.
Both complete an upload whose stream an exception closes, so that half a file becomes readable; see `_upload`.

Endpoint, region and credentials come from the environment of the process that reads or writes (AWS_ENDPOINT_URL,
AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or the machine's instance role. The workers
of a local Ray cluster have the driver's environment as it was when Ray started. A remote cluster's workers have that
of their node: set it there before `ray start`; nothing is sent from the driver. A URI with credentials is refused, and
so never reaches a config that is kept, a log, a page or a message.

pyarrow's from_uri, and the environment that it heeds, come without timeouts to choose: an operation on a server that
accepts and never answers took 99 s to fail (measured). So its S3FileSystem is made here; it gives up after 20 s.

Other schemes that fsspec knows, such as sftp:// and memory://, go through its filesystems and pyarrow's FSSpecHandler.
They are not asked again when they do not answer. Object stores among them (_OBJECT_STORES) take a file whole; on all
others a file is written under another name and renamed.

An object appears when its upload is complete. What a killed process leaves are parts of an upload, which nobody can
read, but which the bucket keeps and bills until a lifecycle rule (AbortIncompleteMultipartUpload) removes them.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from magray.errors import UserError, in_words, one_line
from magray.files.paths import at_home, refuse_credentials
from magray.store.retry import RETRY_SECONDS, no_bucket, retry

UNFINISHED = ".tmp"  # suffix of a local file that is still being written; its name also begins with a dot
_OBJECT_STORES = ("s3", "s3a", "gcs", "gs", "abfs", "abfss", "az", "adl", "oss", "oci")  # of fsspec: no folders
_S3_OPTIONS = ("region", "scheme", "endpoint_override")  # what a URI may say
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # a request without one byte either way for so long is given up and sent once more

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Location:
    """A folder on any of pyarrow's filesystems. `path` has no scheme; `uri` is absolute and opens again anywhere."""

    uri: str
    filesystem: fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        """Return whether the location is a folder on this machine's disks."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def _has_folders(self) -> bool:
        """Return whether files lie in folders, which must be made, and may be seen before they are whole."""
        if isinstance(self.filesystem, fs.PyFileSystem):
            return self.uri.partition("://")[0] not in _OBJECT_STORES
        return self.local

    def retry(self, ask: Callable[[], _Answer], seconds: float) -> _Answer:
        """Return the result of `ask`, which must be harmless to repeat, tried for `seconds`; once on a local disk.

        Raises UserError if an object store refuses or does not answer.
        """
        return ask() if self.local else retry(self.uri, ask, seconds)

    def names(self, folder: str = "", seconds: float = 0.0) -> list[str]:
        """Return the names in the location, or in a folder of it, sorted; those of folders end with a slash.

        Empty if there is no such folder. An object store has no folders, but names with slashes in them.
        Raises UserError if an object store refuses, has no such bucket, or does not answer for `seconds`.
        """
        path = self.file(folder) if folder else self.path
        everything = fs.FileSelector(path, recursive=not self.local, allow_not_found=True)
        found = self.retry(lambda: self.filesystem.get_file_info(everything), seconds)
        if not found:
            self._check_bucket(seconds)
        slash = {fs.FileType.File: "", fs.FileType.Directory: "/"} if self.local else {fs.FileType.File: ""}
        listed = [(info.path[len(path) :].lstrip("/"), info.type) for info in found]
        return sorted(f"{name}{slash[kind]}" for name, kind in listed if kind in slash)

    def file(self, name: str) -> str:
        """Return the path of a file of the location, for `filesystem`."""
        return f"{self.path}/{name}"

    def read(self, name: str, seconds: float = 0.0) -> bytes:
        """Return the content of a file. Raises FileNotFoundError, and UserError as `names` does."""
        try:
            return self.retry(partial(self._get, name), seconds)
        except FileNotFoundError:
            self._check_bucket(seconds)
            raise

    def write(self, name: str, content: pa.Buffer | bytes, seconds: float = 0.0) -> None:
        """Write a file whole or not at all: by a rename on a local disk, by one upload on an object store.

        Raises UserError if the disk is full or the place cannot be written to, and as `names` does.
        """
        try:
            if self._has_folders:
                self._write_and_rename(name, content)
            else:
                self.retry(partial(self._upload, name, content), seconds)
        except OSError as error:
            raise UserError(f"cannot write to {self.uri}: {in_words(error)}; nothing is lost") from error

    def remove(self, name: str) -> None:
        """Remove a file of the location, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.retry(lambda: self.filesystem.delete_file(self.file(name)), 0.0)

    def is_plain_file(self, name: str) -> bool:
        """Return whether a path in the location is a file itself, neither a folder nor a link nor behind a link."""
        path = Path(self.path).resolve() / name
        return not self.local or (path.is_file() and path.resolve() == path)

    def copy(self, name: str, new: str) -> None:
        """Copy a file within the location. Raises UserError as `write`; half a copy may be left."""
        try:
            if self._has_folders:
                self.filesystem.create_dir(self.file(new).rpartition("/")[0], recursive=True)
            self.retry(lambda: self.filesystem.copy_file(self.file(name), self.file(new)), RETRY_SECONDS)
        except OSError as error:
            raise UserError(f"cannot write to {self.uri}: {in_words(error)}; nothing is lost") from error

    def flush(self, name: str) -> None:
        """Have a local disk hold a file, and its entry in the folder, before anything else is done to them."""
        if self.local:
            path = Path(self.file(name))
            for place in (path, path.parent):
                descriptor = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def hide(self, folder: str) -> str:
        """Rename a folder so that no reader finds any of its files from then on. Return its new name.

        An object store cannot rename: its folder stays as it is.
        """
        hidden = f".{folder}{UNFINISHED}"
        if not self.local or folder.startswith(".") or Path(self.file(hidden)).exists():
            return folder
        Path(self.file(folder)).rename(self.file(hidden))
        return hidden

    def remove_empty_folder(self, folder: str) -> None:
        """Remove a folder of the location if nothing is in it. An object store has none."""
        if self.local:
            with contextlib.suppress(OSError):
                Path(self.file(folder)).rmdir()

    def free_bytes(self) -> int | None:
        """Return the free space of the local disk; None on an object store."""
        if not self.local:
            return None
        existing = next(folder for folder in (Path(self.path), *Path(self.path).parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def _write_and_rename(self, name: str, content: pa.Buffer | bytes) -> None:
        folder, slash, file = name.rpartition("/")
        self.filesystem.create_dir(self.file(folder) if folder else self.path, recursive=True)
        unfinished = f"{folder}{slash}.{file}.{uuid.uuid4().hex[:8]}{UNFINISHED}"
        try:
            self._put(unfinished, content)
            self.filesystem.move(self.file(unfinished), self.file(name))
        except BaseException:
            self.remove(unfinished)
            raise

    def _upload(self, name: str, content: pa.Buffer | bytes) -> None:
        """Upload in a thread, where no Ctrl-C comes between opening and closing, but only after the end."""
        with ThreadPoolExecutor(1) as uploader:
            uploader.submit(self._put, name, content).result()

    def _put(self, name: str, content: pa.Buffer | bytes) -> None:
        with self.filesystem.open_output_stream(self.file(name)) as stream:
            stream.write(content)

    def _get(self, name: str) -> bytes:
        with self.filesystem.open_input_file(self.file(name)) as stream:
            content: bytes = stream.read()
            return content

    def _check_bucket(self, seconds: float) -> None:
        """Raise UserError if the bucket does not exist, which an object store lists as an empty one."""
        if isinstance(self.filesystem, fs.S3FileSystem):
            bucket = self.path.split("/", 1)[0]
            about = self.retry(lambda: self.filesystem.get_file_info(bucket), seconds)
            if about.type == fs.FileType.NotFound:
                raise no_bucket(self.uri)


def locate(uri: str) -> Location:
    """Return the location of a path or URI: file://, s3://, and whatever else pyarrow or fsspec opens.

    An s3:// URI may name `region`, `scheme` and `endpoint_override`, as in s3://bucket/films?region=eu-central-1.
    Raises UserError for a URI that cannot be opened, or that holds credentials.
    """
    if "://" not in uri:
        uri = str(at_home(uri).resolve())
        return Location(uri, fs.LocalFileSystem(), uri)
    refuse_credentials(uri)
    try:
        parts = urlsplit(uri)
        if parts.scheme == "s3":
            return Location(uri, _bucket_filesystem(uri, parts), f"{parts.netloc}{unquote(parts.path)}".rstrip("/"))
        filesystem, path = _opened(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{uri} is not a place for a store: {error}") from error
    return Location(uri, filesystem, path.rstrip("/"))


def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    """Return pyarrow's filesystem for a URI and the path in it, or fsspec's where pyarrow has none.

    Raises OSError and ValueError for a URI that neither opens.
    """
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
        return filesystem, path
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    import fsspec

    try:
        filesystem, path = fsspec.url_to_fs(uri, skip_instance_cache=True)
    except ImportError as error:
        raise ValueError(one_line(error)) from error
    filesystem.dircache.use_listings_cache = False  # other processes commit, too
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _bucket_filesystem(uri: str, parts: SplitResult) -> fs.S3FileSystem:
    """Return the filesystem that pyarrow's from_uri opens, with our timeouts."""
    options = dict(parse_qsl(parts.query))
    if unknown := options.keys() - _S3_OPTIONS:
        raise ValueError(f"its options are {', '.join(_S3_OPTIONS)}, not {min(unknown)}")
    if not parts.netloc:
        raise ValueError("it names no bucket")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        options["endpoint_override"] = endpoint
    if not options.keys() & {"endpoint_override", "region"}:
        options["region"] = retry(uri, lambda: fs.resolve_s3_region(parts.netloc), RETRY_SECONDS)
    return fs.S3FileSystem(
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENCE_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        **options,
    )
