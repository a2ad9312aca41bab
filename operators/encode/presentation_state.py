"""Boxes, points and text over images as Grayscale Softcopy Presentation States (PS3.3 A.33.1).

A viewer draws them over the stored image, and shows that image otherwise as before: window or
look-up table, polarity, rescaling, shutter and overlays are those of the image. One state holds the
images of a series that can share one; images of another size, spacing, polarity, rescaling, shutter
or with other overlays get a state of their own, because the standard keeps those once for each state.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from operators.encode.colours import cie_lab
from operators.encode.context import complete, reference, stand_in
from operators.encode.identity import Producer
from operators.encode.marks import Box, Point
from operators.encode.messages import Markings

CONTENT_LABEL = "AI MARKS"
OVERLAY_LAYER = "IMAGE OVERLAYS"
"""Of the bitmaps that come with the image, such as the side that a console marks."""
FINDINGS_LAYER = "AI FINDINGS"
STATEMENT_LAYER = "AI STATEMENT"
FINDINGS_RGB = (255, 193, 7)
STATEMENT_RGB = (255, 138, 128)
LINE_HEIGHT = 0.035
"""Of a line of text, as a share of the image's height."""
MARGIN = 0.02
"""Between text and the border of the image, as a share of the image."""
SHORTEST_LABEL = 0.3
"""Least width of a box's label, as a share of the image's width."""
INVERTED = "MONOCHROME1"
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
"""Groups of the Overlay Plane module (PS3.3 C.9.2), one for each overlay."""
OVERLAY_ACTIVATION_LAYER = 0x1001

_WINDOW = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction")
_VOI = (*_WINDOW, "VOILUTSequence")
_MODALITY = ("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence")
_SHUTTER = (
    "ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter", "ShutterPresentationValue", "ShutterPresentationColorCIELabValue",
)  # fmt: skip


@dataclass(frozen=True)
class EncodedState:
    """A presentation state.

    Args:
        dataset: The object.
        role: Of the object in its analysis.
        number: From 1, in the order of the images; makes the names of files.
    """

    dataset: hd.pr.GrayscaleSoftcopyPresentationState
    role: str
    number: int


def build_presentation_states(markings: Sequence[Markings], producer: Producer) -> tuple[EncodedState, ...]:
    """The presentation states of one analysis, as few as the images allow.

    Args:
        markings: At most one for each image; those of one role are one series of states.
        producer: Who made them.

    Raises:
        ValueError: An image is marked twice, is in colour or has several frames, or a mark
            lies outside of its image.
    """
    uids = [str(one.source.SOPInstanceUID) for one in markings]
    if len(set(uids)) != len(uids):
        raise ValueError("an image is marked twice")
    states: dict[str, int] = {}
    encoded = []
    for together in _sharing_a_state(markings):
        role = together[0].role
        states[role] = states.get(role, 0) + 1
        encoded.append(EncodedState(_build(together, producer, states[role]), role, states[role]))
    return tuple(encoded)


def _sharing_a_state(markings: Sequence[Markings]) -> list[list[Markings]]:
    shared: dict[str, list[Markings]] = {}
    for one in markings:
        source = one.source
        parts = [one.role, source.SeriesInstanceUID, source.Rows, source.Columns]
        parts += [source.PhotometricInterpretation, *_spacing(source).values()]
        parts += [_modality_lut(source), _copied(source, _SHUTTER), _overlay_groups(source)]
        shared.setdefault("\n".join(map(str, parts)), []).append(one)
    return list(shared.values())


