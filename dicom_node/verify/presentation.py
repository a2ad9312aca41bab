"""A presentation state draws inside the images that the app was given, and shows them as they are.

Grayscale Softcopy Presentation State (PS3.3 A.33.1). What it draws is in its Graphic Annotation
Sequence; the images that it may be applied to are in its Referenced Series Sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydicom.dataset import Dataset

from dicom_node.errors import BrokenPromise
from dicom_node.verify.sources import Sources

PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
_POLARITY = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
"""Presentation LUT Shape (2050,0020) that leaves an image as light and dark as it was."""
_BOUNDING_BOX = ("BoundingBoxTopLeftHandCorner", "BoundingBoxBottomRightHandCorner")


def check_presentation(name: str, dataset: Dataset, sources: Sources) -> None:
    """A presentation state fits the images that it is for; other objects are left alone.

    Args:
        name: The object's file name, for the sentence.
        dataset: The object.
        sources: The inputs.

    Raises:
        BrokenPromise: It names an image that the app was not given, draws nothing, draws
            outside of an image or in a layer that it does not describe, or shows an image
            in part or inverted.
    """
    if str(dataset.SOPClassUID) != PRESENTATION_STATE:
        return
    images = _images(name, dataset, sources)
    for complaint in (*_shown_otherwise(dataset, images), *_drawn_wrongly(dataset, images)):
        raise BrokenPromise(f"{name}: {complaint}")


def drawn_texts(dataset: Dataset) -> Iterator[str]:
    """The texts that a presentation state draws."""
    for annotation in dataset.get("GraphicAnnotationSequence") or ():
        for text in annotation.get("TextObjectSequence") or ():
            yield str(text.get("UnformattedTextValue") or "")


def _images(name: str, dataset: Dataset, sources: Sources) -> dict[str, Dataset]:
    """The images that it is for, by SOP Instance UID."""
    given = {str(source.get("SOPInstanceUID", "")): source for source in sources.datasets}
    images = {}
    for series in dataset.get("ReferencedSeriesSequence") or ():
        for item in series.get("ReferencedImageSequence") or ():
            uid = str(item.ReferencedSOPInstanceUID)
            if uid not in given:
                raise BrokenPromise(f"{name} is for {uid}, which the app was not given")
            images[uid] = given[uid]
    if not images:
        raise BrokenPromise(f"{name} is for no image: ReferencedSeriesSequence is empty")
    return images


def _shown_otherwise(dataset: Dataset, images: Mapping[str, Dataset]) -> Iterator[str]:
    """Ways in which images would look other than they do without the state."""
    shape = str(dataset.get("PresentationLUTShape", ""))
    for image in images.values():
        if shape != _POLARITY.get(str(image.get("PhotometricInterpretation", "")), shape):
            yield f"PresentationLUTShape {shape} inverts its image"
    for area in dataset.get("DisplayedAreaSelectionSequence") or ():
        corners = [*area.DisplayedAreaTopLeftHandCorner, *area.DisplayedAreaBottomRightHandCorner]
        for image in _referred(area, images):
            if corners != [1, 1, int(image.Columns), int(image.Rows)]:
                yield "DisplayedAreaSelectionSequence is not the whole image"


def _drawn_wrongly(dataset: Dataset, images: Mapping[str, Dataset]) -> Iterator[str]:
    """What is wrong with the marks."""
    layers = {str(layer.GraphicLayer) for layer in dataset.get("GraphicLayerSequence") or ()}
    annotations = dataset.get("GraphicAnnotationSequence") or ()
    if not any(_positions_xy(annotation) for annotation in annotations):
        yield "GraphicAnnotationSequence draws nothing"
    for annotation in annotations:
        if str(annotation.GraphicLayer) not in layers:
            yield "an annotation is in a layer that GraphicLayerSequence does not describe"
        for item in annotation.get("ReferencedImageSequence") or ():
            if str(item.ReferencedSOPInstanceUID) not in images:
                yield "an annotation is on an image that ReferencedSeriesSequence does not name"
        for image in _referred(annotation, images):
            limits = {"PIXEL": (int(image.Columns), int(image.Rows)), "DISPLAY": (1, 1)}
            for units, x, y in _positions_xy(annotation):
                across, down = limits.get(units, (0, 0))
                if not (0 <= x <= across and 0 <= y <= down):
                    yield "an annotation lies outside of its image"


def _referred(item: Dataset, images: Mapping[str, Dataset]) -> list[Dataset]:
    """The images that an item is for: all when it names none (PS3.3 C.10.4, C.10.5)."""
    named = [str(one.ReferencedSOPInstanceUID) for one in item.get("ReferencedImageSequence") or ()]
    return [images[uid] for uid in named if uid in images] if named else list(images.values())


def _positions_xy(annotation: Dataset) -> list[tuple[str, float, float]]:
    """Units, column and row of every point that an annotation draws at."""
    found = []
    for graphic in annotation.get("GraphicObjectSequence") or ():
        units, data = str(graphic.GraphicAnnotationUnits), list(graphic.GraphicData)
        found += [(units, float(x), float(y)) for x, y in zip(data[::2], data[1::2], strict=True)]
    for text in annotation.get("TextObjectSequence") or ():
        for keyword in _BOUNDING_BOX:
            if keyword in text:
                x, y = text[keyword].value
                found.append((str(text.BoundingBoxAnnotationUnits), float(x), float(y)))
        if "AnchorPoint" in text:
            x, y = text.AnchorPoint
            found.append((str(text.AnchorPointAnnotationUnits), float(x), float(y)))
    return found
