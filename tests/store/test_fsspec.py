"""A store on filesystems that pyarrow lacks and fsspec has."""

import uuid
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from magray.errors import UserError
from magray.store import open_store
from magray.store.location import locate
from tests.support.anywhere import check_store_at


class Folder(LocalFileSystem):  # type: ignore[misc]
    """This machine's files, by a scheme that pyarrow does not know."""

    protocol = "folder"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("folder://")))


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid.uuid4().hex}/films"


def test_a_store_works_in_memory(memory: str, tmp_path: Path) -> None:
    assert isinstance(locate(memory).filesystem, fs.PyFileSystem)
    check_store_at(memory, tmp_path)


def test_a_store_works_on_a_filesystem_with_folders(tmp_path: Path) -> None:
    """Folders are made, and files renamed, as by sftp://."""
    fsspec.register_implementation("folder", Folder, clobber=True)
    uri = f"folder://{tmp_path}/here/films"
    assert isinstance(locate(uri).filesystem, fs.PyFileSystem)
    check_store_at(uri, tmp_path)
    assert open_store(tmp_path / "here" / "films").count() == 6
    assert list((tmp_path / "here").rglob(".*")) == []


def test_a_file_in_memory_is_whole_or_absent(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written under a name that no reader looks for, and renamed: a writer that dies leaves no half a file."""
    location = locate(memory)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "mv", die)
    with pytest.raises(KeyboardInterrupt):
        location.write("films-0.parquet", b"content")
    assert location.names() == []


def test_what_another_client_writes_is_seen_at_once(memory: str) -> None:
    one, other = locate(memory), locate(memory)
    assert other.names() == []
    one.write("a", b"b")
    assert (other.names(), other.read("a")) == (["a"], b"b")
    with pytest.raises(FileNotFoundError):
        other.read("absent")


def test_a_scheme_whose_package_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install adlfs to access Azure Datalake Gen2 and Azure Blob Storage")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(UserError, match="adl://films is not a place for a store: Install adlfs"):
        locate("adl://films")
