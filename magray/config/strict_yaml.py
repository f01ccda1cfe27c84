"""Read YAML by the rules of YAML 1.2, within limits that keep any file cheap.

PyYAML follows YAML 1.1, and surprises: 010 is 8, 1:30 is 90, no is false, 2024-01-01 is a date, 1e-3 is a text,
and the last of two equal keys silently wins. Here a plain scalar is null, true or false, a decimal number, or else a
text.
Anchors, aliases and tags are refused: a few hundred bytes of them grow to gigabytes, and no config needs them.
"""

import math
import re
from typing import Any, NoReturn

import yaml

from magray.errors import UserError

MAX_CHARACTERS = 1_000_000
MAX_VALUES = 10_000  # PyYAML takes a kilobyte and 0.1 ms for each
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SCALARS = {  # in the order in which they are tried, with the characters that they begin with
    "null": (re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (_INT, list("-+0123456789")),
    "float": (_FLOAT, list("-+.0123456789")),
}
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters and halves of characters


def parse(text: str) -> Any:
    """Return the content of YAML `text`. Raises UserError, one line with the number of the line that is wrong."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"this is longer than {MAX_CHARACTERS:,} characters; no config is")
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"this is not YAML, line {line}: it holds characters that YAML does not allow") from error
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(f"this is not YAML, line {mark.line + 1 if mark else 1}: {error.problem}") from error
    except (ValueError, OverflowError) as error:  # of escapes and directives with impossible numbers
        raise UserError(f"this is not YAML, line {loader.line + 1}: it holds a number that is too large") from error
    finally:
        loader.dispose()


def lines(text: str) -> dict[tuple[str | int, ...], int]:
    """Return the line of every key and every element of a list in YAML that `parse` has read."""
    found: dict[tuple[str | int, ...], int] = {}

    def walk(node: Any, place: tuple[str | int, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            parts = [(key.value, key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            parts = [(index, value, value) for index, value in enumerate(node.value)]
        else:
            return
        for name, marked, value in parts:
            found[*place, name] = marked.start_mark.line + 1
            walk(value, (*place, name))

    loader = _Loader(text)
    try:
        walk(loader.get_single_node(), ())
    finally:
        loader.dispose()
    return found


def dump(content: Any) -> str:
    """Return YAML from which `parse`, and any other reader, gets `content` back."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - typeshed does not let it be a ClassVar

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            _refuse(event, "anchors and aliases (& and *) are not read; write the value itself")
        if event.tag is not None:
            _refuse(event, "tags (!) are not read; write the value alone")
        self._values += 1
        if self._depth == MAX_DEPTH:
            _refuse(event, f"this is nested more than {MAX_DEPTH} deep; no config is")
        if self._values > MAX_VALUES:
            _refuse(event, f"there are more than {MAX_VALUES:,} keys and values; no config has so many")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != f"{_TAG}str":
                _refuse(key, "a key is a word, such as name")
            if key.value in seen:
                _refuse(key, f"the key {key.value[:100]!r} is given twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_text(self, node: yaml.ScalarNode) -> str:
        text = str(self.construct_scalar(node))
        if found := _NOT_TEXT.search(text):
            _refuse(node, f"{found[0]!r} is not allowed in a text")
        return text

    def construct_int(self, node: yaml.ScalarNode) -> int:
        try:
            return int(node.value)
        except ValueError:  # thousands of digits, which take the square of their number to read
            _refuse(node, f"a number of {len(node.value):,} digits is too large")

    def construct_float(self, node: yaml.ScalarNode) -> float:
        number = float(node.value)
        if math.isinf(number):
            _refuse(node, f"{node.value[:100]} is too large for a number")
        return number


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes every text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _refuse(place: Any, problem: str) -> NoReturn:
    """Raise UserError with the line of `place`, a node or an event of PyYAML."""
    raise UserError(f"line {place.start_mark.line + 1}: {problem}")


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _first)
for _name in ("int", "float"):  # 089 and 1e-3 are texts in YAML 1.1
    _Dumper.add_implicit_resolver(_TAG + _name, *_SCALARS[_name])
_Loader.add_constructor(f"{_TAG}str", _Loader.construct_text)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_float)
