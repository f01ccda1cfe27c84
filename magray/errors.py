"""The one error class for what a user can mend. The CLI catches it once and prints its message."""


class UserError(Exception):
    """Bad input or a missing resource. The message is one clear line that says what to do."""
