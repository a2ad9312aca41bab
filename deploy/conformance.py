# ruff: noqa: E501  the rows of tables are long
"""Writes ``deploy/conformance.md``, the DICOM conformance statement (PS3.2).

``python -m deploy.conformance`` writes it; a test compares it with the program, so that a SOP
class, a transfer syntax, a status or an app cannot be added without the statement saying so.
"""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import UID

from dicom_node import __version__
from dicom_node.catalog import find_apps
from dicom_node.receive import scp
from dicom_node.receive.sop_classes import storage_sop_classes, transfer_syntaxes
from dicom_node.receive.transport import MAX_PDU_BYTES
from dicom_node.store.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PATH = Path(__file__).parent / "conformance.md"
NAMES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
"""Newer than the dictionary that is installed."""

TEMPLATE = """\
# DICOM conformance statement

Of the DICOM inference node, version {version}. The structure follows PS3.2; this page is written by
`python -m deploy.conformance` from the program itself.

## Overview

The node receives studies, runs image-analysis apps on them and returns the results to the patient's
study.

| network service | user (SCU) | provider (SCP) |
|---|---|---|
| Verification (C-ECHO) | no | yes |
| Storage (C-STORE) | yes | yes |
| Query (C-FIND, Study Root, IMAGE level) | only after an interrupted delivery | no |
| Modality Worklist (C-FIND) | `dicom-node wrap-video --worklist` | no |
| STOW-RS, QIDO-RS | yes (destination kinds `stow` and `orthanc`) | no |

Media: DICOM files dropped into the inbox folder are taken in (PS3.10, with or without preamble).

## Implementation

| | |
|---|---|
| Implementation Class UID | `{class_uid}` |
| Implementation Version Name | `{version_name}` |
| Maximum PDU received | {pdu} bytes |
| Associations at the same time | `node.max_associations`, 32 by default; a further one is rejected (transient, local limit exceeded) |
| Asynchronous operations | none |
| Character sets | received as they are; ISO_IR 100, ISO_IR 192, ISO 2022 IR 87 and others are copied to results unaltered |

## Receiving (Storage SCP)

An association is rejected when the called AE title is not the node's (permanent, 0x07) or the caller
is not a listed peer (permanent, 0x03). Without `[[peer]]` tables only this machine may call.

Every offered storage class is accepted in the first offered transfer syntax that the node knows; it
knows all of them (lists below). The encoded data set is written as it arrives, neither decoded nor
changed, and a compressed one is not decompressed.

| status | meaning | when |
|---|---|---|
| {success} | Success | the bytes are in a file with its final name; file and folder are synced to the disk |
| {resources} | Refused: out of resources | the disk is full or cannot be written; send again later |
| {mismatch} | Error: data set does not match SOP class | SOP Class or SOP Instance UID of data set and command differ |
| {understand} | Error: cannot understand | the data set cannot be parsed, or lacks a Study, Series or SOP Instance UID |
| {failure} | Processing failure | anything else; the reason is in the node's log |

Error Comment (0000,0902) holds the reason. The same instance sent again is answered with success and
stored once. Other content under a SOP Instance UID that is held is kept apart, answered with success,
shown as a conflict, and never analysed in place of the first.

## Sending (Storage SCU)

Results are sent over one association per attempt, in the transfer syntax of the file, with Explicit
and Implicit VR Little Endian offered as well for uncompressed objects. Success and warnings
(0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0116) and Duplicate SOP Instance
(0x0111) count as delivered; any other status is shown with
its meaning and the object is sent again, with growing pauses, for `retry_for_hours`. After an attempt
whose end is unknown the peer is asked which objects it has; a peer that answers no C-FIND gets them
again under the same UIDs.

## Objects made

Patient and study attributes are copied from the source unaltered. Results are in new series of the
source's study. UIDs are of the form 2.25 (PS3.5 B.2) and derive from input, app version, model and
role: the same analysis always has the same UIDs. Contributing Equipment Sequence (0018,A001) names app,
version and model digest; coding scheme `99DAIN` is declared in Coding Scheme Identification Sequence
(0008,0110) where it is used. What a model trained on synthetic data made says so in Series Description,
report, picture, presentation state and PDF.

{objects}

Segmentations and parametric maps with 1 MB of pixel data or more are in Deflated Explicit VR Little Endian, all
other objects in Explicit VR Little Endian. Parametric maps have unsigned 16-bit pixels, which Real World
Value Mapping Sequence (0040,9096) maps to values with quantity and unit, and ContentQualification RESEARCH;
they lie on the slices of their source, where pixels may be coarser. Where a structure has codes in several
schemes, the others are in Equivalent Code Sequence (0008,0121); a segment that merges structures names them
in Primary Anatomic Structure Sequence (0008,2228).

Presentation states (Grayscale Softcopy) hold closed lines, points and text for the images of one series; marks
of images that differ in size, pixel spacing, polarity, rescaling or shutter are in several states. Window,
look-up tables, rescaling, polarity and shutter are those of the image, the displayed area is the whole image.
Graphics are in pixels, in the layers AI FINDINGS and AI STATEMENT; a graphic that belongs to a measurement
group has that group's Tracking ID and Tracking UID (0062,0020), (0062,0021).

A site may choose Label Map Segmentation (segmentation_kind = "LABELMAP"). Validators that do not know that
SOP class report errors on it and on the segment references of the report; binary segmentation is the
default.

Structured reports follow TID 1500 (Imaging Measurement Report) with TID 1411, TID 1410 and TID 1501 measurement
groups and TID 4019 algorithm identification. A classifier's group has a NUM (122157, DCM, "Probability") for
each class, which is its concept modifier (121071, DCM, "Finding"), and the decision as a coded "AI
classification". A repeated analysis names the report it replaces in Predecessor Documents Sequence
(0040,A360).

## Security

No DICOM TLS and no user identity negotiation in this version: put the node into a protected network or
behind a TLS proxy. Callers are known by AE title and address. No patient attribute is written to a log.

## Transfer syntaxes received

{syntaxes}

## SOP classes received

{classes}
"""