def _build(
    markings: Sequence[Markings], producer: Producer, number: int
) -> hd.pr.GrayscaleSoftcopyPresentationState:
    first = markings[0]
    source = first.source
    _check_images(markings)
    annotations, layers = _annotations(markings, producer)
    with warnings.catch_warnings():
        # Sources may lack attributes that only matter when pixels are decoded.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(highdicom|pydicom)(\.|$)")
        dataset = hd.pr.GrayscaleSoftcopyPresentationState(
            referenced_images=[_plain(one.source) for one in markings],
            series_instance_uid=producer.uid(f"series/{first.role}"),
            series_number=producer.series_number(first.ordinal),
            sop_instance_uid=producer.uid(f"{first.role}_{number}"),
            instance_number=number,
            manufacturer="",
            manufacturer_model_name=producer.model_name,
            software_versions=producer.software_versions[0],
            device_serial_number=producer.device_serial_number,
            content_label=CONTENT_LABEL,
            content_description=producer.series_description(first.series_label),
            graphic_annotations=annotations,
            graphic_layers=layers,
            presentation_lut_transformation=hd.PresentationLUTTransformation(
                presentation_lut_shape=hd.PresentationLUTShapeValues.INVERSE
                if source.PhotometricInterpretation == INVERTED
                else hd.PresentationLUTShapeValues.IDENTITY
            ),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    dataset.Laterality = ""  # of the series, which may show both sides; the type 2C attribute stays empty
    dataset.DisplayedAreaSelectionSequence = [_displayed_area(source)]
    dataset.update(_modality_lut(source))
    _keep_windows(dataset, [one.source for one in markings])
    _keep_shutter(dataset, source)
    _keep_overlays(dataset, source)
    texts = [text for one in markings for text in (*one.verdict, *(m.label for m in _marks(one)))]
    complete(dataset, source, producer, label=first.series_label, texts=texts)
    # A state has a creation date of its own, in place of that of content (PS3.3 C.11.10).
    dataset.PresentationCreationDate, dataset.PresentationCreationTime = (
        dataset.ContentDate,
        dataset.ContentTime,
    )
    del dataset.ContentDate, dataset.ContentTime
    # No person drew this: who lists states by creator sees that a program did.
    dataset.ContentCreatorName = f"{producer.app}^DICOM node"
    return dataset


def _check_images(markings: Sequence[Markings]) -> None:
    for one in markings:
        if int(one.source.get("NumberOfFrames") or 1) != 1:
            raise ValueError("marks are only drawn over images of one frame")
        rows, columns = int(one.source.Rows), int(one.source.Columns)
        for point in one.points:
            y, x = point.position_yx
            if not (0 <= y <= rows and 0 <= x <= columns):
                raise ValueError(f"the point {point.position_yx} lies outside of its image")


def _plain(source: Dataset) -> Dataset:
    """The image without patient, and without how it is shown: that is copied here, unchanged.

    highdicom would refuse an image with a window and a look-up table, which radiographs have.
    """
    plain = stand_in(source)
    for keyword in (*_VOI, *_MODALITY):
        if keyword in plain:
            delattr(plain, keyword)
    return plain


def _marks(one: Markings) -> tuple[Box | Point, ...]:
    return (*one.boxes, *one.points)


def _annotations(
    markings: Sequence[Markings], producer: Producer
) -> tuple[list[hd.pr.GraphicAnnotation], list[hd.pr.GraphicLayer]]:
    """What is drawn, and the layers that it is drawn in."""
    findings = hd.pr.GraphicLayer(FINDINGS_LAYER, 1, "Marks of the analysis", _colour(FINDINGS_RGB))
    statement = hd.pr.GraphicLayer(STATEMENT_LAYER, 2, "What every reader must see", _colour(STATEMENT_RGB))
    annotations, layers = [], []
    for one in markings:
        graphics, texts = _drawn(one, producer)
        if graphics or texts:
            layers = [findings]
            annotations.append(
                hd.pr.GraphicAnnotation(
                    [_plain(one.source)], findings, graphic_objects=graphics, text_objects=texts
                )
            )
    if producer.statement:
        foot = _line(-1, producer.statement[:1].upper() + producer.statement[1:], justify="CENTER")
        images = [_plain(one.source) for one in markings]
        annotations.append(hd.pr.GraphicAnnotation(images, statement, text_objects=[foot]))
        layers = [*layers, statement]
    if not annotations:
        raise ValueError("there is nothing to draw")
    return annotations, layers


def _drawn(one: Markings, producer: Producer) -> tuple[list[hd.pr.GraphicObject], list[hd.pr.TextObject]]:
    """Graphics of one image, and the texts beside them."""
    rows, columns = int(one.source.Rows), int(one.source.Columns)
    study_uid = str(one.source.StudyInstanceUID)
    graphics, texts = [], [_line(number, text) for number, text in enumerate(one.verdict)]
    for box in (box.inside(rows, columns) for box in one.boxes):
        graphics.append(_graphic("POLYLINE", box.outline_xy, box.target, study_uid, producer))
        if box.label:
            texts.append(_label(box.label, box.corners_yx[0], box.corners_yx[1][0], rows, columns))
    for point in one.points:
        y, x = point.position_yx
        graphics.append(_graphic("POINT", ((x, y),), point.target, study_uid, producer))
        if point.label:
            texts.append(_label(point.label, (y, x), y, rows, columns))
    return graphics, texts


def _graphic(
    kind: str, points_xy: Sequence[tuple[float, float]], target: str, study_uid: str, producer: Producer
) -> hd.pr.GraphicObject:
    """A mark that carries the tracking identifiers of the report's group."""
    return hd.pr.GraphicObject(
        graphic_type=kind,
        graphic_data=np.array(points_xy, dtype=np.float64),
        units=hd.pr.AnnotationUnitsValues.PIXEL,
        tracking_id=target or None,
        tracking_uid=producer.tracking_uid(study_uid, target) if target else None,
    )


def _label(
    text: str, top_left_yx: tuple[float, float], bottom: float, rows: int, columns: int
) -> hd.pr.TextObject:
    """A label above its mark, or below where there is no room above."""
    height = LINE_HEIGHT * rows
    top = top_left_yx[0] - height
    if top < 0:
        top = min(bottom, rows - height)
    left = min(top_left_yx[1], (1 - SHORTEST_LABEL) * columns)
    return hd.pr.TextObject(
        text_value=text,
        units=hd.pr.AnnotationUnitsValues.PIXEL,
        bounding_box=(left, top, float(columns), top + height),
        text_justification=hd.pr.TextJustificationValues.LEFT,
    )


def _line(number: int, text: str, justify: str = "LEFT") -> hd.pr.TextObject:
    """A line of text over the displayed image: from the top, 0, or from the foot, -1."""
    top = MARGIN + number * LINE_HEIGHT if number >= 0 else 1 - MARGIN + number * LINE_HEIGHT
    return hd.pr.TextObject(
        text_value=text,
        units=hd.pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=(MARGIN, top, 1 - MARGIN, top + LINE_HEIGHT),
        text_justification=justify,
    )


def _colour(rgb: tuple[int, int, int]) -> CIELabColor:
    lightness, a, b = cie_lab(np.array([rgb]))[0]
    return CIELabColor(float(lightness), float(a), float(b))


def _displayed_area(source: Dataset) -> Dataset:
    """The whole image, with pixels of its proportions (PS3.3 C.10.4)."""
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [int(source.Columns), int(source.Rows)]
    area.PresentationSizeMode = "SCALE TO FIT"
    for keyword, value in _spacing(source).items():
        setattr(area, keyword, value)
    return area


def _spacing(source: Dataset) -> dict[str, list[float] | list[int]]:
    """Presentation Pixel Spacing where the size of pixels is known, their proportions otherwise."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = [float(value) for value in source.get(keyword) or ()]
        if len(values) == 2 and min(values) > 0:
            return {"PresentationPixelSpacing": values}
    ratio = [int(value) for value in source.get("PixelAspectRatio") or (1, 1)]
    return {"PresentationPixelAspectRatio": ratio if len(ratio) == 2 and min(ratio) > 0 else [1, 1]}


def _modality_lut(source: Dataset) -> Dataset:
    """Modality LUT (PS3.3 C.11.1) as the image has it; empty when it has none."""
    if source.get("ModalityLUTSequence"):
        return _copied(source, ("ModalityLUTSequence",))
    copied = _copied(source, _MODALITY[:3])
    if "RescaleIntercept" not in copied or "RescaleSlope" not in copied:
        return Dataset()
    if "RescaleType" not in copied:
        copied.RescaleType = "US"  # unspecified (PS3.3 C.11.1.1.2); the attribute is required here
    return copied


def _keep_windows(dataset: Dataset, sources: Sequence[Dataset]) -> None:
    """Softcopy VOI LUT (PS3.3 C.11.8): that of each image, for the images that have it."""
    items: dict[str, Dataset] = {}
    users: dict[str, list[Dataset]] = {}
    for source in sources:
        item = _voi(source)
        if len(item):
            items.setdefault(str(item), item)
            users.setdefault(str(item), []).append(source)
    for key, item in items.items():
        if len(users[key]) < len(sources):
            item.ReferencedImageSequence = [reference(source) for source in users[key]]
    if items:
        dataset.SoftcopyVOILUTSequence = list(items.values())


def _voi(source: Dataset) -> Dataset:
    """Window and look-up tables of an image; a window that shows nothing is left away."""
    item = _copied(source, _VOI)
    centres, widths = (np.atleast_1d(item.get(k, ())) for k in ("WindowCenter", "WindowWidth"))
    if len(centres) != len(widths) or not len(widths) or min(map(float, widths)) <= 0:
        item = _copied(source, ("VOILUTSequence",))
    return item


def _keep_shutter(dataset: Dataset, source: Dataset) -> None:
    """Display Shutter (PS3.3 C.7.6.11), which a state would lift."""
    shutter = _copied(source, _SHUTTER)
    if "ShutterShape" not in shutter:
        return
    if "ShutterPresentationValue" not in shutter:
        shutter.ShutterPresentationValue = 0  # black; required in a state (PS3.3 C.11.12)
    dataset.update(shutter)


def _keep_overlays(dataset: Dataset, source: Dataset) -> None:
    """Overlay Activation (PS3.3 C.11.7): without a layer, a state would hide an overlay of the image."""
    groups = _overlay_groups(source)
    if not groups:
        return
    for group in groups:
        dataset.add_new((group, OVERLAY_ACTIVATION_LAYER), "CS", OVERLAY_LAYER)
    # Below what is drawn here, whose layers are numbered from 1.
    layer = hd.pr.GraphicLayer(OVERLAY_LAYER, 0, "Overlays of the image")
    dataset.GraphicLayerSequence = [layer, *dataset.GraphicLayerSequence]


def _overlay_groups(source: Dataset) -> list[int]:
    """Groups of the image's overlays, in ascending order."""
    return sorted({tag.group for tag in source.keys()} & set(OVERLAY_GROUPS))


def _copied(source: Dataset, keywords: Sequence[str]) -> Dataset:
    """These attributes of the source, as far as they have a value."""
    copied = Dataset()
    for keyword in keywords:
        if keyword in source and source[keyword].value not in (None, "", [], DicomSequence()):
            copied.add(copy.deepcopy(source[keyword]))
    copied.walk(_say_what_numbers_are)
    return copied


def _say_what_numbers_are(_: Dataset, element: DataElement) -> None:
    """Look-up tables of an implicit VR source: their VR depends on attributes that a state has not."""
    if element.VR in ("US or SS", "US or OW"):
        element.VR = "US" if element.VR == "US or SS" else "OW"
