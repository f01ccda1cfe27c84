"""Any file and any override is a config, or one line that says why not."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magray.config import Config, load_config
from magray.errors import UserError
from tests.support.configs import QUICKSTART, check_refusal


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("campain={}", "unknown key campain; did you mean campaign?"),
        ("name=a/b", "name: "),
        ("campaign=3", "campaign: input should be a valid dictionary"),
        ("campaign.Ms.value=3", "Ms is a value, it has no keys of its own"),
        ("campaign.films", "write key=value"),
        ("campaign.cells=[1", "this is not YAML"),
        ("simulate.actors=100000000", "simulate.actors: input should be at most"),
        ("simulate.block_films=100000000", "simulate.block_films: input should be at most"),
        ("simulate.gpu_share=1e-310", "simulate.gpu_share: input should be at least 0.001, since"),
        ("name=" + "x" * 300, "name: string should have at most 200 characters"),
        ("simulate.store" + ".a" * 50_000 + "=1", "simulate.store: input should be a valid string, not {'a': {'a'"),
        ("na\udcffme=1", "write key=value"),
    ],
)
def test_a_wrong_override_is_refused_in_one_line(override: str, complaint: str) -> None:
    check_refusal(override, complaint)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(QUICKSTART.read_text().replace("  Ku1: 1.05 MJ/m3\n", ""))
    with pytest.raises(UserError, match=r"short.yaml: campaign.Ku1 is missing$"):
        load_config(path)


@pytest.mark.parametrize(
    ("key", "line", "complaint"),
    [
        ("dmi", "demag: yes", "campaign.demag: write true or false, not 'yes'"),
        ("films", "films: 1:30", "campaign.films: input should be a valid integer, not '1:30'"),
        ("Ms", "Ms: 1:30", "Ms: unit :30 does not fit; accepted: A/m, kA/m, MA/m"),
        ("epochs", "epochs: 14\n  epochs: 15", "the key 'epochs' is given twice; keep one"),
        ("batch", "bach: 64", "unknown key fit.bach; did you mean batch?"),
        ("cells", "cells: [0o10, 256]", "campaign.cells.0: input should be a valid integer"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, key: str, line: str, complaint: str) -> None:
    """What YAML 1.1 takes for something else is a text here, and refused where a number or a truth value belongs."""
    text, replaced = re.subn(rf"(?m)^  {key}: .*", f"  {line}", QUICKSTART.read_text(encoding="utf-8"))
    assert replaced == 1
    number = text[: text.index(line) + len(line)].count("\n") + 1
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: line {number}: {complaint}")


def test_a_leading_zero_makes_no_octal_number() -> None:
    assert load_config(QUICKSTART, ["campaign.films=010"]).campaign.films == 10


def test_an_override_is_on_no_line_of_the_file() -> None:
    with pytest.raises(UserError, match=r"quickstart.yaml: campaign.films: input should be a valid integer"):
        load_config(QUICKSTART, ["campaign.films=1:30"])
    with pytest.raises(UserError, match=r"quickstart.yaml: Ms: unit :30 does not fit"):
        load_config(QUICKSTART, ["campaign.Ms=1:30"])


def test_the_message_about_an_override_names_it() -> None:
    with pytest.raises(UserError, match=r"--set 'fit.seed=&a 3': line 1: anchors and aliases"):
        load_config(QUICKSTART, ["fit.seed=&a 3"])


def test_a_mark_of_byte_order_and_the_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + QUICKSTART.read_bytes().replace(b"\n", b"\r\n"))
    assert load_config(path) == load_config(QUICKSTART)


def config_or_line(path: Path, *overrides: str) -> bool:
    """Return whether a file is a config, or is refused in one message of a sensible length."""
    try:
        return isinstance(load_config(path, overrides), Config)
    except UserError as error:
        return 0 < len(str(error)) < 2000


PIECES = st.sampled_from(
    [line + "\n" for line in QUICKSTART.read_text(encoding="utf-8").splitlines()]
    + [
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "? ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\n",
        "  ",
        "'",
        '"',
        "|\n",
        "%YAML 1.1\n",
        "---\n",
    ]
    + [
        "\\ud800",
        "\\0",
        "\ufeff",
        "\x85",
        "010",
        "1:30",
        "1e999",
        "-1e-310",
        "9" * 5000,
        "2024-99-99",
        "~",
        ".nan",
        "kA/m",
    ]
)


@settings(deadline=5000, max_examples=100)
@given(st.binary() | st.lists(PIECES, max_size=60).map(lambda pieces: "".join(pieces).encode()))
def test_any_bytes_are_a_config_or_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes(content)
        assert config_or_line(path)


PATHS = st.sampled_from(
    [
        *(
            "name",
            "output",
            "campaign",
            "campaign.films",
            "campaign.cells",
            "campaign.cell_size",
            "campaign.Ms",
            "campaign.D",
        ),
        *(
            "campaign.protocol",
            "campaign.protocol.initial",
            "campaign.protocol.stages",
            "campaign.field",
            "campaign.demag",
        ),
        *(
            "simulate.store",
            "simulate.gpu_share",
            "fit.train_scales",
            "fit.microscope",
            "fit.seed",
            "fit.width",
            "study",
        ),
        *("", ".", "name.x", "a..b"),
    ]
)


VALUES = st.sampled_from(
    [
        *("1e308", "-0", "1e-310 m", "9" * 300, "[64, 64]", "[0 T, 0 T, 1 T]", "{uniform: [0, 0, 1e-310]}"),
        *("{uniform: [0.1 mJ/m2, 1e308 J/m2]}", "{uniform: [1, 0]}", "[{quench: {alpha: 1, duration: 1e-310 s}}]"),
        "[{minimize: {field: [1, 2]}}]",
    ]
)


@settings(deadline=5000, max_examples=50)
@given(PATHS | st.text(), VALUES | st.text())
def test_any_override_is_a_config_or_one_line(path: str, value: str) -> None:
    assert config_or_line(QUICKSTART, f"{path}={value}")


@pytest.mark.parametrize("content", [b"", b"- a\n", b"a: [\n", b"\xff\xfe\x00", b"\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken.yaml: "):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.yaml: cannot read this config: No such file"):
        load_config(tmp_path / "no.yaml")
    with pytest.raises(UserError, match=r"cannot read this config: no file has such a name"):
        load_config("a\0b.yaml")
