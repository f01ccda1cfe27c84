"""The one error class for what a user can mend. The CLI catches it once and prints its message."""

from magray.masking import mask


class UserError(Exception):
    """Bad input or a missing resource. The message is one clear line that says what to do, without any password."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))
