"""Deliver: every result reaches every destination, once.

Comes in: a package of verified objects and one destination. Goes out: a report of what
the peer has, or `Undelivered` in words that a PACS administrator understands. Never
waits for the next attempt (`backoff` says when that is; the durable work waits) and
never deletes.

===========  =====================================
module       peer
===========  =====================================
``dicom``    C-STORE SCP (PS3.4 B)
``stow``     STOW-RS origin server (PS3.18 10.5)
``orthanc``  Orthanc's REST interface
``folder``   a folder, local or shared
===========  =====================================
"""

from dicom_node.deliver.backoff import delays_s, next_delay_s
from dicom_node.deliver.delivery import deliver
from dicom_node.deliver.destination import (
    Destination,
    DicomDestination,
    FolderDestination,
    OrthancDestination,
    StowDestination,
)
from dicom_node.deliver.package import DeliveredInstance, DeliveryReport, OnDelivered, ResultPackage

__all__ = [
    "DeliveredInstance",
    "DeliveryReport",
    "Destination",
    "DicomDestination",
    "FolderDestination",
    "OnDelivered",
    "OrthancDestination",
    "ResultPackage",
    "StowDestination",
    "delays_s",
    "deliver",
    "next_delay_s",
]
