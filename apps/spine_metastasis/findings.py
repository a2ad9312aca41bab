"""What the graph of spine_metastasis carries from judging to encoding, and the sentences about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.spine_metastasis.classify import CAUSES, MALIGNANT, OSTEOPOROTIC, JudgedVertebra
from apps.spine_metastasis.labels import UNLABELLED, Weighting
from apps.spine_metastasis.levels import Spine
from apps.spine_metastasis.stack import SagittalStack

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
    "the sacrum was not found in the pictures, so levels cannot be counted: fractures have an unlabelled "
    "level"
)
GAP = "a vertebra may have been missed on the way up from the sacrum: those above it have an unlabelled level"
MISSING = {
    Weighting.T1: "sagittal T1 (without contrast agent, without fat suppression)",
    Weighting.STIR: "sagittal STIR",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Everything that pictures, report and tables are made of.

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
    def worst(self) -> JudgedVertebra | None:
        """The fracture with the highest probability of a malignant cause: the patient's; None without one."""
        return max(self.fractured, key=lambda one: one.p_malignant, default=None)

    @property
    def answer(self) -> int | None:
        """Of `classify.CAUSES`, for the patient; None without a fracture and where it is indeterminate.

        Malignant where one fracture is; osteoporotic only where every one is.
        """
        decided = [one.decision.class_index for one in self.fractured]
        if MALIGNANT in decided:
            return MALIGNANT
        return OSTEOPOROTIC if decided and all(one == OSTEOPOROTIC for one in decided) else None

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
    """The findings, with what a reader must know of them; the warnings of the rules come first."""
    told = list(warnings)
    told += [
        f"{MISSING[w]} is missing: the answer rests on the other sequence alone" for w in _absent(stacks)
    ]
    fractured = [one for one in judged if one.is_fractured]
    if fractured:
        if spine.sacrum is None:
            told.append(NO_SACRUM)
        elif any(one.vertebra.level is None for one in fractured):
            told.append(GAP)
        if any(one.vertebra.level is not None for one in fractured):
            told.append(COUNTED)
    told += [f"{name_of(one)}: {one.decision.reason}" for one in fractured if one.decision.is_indeterminate]
    for one in fractured:
        lacking = [w.spoken for w in stacks if w not in one.probabilities]
        told += [f"{name_of(one)} does not lie in the pictures of {' and '.join(lacking)}"] if lacking else []
    return Findings(stacks=stacks, spine=spine, judged=judged, warnings=tuple(dict.fromkeys(told)))


def _absent(stacks: Mapping[Weighting, SagittalStack]) -> list[Weighting]:
    return [weighting for weighting in Weighting if weighting not in stacks]


def name_of(one: JudgedVertebra) -> str:
    """Which vertebra it is, unique in a study: its level, or its number from the top of the pictures.

    A vertebra without a level is told by the order in which a reader meets it.
    """
    vertebra = one.vertebra
    return vertebra.level or f"vertebra {vertebra.number} from the top ({UNLABELLED})"


def short_name_of(one: JudgedVertebra) -> str:
    """As `name_of`, for a mark in a picture."""
    return one.vertebra.level or f"no. {one.vertebra.number} from top"


def key_of(one: JudgedVertebra) -> str:
    """Start of its names in ``result.json``."""
    return (one.vertebra.level or f"vertebra_{one.vertebra.number}").lower()


def verdict_of(one: JudgedVertebra) -> str:
    """What is said of a fracture, with its probability.

    The probability is that of what is said; an indeterminate one names that of a malignant cause.
    """
    index = one.decision.class_index
    if index is None:
        return f"indeterminate (malignant {one.p_malignant:.0%})"
    return f"{CAUSES[index]} {one.causes[index]:.0%}"
