"""What the graph of spine_metastasis carries from judging to encoding, and the sentences about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.spine_metastasis.classify import CAUSES, MALIGNANT, OSTEOPOROTIC, SURE, JudgedVertebra, Presence
from apps.spine_metastasis.labels import UNLABELLED, Weighting
from apps.spine_metastasis.levels import Spine, Vertebra
from apps.spine_metastasis.stack import SagittalStack
from operators.encode.classification import percent_text
from operators.errors import Refused
from operators.read.patient_age import check_adult

LEARNED_YEARS = 38.0
"""Younger patients are not among those learned from."""
NOT_FOUND = "no fractured vertebra was found"
NOT_ASSESSED = (
    "Vertebrae that are not freshly fractured are not assessed: a metastasis without a fracture is not "
    "looked for, and that no fractured vertebra was found does not mean that there is no metastasis."
)
COUNTED = (
    "Levels are counted upwards from the sacrum with five lumbar vertebrae taken for granted; with a "
    "transitional vertebra every name is off by one"
)
NO_SACRUM = (
    "the sacrum was not found in the pictures, so levels cannot be counted: vertebrae have an unlabelled "
    "level"
)
SACRUM_DOUBTED = (
    "what looks like the first sacral vertebra has a spine below it and was not believed, so levels cannot "
    "be counted: vertebrae have an unlabelled level"
)
MISSING = {
    Weighting.T1: "sagittal T1 (without contrast agent, without fat suppression)",
    Weighting.STIR: "sagittal STIR",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Everything that pictures, report and tables are made of.

    A negative answer holds for `examined` alone, which is told beside it wherever it stands.

    Args:
        stacks: The sequences that were analysed.
        spine: Vertebrae and sacrum.
        judged: Every vertebra with its probabilities, from head to feet.
        warnings: Every sentence that a reader must see.
    """

    stacks: Mapping[Weighting, SagittalStack]
    spine: Spine
    judged: tuple[JudgedVertebra, ...]
    warnings: tuple[str, ...]

    @property
    def fractured(self) -> tuple[JudgedVertebra, ...]:
        """The freshly fractured vertebrae, from head to feet."""
        return tuple(one for one in self.judged if one.is_fractured)

    @property
    def possible(self) -> tuple[JudgedVertebra, ...]:
        """Those of which it is uncertain whether they are fractured, from head to feet."""
        return tuple(one for one in self.judged if one.presence is Presence.POSSIBLE)

    @property
    def told(self) -> tuple[JudgedVertebra, ...]:
        """Fractures and possible ones, from head to feet."""
        return tuple(one for one in self.judged if one.is_told)

    @property
    def examined(self) -> tuple[JudgedVertebra, ...]:
        """Those of which it is said whether they are fractured, from head to feet."""
        return tuple(one for one in self.judged if one.presence is not Presence.NOT_ASSESSED)

    @property
    def not_assessed(self) -> tuple[JudgedVertebra, ...]:
        """Those at the border of the pictures that show no fracture there, from head to feet."""
        return tuple(one for one in self.judged if one.presence is Presence.NOT_ASSESSED)

    @property
    def is_complete(self) -> bool:
        """True when both sequences show an unbroken row of vertebrae, all of which are examined."""
        numbers = [one.vertebra.number for one in self.examined]
        in_a_row = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        return in_a_row and not self.spine.gaps and not absent(self.stacks)

    @property
    def worst(self) -> JudgedVertebra | None:
        """The fracture with the highest probability of a malignant cause: the patient's.

        A possible one only where none is certain; None where there is neither.
        """
        return max(self.fractured or self.possible, key=lambda one: one.p_malignant, default=None)

    @property
    def answer(self) -> int | None:
        """Of `classify.CAUSES`, for the patient; None without a fracture and where it is indeterminate.

        Malignant where one fracture is; osteoporotic only where every one is, and possible ones would be.
        """
        decided = [one.decision.class_index for one in self.fractured]
        if MALIGNANT in decided:
            return MALIGNANT
        # A possible one that is broken by osteoporosis, if at all, changes nothing.
        if not decided or any(float(one.causes[OSTEOPOROTIC]) < SURE for one in self.possible):
            return None
        return OSTEOPOROTIC if all(one == OSTEOPOROTIC for one in decided) else None

    @property
    def first_stack(self) -> SagittalStack:
        """T1 where it is there, else STIR: on whose grid regions are drawn."""
        return self.stacks[self.sequences[0]]

    @property
    def sequences(self) -> tuple[Weighting, ...]:
        """Those that were analysed, T1 first."""
        return tuple(weighting for weighting in Weighting if weighting in self.stacks)


