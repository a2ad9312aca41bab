"""One predicate of ``app.toml``: what it asks of an instance, and how it explains itself.

A predicate is a table with an ``attribute`` and an operator, or one of ``any``, ``all``,
``not`` over further predicates::

    {attribute = "Modality", equals = "NM"}
    {attribute = "ImageType", index = 3, one_of = ["RECON TOMO", "GATED RECON TOMO"]}
    {attribute = "@minutes_after_injection", at_least = 10, at_most = 60}
    {any = [{attribute = "Radiopharmaceutical", matches = "(?i)MIBG"}, {...}]}
    {not = {attribute = "ImageType", contains = "LOCALIZER"}}

``attribute`` is a DICOM keyword, a path of keywords through sequences joined by dots, or a
derived fact ``@...`` of `operators.select.facts`. A path that reaches several items holds
when one of them fulfils the operator. An attribute that is absent, empty or undecodable
fulfils no operator but ``present = false``.

==================  ==========================================================================
``equals``          the value equals. Text: without regard to case, width (NFKC) and padding.
                    Several values without ``index`` are one text joined by a backslash
``one_of``          equals one of a list
``contains``        one of the values of a multi-valued attribute equals
``matches``         a regular expression (Python's) is found in the text, after NFKC
``at_least``        number, and every value is at least this; together with ``at_most``
``at_most``         number, and every value is at most this
``present``         true: has a value (a sequence: an item); false: has none
``index``           only the value with this number, counted from 1 as DICOM does
==================  ==========================================================================

Nothing is evaluated as code. A predicate never shows the value of an attribute that could
identify a patient (`operators.select.attributes.is_shown`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.select.attributes import LONGEST_SHOWN, Value, as_number, check_path, folded, is_shown
from operators.select.facts import FACTS

Scalar = Annotated[str | int | float, Field(union_mode="smart")]

OPERATORS = ("equals", "one_of", "contains", "matches", "at_least", "at_most", "present")

BRANCHES = ("attribute", "any", "all", "not")


class Readable(Protocol):
    """What a predicate is asked of: an instance in its series."""

    def values(self, attribute: str) -> list[tuple[Value, ...]]:
        """Values of a keyword path or fact, one tuple per element that it reaches."""

    def is_present(self, attribute: str) -> bool:
        """True when the attribute has a value, or the sequence an item."""


class Predicate(BaseModel):
    """A condition on an instance of a series; see the module for its grammar."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str | None = None
    index: int | None = Field(default=None, ge=1)
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    contains: Scalar | None = None
    matches: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    present: bool | None = None
    any_of: tuple[Predicate, ...] | None = Field(default=None, alias="any", min_length=1)
    all_of: tuple[Predicate, ...] | None = Field(default=None, alias="all", min_length=1)
    negated: Predicate | None = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _is_one_condition(self) -> Predicate:
        given = [self.attribute, self.any_of, self.all_of, self.negated]
        if sum(branch is not None for branch in given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(BRANCHES)}")
        used = [name for name in OPERATORS if getattr(self, name) is not None]
        if self.attribute is None:
            if used or self.index is not None:
                raise ValueError(f"{', '.join(used) or 'index'} needs an 'attribute' beside it")
            return self
        if len(used) != 1 and used != ["at_least", "at_most"]:
            raise ValueError(
                f"attribute {self.attribute!r} needs exactly one operator of {', '.join(OPERATORS)} "
                f"(at_least and at_most may stand together), not {', '.join(used) or 'none'}"
            )
        _check_attribute(self.attribute, may_end_in_sequence=self.present is not None)
        if self.matches is not None:
            _check_pattern(self.matches)
        return self

    def holds(self, instance: Readable) -> bool:
        """True when the instance fulfils the predicate."""
        if self.any_of is not None:
            return any(one.holds(instance) for one in self.any_of)
        if self.all_of is not None:
            return all(one.holds(instance) for one in self.all_of)
        if self.negated is not None:
            return not self.negated.holds(instance)
        attribute = self.attribute or ""
        if self.present is not None and self.index is None:
            return instance.is_present(attribute) is self.present
        found = [self._at_index(values) for values in instance.values(attribute)]
        if self.present is not None:
            return any(found) is self.present
        return any(values and self._fulfils(values) for values in found)

    def explain(self, instance: Readable) -> str:
        """Why the instance does not fulfil it, as in ``Modality is 'CT', 'NM' is needed``."""
        told = self._told(instance)
        if told != (self,):
            return ", and ".join(dict.fromkeys(one.explain(instance) for one in told))
        if self.negated is not None:
            return f"{self.negated.state(instance)}, which is not allowed"
        if self.present is not None:
            return f"{self.name} is {'missing' if self.present else 'present, which is not allowed'}"
        return f"{self.state(instance)}, {self.need} is needed"

    def state(self, instance: Readable) -> str:
        """What the instance has: ``Modality is 'CT'``, ``Modality is missing``."""
        if self.attribute is None:
            leaves = self.any_of or self.all_of or (self.negated,)
            states = (leaf.state(instance) for leaf in leaves if leaf is not None)
            return " and ".join(dict.fromkeys(states))
        found = [values for values in map(self._at_index, instance.values(self.attribute)) if values]
        fact = FACTS.get(self.attribute)
        if not found and fact is not None:
            return f"{fact.title} cannot be told from {' or '.join(fact.attributes)}"
        if not found:
            return f"{self.name} is {'present' if instance.is_present(self.attribute) else 'missing'}"
        if not self._may_show:
            return f"{self.name} is another text"
        return f"{self.name} is {' or '.join(dict.fromkeys(map(show, found)))}{self._meaning(instance)}"

    def _meaning(self, instance: Readable) -> str:
        """What the code beside a CodeValue means, in brackets."""
        path, _, keyword = (self.attribute or "").rpartition(".")
        meanings = instance.values(f"{path}.CodeMeaning") if keyword == "CodeValue" and path else []
        return f" ({', '.join(show(one).strip(chr(39)) for one in meanings)})" if meanings else ""

    def at_fault(self, instance: Readable) -> str:
        """The DICOM keyword path that a verdict names: of a fact, what it is derived from."""
        last = self._told(instance)[-1]
        if last is not self:
            return last.at_fault(instance)
        if self.attribute is None:
            return self.negated.at_fault(instance) if self.negated is not None else ""
        fact = FACTS.get(self.attribute)
        if fact is None:
            return self.attribute
        if instance.values(self.attribute):
            return fact.attributes[0]
        missing = (one for one in fact.attributes if not instance.is_present(one))
        return next(missing, fact.attributes[0])

    def _told(self, instance: Readable) -> tuple[Predicate, ...]:
        """The parts that say why it is false; a predicate without parts is its own.

        Of alternatives these are the ones up to the first whose attribute has a value: what
        comes after is a fall-back that was not looked for.
        """
        if self.all_of is not None:
            return next(((one,) for one in self.all_of if not one.holds(instance)), (self.all_of[0],))
        if self.any_of is None:
            return (self,)
        told = []
        for one in self.any_of:
            told.append(one)
            if one._has_value(instance):
                break
        return tuple(told)

    def _has_value(self, instance: Readable) -> bool:
        """True when the part that makes it false is of an attribute that is there."""
        if self.attribute is not None:
            return instance.is_present(self.attribute)
        if self.negated is not None:
            return self.negated._has_value(instance)
        return any(one._has_value(instance) for one in self._told(instance))

    @property
    def name(self) -> str:
        """How a sentence calls the attribute: ``ImageType value 3``."""
        attribute = self.attribute or ""
        fact = FACTS.get(attribute)
        name = f"{fact.title} ({fact.attributes[0]})" if fact else attribute
        return f"{name} value {self.index}" if self.index else name

    @property
    def need(self) -> str:
        """What would fulfil it: ``'NM'``, ``at least 24``, ``a text that matches '...'``."""
        wanted = self.equals if self.equals is not None else self.contains
        if wanted is not None:
            return show((wanted,))
        if self.one_of is not None:
            return " or ".join(show((one,)) for one in self.one_of)
        if self.matches is not None:
            return f"a text that matches '{self.matches}'"
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"

    @property
    def _may_show(self) -> bool:
        fact = FACTS.get(self.attribute or "")
        return fact.is_shown if fact else is_shown((self.attribute or "").rsplit(".", 1)[-1])

    def _at_index(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        if self.index is None:
            return values
        picked = values[self.index - 1 : self.index]
        return picked if picked != ("",) else ()

    def _fulfils(self, values: tuple[Value, ...]) -> bool:
        if self.equals is not None:
            return _equal(_joined(values), self.equals)
        if self.one_of is not None:
            return any(_equal(_joined(values), one) for one in self.one_of)
        if self.contains is not None:
            return any(_equal(value, self.contains) for value in values)
        if self.matches is not None:
            text = unicodedata.normalize("NFKC", str(_joined(values)))
            return _compiled(self.matches).search(text) is not None
        numbers = [as_number(value) for value in values]
        return all(number is not None and self._is_within(number) for number in numbers)

    def _is_within(self, number: float) -> bool:
        above = self.at_least is None or number >= self.at_least
        return above and (self.at_most is None or number <= self.at_most)


def show(values: tuple[Value, ...]) -> str:
    r"""Values as a sentence repeats them: short, printable, text in quotes.

    >>> show(("NM",)), show((12.0,)), show(("DERIVED", "SECONDARY"))
    ("'NM'", '12', "'DERIVED\\SECONDARY'")
    """
    joined = _joined(values)
    if isinstance(joined, float):
        return f"{joined:.6g}"
    if isinstance(joined, int):
        return str(joined)
    text = "".join(c if c.isprintable() else "?" for c in joined)
    return f"'{text[:LONGEST_SHOWN]}{'...' if len(text) > LONGEST_SHOWN else ''}'"


def _joined(values: tuple[Value, ...]) -> Value:
    return values[0] if len(values) == 1 else "\\".join(str(value) for value in values)


def _equal(value: Value, wanted: Value) -> bool:
    if isinstance(wanted, str):
        return folded(str(value)) == folded(wanted)
    number = as_number(value)
    return number is not None and number == float(wanted)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _check_pattern(pattern: str) -> None:
    try:
        _compiled(pattern)
    except re.error as error:
        raise ValueError(f"matches {pattern!r} is not a regular expression: {error}") from error


def _check_attribute(attribute: str, *, may_end_in_sequence: bool) -> None:
    if not attribute.startswith("@"):
        check_path(attribute, may_end_in_sequence=may_end_in_sequence)
    elif attribute not in FACTS:
        raise ValueError(f"{attribute!r} is not a fact; allowed: {', '.join(FACTS)}")
