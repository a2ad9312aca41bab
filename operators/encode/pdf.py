"""The page that a person reads: one sheet of A4, and its Encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepInFrame, Paragraph, Spacer, Table, TableStyle

from operators.encode.context import complete, local_time, reference
from operators.encode.identity import Producer
from operators.encode.secondary_capture import new_object

JAPANESE_FONT = "HeiseiKakuGo-W5"
MARGIN_MM = 14
WARNING_COLOUR = colors.HexColor("#8a3b00")
STATEMENT_COLOUR = colors.HexColor("#b00020")
INK = colors.HexColor("#1b2a38")
FAINT_INK = colors.HexColor("#51606d")
LINE = colors.HexColor("#c5ced6")
SHADE = colors.HexColor("#eef2f5")

_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=8.2, leading=10.4, textColor=INK)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontName="Helvetica-Bold", fontSize=15, leading=18)
_HEADING = ParagraphStyle("heading", parent=_TEXT, fontName="Helvetica-Bold", fontSize=9.4, leading=12)
_SMALL = ParagraphStyle(
    "small", parent=_TEXT, fontSize=6.8, leading=8.4, textColor=colors.HexColor("#51606d")
)
_WARNING = ParagraphStyle("warning", parent=_TEXT, textColor=WARNING_COLOUR)
_STATEMENT = ParagraphStyle(
    "statement", parent=_TEXT, fontName="Helvetica-Bold", alignment=1, textColor=STATEMENT_COLOUR
)
_BEYOND_LATIN = re.compile(r"[^\x00-\xff\u2013\u2014\u2018-\u201d\u2022\u2026]+")


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """A table of the page.

    Args:
        title: Above it.
        header: First row.
        rows: The others, as long as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A picture of the page.

    Args:
        png: The file's bytes.
        caption: Below it.
        width_fraction: Of the page's width, 0 to 1.
    """

    png: bytes
    caption: str
    width_fraction: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report says, in the order in which it is read.

    Args:
        title: Of the report.
        summary: The result in one sentence.
        tables: Numbers; two stand side by side.
        figures: Pictures, one below the other.
        warnings: Sentences that a reader must see.
        notes: Small print: method, limits.
    """

    title: str
    summary: str
    tables: tuple[PageTable, ...]
    figures: tuple[PageFigure, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def render_page(page: Page, source: Dataset, producer: Producer) -> bytes:
    """The PDF of a report, one page of A4 whatever its content.

    Args:
        page: What to say.
        source: Header of an analysed image, for patient and study.
        producer: Who made it.
    """
    pdfmetrics.registerFont(UnicodeCIDFont(JAPANESE_FONT))
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=0)
    canvas.setSubject(producer.statement)
    canvas.setTitle(page.title)
    canvas.setAuthor(producer.model_name)
    width, height = A4[0] - 2 * MARGIN_MM * mm, A4[1] - 2 * MARGIN_MM * mm
    footer = _footer(producer, source)
    _, footer_height = footer.wrap(width, height)
    footer.drawOn(canvas, MARGIN_MM * mm, MARGIN_MM * mm)
    body = KeepInFrame(
        width, height - footer_height - 6, _story(page, source, producer, width), mode="shrink"
    )
    _, used = body.wrapOn(canvas, width, height - footer_height - 6)
    body.drawOn(canvas, MARGIN_MM * mm, A4[1] - MARGIN_MM * mm - used)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def build_encapsulated_pdf(
    pdf: bytes,
    sources: Sequence[Dataset],
    producer: Producer,
    *,
    title: str,
    role: str = "report_pdf",
    series_label: str = "PDF report",
    ordinal: int = 4,
) -> Dataset:
    """A PDF inside of a DICOM object.

    Args:
        pdf: The file's bytes.
        sources: Headers of the images that it reports on.
        producer: Who made it.
        title: Document Title, at most 64 characters are kept.
        role: Part of what the UIDs derive from.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.

    Raises:
        ValueError: The bytes are not a PDF.
    """
    if not pdf.startswith(b"%PDF-"):
        raise ValueError("the document does not start like a PDF")
    document = new_object(
        EncapsulatedPDFStorage, sources[0], producer, role=role, series_role=role, ordinal=ordinal
    )
    document.Modality = "DOC"
    document.ConversionType = "WSD"
    document.InstanceNumber = 1
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.DocumentTitle = title[:64]
    document.ConceptNameCodeSequence = [_concept_name()]
    document.SourceInstanceSequence = [reference(source) for source in sources]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = pdf + b"\x00" * (len(pdf) % 2)
    document.EncapsulatedDocumentLength = len(pdf)
    complete(document, sources[0], producer, label=series_label)
    return document


def _concept_name() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "126000", "DCM"
    code.CodeMeaning = "Imaging Measurement Report"
    return code


def markup(text: str) -> str:
    """Text as reportlab's markup, with a Japanese font where Helvetica has no glyph.

    >>> markup("Yamada 山田 < 1")
    'Yamada <font name="HeiseiKakuGo-W5">山田</font> &lt; 1'
    """
    return _BEYOND_LATIN.sub(lambda run: f'<font name="{JAPANESE_FONT}">{run.group()}</font>', escape(text))


