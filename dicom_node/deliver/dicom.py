"""Delivery by C-STORE (PS3.4 B): one association per attempt, one status per instance."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicom_node.deliver.destination import DicomDestination
from dicom_node.deliver.package import Progress
from dicom_node.deliver.status import DUPLICATE_SOP_INSTANCE, SUCCESS, describe, is_stored
from dicom_node.errors import AssociationRejected, PeerStatus, PeerUnreachable
from dicom_node.rejection import RejectionListener
from dicom_node.verify.manifest import VerifiedObject

_FIND = StudyRootQueryRetrieveInformationModelFind
_PENDING = (0xFF00, 0xFF01)

_REJECTION_ADVICE: dict[tuple[int | None, int | None], str] = {
    (1, 3): "check that the peer knows this node's AE title {calling}",
    (1, 7): "check that the peer's AE title really is {called}",
    (3, 1): "the peer is busy",
    (3, 2): "the peer has no association left; its limit may be too low",
}
"""(source, reason) of an A-ASSOCIATE rejection, PS3.8 9.3.4, to what may be done."""


def send(destination: DicomDestination, progress: Progress, *, calling_ae_title: str) -> None:
    """Stores every pending object of the package at the peer.

    After an attempt of unknown outcome the peer is first asked by C-FIND at IMAGE level
    which of them it has; a peer that offers no such query gets them again, under the
    same SOP Instance UIDs.

    Args:
        destination: The peer.
        progress: What is to be sent; receives what became of it.
        calling_ae_title: This node's AE title.

    Raises:
        AssociationRejected: The peer rejected or aborted the association.
        PeerUnreachable: No connection, or it broke before an answer.
        PeerStatus: The peer accepts none of the SOP classes.
    """
    if not progress.pending():
        return
    with _associate(destination, progress, calling_ae_title) as association:
        progress.skip_those_there(lambda item: _has(association, item))
        for item in progress.pending():
            _store(association, destination, item, progress)


@contextmanager
def _associate(
    destination: DicomDestination, progress: Progress, calling_ae_title: str
) -> Iterator[Association]:
    entity = AE(ae_title=calling_ae_title)
    entity.acse_timeout = destination.timeout_s
    entity.dimse_timeout = destination.timeout_s
    entity.network_timeout = destination.timeout_s
    entity.connection_timeout = destination.timeout_s
    has_connected: list[bool] = []
    listener = RejectionListener()
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=_contexts(progress.pending(), may_ask=progress.has_been_tried),
            ae_title=destination.ae_title,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, lambda _: has_connected.append(True)),
                *listener.handlers,
            ],
        )
    except OSError as unknown_host:  # the name does not resolve
        raise _unreachable(destination, str(unknown_host)) from unknown_host
    try:
        if not association.is_established:
            raise _why_not(
                association,
                destination,
                calling_ae_title,
                rejection=listener.rejection,
                has_connected=bool(has_connected),
            )
        yield association
    finally:
        if association.is_established:
            association.release()


def _contexts(items: Sequence[VerifiedObject], *, may_ask: bool) -> list[PresentationContext]:
    """One context per SOP class and own transfer syntax, and one to fall back to when native."""
    wanted: dict[str, list[str]] = {}
    for item in items:
        syntaxes = wanted.setdefault(item.sop_class_uid, [])
        if item.transfer_syntax_uid not in syntaxes:
            syntaxes.append(item.transfer_syntax_uid)
    contexts: list[PresentationContext] = []
    for sop_class, own in wanted.items():
        contexts.extend(build_context(sop_class, syntax) for syntax in own)
        plain: list[str | UID] = [s for s in (ExplicitVRLittleEndian, ImplicitVRLittleEndian) if s not in own]
        if plain and any(not UID(syntax).is_compressed for syntax in own):
            contexts.append(build_context(sop_class, plain))
    if may_ask:
        contexts.append(build_context(_FIND))
    return contexts


def _why_not(
    association: Association,
    destination: DicomDestination,
    calling: str,
    *,
    rejection: A_ASSOCIATE | None,
    has_connected: bool,
) -> AssociationRejected | PeerUnreachable | PeerStatus:
    if rejection is not None:
        why = (rejection.result_source, rejection.diagnostic)
        advice = _REJECTION_ADVICE.get(why, "check the peer's log")
        return AssociationRejected(
            f"{destination.name} ({destination.where}) rejected the association of {calling}: "
            f"{rejection.reason_str} ({rejection.result_str.lower()}, "
            f"source: {rejection.source_str}; PS3.8 9.3.4); "
            + advice.format(calling=calling, called=destination.ae_title)
        )
    if association.rejected_contexts:
        names = {UID(str(context.abstract_syntax)).name for context in association.rejected_contexts}
        return PeerStatus(
            f"{destination.name} ({destination.where}) accepted no presentation context: it takes none of "
            f"{', '.join(sorted(names))}; check which storage SOP classes are enabled for {calling}"
        )
    if has_connected and association.is_aborted:
        return AssociationRejected(
            f"{destination.name} ({destination.where}) aborted the association or did not answer the "
            f"request of {calling} within {destination.timeout_s:g} s; "
            "check that a DICOM service listens on that port"
        )
    return _unreachable(destination, _tcp_reason(destination))


def _tcp_reason(destination: DicomDestination) -> str:
    """Why there was no connection; pynetdicom only logs it."""
    try:
        with socket.create_connection((destination.host, destination.port), timeout=destination.timeout_s):
            return "the port is open, but the connection was closed"
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__


def _unreachable(destination: DicomDestination, reason: str) -> PeerUnreachable:
    return PeerUnreachable(
        f"no connection to {destination.name} ({destination.where}): {reason}; "
        "check that the peer is running, its address and port, and the firewall between"
    )


def _has(association: Association, item: VerifiedObject) -> bool | None:
    """Whether the peer has the instance; None when it cannot be asked."""
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    if _FIND not in accepted or not association.is_established:
        return None
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = item.study_instance_uid
    query.SeriesInstanceUID = item.series_instance_uid
    query.SOPInstanceUID = item.sop_instance_uid
    is_there = False
    for status, answer in association.send_c_find(query, _FIND):
        code = status.get("Status") if status else None
        if code in _PENDING and answer is not None:
            is_there |= str(answer.get("SOPInstanceUID", "")) == item.sop_instance_uid
        elif code != SUCCESS:
            return True if is_there else None
    return is_there


def _store(
    association: Association, destination: DicomDestination, item: VerifiedObject, progress: Progress
) -> None:
    if not association.is_established:
        raise _broken(destination, item, progress)
    dataset = dcmread(item.path)
    try:
        status = association.send_c_store(dataset)
    except ValueError:  # no context for it was accepted
        progress.refuse(item, _no_context(association, item))
        return
    if not status or "Status" not in status:
        raise _broken(destination, item, progress)
    code = int(status.Status)
    if not is_stored(code):
        progress.refuse(item, describe(code) + _comment(status, dataset))
    elif code == DUPLICATE_SOP_INSTANCE:
        progress.acknowledge(item, describe(code), was_there=True)
    else:
        progress.acknowledge(item, "" if code == SUCCESS else describe(code) + _comment(status, dataset))


def _broken(destination: DicomDestination, item: VerifiedObject, progress: Progress) -> PeerUnreachable:
    refused = f" (and refused before that: {'; '.join(progress.refusals)})" if progress.refusals else ""
    return PeerUnreachable(
        f"{destination.name} ({destination.where}) ended the association or was silent for "
        f"{destination.timeout_s:g} s before it answered for {item.path.name}{refused}; check the peer's log"
    )


def _no_context(association: Association, item: VerifiedObject) -> str:
    sop_class = UID(item.sop_class_uid)
    taken = {
        UID(str(context.transfer_syntax[0])).name
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class
    }
    if taken:
        return (
            f"the peer takes {sop_class.name} only in {', '.join(sorted(taken))}, "
            f"the object is in {UID(item.transfer_syntax_uid).name}"
        )
    return (
        f"the peer does not take {sop_class.name} ({sop_class}) in any transfer syntax offered; "
        "check that this SOP class is enabled at the peer for this node's AE title"
    )


def _comment(status: Dataset, dataset: Dataset) -> str:
    """The peer's Error Comment (0000,0902), unless it repeats who the patient is."""
    comment = str(status.get("ErrorComment", "") or "").strip()
    who = [str(dataset.get(keyword, "") or "") for keyword in ("PatientID", "AccessionNumber")]
    who += str(dataset.get("PatientName", "") or "").replace("=", "^").split("^")
    if not comment or any(len(part) > 1 and part.casefold() in comment.casefold() for part in who):
        return ""
    return f' ("{comment}")'
