"""The page that a person reads, and its Encapsulated PDF (PS3.3 A.45.1).

One sheet of A4 with the result; tables too long for it follow on sheets of their own.
"""

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
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, Paragraph, Spacer, Table, TableStyle

from operators.encode.context import complete, local_time, reference
from operators.encode.identity import Producer
from operators.encode.secondary_capture import new_object

JAPANESE_FONT = "HeiseiKakuGo-W5"
MARGIN_MM = 14
CAPTION_POINTS = 12.0
FOOTER_GAP = 6.0
LEAST_TABLE_POINTS = 60.0
"""A table begins on a new sheet when less than this is left of one."""
SCALES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.5, 0.4)
"""Tried in turn; the first at which everything fits is used."""
LEAST_PICTURE_SHARE = 0.7
"""Pictures are not shrunk below this share of the page's width; the text is shrunk instead."""
WIDE_FIRST_SHARE = 0.3
"""Width of the first column of a wide table, which names what the others are numbers of."""
WARNING_COLOUR = colors.HexColor("#8a3b00")
STATEMENT_COLOUR = colors.HexColor("#b00020")
INK = colors.HexColor("#1b2a38")
FAINT_INK = colors.HexColor("#51606d")
LINE = colors.HexColor("#c5ced6")
SHADE = colors.HexColor("#eef2f5")

_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=7.8, leading=9.6, textColor=INK)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontName="Helvetica-Bold", fontSize=15, leading=18)
_HEADING = ParagraphStyle("heading", parent=_TEXT, fontName="Helvetica-Bold", fontSize=9.4, leading=12)
_SMALL = ParagraphStyle(
    "small", parent=_TEXT, fontSize=6.8, leading=8.4, textColor=colors.HexColor("#51606d")
)
_WARNING = ParagraphStyle("warning", parent=_TEXT, textColor=WARNING_COLOUR)
_HEADER = ParagraphStyle("header", parent=_TEXT, fontName="Helvetica-Bold")
_STATEMENT = ParagraphStyle(
    "statement", parent=_TEXT, fontName="Helvetica-Bold", alignment=1, textColor=STATEMENT_COLOUR
)
_BEYOND_LATIN = re.compile(r"[^\x00-\xff\u2013\u2014\u2018-\u201d\u2022\u2026]+")


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """A table of the page.

    Args:
        title: Above it.
        header: First row; empty for a table without one.
        rows: The others, all of one length.
        is_wide: It has the whole width of the page, below the tables that stand side by side.
        emphasised: Indices of rows that a reader must not take for the others, such as a
            structure that is not wholly in the image; in the colour of warnings.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_wide: bool = False
    emphasised: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A picture of the page.

    Args:
        png: The file's bytes.
        caption: Below it.
    """

    png: bytes
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report says, in the order in which it is read.

    Args:
        title: Of the report.
        summary: The result in one sentence.
        tables: Numbers; two stand side by side, wide ones below.
        figures: Rows of pictures, which share the room that text and tables leave.
        warnings: Sentences that a reader must see.
        notes: Small print: method, limits.
        appendix: Tables of the page's full width, on sheets after the first one; a table that
            is longer than a sheet goes on with its header repeated.
    """

    title: str
    summary: str
    tables: tuple[PageTable, ...]
    figures: tuple[tuple[PageFigure, ...], ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    appendix: tuple[PageTable, ...] = ()


def render_page(page: Page, source: Dataset, producer: Producer) -> bytes:
    """The PDF of a report: one page of A4 whatever its content, and the sheets of its appendix.

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
    head = _sheet_head(page, source, producer, width)
    head_height = sum(_heights(head, width))
    _, footer_height = _footer(producer, source, "page 1 of 9" if page.appendix else "").wrap(width, height)
    room = height - footer_height - FOOTER_GAP
    sheets = [[*head, *sheet] for sheet in _sheets(page.appendix, width, room - head_height)]
    scale, story = _fitting_story(page, source, producer, (width, room))
    for number, (drawn, drawn_scale) in enumerate([(story, scale), *((s, 1.0) for s in sheets)], start=1):
        numbering = f"page {number} of {len(sheets) + 1}" if sheets else ""
        footer = _footer(producer, source, numbering)
        footer.wrap(width, height)
        footer.drawOn(canvas, MARGIN_MM * mm, MARGIN_MM * mm)
        _draw(canvas, drawn, width, drawn_scale)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _draw(canvas: Canvas, story: Sequence[Flowable], width: float, scale: float) -> None:
    canvas.saveState()
    canvas.translate(MARGIN_MM * mm, A4[1] - MARGIN_MM * mm)
    canvas.scale(scale, scale)
    y = 0.0
    for flowable, needed in zip(story, _heights(story, width / scale), strict=True):
        y -= needed
        flowable.drawOn(canvas, 0, y)
    canvas.restoreState()


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
    complete(document, sources[0], producer, label=series_label, texts=[title])
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


