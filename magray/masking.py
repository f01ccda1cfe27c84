"""Mask passwords, keys and signatures in URLs before they are shown or stored.

URLs are found with or without a scheme, percent-encoded once or more, and in the middle of a sentence.
"""

import re

MASK = "***"

_COLON, _SLASH, _AT = r"(?::|%(?:25)*3A)", r"(?:/|%(?:25)*2F)", r"(?:@|%(?:25)*40)"
_JOINT = r"(?:[_-]|%(?:25)*(?:5F|2D))?"
_SECRET = (
    rf"(?:(?:access|account|secret|api|private|signing){_JOINT}key|token|secret|passw(?:or)?d|signature|credential"
    r"|authorization)"
)
_AUTHORITY = rf"(?:(?!{_SLASH}|[?#])\S)*"  # user:password@host:port; a password may hold slashes, see below
# ://user:password@, ://user@ and, since passwords are pasted as they are, ://user:pass/word@
_AFTER_SCHEME = rf"({_COLON}?{_SLASH}{{2}})(?:{_AUTHORITY}|[^\s/?#:@%]*{_COLON}(?:(?!{_COLON}{_SLASH}{{2}})\S)*){_AT}"
# user:password@host and password@host:port, where a word or a value begins
_BEFORE_HOST = (
    rf"(?<![^\s'\"=(,])(?:[^\s/@:%'\"=?&]+{_COLON}(?!{_SLASH}{{2}})\S+{_AT}"
    r"|[^\s/@'\"=?&]+@(?=[\w.\[-][\w.:\]-]*:\d))"
)
# secret_key=…, X-Amz-Signature=…, 'token': '…', up to the next parameter or the end of the word
_AFTER_NAME = (
    rf"((?:\b|(?<=%3F)|(?<=%26))[\w-]{{0,60}}{_SECRET}[\w-]{{0,60}}(?:=|%(?:25)*3D|['\"]\s*:\s*['\"]?)"
    r"|\b(?:sig|pwd)=)(?:(?!%(?:25)*26)[^\s&;'\"<>])+"
)
_RULES = [
    (re.compile(pattern, re.IGNORECASE), masked)
    for pattern, masked in ((_AFTER_SCHEME, rf"\1{MASK}@"), (_BEFORE_HOST, f"{MASK}@"), (_AFTER_NAME, rf"\1{MASK}"))
]


def mask(text: str) -> str:
    """Return the text with all credentials replaced by ***; a text without any is returned unchanged."""
    for pattern, masked in _RULES:
        text = pattern.sub(masked, text)
    return text
