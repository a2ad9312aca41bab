"""One attempt to deliver one package to one destination, whatever kind that is."""

from __future__ import annotations

import logging
from collections.abc import Collection

from dicom_node.deliver import dicom, folder, orthanc, stow
from dicom_node.deliver.destination import (
    Destination,
    DicomDestination,
    FolderDestination,
    OrthancDestination,
    StowDestination,
)
from dicom_node.deliver.package import DeliveryReport, OnDelivered, Progress, ResultPackage

logger = logging.getLogger(__name__)


def deliver(
    destination: Destination,
    package: ResultPackage,
    *,
    has_been_tried: bool,
    on_delivered: OnDelivered,
    already_delivered: Collection[str] = (),
    calling_ae_title: str = "DICOMNODE",
) -> DeliveryReport:
    """Brings every object that the destination is not known to have there.

    Each object is acknowledged through ``on_delivered`` as soon as the peer has it, so
    that an attempt that breaks in the middle goes on there. Where an earlier attempt
    may have got through without our knowing (``has_been_tried``), the peer is asked
    first.

    Args:
        destination: Where to.
        package: The verified results.
        has_been_tried: True for every attempt but the first.
        on_delivered: Makes an acknowledgement durable: SOP Instance UID and note.
        already_delivered: SOP Instance UIDs acknowledged by earlier attempts.
        calling_ae_title: This node's AE title.

    Returns:
        What this attempt established to be there.

    Raises:
        AssociationRejected: The peer rejected or aborted the association.
        PeerUnreachable: No connection, or it broke before an answer.
        PeerStatus: The peer refused objects; the others are delivered.
    """
    progress = Progress(
        package=package,
        has_been_tried=has_been_tried,
        on_delivered=on_delivered,
        already_delivered=frozenset(already_delivered),
    )
    match destination:
        case DicomDestination():
            dicom.send(destination, progress, calling_ae_title=calling_ae_title)
        case StowDestination():
            stow.send(destination, progress)
        case OrthancDestination():
            orthanc.send(destination, progress)
        case FolderDestination():
            folder.send(destination, progress)
    report = progress.report(destination.name, destination.where)
    logger.info(
        "delivered to %s",
        destination.name,
        extra={
            "action": "package_delivered",
            "destination": destination.name,
            "count": len(report.delivered),
        },
    )
    return report
