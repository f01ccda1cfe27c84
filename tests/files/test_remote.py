"""Files by URL: what is there, and one line for what is not. A real bucket is in tests/cluster."""

import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

from magray.config import load_config
from magray.errors import UserError
from magray.files.remote import is_url, open_url
from magray.imaging import read_picture, write_picture
from tests.support.configs import QUICKSTART
from tests.support.stripes import labyrinth


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


def put(url: str, content: bytes) -> str:
    with fsspec.open(url, "wb") as file:
        file.write(content)
    return url


@pytest.mark.parametrize("name", ["film.png", "film.tif"])
def test_a_picture_at_a_url_is_the_picture_in_a_file(memory: str, tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, (127.5 * (1 + labyrinth())).astype("uint8"))
    url = put(f"{memory}/{name}", (tmp_path / name).read_bytes())
    np.testing.assert_array_equal(read_picture(url), read_picture(tmp_path / name))


def test_a_config_at_a_url_is_the_config_in_a_file(memory: str) -> None:
    assert load_config(put(f"{memory}/project.yaml", QUICKSTART.read_bytes())) == load_config(QUICKSTART)


def test_what_is_not_there_or_wrong_is_one_line_with_the_url(memory: str) -> None:
    with pytest.raises(UserError, match=rf"^{memory}/absent.png: no such file$"):
        read_picture(f"{memory}/absent.png")
    with pytest.raises(UserError, match=rf"^{memory}/absent.yaml: no such file$"):
        load_config(f"{memory}/absent.yaml")
    with pytest.raises(UserError, match=rf"^{memory}/text.png: is not a picture"):
        read_picture(put(f"{memory}/text.png", b"no picture"))
    with pytest.raises(UserError, match=rf"^{memory}/bytes.yaml: this is not a text file"):
        load_config(put(f"{memory}/bytes.yaml", b"\xff\xfe\xfd"))
    with pytest.raises(UserError, match=r"^nowhere://x: cannot be read: Protocol not known"):
        load_config("nowhere://x")


def test_a_url_with_credentials_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError, match="holds credentials") as refused:
        open_url("https://host/film.png?X-Amz-Signature=abcdef0123")
    assert "abcdef0123" not in str(refused.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "open", missing)
    with pytest.raises(UserError, match="needs another package: Install s3fs to access S3"):
        open_url("s3://bucket/film.png")


def test_a_path_is_no_url() -> None:
    assert (is_url("s3://bucket/x"), is_url("folder/x"), is_url(Path("s3://bucket/x"))) == (True, False, False)
