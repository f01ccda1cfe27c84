"""Retry transient errors of an object store; report permanent ones."""

import logging
import platform
import re
import time
from collections.abc import Callable
from typing import TypeVar

from magray.errors import UserError
from magray.masking import mask

RETRY_SECONDS = 120.0  # a server that is started again, or a network that comes back, within this costs nothing
_MAX_PAUSE_SECONDS = 10.0

_AWS_ERROR = re.compile(r"AWS Error (?P<code>\w+)(?P<status> \(HTTP status \d+\))? during \w+ operation: (?P<text>.*)")
_SILENCE = {"NETWORK_CONNECTION", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING"}
_SILENCE |= {"REQUEST_TIMEOUT", "UNKNOWN (HTTP status 500)", "UNKNOWN (HTTP status 502)"}
_SILENCE |= {"UNKNOWN (HTTP status 503)", "UNKNOWN (HTTP status 504)"}
_REFUSAL = {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_SIGNATURE"}
_REFUSAL |= {"INVALID_CLIENT_TOKEN_ID", "UNRECOGNIZED_CLIENT", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_EXPIRED"}
_REFUSAL |= {"REQUEST_TIME_TOO_SKEWED", "UNKNOWN (HTTP status 401)", "UNKNOWN (HTTP status 403)"}

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


def retry(uri: str, ask: Callable[[], _Answer], seconds: float) -> _Answer:
    """Return the result of `ask`, tried again for `seconds` as long as the object store does not answer.

    `ask` must be harmless to repeat. pyarrow itself tries for some seconds before it says that there is no answer.
    Raises UserError if there is none to the end, the bucket does not exist, or the credentials are refused; whatever
    else `ask` raises passes through.
    """
    start, pause, asked = time.monotonic(), 0.5, 1
    while True:
        try:
            answer = ask()
        except OSError as error:
            said = _silence(uri, error)
            waited = time.monotonic() - start
            if waited + pause > seconds:
                raise UserError(
                    f"{uri} does not answer, asked {asked} {'times' if asked > 1 else 'time'} in {waited:.0f} s "
                    f"from {platform.node()}: {said}; check AWS_ENDPOINT_URL and the server, and run again: "
                    "what is committed stays"
                ) from error
            _log.warning("%s does not answer: %s; asking again for %.0f s", uri, said, seconds - waited)
            time.sleep(pause)
            pause, asked = min(2 * pause, _MAX_PAUSE_SECONDS), asked + 1
        else:
            if asked > 1:
                _log.warning("%s answers again after %.0f s", uri, time.monotonic() - start)
            return answer


def _silence(uri: str, error: OSError) -> str:
    """Return the text of a transient error. Raises a permanent one: a refusal as UserError, any other as it is."""
    found = _AWS_ERROR.search(str(error))
    if found is None:
        raise error
    code, text = found["code"], mask(re.sub(r" \(Request ID: .*", "", found["text"]).rstrip("."))
    whole_code = code + (found["status"] or "")
    if code == "NO_SUCH_BUCKET":
        raise no_bucket(uri) from error
    if code in _REFUSAL or whole_code in _REFUSAL:
        raise UserError(
            f"{uri} refuses {platform.node()}: {whole_code}, {text}; check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the clock there, and run again: what is committed stays"
        ) from error
    if code not in _SILENCE and whole_code not in _SILENCE:
        raise error
    return text if code == "NETWORK_CONNECTION" else f"{whole_code.removeprefix('UNKNOWN ').strip('()')}, {text}"


def no_bucket(uri: str) -> UserError:
    """Return the error for a bucket that does not exist."""
    bucket = uri.split("://", 1)[-1].split("/", 1)[0].split("?", 1)[0]
    return UserError(f"{uri}: there is no bucket {bucket}; make it, or choose another store")
