"""What STOW-RS and Orthanc have in common: a peer behind HTTP, and its failures in words."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

from dicom_node.deliver.destination import OrthancDestination, StowDestination
from dicom_node.errors import PeerStatus, PeerUnreachable

_MOVED: Final = "put the new address into this destination's url"
_STATUS_ADVICE: Final = {
    301: _MOVED,
    302: _MOVED,
    307: _MOVED,
    308: _MOVED,
    400: "the server could not read the request; its log says why",
    401: "check username and password, or the token, of this destination",
    403: "check that this account may store",
    404: "check the path in this destination's url",
    406: "the server offers none of the media types asked for",
    409: "the server stored part of the request or nothing",
    413: "the object is larger than the server or a proxy before it allows",
    415: "the server does not take application/dicom or this transfer syntax",
    503: "the server is overloaded or starting",
    507: "the server's disk is full",
}


def client_options(destination: StowDestination | OrthancDestination) -> dict[str, Any]:
    """Keyword arguments of an `httpx.Client` for this destination."""
    verify: ssl.SSLContext | bool = True
    if destination.ca_file is not None:
        verify = ssl.create_default_context(cafile=str(destination.ca_file))
    return {
        "timeout": destination.timeout_s,
        "headers": destination.auth_headers,
        "verify": verify,
        "follow_redirects": False,
    }


def describe_http(status: int) -> str:
    """The status with its phrase and what to do about it.

    >>> describe_http(401)
    'HTTP 401 Unauthorized; check username and password, or the token, of this destination'
    >>> describe_http(500)
    'HTTP 500 Internal Server Error'
    """
    phrase = httpx.codes.get_reason_phrase(status)
    advice = _STATUS_ADVICE.get(status, "")
    return f"HTTP {status} {phrase}".rstrip() + (f"; {advice}" if advice else "")


def unreachable(destination: StowDestination | OrthancDestination, error: Exception) -> PeerUnreachable:
    """The transport's error as one that an administrator understands."""
    reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
    return PeerUnreachable(
        f"no connection to {destination.name} ({destination.where}): {reason or type(error).__name__}; "
        "check that the server is running, the url, and the firewall or proxy between"
    )


def refused(destination: StowDestination | OrthancDestination, what: str, status: int) -> PeerStatus:
    """A refusal of the request as a whole."""
    return PeerStatus(f"{destination.name} ({destination.where}) refused {what}: {describe_http(status)}")
