"""Operator: quantities in voxels to Parametric Map objects."""

from __future__ import annotations

from typing import Any

from operators.encode.identity import Producer
from operators.encode.messages import MapVolume
from operators.encode.parametric_map import EncodedMap, build_parametric_map
from operators.graph import Step


def encode(volume: MapVolume, producer: Producer) -> EncodedMap:
    """The Parametric Map of one volume."""
    return build_parametric_map(
        volume.values_zyx,
        volume.geometry,
        volume.sources,
        quantity=volume.quantity,
        unit=volume.unit,
        label=volume.label,
        producer=producer,
        role=volume.role,
        series_label=volume.series_label,
        ordinal=volume.ordinal,
        frame_numbers=volume.frame_numbers,
        storage=volume.storage,
        in_plane_step=volume.in_plane_step,
        window=volume.window,
    )


class EncodeParametricMap(Step):
    """Receives ``maps`` (tuple of `MapVolume`), emits ``encoded_maps`` (tuple of `EncodedMap`)."""

    receives = ("maps",)
    emits = ("encoded_maps",)

    def __init__(self, fragment: Any, *args: Any, producer: Producer, **kwargs: Any) -> None:
        self.producer = producer
        super().__init__(fragment, *args, **kwargs)

    def work(self, maps: tuple[MapVolume, ...]) -> tuple[EncodedMap, ...]:
        """Encode each."""
        return tuple(encode(volume, self.producer) for volume in maps)
