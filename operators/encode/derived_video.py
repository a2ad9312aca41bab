"""A derived video, such as the source with what was found drawn over it (PS3.3 A.32.7)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from operators.encode.context import complete, reference
from operators.encode.identity import Producer
from operators.encode.secondary_capture import new_object
from operators.video.photographic import VIDEO_PHOTOGRAPHIC, StreamFacts, put_video


def build_derived_video(
    stream: bytes,
    facts: StreamFacts,
    sources: Sequence[Dataset],
    producer: Producer,
    *,
    role: str,
    description: str,
    series_label: str,
    ordinal: int = 5,
) -> Dataset:
    """A Video Photographic Image that was made from another one.

    Args:
        stream: The bit stream with its container.
        facts: Of the stream.
        sources: Header of the video that it was made from.
        producer: Who made it.
        role: Part of what the UIDs derive from.
        description: What it shows, in a sentence.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.

    Raises:
        ValueError: No transfer syntax holds the stream.
    """
    source = sources[0]
    video = new_object(VIDEO_PHOTOGRAPHIC, source, producer, role=role, series_role=role, ordinal=ordinal)
    put_video(video, stream, facts, image_type=("DERIVED", "SECONDARY"))
    video.InstanceNumber = 1
    video.PatientOrientation = ""
    video.BurnedInAnnotation = source.get("BurnedInAnnotation", "NO")
    video.RecognizableVisualFeatures = source.get("RecognizableVisualFeatures", "YES")
    video.ImageComments = f"{description} {producer.statement}".strip()
    video.DerivationDescription = description[:1024]
    video.SourceImageSequence = [reference(one) for one in sources]
    complete(video, source, producer, label=series_label)
    return video
