"""Origins of web pages, as browsers write them."""

import re
from typing import Final

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The ports that browsers leave out of an origin, by scheme."""
_LAST_PORT = 65_535
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?/?", re.ASCII | re.IGNORECASE)


def origin_of(url: str) -> str:
    """The http(s) origin that `url` is, as a browser writes it: `https://example.org:8443`. "" when it is none.

    A slash at its end is passed over; with a path, a query or a user it is more than an origin.
    """
    found = _ORIGIN.fullmatch(url)
    if found is None:
        return ""
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3] or DEFAULT_PORTS[scheme])
    if port > _LAST_PORT:
        return ""
    return f"{scheme}://{host}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"
