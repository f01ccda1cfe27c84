"""Files by URL, such as s3://bucket/film.tif, through fsspec.

Endpoint and credentials come from the environment or the provider's own files, never from the URL. A scheme whose
package is not installed is named: s3:// needs s3fs, which magray[s3] brings.
"""

from pathlib import Path
from typing import IO, TypeGuard

from magray.errors import UserError, one_line
from magray.files.paths import refuse_credentials


def is_url(path: str | Path) -> TypeGuard[str]:
    """Return whether a file is named by a URL. A Path is none: it has lost one of the slashes."""
    return isinstance(path, str) and "://" in path


def open_url(url: str) -> IO[bytes]:
    """Open a file for reading. Raises UserError, which does not name the URL, for one that cannot be opened."""
    import fsspec

    refuse_credentials(url)
    try:
        file: IO[bytes] = fsspec.open(url, "rb", skip_instance_cache=True).open()  # the environment may have changed
    except FileNotFoundError:
        raise UserError("no such file") from None
    except ImportError as error:
        raise UserError(f"its scheme needs another package: {one_line(error)}") from error
    except Exception as error:  # of the libraries of all schemes
        raise UserError(f"cannot be read: {one_line(error)}") from error
    return file
