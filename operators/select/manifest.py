"""The typed model of an app's ``app.toml``: the schema, its defaults and its checks.

::

    [app]
    name = "mibg_spect"               # the folder's name
    version = "0.1.0"
    title = "..."                     # what a person calls it
    intended_use = "..."

    [training]
    kind = "synthetic"                # or a site's name
    statement = "research use, trained on synthetic data"

    [model]                           # left out by an app without weights
    bundle = "model"                  # folder below the app
    digest = "sha256:..."             # `operators.select.digests.bundle_digest` of it

    [limits]
    time_limit_s = 120
    memory_mb = 6000
    device = "auto"                   # auto | cpu | cuda

    [[input]]
    name = "early"
    title = "early I-123 MIBG SPECT"
    kind = "image"                    # image | video | document (a SEG or SR, no pixels asked)
    takes = "one"                     # one series, or "every" instance that fits, of any series
    when_outside = "refuse"           # or "leave_out": go on without it, with a warning

    [[input.match]]                   # predicates, see `operators.select.predicates`
    attribute = "Modality"
    equals = "NM"

    [[input.envelope]]                # a predicate, with
    attribute = "@slice_count"
    at_least = 24
    reason = "at least 24 reconstructed slices are needed"
    severity = "refuse"               # or "warn": taken, with the reason as a warning
                                      # or "pass_over": as refuse, but untold where another series fits

    [[input.prefer]]                  # of several series that fit; the first one listed weighs most
    attribute = "@is_contrast_enhanced"
    equals = 0

    [study]
    claims = ["early", "late"]        # default: every input
    needs_any = [["early", "late"]]   # default: every input on its own
    reason_needs = "..."              # what a person reads when a need is not met

    [[setting]]                       # what a site may set in [route.settings]
    name = "segmentation_kind"
    title = "how the SEG is encoded"
    kind = "text"                     # text | flag | number | whole_number
                                      # | numbers_by_name | positive_numbers_by_name
    allowed = ["BINARY", "LABELMAP"]  # of a text; of numbers_by_name the names, all of them needed
    at_least = 2                      # of a number
    at_most = 50

    [[output]]
    role = "segmentation"
    sop_class = "1.2.840.10008.5.1.4.1.1.66.4"
    count = "1"                       # "1", "0..1" or "1..n"
    sop_class_by_setting = ["1.2.840.10008.5.1.4.1.1.66.7"]  # what a site's settings may make of it

``match`` decides whether a series *is* this input: a predicate that no instance fulfils
makes it another series, none of the app's business. A series of which only some instances
fulfil all of ``match`` is mixed and counts as outside the envelope. ``envelope`` is asked of
a series that matches; what is false there is a refusal that a person reads (or a warning).
Of several series that fit, the one is taken that fulfils ``prefer`` best, then the one with
the most slices, then the latest.

An input with ``takes = "every"`` is made of every instance of the study that fulfils ``match``
and the envelope, the earliest first. For it a series of which only some instances match is not
mixed: views and retakes lie in one series or in several. An instance outside of the envelope is
left out with a warning (not with ``pass_over``, where another one fits); the study is refused,
with the reason of each, when none fits. All together must fit into the app's memory. ``prefer`` has no
meaning beside it. A study is still refused when one instance would be two inputs.

What every app needs is asked without being written: identifiers, pixels that can be
decoded, geometry (`operators.select.required`).
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from operators.errors import AppError
from operators.select.predicates import Predicate

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
SopClassUid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)+$", max_length=64)]


class BrokenManifest(AppError):
    """An app.toml is wrong; the message names the file, the key, the value and what is allowed."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Table):
    """``[app]``: what the app is."""

    name: Name
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+([-+.].+)?$")]
    title: Text
    intended_use: Text


class Training(_Table):
    """``[training]``: on what the model was trained, and the sentence that results carry."""

    kind: Text
    statement: Text


class Model(_Table):
    """``[model]``: the bundle's folder below the app, and the digest of its files."""

    bundle: Text = "model"
    digest: Digest

    @model_validator(mode="after")
    def _stays_below_the_app(self) -> Model:
        if Path(self.bundle).is_absolute() or ".." in Path(self.bundle).parts:
            raise ValueError(f"bundle {self.bundle!r} must be a folder below the app")
        return self


