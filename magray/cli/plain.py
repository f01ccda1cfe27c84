"""Text for terminals and files that do not know all of Unicode: ± becomes +-, µm becomes um, and nothing stops."""

import codecs
import io
from typing import TextIO

_PLAIN = str.maketrans(
    {"±": "+-", "²": "2", "³": "3", "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "≥": ">=", "≤": "<=", "≈": "~"}
    | {"…": "...", "→": "->", "µ": "u", "μ": "u", "σ": "sigma", "α": "alpha", "π": "pi", "√": "sqrt", "✓": "+"}
)


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write what an encoding lacks in letters of ASCII, and whatever else as an escape such as \\u4e00."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("plainly", _plainly)


def write_plainly(*streams: TextIO) -> None:
    """Have these streams write every text, whatever their encoding."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainly")
