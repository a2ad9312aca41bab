"""Delivery to Orthanc over its REST interface, with the PDF report attached to the study.

Attachments have numbers, those from 1024 on are the user's. The number is derived from
the PDF's content: the same report always has the same number, so a repeated delivery
attaches nothing twice, and reports of two apps never fight for one number.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Final, cast

import httpx
from pyorthanc import Orthanc

from dicom_node.deliver.destination import OrthancDestination
from dicom_node.deliver.package import Progress
from dicom_node.deliver.web_peer import client_options, describe_http, refused, unreachable
from dicom_node.errors import PeerStatus
from dicom_node.verify.manifest import VerifiedObject

FIRST_USER_ATTACHMENT: Final = 1024
LAST_USER_ATTACHMENT: Final = 65535
_PROBES: Final = 16
"""Numbers tried when another content has ours."""

_POLL_S: Final = 0.2
_WHOLE_DESTINATION_REFUSED: Final = (401, 403, 404)


def send(destination: OrthancDestination, progress: Progress) -> None:
    """Uploads every pending object, then attaches the PDF report to the study.

    Raises:
        PeerUnreachable: No connection, or it broke.
        PeerStatus: The server refused the account, or the attachment.
    """
    client = Orthanc(
        destination.url.rstrip("/"),
        *(destination.basic_auth or (None, None)),
        return_raw_response=True,
        **client_options(destination),
    )
    try:
        with client:
            progress.skip_those_there(lambda item: bool(_lookup(client, destination, item)))
            for item in progress.pending():
                _upload(client, destination, item, progress)
            if progress.package.pdf is not None and not progress.refusals:
                progress.notes.append(_attach(client, destination, progress, progress.package.pdf))
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise unreachable(destination, error) from error


def attachment_number(content: bytes) -> int:
    """The attachment number that this content tries first.

    >>> FIRST_USER_ATTACHMENT <= attachment_number(b"%PDF-1.7") <= LAST_USER_ATTACHMENT
    True
    """
    span = LAST_USER_ATTACHMENT - FIRST_USER_ATTACHMENT + 1
    return FIRST_USER_ATTACHMENT + int.from_bytes(hashlib.sha256(content).digest()[:8]) % span


def _upload(
    client: Orthanc, destination: OrthancDestination, item: VerifiedObject, progress: Progress
) -> None:
    response = cast("httpx.Response", client.post_instances(item.path.read_bytes()))
    if response.status_code in _WHOLE_DESTINATION_REFUSED:
        raise refused(destination, "the upload", response.status_code)
    if response.status_code != httpx.codes.OK:
        progress.refuse(item, describe_http(response.status_code) + _details(response))
        return
    status = str(_json(response).get("Status", ""))
    if status in ("Success", "AlreadyStored"):
        was_there = status == "AlreadyStored"
        progress.acknowledge(item, "already stored" if was_there else "", was_there=was_there)
    else:
        progress.refuse(
            item, f"Orthanc answered {status or 'nothing'!r}; check its filters of incoming instances"
        )


def _lookup(client: Orthanc, destination: OrthancDestination, item: VerifiedObject) -> str:
    """Orthanc's identifier of the instance; empty when it has none."""
    # pyorthanc types the body as form data, Orthanc wants the bare identifier
    response = client.post(f"{client.url}/tools/lookup", content=item.sop_instance_uid.encode("ascii"))
    if response.status_code != httpx.codes.OK:
        raise refused(destination, "the look-up of an instance", response.status_code)
    found = [entry["ID"] for entry in response.json() if entry.get("Type") == "Instance"]
    return str(found[0]) if found else ""


def _study_of(client: Orthanc, destination: OrthancDestination, item: VerifiedObject) -> str:
    """Orthanc's identifier of the study of an uploaded instance, waiting until it has one."""
    deadline = time.monotonic() + destination.timeout_s
    while True:
        if instance := _lookup(client, destination, item):
            response = cast("httpx.Response", client.get_instances_id_study(instance))
            if response.status_code == httpx.codes.OK:
                return str(_json(response)["ID"])
        if time.monotonic() > deadline:
            raise PeerStatus(
                f"{destination.name} ({destination.where}) accepted the objects but does not show the study "
                f"after {destination.timeout_s:g} s; check its log"
            )
        time.sleep(_POLL_S)


def _attach(client: Orthanc, destination: OrthancDestination, progress: Progress, pdf: Path) -> str:
    """Attaches the report unless the study has it; says which number it has."""
    content = pdf.read_bytes()
    study = _study_of(client, destination, progress.package.objects[0])
    number = attachment_number(content)
    for _ in range(_PROBES):
        digest = _attached_md5(client, destination, study, number)
        if digest == hashlib.md5(content, usedforsecurity=False).hexdigest():
            return f"PDF report is attachment {number}"
        if digest:
            number = FIRST_USER_ATTACHMENT if number == LAST_USER_ATTACHMENT else number + 1
            continue
        response = cast("httpx.Response", client.put_studies_id_attachments_name(study, str(number), content))
        if response.status_code not in (httpx.codes.OK, httpx.codes.CONFLICT):
            raise refused(destination, "to attach the PDF report", response.status_code)
    raise PeerStatus(f"{destination.name} ({destination.where}) has no free attachment number near {number}")


def _attached_md5(client: Orthanc, destination: OrthancDestination, study: str, number: int) -> str:
    """MD5 of the attachment of that number, which is how Orthanc names contents; empty when there is none."""
    response = cast("httpx.Response", client.get_studies_id_attachments_name_md5(study, str(number)))
    if response.status_code == httpx.codes.NOT_FOUND:
        return ""
    if response.status_code != httpx.codes.OK:
        raise refused(destination, "to show its attachments", response.status_code)
    return response.text.strip()


def _json(response: httpx.Response) -> dict[str, Any]:
    answer = response.json()
    return answer if isinstance(answer, dict) else {}


def _details(response: httpx.Response) -> str:
    """Orthanc's own words, which name no patient: the message of its error code."""
    try:
        message = _json(response).get("Message", "")
    except json.JSONDecodeError:
        return ""
    return f' ("{message}")' if message else ""
