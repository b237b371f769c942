"""Reads URLs, and retries if the network fails. A missing file is a separate error, since a mirror may have removed it."""

import http.client
import time
import urllib.error
import urllib.request

from edgedistill.errors import UserError

_TRIES, _PAUSE_S, _TIMEOUT_S = 3, 2.0, 60.0
_MOST = 256 << 20
"""Bytes of a file; the index of a suite has some ten MiB."""


class GoneError(Exception):
    """The mirror answers, but has no such file."""


def read(url: str) -> bytes:
    """The bytes of a URL. Raises GoneError if there is no such file, UserError if the mirror cannot be reached."""
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                data = bytes(answer.read(_MOST + 1))
            if len(data) > _MOST:
                raise UserError(f"{url} has more than {_MOST >> 20} MiB, which no package or index has; name another mirror with --mirror")
            return data
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise GoneError(url) from error
            failure: Exception = error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # urllib wraps the FileNotFoundError of a file:// URL.
            if isinstance(getattr(error, "reason", error), FileNotFoundError):
                raise GoneError(url) from error
            failure = error
        if left:
            time.sleep(_PAUSE_S)
    raise UserError(
        f"{url} cannot be fetched: {failure}; name another Debian mirror with --mirror or EDGEDISTILL_DEBIAN_MIRROR"
    ) from failure