def _fitting_story(
    page: Page, source: Dataset, producer: Producer, room: tuple[float, float]
) -> tuple[float, list[Flowable]]:
    """The largest scale at which text, tables and legible pictures fit, and what is drawn at it."""
    width, height = room
    for scale in SCALES:
        head = _head(page, source, producer, width / scale)
        foot: list[Flowable] = [Paragraph(markup(note), _SMALL) for note in page.notes]
        left = height / scale - sum(_heights([*head, *foot], width / scale))
        pictures = _pictures(page.figures, width / scale, left)
        story = [*head, *pictures, *foot]
        if pictures or not page.figures:
            break
    return scale, story


def _sheet_head(page: Page, source: Dataset, producer: Producer, width: float) -> list[Flowable]:
    """What every sheet after the first begins with: whose it is, and what every reader must see."""
    story: list[Flowable] = [Paragraph(markup(page.title), _HEADING), Spacer(1, 3)]
    if producer.statement:
        story += [_banner(producer.statement, width), Spacer(1, 4)]
    return [*story, _patient_table(source, width), Spacer(1, 6)]


def _sheets(tables: Sequence[PageTable], width: float, room: float) -> list[list[Flowable]]:
    """Tables under their titles, cut where a sheet ends."""
    sheets: list[list[Flowable]] = []
    left = 0.0
    for table in tables:
        rest: Flowable | None = _long_table(table, width)
        title = Paragraph(markup(table.title), _HEADING)
        while rest is not None:
            heading = [title, Spacer(1, 2)]
            needed = sum(_heights(heading, width))
            if left < needed + LEAST_TABLE_POINTS:
                sheets.append([])
                left = room
            is_too_long = rest.wrap(width, room)[1] > left - needed
            # Nothing comes back for a single row higher than a sheet, which is then drawn over its end.
            parts = (rest.split(width, left - needed) if is_too_long else []) or [rest]
            first, rest = parts[0], parts[1] if len(parts) > 1 else None
            story = [*heading, first, Spacer(1, 8)]
            sheets[-1] += story
            left -= sum(_heights(story, width))
            title = Paragraph(markup(f"{table.title} (continued)"), _HEADING)
    return sheets


