"""The one error class for what a user can mend. The CLI catches it once and prints its message."""


class UserError(Exception):
    """Bad input or a missing resource. The message is one clear line that says what to do."""

    exit_code = 2


class FilmsLost(UserError):
    """A campaign ended and films that it had committed are gone. The same command simulates them again."""

    exit_code = 1
