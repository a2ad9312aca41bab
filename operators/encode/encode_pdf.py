"""Operator: the page of a report to a PDF and its DICOM object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from operators.encode.identity import Producer
from operators.encode.messages import PageContent
from operators.encode.pdf import build_encapsulated_pdf, render_page
from operators.graph import Step


@dataclass(frozen=True)
class EncodedPdf:
    """A PDF as a file's bytes and as a DICOM object."""

    pdf: bytes
    dataset: Dataset


def encode(content: PageContent, producer: Producer) -> EncodedPdf:
    """The page as PDF, inside and outside of DICOM."""
    pdf = render_page(content.page, content.sources[0], producer)
    dataset = build_encapsulated_pdf(
        pdf, content.sources, producer, title=content.page.title, series_label=content.series_label
    )
    return EncodedPdf(pdf, dataset)


class EncodePdf(Step):
    """Receives ``page`` (`PageContent`), emits ``pdf`` (`EncodedPdf`)."""

    receives = ("page",)
    emits = ("pdf",)

    def __init__(self, fragment: Any, *args: Any, producer: Producer, **kwargs: Any) -> None:
        self.producer = producer
        super().__init__(fragment, *args, **kwargs)

    def work(self, page: PageContent) -> EncodedPdf:
        """Encode."""
        return encode(page, self.producer)
