"""Operator: pictures to Secondary Capture objects."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from operators.encode.identity import Producer
from operators.encode.messages import KeyImages
from operators.encode.secondary_capture import build_secondary_capture
from operators.graph import Step


def encode(images: KeyImages, producer: Producer) -> tuple[Dataset, ...]:
    """One Secondary Capture for each picture, all in one series."""
    return tuple(
        build_secondary_capture(
            picture.rgb_yxc,
            images.sources,
            producer,
            role=f"key_image_{number}",
            instance_number=number,
            description=picture.description,
            series_label=images.series_label,
        )
        for number, picture in enumerate(images.pictures, start=1)
    )


class EncodeKeyImages(Step):
    """Receives ``pictures`` (`KeyImages`), emits ``key_images`` (tuple of data sets)."""

    receives = ("pictures",)
    emits = ("key_images",)

    def __init__(self, fragment: Any, *args: Any, producer: Producer, **kwargs: Any) -> None:
        self.producer = producer
        super().__init__(fragment, *args, **kwargs)

    def work(self, pictures: KeyImages) -> tuple[Dataset, ...]:
        """Encode."""
        return encode(pictures, self.producer)
