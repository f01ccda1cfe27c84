"""Errors that Ray passes on from its workers, for the user."""

import re

from ray.exceptions import RayTaskError, UserCodeException

from magray.errors import UserError, in_words


def as_user_error(error: Exception) -> Exception:
    """Return a worker's error as a UserError, without Ray's frames, if the user can put it right; otherwise `error`."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, OSError) and cause.errno:
        return UserError(in_words(cause))
    if isinstance(cause, UserError):
        return UserError(str(cause).partition("\n")[0])  # Ray Data adds lines of advice
    if isinstance(error, UserCodeException):  # an actor's of Ray Data, which passes on text alone
        found = re.search(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", str(error), re.MULTILINE)
        return UserError(found[1]) if found else error
    return error
