"""Strategies of hypothesis that damage bytes, texts, JSON and YAML trees, and tables."""

import io
import os
import pickle
from collections.abc import Iterable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

CANARY = "canary"  # a folder that appears if anything of a file from outside is run as code
LONG = "9" * 5000
NUMBERS = [0, -1, 1, 2, 0.5, 1e-310, 1e-46, 1e30, 1e200, 1e308, 2**31, 2**63, 10**30, float("inf"), float("nan")]
BOMB = "{a: &a [x], " + ", ".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")) + "}"
# no path that a process with all rights could write to, and no server that would have to be waited for
WORDS = [
    *("", " ", "x", "nan", "-inf", "null", "true", "010", "1:30", "0x1F", "2024-99-99", "\0", "\ud800", "\x1b[31m"),
    *("../x", "../../x", "/etc/passwd", "/dev/null/x", "/proc/x", "~", ".", "s3://", "s3://u:secret@h/x", "abc://x"),
    *("1e9999999 nm", "1e200 A/m", "-1 nm", "1 kA", "3 µm", "0.5+0.5", "1..0", "1e999..2", "[/x]", "é" * 300, LONG),
]
TOKENS = [
    *(
        "*a",
        "&a [*a]",
        "? a",
        "- -",
        "<<: 1",
        "{",
        "]",
        "|",
        "'",
        ".nan",
        "+.inf",
        "0b102",
        "0o9",
        "1_000",
        "2024-99-99",
    ),
    *("!!int x", "!!float x", "!!timestamp 2024-99-99", "!!binary x", "!!set {a, b}", '"\\ud800"', '"\\0"', "[" * 200),
    *(LONG, BOMB, f"!!python/object/apply:os.mkdir [{CANARY}]"),
]
TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=12)
SCALARS = st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | TEXT | st.none() | st.booleans() | st.floats()
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(TEXT, SCALARS, max_size=3)


