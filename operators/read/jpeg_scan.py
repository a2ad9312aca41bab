"""JPEG images whose scan header tells a wrong spectral range, as old encoders wrote them.

A sequential scan holds all 64 coefficients: Ss 0, Se 63 (ISO/IEC 10918-1, table B.3). Toolkits
wrote Se 0 into 12-bit lossy images (JPEG Extended); some decoders never look, libjpeg refuses.
As no other value has a meaning there, it can be put right.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

SEQUENTIAL_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit})

LAST_COEFFICIENT = 63

_PROGRESSIVE, _START_OF_SCAN = 0xC2, 0xDA


def with_whole_spectrum(instance: Dataset) -> Dataset:
    """The instance, its scan headers right where it is a sequential lossy JPEG image.

    Args:
        instance: Read from a file, with its pixel data; is changed where a header is wrong.
    """
    if instance.file_meta.get("TransferSyntaxUID") not in SEQUENTIAL_LOSSY or "PixelData" not in instance:
        return instance
    count = int(instance.get("NumberOfFrames") or 1)
    frames = list(generate_frames(instance.PixelData, number_of_frames=count))
    whole = [_whole(frame) for frame in frames]
    if whole != frames:
        instance.PixelData = encapsulate(whole)
        instance["PixelData"].is_undefined_length = True
    return instance


def _whole(frame: bytes) -> bytes:
    """The frame with Se 63 in its first scan header.

    >>> _whole(bytes.fromhex("ffd8 ffda 0008 01 0100 00 00 00 1234")).hex()
    'ffd8ffda0008010100003f001234'
    """
    place = _last_coefficient_place(frame)
    if place is None:
        return frame
    return frame[:place] + bytes([LAST_COEFFICIENT]) + frame[place + 1 :]


def _last_coefficient_place(frame: bytes) -> int | None:
    """Where Se stands, found by going from marker to marker (ISO/IEC 10918-1, B.1.1.4)."""
    at = 2
    while at + 4 < len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == _PROGRESSIVE or length < 2:
            return None
        if marker == _START_OF_SCAN:
            place = at + 5 + 2 * frame[at + 4] + 1
            return place if place < len(frame) else None
        at += 2 + length
    return None