def named(uid: str) -> str:
    """A UID as a table row."""
    return f"| {NAMES.get(uid, UID(uid).name)} | `{uid}` |"


def table(uids: list[str]) -> str:
    """UIDs by name."""
    return "\n".join(["| name | UID |", "|---|---|", *(named(uid) for uid in uids)])


def objects() -> str:
    """What each installed app makes."""
    lines = ["| app | role | SOP class | count |", "|---|---|---|---|"]
    for app in find_apps():
        for one in app.manifest.outputs:
            classes = " or, by setting, ".join(
                f"{NAMES.get(uid, UID(uid).name)} `{uid}`"
                for uid in (one.sop_class, *one.sop_class_by_setting)
            )
            lines.append(f"| {app.name} | {one.role} | {classes} | {one.count} |")
    return "\n".join(lines)


def statement() -> str:
    """The whole statement."""
    return TEMPLATE.format(
        version=__version__,
        class_uid=IMPLEMENTATION_CLASS_UID,
        version_name=IMPLEMENTATION_VERSION_NAME,
        pdu=MAX_PDU_BYTES,
        success=f"0x{scp.SUCCESS:04X}",
        resources=f"0x{scp.OUT_OF_RESOURCES:04X}",
        mismatch=f"0x{scp.DATA_SET_MISMATCH:04X}",
        understand=f"0x{scp.CANNOT_UNDERSTAND:04X}",
        failure=f"0x{scp.PROCESSING_FAILURE:04X}",
        objects=objects(),
        syntaxes=table(transfer_syntaxes()),
        classes=table(storage_sop_classes()),
    )


if __name__ == "__main__":
    PATH.write_text(statement(), encoding="utf-8")
