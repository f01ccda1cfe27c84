"""The command says what is missing before it begins."""

import pytest

from magray.cli.serve import serve
from magray.errors import UserError


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magray.cli.serve.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"fastapi is not installed: pip install 'magray\[serve\]'"):
        serve()
