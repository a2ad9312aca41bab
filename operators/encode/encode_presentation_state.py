"""Operator: marks over images to presentation states."""

from __future__ import annotations

from typing import Any

from operators.encode.identity import Producer
from operators.encode.messages import Markings
from operators.encode.presentation_state import EncodedState, build_presentation_states
from operators.graph import Step


class EncodePresentationState(Step):
    """Receives ``markings`` (tuple of `Markings`), emits ``states`` (tuple of `EncodedState`)."""

    receives = ("markings",)
    emits = ("states",)

    def __init__(self, fragment: Any, *args: Any, producer: Producer, **kwargs: Any) -> None:
        self.producer = producer
        super().__init__(fragment, *args, **kwargs)

    def work(self, markings: tuple[Markings, ...]) -> tuple[EncodedState, ...]:
        """Encode those of all images."""
        return build_presentation_states(markings, self.producer)
