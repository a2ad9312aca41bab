"""Destinations of node.toml: told apart by kind, strict about keys, silent about secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dicom_node.deliver import Destination, DicomDestination, OrthancDestination, StowDestination

DESTINATION: TypeAdapter[Any] = TypeAdapter(Destination)
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "10.0.0.5", "port": 104}


def test_the_kind_decides_the_type() -> None:
    assert isinstance(DESTINATION.validate_python(PACS), DicomDestination)
    stow = DESTINATION.validate_python({"name": "w", "kind": "stow", "url": "https://pacs/dicom-web"})
    assert isinstance(stow, StowDestination)
    folder = DESTINATION.validate_python({"name": "f", "kind": "folder", "path": "out"})
    assert folder.path == Path("out")


def test_patience_and_retries_have_defaults_and_units() -> None:
    pacs = DESTINATION.validate_python(PACS)
    assert (pacs.timeout_s, pacs.retry_for_hours) == (60.0, 72.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "ftp"),
        ("port", 0),
        ("port", 70000),
        ("ae_title", "A" * 17),
        ("ae_title", ""),
        ("ae_title", "BACK\\SLASH"),
        ("ae_title", " PACS"),
        ("timeout_s", 0),
        ("retry_for_hours", -1),
        ("adress", "typing error"),
    ],
)
def test_a_wrong_key_or_value_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        DESTINATION.validate_python(PACS | {key: value})


@pytest.mark.parametrize(
    "url", ["pacs", "ftp://pacs", "https://user:secret@pacs/", "https://pacs/?a=1", "https://"]
)
def test_a_url_is_http_and_holds_no_credentials(url: str) -> None:
    with pytest.raises(ValidationError):
        StowDestination(name="w", url=url)


def test_passwords_and_tokens_are_masked() -> None:
    orthanc = OrthancDestination(name="o", url="http://o", username="node", password="hunter2")  # noqa: S106
    stow = StowDestination(name="w", url="http://w", token="t0ken")  # noqa: S106
    for shown in (repr(orthanc), str(orthanc), repr(stow), stow.model_dump_json()):
        assert "hunter2" not in shown
        assert "t0ken" not in shown
    assert orthanc.basic_auth == ("node", "hunter2")
    assert stow.auth_headers == {"Authorization": "Bearer t0ken"}


@pytest.mark.parametrize(
    "secrets", [{"username": "u"}, {"password": "p"}, {"username": "u", "password": "p", "token": "t"}]
)
def test_half_or_double_credentials_are_refused(secrets: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="username and password"):
        DESTINATION.validate_python({"name": "w", "kind": "stow", "url": "http://w"} | secrets)
