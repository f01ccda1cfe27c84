"""The quickstart's config, and a check of the messages about changes of it."""

from pathlib import Path

import pytest

from magray.config import load_config
from magray.errors import UserError

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def check_refusal(override: str, complaint: str) -> None:
    """Check that the quickstart with `override` is refused in one line with the file's name and `complaint`."""
    with pytest.raises(UserError) as error:
        load_config(QUICKSTART, [override])
    message = str(error.value)
    assert message.startswith(f"{QUICKSTART}: ")
    assert complaint in message
    assert "\n" not in message