class Limits(_Table):
    """``[limits]``: what one analysis may use."""

    time_limit_s: float = Field(default=120.0, gt=0)
    memory_mb: int = Field(default=6000, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class EnvelopeRule(Predicate):
    """A predicate on a series that matches, and what a person reads when it is false."""

    reason: Text
    severity: Literal["refuse", "warn", "pass_over"] = "refuse"


class Input(_Table):
    """``[[input]]``: one series, or every instance of a kind, that the app looks for."""

    name: Name
    title: Text
    kind: Literal["image", "video", "document"] = "image"
    takes: Literal["one", "every"] = "one"
    when_outside: Literal["refuse", "leave_out"] = "refuse"
    match: tuple[Predicate, ...] = Field(min_length=1)
    envelope: tuple[EnvelopeRule, ...] = ()
    prefer: tuple[Predicate, ...] = ()

    @model_validator(mode="after")
    def _prefers_among_series_only(self) -> Input:
        if self.takes == "every" and self.prefer:
            raise ValueError("'prefer' chooses among series; with takes = 'every' nothing is chosen")
        return self


class Study(_Table):
    """``[study]``: when a study is for this app, and which inputs it must have."""

    claims: tuple[Name, ...] | None = None
    needs_any: tuple[tuple[Name, ...], ...] | None = None
    reason_needs: str = ""


class Setting(_Table):
    """``[[setting]]``: one key that a site may set in ``[route.settings]``."""

    name: Name
    title: Text
    kind: Literal["text", "flag", "number", "whole_number", "numbers_by_name", "positive_numbers_by_name"]
    allowed: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    def problem(self, value: object) -> str:
        """What is wrong with a value, empty when nothing is."""
        if self.kind.endswith("numbers_by_name"):
            return self._problem_of_table(value)
        fits = {
            "text": isinstance(value, str),
            "flag": isinstance(value, bool),
            "number": _is_number(value),
            "whole_number": _is_number(value) and isinstance(value, int),
        }
        if not fits[self.kind]:
            named = "true or false" if self.kind == "flag" else f"a {self.kind.replace('_', ' ')}"
            return f"allowed is {named}"
        if self.allowed and value not in self.allowed:
            return f"allowed are {', '.join(self.allowed)}"
        if isinstance(value, int | float) and not self._is_within(value):
            return f"allowed is {self._range()}"
        return ""

    def _problem_of_table(self, value: object) -> str:
        is_positive = self.kind == "positive_numbers_by_name"
        good = isinstance(value, dict) and all(
            _is_number(one) and (one > 0 or not is_positive) for one in value.values()
        )
        if not good:
            return f"allowed is a table of names with a {'positive ' if is_positive else ''}number each"
        if self.allowed and isinstance(value, dict) and set(value) != set(self.allowed):
            return f"allowed is a table with a number for each of {', '.join(self.allowed)}"
        return ""

    def _is_within(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def _range(self) -> str:
        ends = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{name} {end:g}" for name, end in ends if end is not None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Output(_Table):
    """``[[output]]``: objects that the app promises to make."""

    role: Name
    sop_class: SopClassUid
    sop_class_by_setting: tuple[SopClassUid, ...] = ()
    count: Literal["1", "0..1", "1..n"] = "1"


class AppManifest(_Table):
    """Everything that an ``app.toml`` says."""

    app: About
    training: Training
    model: Model | None = None
    limits: Limits = Limits()
    inputs: tuple[Input, ...] = Field(alias="input", min_length=1)
    study: Study = Study()
    outputs: tuple[Output, ...] = Field(alias="output", min_length=1)
    settings: tuple[Setting, ...] = Field(alias="setting", default=())

    @property
    def claims(self) -> tuple[str, ...]:
        """Inputs that make a study the app's business."""
        return self.study.claims if self.study.claims is not None else tuple(i.name for i in self.inputs)

    @property
    def needs_any(self) -> tuple[tuple[str, ...], ...]:
        """Groups of inputs, of each of which at least one is needed."""
        groups = self.study.needs_any
        return groups if groups is not None else tuple((i.name,) for i in self.inputs)

    def settings_problem(self, given: Mapping[str, object]) -> str:
        """What is wrong with a site's settings: key, value and what is allowed; empty when nothing is."""
        known = {one.name: one for one in self.settings}
        for name, value in given.items():
            if name not in known:
                return f"settings.{name}: unknown key; allowed are {', '.join(known) or 'none'}"
            if wrong := known[name].problem(value):
                return f"settings.{name} = {value!r}: {wrong}"
        return ""

    def input_named(self, name: str) -> Input:
        """The input with this name."""
        return next(one for one in self.inputs if one.name == name)

    @model_validator(mode="after")
    def _names_agree(self) -> AppManifest:
        names = [one.name for one in self.inputs]
        for kind, given in (("input", names), ("output", [one.role for one in self.outputs])):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} is described twice")
        for key, used in (("claims", self.claims), ("needs_any", sum(self.needs_any, ()))):
            unknown = [name for name in used if name not in names]
            if unknown:
                raise ValueError(f"study.{key}: {unknown[0]!r} is not an input; allowed: {', '.join(names)}")
        return self


def load_manifest(path: Path) -> AppManifest:
    """The manifest in this file, checked.

    Raises:
        BrokenManifest: The file cannot be read, is not TOML, or a key is wrong; one line
            per wrong key, each naming the file, the key, the value and what is allowed.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BrokenManifest(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenManifest(f"{path}: is not TOML: {error}") from error
    return parse_manifest(raw, name=str(path))


def parse_manifest(raw: dict[str, Any], *, name: str = "app.toml") -> AppManifest:
    """The manifest that these tables describe; ``name`` is what an error calls the file.

    Raises:
        BrokenManifest: As for `load_manifest`.
    """
    try:
        return AppManifest.model_validate(raw)
    except ValidationError as error:
        told = [one for one in error.errors(include_url=False) if not _follows_from_another(one, error)]
        lines = [f"{name}: {_sentence(one, AppManifest)}" for one in told]
        raise BrokenManifest("\n".join(lines)) from error


def _follows_from_another(one: Any, error: ValidationError) -> bool:
    """True for a list that is called too short only because its members are wrong."""
    depth = len(one["loc"])
    others = (other["loc"] for other in error.errors(include_url=False) if len(other["loc"]) > depth)
    return one["type"] == "too_short" and any(other[:depth] == one["loc"] for other in others)


def _sentence(error: Any, model: type[BaseModel]) -> str:
    """One line of a validation error: key, value, what is allowed."""
    location = error["loc"]
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f" (perhaps {near[0]!r})" if near else ""
        return f"{key} is not a key that is known{hint}; allowed: {', '.join(known)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key} = {error['input']!r} is not allowed: {message}"


def _keys_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at this place of the file may have."""
    for part in location:
        if isinstance(part, int):
            continue
        field = next(
            (field for name, field in model.model_fields.items() if part in (name, field.alias)), None
        )
        inner = _table_in(field.annotation) if field else None
        if inner is None:
            break
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside of an annotation such as ``tuple[Input, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _table_in(argument)
        if found is not None:
            return found
    return None
