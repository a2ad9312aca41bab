"""Where results go: the ``[[destination]]`` tables of node.toml, as types.

Immutable after loading; passwords and tokens never appear in a ``repr`` or a log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

DEFAULT_TIMEOUT_S = 60.0
"""Silence of a peer after which one attempt counts as failed."""

DEFAULT_RETRY_FOR_HOURS = 72.0
"""A weekend with a PACS that is down."""

AeTitle = Annotated[
    str,
    Field(
        min_length=1,
        max_length=16,
        pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e])?$",
    ),
]
"""PS3.5 6.2, VR AE: up to 16 characters, no backslash, no leading or trailing space."""


class _Destination(BaseModel):
    """What every destination has.

    Args:
        name: How routes and people call it.
        timeout_s: Silence of the peer after which one attempt counts as failed.
        retry_for_hours: How long a result that does not get through is tried again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    timeout_s: float = Field(default=DEFAULT_TIMEOUT_S, gt=0, le=3600)
    retry_for_hours: float = Field(default=DEFAULT_RETRY_FOR_HOURS, ge=0, le=24 * 31)

    @property
    def where(self) -> str:
        """The destination as an administrator would look for it."""
        raise NotImplementedError


class _WebDestination(_Destination):
    """What is reached over HTTP: Basic (username and password) or Bearer (token) authentication.

    Args:
        url: Root of the service; no credentials in it, they belong in their own keys.
        username: For Basic authentication, together with ``password``.
        password: For Basic authentication.
        token: For Bearer authentication.
        ca_file: Certificates of the authority that signed the peer's, when it is the hospital's own.
    """

    url: str = Field(pattern=r"^https?://[^/@\s]+(/[^@\s?#]*)?$")
    username: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("username and password are given together or not at all")
        if self.username and self.token.get_secret_value():
            raise ValueError("either username and password or token, not both")
        return self

    @property
    def where(self) -> str:
        """The root of the service."""
        return self.url

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """User name and password, or None without Basic authentication."""
        return (self.username, self.password.get_secret_value()) if self.username else None

    @property
    def auth_headers(self) -> dict[str, str]:
        """The Authorization header of Bearer authentication, or nothing."""
        token = self.token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}


class DicomDestination(_Destination):
    """A C-STORE SCP (PS3.4 B).

    Args:
        ae_title: The peer's application entity title.
        host: Its host name or address.
        port: Its TCP port.

    >>> DicomDestination(name="pacs", kind="dicom", ae_title="PACS", host="10.0.0.5", port=104).where
    'PACS@10.0.0.5:104'
    """

    kind: Literal["dicom"] = "dicom"
    ae_title: AeTitle
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)

    @property
    def where(self) -> str:
        """AE title, host and port."""
        return f"{self.ae_title}@{self.host}:{self.port}"


class StowDestination(_WebDestination):
    """A STOW-RS origin server (PS3.18 10.5); ``url`` is the root below which ``/studies`` lies."""

    kind: Literal["stow"] = "stow"


class OrthancDestination(_WebDestination):
    """An Orthanc server's own REST interface; the PDF report is attached to the study as well."""

    kind: Literal["orthanc"] = "orthanc"


class FolderDestination(_Destination):
    """A folder, local or shared: ``<path>/<study uid>/<app>/<file>``.

    Args:
        path: The folder; made when it does not exist.
    """

    kind: Literal["folder"] = "folder"
    path: Path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.path)


Destination = Annotated[
    DicomDestination | StowDestination | OrthancDestination | FolderDestination,
    Field(discriminator="kind"),
]
"""Any ``[[destination]]``, told apart by ``kind``."""
