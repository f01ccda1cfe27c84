"""YAML as version 1.2 defines it, less what no config needs."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from magray.config import load_config
from magray.config.strict_yaml import dump, parse
from magray.errors import UserError


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("name: &j [x, x]", "line 2: anchors and aliases (& and *) are not read; write the value itself"),
        ("name: *j", "line 2: anchors and aliases"),
        ("fit: " + "[" * 100_000, "line 2: this is nested more than 50 deep"),
        ("fit: " + "{a: " * 60, "line 2: this is nested more than 50 deep"),
        ("fit: [" + "1," * 10_000 + "1]", "line 2: there are more than 10,000 keys and values"),
        ("#" + "x" * 1_000_000, "longer than 1,000,000 characters"),
        ("seed: !!int x", "line 2: tags (!) are not read"),
        ("seed: !!python/object/apply:os.getpid []", "line 2: tags (!) are not read"),
        ("seed: " + "1" * 5000, "line 2: a number of 5,000 digits is too large"),
        ("seed: 1e999", "line 2: 1e999 is too large for a number"),
        (r'name: "a\0b"', r"line 2: '\x00' is not allowed in a text"),
        (r'name: "a\ud800b"', r"line 2: '\ud800' is not allowed in a text"),
        (r'name: "\Uffffffff"', "line 2: it holds a number that is too large"),
        ("name: \x07", "line 2: it holds characters that YAML does not allow"),
        ("{1: 2}: 3", "line 2: a key is a word, such as name"),
        ("1: 3", "line 2: a key is a word"),
        ("true: 3", "line 2: a key is a word"),
        ("fit: 1\nfit: 2", "line 3: the key 'fit' is given twice; keep one"),
        ("campaign:\n  films: 4\n  films: 8", "line 4: the key 'films' is given twice; keep one"),
        ("fit: {<<: {epochs: 3}}", "unknown key fit.<<"),
        ("output: [1", "this is not YAML, line "),
    ],
)
def test_yaml_that_no_config_needs_is_one_line_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    """Without the checks, PyYAML ends in a traceback, takes gigabytes, or reads something else than is written."""
    path = tmp_path / "odd.yaml"
    path.write_text(f"# a config\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert complaint in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("010", 10),
        ("089", 89),
        ("-7", -7),
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0o10", "0o10"),
        ("0b11", "0b11"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2024-01-01", "2024-01-01"),
        ("2024-99-99", "2024-99-99"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'~'", "~"),
        ("0.25..1.0", "0.25..1.0"),
        ("0.5+1.0", "0.5+1.0"),
    ],
)
def test_a_scalar_is_what_it_looks_like(yaml: str, value: object) -> None:
    """In YAML 1.1, 010 is 8, 1:30 is 90, no is false and 2024-01-01 is a date."""
    read = parse(f"key: {yaml}")["key"]
    assert (read, type(read)) == (value, type(value))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.from_regex(
    r"[-+]?[0-9.e_x:~+-]{1,8}", fullmatch=True
)


@settings(deadline=5000, max_examples=50)
@given(st.dictionaries(TEXTS, SCALARS | TEXTS | st.lists(SCALARS | TEXTS, max_size=3), max_size=3))
def test_what_is_written_is_read_the_same_by_every_reader(content: dict[str, object]) -> None:
    """Plans keep their config as text: no text may come back as a number, in YAML 1.1 either."""
    assert parse(dump(content)) == content
    assert yaml.safe_load(dump(content)) == content