class _Payload:
    """An attacker's pickle: it makes a folder when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, (CANARY,)


PAYLOAD = pickle.dumps(_Payload(), protocol=4)
EXTENSIONS = [
    *["ray.data.arrow_pickled_object"] * 4,
    *("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2", "ray.data.arrow_variable_shaped_tensor"),
    *("arrow.py_extension_type", "arrow.uuid", "unheard.of"),
]
STRANGE: list[tuple[Any, pa.DataType]] = [
    *((None, pa.null()), (True, pa.bool_()), (-1, pa.int8()), (2**63, pa.uint64()), (float("nan"), pa.float16())),
    *(("x", pa.string()), ("x", pa.dictionary(pa.int8(), pa.string())), (b"\xff\x00", pa.binary())),
    *(([1], pa.list_(pa.int64())), ({"a": 1}, pa.struct([("a", pa.int8())])), (0, pa.timestamp("ns"))),
    (PAYLOAD, pa.large_binary()),
]


@st.composite
def damaged(draw: DrawFn, content: bytes) -> bytes:
    """Return the bytes of a file, truncated, flipped or overwritten in places."""
    kind = draw(st.sampled_from(["flip", "flip", "flip", "cut", "drop", "repeat", "insert", "other"]))
    last = len(content) - 1
    places = st.integers(0, last) | st.integers(0, min(255, last)) | st.integers(max(0, last - 255), last)  # headers
    if kind == "other":
        return draw(st.binary(max_size=64) | st.sampled_from([PAYLOAD, content[:4], b"\xef\xbb\xbf" + content]))
    if kind == "flip":
        changed = bytearray(content)
        for place in draw(st.lists(places, min_size=1, max_size=8)):
            changed[place] = draw(st.sampled_from([0, 1, 127, 128, 255, changed[place] ^ 1]) | st.integers(0, 255))
        return bytes(changed)
    first, length = draw(places), draw(st.integers(1, 64))
    middle = {
        "cut": b"",
        "drop": b"",
        "repeat": content[first : first + length] * 2,
        "insert": draw(st.binary(max_size=8)),
    }
    after = {"cut": len(content), "insert": first}.get(kind, first + length)
    return content[:first] + middle[kind] + content[after:]


@st.composite
def changed_tree(draw: DrawFn, tree: Any) -> Any:
    """Return a tree of dicts and lists with one to three nodes changed, removed, added or wrapped."""
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        nodes = [
            (parent, key)
            for parent in _branches(tree)
            for key in (parent if isinstance(parent, dict) else range(len(parent)))
        ]
        if not nodes:
            return draw(VALUES)
        parent, key = draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(["set", "set", "set", "near", "drop", "wrap", "add"]))
        if kind == "drop":
            del parent[key]
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(TEXT)] = draw(VALUES)
        elif kind == "near" and isinstance(parent[key], int | float):
            parent[key] = draw(
                st.sampled_from([-parent[key], parent[key] * 1e9, parent[key] * 1e-30, str(parent[key])])
            )
        else:
            parent[key] = [parent[key]] if kind == "wrap" else draw(VALUES)
    return tree


@st.composite
def changed_text(draw: DrawFn, text: str) -> bytes:
    """Return YAML with a repeated line, an unusual token as a value, or another encoding."""
    lines = text.splitlines()
    at = draw(st.sampled_from([number for number, line in enumerate(lines) if line.strip()]))
    kind = draw(st.sampled_from(["value", "value", "value", "repeat", "indent", "insert", "encoding"]))
    if kind == "value":
        lines[at] = lines[at].partition(":")[0] + ": " + draw(st.sampled_from(TOKENS) | st.sampled_from(WORDS) | TEXT)
    elif kind == "indent":
        lines[at] = draw(st.sampled_from(["\t", " ", "   ", "- ", "? ", "#"])) + lines[at]
    elif kind != "encoding":
        lines.insert(draw(st.integers(0, len(lines))), lines[at] if kind == "repeat" else draw(st.sampled_from(TOKENS)))
    joined = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])).join(lines)
    encoding = draw(st.sampled_from(["utf-16", "latin-1", "utf-8-sig", "utf-32"])) if kind == "encoding" else "utf-8"
    return joined.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")


@st.composite
def changed_table(draw: DrawFn, content: bytes) -> bytes:
    """Return a Parquet file with a column of another type, with other values or a pickle, or without it."""
    table = pq.read_table(io.BytesIO(content))
    at = draw(st.just(0) | st.integers(0, table.num_columns - 1))  # the films' ids, or anything
    name, column = table.column_names[at], table.column(at)
    kind = draw(
        st.sampled_from(
            ["value", "value", "value", "type", "extension", "extension", "drop", "rename", "rows", "metadata"]
        )
    )
    if kind == "value":
        table = table.set_column(at, name, draw(_other_values(column)))
    elif kind == "type":
        value, its_type = draw(st.sampled_from(STRANGE))
        table = table.set_column(at, name, pa.array([value] * table.num_rows, its_type))
    elif kind == "extension":
        about: dict[str, Any] = {"ARROW:extension:name": draw(st.sampled_from(EXTENSIONS))}
        about["ARROW:extension:metadata"] = draw(st.sampled_from(["", "[2]", PAYLOAD]))
        array = pa.array([PAYLOAD] * table.num_rows, pa.large_binary())
        table = table.set_column(at, pa.field(name, array.type, metadata=about), array)
    elif kind == "drop":
        table = table.drop_columns([name])
    elif kind == "rename":
        other = draw(st.sampled_from([*table.column_names, "image", "", "x"]))
        table = table.rename_columns([other if number == at else old for number, old in enumerate(table.column_names)])
    elif kind == "rows":
        table = draw(st.sampled_from([table.slice(0, 0), table.slice(0, 1), pa.concat_tables([table, table])]))
    else:
        table = table.replace_schema_metadata({draw(TEXT): draw(TEXT), "magray.config": draw(TEXT)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@st.composite
def _other_values(draw: DrawFn, column: pa.ChunkedArray) -> pa.Array:
    """Return the column with one or all values changed."""
    one, values = column.type, column.to_pylist()
    if pa.types.is_floating(one):
        other: Any = draw(st.sampled_from([float("nan"), float("inf"), 0.0, -1.0, 1e-310, 1e308, None]) | st.floats())
    elif pa.types.is_integer(one):
        other = draw(st.sampled_from([0, -1, 1, 2**31 - 1, 10**5, None]))
    elif pa.types.is_boolean(one):
        other = draw(st.sampled_from([True, False, None]))
    elif pa.types.is_string(one):
        other = draw(st.sampled_from([word for word in WORDS if word.isprintable()]) | st.none())
    elif pa.types.is_nested(one):
        other = draw(st.sampled_from([None, *values]))
    else:
        other = draw(st.sampled_from([b"", b"x", None, b"\0" * 128 * 128]))
    if values and not draw(st.booleans()):
        values[draw(st.integers(0, len(values) - 1))] = other
        return pa.array(values, one)
    return pa.array([other] * len(values), one)


def _branches(tree: Any) -> list[Any]:
    """Return the dicts and lists of a tree that are not empty."""
    if not isinstance(tree, dict | list):
        return []
    children: Iterable[Any] = tree.values() if isinstance(tree, dict) else tree
    return [tree, *(branch for child in children for branch in _branches(child))]