def _story(page: Page, source: Dataset, producer: Producer, width: float) -> list[Flowable]:
    story: list[Flowable] = [Paragraph(markup(page.title), _TITLE)]
    if producer.statement:
        story += [Spacer(1, 3), _banner(producer.statement, width)]
    story += [Spacer(1, 4), _patient_table(source, width), Spacer(1, 5)]
    story += [Paragraph(markup(page.summary), _HEADING), Spacer(1, 3)]
    story += [_warning_box(page.warnings, width), Spacer(1, 4)] if page.warnings else []
    for start in range(0, len(page.tables), 2):
        story += [_side_by_side(page.tables[start : start + 2], width), Spacer(1, 5)]
    for figure in page.figures:
        story += [_image(figure, width), Paragraph(markup(figure.caption), _SMALL), Spacer(1, 4)]
    return story + [Paragraph(markup(note), _SMALL) for note in page.notes]


def _banner(statement: str, width: float) -> Flowable:
    banner = Table(
        [[Paragraph(markup(statement[:1].upper() + statement[1:]), _STATEMENT)]], colWidths=[width]
    )
    banner.setStyle(TableStyle([("BOX", (0, 0), (-1, -1), 0.8, STATEMENT_COLOUR), *_padding(3)]))
    return banner


def _warning_box(warnings: Sequence[str], width: float) -> Flowable:
    lines = [[Paragraph("• " + markup(warning), _WARNING)] for warning in warnings]
    box = Table(lines, colWidths=[width])
    box.setStyle(TableStyle([("LINEBEFORE", (0, 0), (0, -1), 2, WARNING_COLOUR), *_padding(1.5)]))
    return box


def _patient_table(source: Dataset, width: float) -> Flowable:
    name = "   ".join(part for part in str(source.get("PatientName", "")).split("=") if part)
    study = " ".join(
        t for t in (_date(source.get("StudyDate")), str(source.get("StudyDescription", ""))) if t
    )
    sex_age = " ".join(str(source.get(k, "")) for k in ("PatientSex", "PatientAge")).strip()
    cells = [
        ("Patient", name.replace("^", " ")), ("Patient ID", str(source.get("PatientID", ""))),
        ("Born", _date(source.get("PatientBirthDate"))), ("Sex, age", sex_age),
        ("Study", study), ("Accession", str(source.get("AccessionNumber", ""))),
    ]  # fmt: skip
    flat = [Paragraph(f"<b>{label}</b>&nbsp;&nbsp;{markup(value or '–')}", _TEXT) for label, value in cells]
    table = Table([flat[i : i + 2] for i in range(0, len(flat), 2)], colWidths=[width * 0.62, width * 0.38])
    style = [("BACKGROUND", (0, 0), (-1, -1), SHADE), *_padding(2)]
    table.setStyle(TableStyle(style))
    return table


def _date(value: Any) -> str:
    """A date as it is read, ISO 8601; other text as it stands."""
    text = str(value or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _side_by_side(tables: Sequence[PageTable], width: float) -> Flowable:
    gap = 8.0
    each = (width - gap * (len(tables) - 1)) / len(tables)
    cells: list[list[Flowable]] = []
    for table in tables:
        cells.append([Paragraph(markup(table.title), _HEADING), Spacer(1, 2), _numbers(table, each)])
    row = Table([cells], colWidths=[each + gap] * (len(cells) - 1) + [each])
    row.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0)]))
    return row


def _numbers(table: PageTable, width: float) -> Flowable:
    rows = [[Paragraph(f"<b>{markup(c)}</b>", _TEXT) for c in table.header]]
    rows += [[Paragraph(markup(c), _TEXT) for c in row] for row in table.rows]
    others = len(table.header) - 1
    first = width * (0.46 if others > 1 else 0.62)
    flowable = Table(rows, colWidths=[first] + [(width - first) / max(others, 1)] * others)
    style: list[tuple[Any, ...]] = [("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE)]
    style += [("BACKGROUND", (0, 0), (-1, 0), SHADE), *_padding(1.6)]
    flowable.setStyle(TableStyle(style))
    return flowable


def _padding(points: float) -> list[tuple[Any, ...]]:
    sides = [("TOPPADDING", points), ("BOTTOMPADDING", points)]
    sides += [("LEFTPADDING", 2 * points), ("RIGHTPADDING", 2 * points)]
    return [(side, (0, 0), (-1, -1), value) for side, value in sides]


def _image(figure: PageFigure, width: float) -> Flowable:
    image = Image(io.BytesIO(figure.png))
    wanted = width * figure.width_fraction
    image.drawHeight, image.drawWidth = image.drawHeight * wanted / image.drawWidth, wanted
    image.hAlign = "LEFT" if figure.width_fraction > 0.9 else "CENTER"
    return image


def _footer(producer: Producer, source: Dataset) -> Flowable:
    made = local_time(source, producer).strftime("%Y-%m-%d %H:%M %z")
    text = (
        f"{producer.title}, {producer.app} {producer.app_version}, model {producer.model_digest[:23]}…, "
        f"trained on: {producer.training_kind}. Made {made} by {producer.node_name}. "
        f"Not verified by a physician. {producer.intended_use}"
    )
    return Paragraph(markup(text), _SMALL)
