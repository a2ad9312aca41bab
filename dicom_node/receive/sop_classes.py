"""Which SOP classes and transfer syntaxes the node receives: every storage class, every network syntax."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom._uid_dict import UID_dictionary
from pynetdicom import ALL_TRANSFER_SYNTAXES, sop_class
from pynetdicom.presentation import PresentationContext, build_context

_NOT_COMPOSITE = frozenset({
    "1.2.840.10008.1.3.10",  # Media Storage Directory: a DICOMDIR, on media only
    "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
    "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
    "1.2.840.10008.5.1.1.27",  # Stored Print Storage, normalised
})  # fmt: skip

_PREFERRED_SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
"""Uncompressed first: of several offered for one context, the sender can always make these without loss."""


def storage_sop_classes() -> list[str]:
    """UIDs of all Storage SOP classes, retired ones included, that pydicom or pynetdicom know.

    Example:
        >>> "1.2.840.10008.5.1.4.1.1.66.7" in storage_sop_classes()  # Label Map Segmentation
        True
        >>> "1.2.840.10008.1.20.1" in storage_sop_classes()  # Storage Commitment
        False
    """
    known = {str(uid) for uid in sop_class._STORAGE_CLASSES.values()}
    known |= {
        uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name
    }
    return sorted(known - _NOT_COMPOSITE)


def transfer_syntaxes() -> list[str]:
    """UIDs of all transfer syntaxes for the network, video and retired JPEG included (PS3.5 10).

    Example:
        >>> "1.2.840.10008.1.2.4.102" in transfer_syntaxes()  # MPEG-4 AVC/H.264 High Profile
        True
        >>> transfer_syntaxes()[0]  # Explicit VR Little Endian
        '1.2.840.10008.1.2.1'
    """
    jpeg_family = "1.2.840.10008.1.2.4."
    known = [str(uid) for uid in ALL_TRANSFER_SYNTAXES]
    known += [
        uid
        for uid, (_, kind, *_) in UID_dictionary.items()
        if kind == "Transfer Syntax" and (uid.startswith(jpeg_family) or uid == "1.2.840.10008.1.2.1.98")
    ]
    return list(dict.fromkeys((*_PREFERRED_SYNTAXES, *known)))


def storage_contexts(further_sop_classes: Iterable[str] = ()) -> list[PresentationContext]:
    """What the node supports as an acceptor: every storage class in every transfer syntax.

    Args:
        further_sop_classes: UIDs of private storage classes that a site wants to receive too.
    """
    syntaxes = transfer_syntaxes()
    return [build_context(uid, syntaxes) for uid in (*storage_sop_classes(), *further_sop_classes)]
