"""Delivery by STOW-RS (PS3.18 10.5): one request per attempt, the answer read per instance.

A status of 200 or 202 is not taken for success: FailedSOPSequence (0008,1198) is read
under every status, since servers store a part and answer 200, 202, 400 or 409.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
from pydicom.dataset import Dataset

from dicom_node.deliver.destination import StowDestination
from dicom_node.deliver.package import Progress
from dicom_node.deliver.status import DUPLICATE_SOP_INSTANCE, SUCCESS, describe
from dicom_node.deliver.web_peer import client_options, describe_http, refused, unreachable
from dicom_node.verify.manifest import VerifiedObject

_CHUNK = 1 << 20
_MEDIA_TYPE = "application/dicom+json"
_WHOLE_REQUEST_REFUSED = (401, 403, 404, 413, 415)
_PROCESSING_FAILURE = 0x0110


@dataclass(frozen=True)
class StoreOutcome:
    """A Store Instances Response (PS3.18 Annex I), by SOP Instance UID.

    Args:
        stored: The warning of each stored instance, 0 without one.
        failed: The failure reason of each instance that was not stored.
    """

    stored: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


def read_outcome(body: bytes) -> StoreOutcome:
    """What a response says about each instance; empty when it cannot be read.

    >>> read_outcome(b'{"00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]},'
    ...              b' "00081197": {"vr": "US", "Value": [290]}}]}}').failed
    {'1.2': 290}
    >>> read_outcome(b"<html>").stored
    {}
    """
    try:
        answer = Dataset.from_json(json.loads(body))
        stored = {
            str(item.ReferencedSOPInstanceUID): int(item.get("WarningReason", SUCCESS) or SUCCESS)
            for item in answer.get("ReferencedSOPSequence") or ()
        }
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", _PROCESSING_FAILURE))
            for item in answer.get("FailedSOPSequence") or ()
        }
    except (ValueError, TypeError, KeyError, AttributeError):  # not JSON, or not of this model
        return StoreOutcome()
    return StoreOutcome(stored, failed)


def send(destination: StowDestination, progress: Progress) -> None:
    """Stores every pending object of the package at the server.

    After an attempt of unknown outcome the server is first asked by QIDO-RS which of
    them it has. An instance that the answer does not name is asked for as well.

    Raises:
        PeerUnreachable: No connection, or it broke.
        PeerStatus: The server refused the request as a whole.
    """
    if not progress.pending():
        return
    try:
        with httpx.Client(auth=destination.basic_auth, **client_options(destination)) as client:
            progress.skip_those_there(lambda item: _has(client, destination, item))
            pending = progress.pending()
            if pending:
                _judge(client, destination, progress, _post(client, destination, pending))
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise unreachable(destination, error) from error


def _post(
    client: httpx.Client, destination: StowDestination, items: Sequence[VerifiedObject]
) -> httpx.Response:
    boundary = uuid.uuid4().hex
    # without "; transfer-syntax=": Orthanc's DICOMweb 1.7 answers 200 and stores no part that has it
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    tail = f"--{boundary}--\r\n".encode("ascii")
    length = len(tail) + sum(len(head) + item.path.stat().st_size + 2 for item in items)

    def body() -> Iterator[bytes]:
        for item in items:
            yield head
            with item.path.open("rb") as reader:
                while chunk := reader.read(_CHUNK):
                    yield chunk
            yield b"\r\n"
        yield tail

    response = client.post(
        f"{_root(destination)}/studies/{items[0].study_instance_uid}",
        content=body(),
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(length),
            "Accept": _MEDIA_TYPE,
        },
    )
    if response.status_code in _WHOLE_REQUEST_REFUSED:
        raise refused(destination, "the store request", response.status_code)
    return response


def _judge(
    client: httpx.Client, destination: StowDestination, progress: Progress, response: httpx.Response
) -> None:
    outcome = read_outcome(response.content)
    for item in progress.pending():
        uid = item.sop_instance_uid
        if uid in outcome.failed:
            _judge_failed(item, outcome.failed[uid], progress)
        elif uid in outcome.stored:
            warning = outcome.stored[uid]
            progress.acknowledge(item, describe(warning) if warning else "")
        else:
            _judge_unnamed(client, destination, item, progress, response.status_code)


def _judge_failed(item: VerifiedObject, reason: int, progress: Progress) -> None:
    if reason == DUPLICATE_SOP_INSTANCE:
        progress.acknowledge(item, describe(reason), was_there=True)
    else:
        progress.refuse(item, describe(reason))


def _judge_unnamed(
    client: httpx.Client, destination: StowDestination, item: VerifiedObject, progress: Progress, status: int
) -> None:
    """An instance that the answer names neither as stored nor as failed."""
    is_there = _has(client, destination, item)
    if is_there:
        progress.acknowledge(item, f"found by QIDO-RS after HTTP {status}")
    elif is_there is None and status == httpx.codes.OK:
        progress.acknowledge(item, "HTTP 200 without a list of instances")
    else:
        progress.refuse(item, f"{describe_http(status)}, and the answer does not name this object")


def _has(client: httpx.Client, destination: StowDestination, item: VerifiedObject) -> bool | None:
    """Whether the server has the instance; None when it cannot be asked (PS3.18 10.6)."""
    response = client.get(
        f"{_root(destination)}/studies/{item.study_instance_uid}/series/{item.series_instance_uid}/instances",
        params={"SOPInstanceUID": item.sop_instance_uid},
        headers={"Accept": _MEDIA_TYPE},
    )
    if response.status_code == httpx.codes.NO_CONTENT:
        return False
    if response.status_code != httpx.codes.OK:
        return None
    return item.sop_instance_uid.encode("ascii") in response.content


def _root(destination: StowDestination) -> str:
    return destination.url.rstrip("/")