def _long_table(table: PageTable, width: float) -> Flowable:
    """A table of full width: names on the left, numbers aligned on the right, the header on each part."""
    columns = len(table.rows[0])
    first = width * max(0.2, 0.42 - 0.02 * columns)
    rows = [_cells(table.header, _HEADER)] if table.header else []
    rows += [
        _cells(row, _WARNING if number in table.emphasised else _TEXT)
        for number, row in enumerate(table.rows)
    ]
    flowable = Table(
        rows,
        colWidths=[first] + [(width - first) / max(columns - 1, 1)] * (columns - 1),
        repeatRows=1 if table.header else 0,
    )
    style: list[tuple[Any, ...]] = [("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE)]
    style += [("BACKGROUND", (0, 0), (-1, 0), SHADE)] if table.header else []
    flowable.setStyle(TableStyle([*style, ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_padding(1.1)]))
    return flowable


def _cells(row: Sequence[str], style: ParagraphStyle) -> list[Paragraph]:
    numbers = ParagraphStyle(f"{style.name} number", parent=style, alignment=TA_RIGHT)
    return [Paragraph(markup(cell), numbers if place else style) for place, cell in enumerate(row)]


def _heights(story: Sequence[Flowable], width: float) -> list[float]:
    return [flowable.wrap(width, A4[1] * 10)[1] for flowable in story]


def _head(page: Page, source: Dataset, producer: Producer, width: float) -> list[Flowable]:
    story: list[Flowable] = [Paragraph(markup(page.title), _TITLE)]
    if producer.statement:
        story += [Spacer(1, 3), _banner(producer.statement, width)]
    story += [Spacer(1, 4), _patient_table(source, width), Spacer(1, 5)]
    story += [Paragraph(markup(page.summary), _HEADING), Spacer(1, 3)]
    story += [_warning_box(page.warnings, width), Spacer(1, 4)] if page.warnings else []
    narrow = [table for table in page.tables if not table.is_wide]
    story += [_two_columns(narrow, width), Spacer(1, 5)] if narrow else []
    for table in page.tables:
        if table.is_wide:
            story += [Paragraph(markup(table.title), _HEADING), Spacer(1, 1.5)]
            story += [_numbers(table, width), Spacer(1, 5)]
    return story


def _pictures(rows: Sequence[Sequence[PageFigure]], width: float, room: float) -> list[Flowable]:
    """Rows of pictures of equal height in a row, shrunk into the room; none when illegible."""
    if not rows:
        return []
    natural = [width / sum(_aspect(figure) for figure in row) for row in rows]
    heights = _shared(natural, room - len(rows) * CAPTION_POINTS)
    shares = [height / full for height, full in zip(heights, natural, strict=True)]
    if min(shares) < LEAST_PICTURE_SHARE:
        return []
    return [_picture_row(row, height, width) for row, height in zip(rows, heights, strict=True)]


def _shared(natural: Sequence[float], room: float) -> list[float]:
    """Heights that fill the room at most: the tallest give way first.

    >>> _shared([50.0, 10.0], 40.0)
    [30.0, 10.0]
    """
    limit, left = 0.0, room
    for number, height in enumerate(sorted(natural)):
        limit = max(left / (len(natural) - number), 0.0)
        if height > limit:
            break
        left, limit = left - height, height
    return [min(height, limit) for height in natural]


def _aspect(figure: PageFigure) -> float:
    width, height = ImageReader(io.BytesIO(figure.png)).getSize()
    return float(width) / float(height)


def _picture_row(row: Sequence[PageFigure], height: float, width: float) -> Flowable:
    widths = [height * _aspect(figure) for figure in row]
    images = [Image(io.BytesIO(f.png), width=w - 2, height=height) for f, w in zip(row, widths, strict=True)]
    captions = [Paragraph(markup(figure.caption), _SMALL) for figure in row]
    table = Table([images, captions], colWidths=widths, rowHeights=[height + 1, CAPTION_POINTS - 1])
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0)]))
    return Table(
        [[table]], colWidths=[width], style=TableStyle([("ALIGN", (0, 0), (-1, -1), "CENTER"), *_padding(0)])
    )


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


def _two_columns(tables: Sequence[PageTable], width: float) -> Flowable:
    """Tables in reading order left, right, left, right, each column without holes."""
    gap = 8.0
    each = (width - gap) / 2
    columns: tuple[list[Flowable], list[Flowable]] = ([], [])
    for number, table in enumerate(tables):
        title = Paragraph(markup(table.title), _HEADING)
        columns[number % 2].extend([title, Spacer(1, 1.5), _numbers(table, each), Spacer(1, 4)])
    row = Table([list(columns)], colWidths=[each + gap, each])
    row.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0)]))
    return row


def _numbers(table: PageTable, width: float) -> Flowable:
    rows = [[Paragraph(f"<b>{markup(c)}</b>", _TEXT) for c in table.header]] if table.header else []
    rows += [
        [Paragraph(markup(c), _WARNING if number in table.emphasised else _TEXT) for c in row]
        for number, row in enumerate(table.rows)
    ]
    others = len(table.rows[0]) - 1
    first = width * (WIDE_FIRST_SHARE if table.is_wide else 0.46 if others > 1 else 0.62)
    flowable = Table(rows, colWidths=[first] + [(width - first) / max(others, 1)] * others)
    style: list[tuple[Any, ...]] = [("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE)]
    style += [("BACKGROUND", (0, 0), (-1, 0), SHADE)] if table.header else []
    style += [("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_padding(1.3)]
    flowable.setStyle(TableStyle(style))
    return flowable


def _padding(points: float) -> list[tuple[Any, ...]]:
    sides = [("TOPPADDING", points), ("BOTTOMPADDING", points)]
    sides += [("LEFTPADDING", 2 * points), ("RIGHTPADDING", 2 * points)]
    return [(side, (0, 0), (-1, -1), value) for side, value in sides]


def _footer(producer: Producer, source: Dataset, numbering: str) -> Flowable:
    made = local_time(source, producer).strftime("%Y-%m-%d %H:%M %z")
    text = (
        f"{producer.title}, {producer.app} {producer.app_version}, model {producer.model_digest[:23]}…, "
        f"trained on: {producer.training_kind}. Made {made} by {producer.node_name}. "
        f"Not verified by a physician. {producer.intended_use}" + (f" – {numbering}" if numbering else "")
    )
    return Paragraph(markup(text), _SMALL)