def findings_of(
    stacks: Mapping[Weighting, SagittalStack],
    spine: Spine,
    judged: tuple[JudgedVertebra, ...],
    *,
    warnings: tuple[str, ...] = (),
) -> Findings:
    """The findings, with what a reader must know of them; the warnings of the rules come first.

    Raises:
        Refused: No vertebra can be examined, or the patient is a child.
    """
    found = Findings(stacks=stacks, spine=spine, judged=judged, warnings=())
    if not found.examined:
        raise Refused(
            "Rows: every vertebra that was found lies at the border of the pictures, none can be examined",
            attribute="Rows",
        )
    told = [*warnings, *_of_age(stacks)]
    told += [f"{MISSING[w]} is missing: the answer rests on the other sequence alone" for w in absent(stacks)]
    if spine.sacrum is None:
        told.append(SACRUM_DOUBTED if spine.is_sacrum_doubted else NO_SACRUM)
    if any(one.vertebra.level is not None for one in judged):
        told.append(COUNTED)
    told += _limits_of(found)
    told += [f"{name_of(one)}: possible fracture, {one.doubt}" for one in found.possible]
    told += [
        f"{name_of(one)}: {one.decision.reason}" for one in found.fractured if one.decision.is_indeterminate
    ]
    return Findings(stacks=stacks, spine=spine, judged=judged, warnings=tuple(dict.fromkeys(told)))


def _of_age(stacks: Mapping[Weighting, SagittalStack]) -> list[str]:
    headers = [header for stack in stacks.values() for header in stack.headers]
    return check_adult(headers, part="spines", learned_years=LEARNED_YEARS)


def absent(stacks: Mapping[Weighting, SagittalStack]) -> list[Weighting]:
    """Sequences that were not analysed."""
    return [weighting for weighting in Weighting if weighting not in stacks]


# -------------------------------------------------------- what was examined


def scope_of(findings: Findings) -> tuple[str, ...]:
    """What an answer holds for, and what it does not: sentences without a full stop, the range first."""
    return (f"{range_of(findings)} examined, nothing above or below", *_limits_of(findings))


def range_of(findings: Findings) -> str:
    """The vertebrae that were examined, such as "T12 to L4 (5 vertebrae) were"."""
    examined = findings.examined
    named = [one for one in examined if one.vertebra.level is not None]
    unnamed = len(examined) - len(named)
    parts = []
    if named:
        first, last = name_of(named[0]), name_of(named[-1])
        parts.append(f"{first} to {last} ({_vertebrae(len(named))})" if len(named) > 1 else first)
    if unnamed:
        parts.append(f"{_vertebrae(unnamed)} of unknown level{' above' if named else ''}")
    return f"{' and '.join(parts)} {'was' if len(examined) == 1 else 'were'}"


def _limits_of(findings: Findings) -> list[str]:
    """Vertebrae in the pictures that were not examined, or not in every sequence."""
    told = [
        f"between {_name(above)} and {'the sacrum' if below is None else _name(below)} "
        "a vertebra may have been missed: one that was is not examined"
        for above, below in findings.spine.gaps
    ]
    told += [f"{name_of(one)} is not assessed: {one.doubt}" for one in findings.not_assessed]
    for weighting in findings.sequences:
        lacking = [name_of(one) for one in findings.examined if weighting not in one.probabilities]
        if lacking:
            told.append(f"not in the pictures of {weighting.spoken}: {', '.join(lacking)}")
    return told


def _vertebrae(count: int) -> str:
    return f"{count} vertebra{'e' if count != 1 else ''}"


def name_of(one: JudgedVertebra) -> str:
    """Which vertebra it is, unique in a study: its level, or its number from the top of the pictures.

    A vertebra without a level is told by the order in which a reader meets it.
    """
    return _name(one.vertebra)


def names_of(several: Sequence[JudgedVertebra]) -> str:
    """Their names in a sentence."""
    return ", ".join(map(name_of, several))


def _name(vertebra: Vertebra) -> str:
    return vertebra.level or f"vertebra {vertebra.number} from the top ({UNLABELLED})"


def short_name_of(one: JudgedVertebra) -> str:
    """As `name_of`, for a mark in a picture."""
    return one.vertebra.level or f"no. {one.vertebra.number} from top"


def key_of(one: JudgedVertebra) -> str:
    """Start of its names in ``result.json``."""
    return (one.vertebra.level or f"vertebra_{one.vertebra.number}").lower()


def verdict_of(one: JudgedVertebra) -> str:
    """What is said of a fracture, with its probability.

    The probability is that of what is said; an indeterminate one names that of a malignant cause. An
    answer that rests on one sequence says so.
    """
    alone = f", {next(iter(one.probabilities)).spoken} alone" if len(one.probabilities) == 1 else ""
    if one.presence is Presence.POSSIBLE:
        return f"possible fracture, indeterminate (fracture {percent_text(one.p_fractured)}{alone})"
    index = one.decision.class_index
    if index is None:
        return f"fracture, indeterminate (malignant {percent_text(one.p_malignant)}{alone})"
    return f"{CAUSES[index]} {percent_text(float(one.causes[index]))}{alone}"


def sequence_verdict_of(one: JudgedVertebra, weighting: Weighting) -> str:
    """What a sequence alone says of a vertebra."""
    p_fractured = one.p_fractured_by_sequence[weighting]
    if weighting not in one.causes_by_sequence:
        return f"sees no fracture (fracture {p_fractured:.2f})"
    return f"malignant {one.causes_by_sequence[weighting][MALIGNANT]:.2f} (fracture {p_fractured:.2f})"
