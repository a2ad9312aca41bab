"""The verdict of an app on a study: which series are its inputs, or why there are none.

Pure but for `InstanceHeader.content_digest`, which is asked only when two instances have the
same UID. The order of the series plays no part in the verdict. An input takes one series, or
every instance that fits (``takes`` in the manifest, `operators.select.every`).

==================  ============================================================================
`Taken`             the inputs, and sentences that the reader of the results must see
`NotForThisApp`     no series is a claimed input; the predicate that the nearest one fails
`Outside`           for this app, but not to be analysed; what is outside, for a person
==================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from operators.select.envelope import (
    DIFFERENT_CONTENT,
    content_moment,
    envelope_warnings,
    first_told,
    share,
)
from operators.select.every import take_every
from operators.select.headers import InstanceHeader, InstanceView, SeriesHeaders
from operators.select.manifest import AppManifest, Input
from operators.select.required import (
    Shortcoming,
    identity_shortcoming,
    instance_shortcoming,
    size_shortcoming,
    study_shortcoming,
)
from operators.select.stack import slice_count


@dataclass(frozen=True)
class Taken:
    """The study is for this app.

    Args:
        inputs: Input name to the instances chosen for it, of one series or of several; an
            optional input that was not found is absent.
        warnings: Sentences for the reader of the results.
    """

    inputs: dict[str, tuple[InstanceHeader, ...]]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotForThisApp:
    """No series of the study is one that the app claims."""

    reason: str
    attribute: str = ""


@dataclass(frozen=True)
class Outside:
    """The study is for this app, but outside of what it may be used on."""

    reason: str
    attribute: str


Verdict = Taken | NotForThisApp | Outside


@dataclass(frozen=True)
class _Candidate:
    """A series of which at least one instance fulfils all of an input's ``match``."""

    series: SeriesHeaders
    matching: tuple[InstanceView, ...]

    @property
    def is_mixed(self) -> bool:
        return len(self.matching) < len(self.series.views)


@dataclass(frozen=True)
class _Near:
    """How far a series came that is not this input: predicates fulfilled, then instances."""

    fulfilled: tuple[int, int]
    reason: str
    attribute: str


@dataclass
class _Search:
    """What was found for one input."""

    wanted: Input
    candidates: list[_Candidate] = field(default_factory=list)
    nearest: _Near | None = None


def choose_inputs(manifest: AppManifest, series: Sequence[SeriesHeaders]) -> Verdict:
    """The app's verdict on the series of one study.

    Args:
        manifest: What the app wants.
        series: Every series of the study, in any order.
    """
    if not series:
        return NotForThisApp("the study holds no instance that can be read")
    ordered = sorted(series, key=lambda one: (one.series_instance_uid, str(one.instances[0].path)))
    broken = [_first_identity_shortcoming(one) for one in ordered]
    if broken[0] is not None and all(broken):
        return Outside(broken[0].reason, broken[0].attribute)
    searches = {one.name: _search(one, ordered) for one in manifest.inputs}
    if not any(searches[name].candidates for name in manifest.claims):
        return _not_for_this_app([searches[name] for name in manifest.claims])
    mixed_up = study_shortcoming([header for one in ordered for header in one.instances])
    if mixed_up is not None:
        return Outside(mixed_up.reason, mixed_up.attribute)
    return _take(manifest, searches)


def _take(manifest: AppManifest, searches: dict[str, _Search]) -> Verdict:
    inputs: dict[str, tuple[InstanceHeader, ...]] = {}
    warnings: list[str] = []
    for name, search in searches.items():
        choose = _every if search.wanted.takes == "every" else _best
        found = choose(search, manifest.limits.memory_mb, warnings)
        if isinstance(found, Outside):
            return found
        if found is not None:
            inputs[name] = found
    for group in manifest.needs_any:
        if not any(name in inputs for name in group):
            return _need_not_met(manifest, [searches[name] for name in group], warnings)
    return _ambiguity(manifest, inputs) or Taken(inputs, tuple(warnings))


def _search(wanted: Input, series: Sequence[SeriesHeaders]) -> _Search:
    search = _Search(wanted)
    for one in series:
        matching = tuple(view for view in one.views if all(rule.holds(view) for rule in wanted.match))
        if matching:
            search.candidates.append(_Candidate(one, matching))
        else:
            near = _near(wanted, one)
            if search.nearest is None or near.fulfilled > search.nearest.fulfilled:
                search.nearest = near
    return search


def _near(wanted: Input, series: SeriesHeaders) -> _Near:
    """The instance of the series that fulfils most of ``match``, and the first that it does not."""

    def fulfilled(view: InstanceView) -> int:
        return sum(rule.holds(view) for rule in wanted.match)

    view = max(series.views, key=fulfilled)
    failed = next(rule for rule in wanted.match if not rule.holds(view))
    return _Near((fulfilled(view), len(series.views)), failed.explain(view), failed.at_fault(view))


def _nearest(searches: Sequence[_Search]) -> tuple[Input, _Near] | None:
    """The search whose nearest series came nearest, the first one of equals."""
    found = [(search.wanted, search.nearest) for search in searches if search.nearest is not None]
    return max(found, key=lambda one: one[1].fulfilled) if found else None


def _not_for_this_app(searches: Sequence[_Search]) -> NotForThisApp:
    nearest = _nearest(searches)
    if nearest is None:
        return NotForThisApp("the app claims no input")
    wanted, near = nearest
    return NotForThisApp(f"no series is {wanted.title}: in the nearest one {near.reason}", near.attribute)


def _need_not_met(manifest: AppManifest, group: Sequence[_Search], warnings: Sequence[str]) -> Outside:
    titles = " or ".join(search.wanted.title for search in group)
    reason = manifest.study.reason_needs or f"the study needs {titles}"
    nearest = _nearest(group)
    if warnings and any(search.candidates for search in group):
        return Outside(f"{reason}: {warnings[-1]}", "SeriesInstanceUID")
    if nearest is None:
        return Outside(reason, "SeriesInstanceUID")
    _, near = nearest
    return Outside(f"{reason}: in the nearest series {near.reason}", near.attribute)


def _best(
    search: _Search, memory_mb: int, warnings: list[str]
) -> tuple[InstanceHeader, ...] | Outside | None:
    """The instances of the best candidate within the envelope; None when there is none.

    Adds a warning for each candidate that is left out, and for each rule that only warns.
    """
    title = search.wanted.title
    fit: list[SeriesHeaders] = []
    unfit: list[Shortcoming] = []
    passed_over: list[Shortcoming] = []
    for candidate in sorted(search.candidates, key=lambda one: _preference(search.wanted, one.series)):
        series, found = _without_repetitions(candidate.series)
        if found is None and (passing := first_told(search.wanted, series.views, "pass_over")):
            passed_over.append(passing)
            continue
        found = found or _shortcoming(search.wanted, candidate.is_mixed, series, memory_mb)
        if found is None:
            fit.append(series)
        else:
            unfit.append(found)
    left_out = unfit or passed_over
    if left_out and not fit and search.wanted.when_outside == "refuse":
        return Outside(f"{title}: {left_out[0].reason}", left_out[0].attribute)
    warnings.extend(f"a series that is {title} was left out: {one.reason}" for one in unfit)
    if not fit:
        return None
    if len(fit) > 1:
        best = "the best suited, then the one" if search.wanted.prefer else "the one"
        warnings.append(
            f"{len(fit)} series are {title}; {best} with the most slices, then the latest, was taken"
        )
    warnings.extend(envelope_warnings(search.wanted, fit[0].views))
    return fit[0].instances


def _every(
    search: _Search, memory_mb: int, warnings: list[str]
) -> tuple[InstanceHeader, ...] | Outside | None:
    """Every instance that matches and is within the envelope; None when there is none."""
    matching = [view for candidate in search.candidates for view in candidate.matching]
    if not matching:
        return None
    found = take_every(search.wanted, matching, memory_mb)
    if found.shortcoming is not None and search.wanted.when_outside == "refuse":
        return Outside(f"{search.wanted.title}: {found.shortcoming.reason}", found.shortcoming.attribute)
    warnings.extend(found.warnings)
    return found.taken or None


def _preference(wanted: Input, series: SeriesHeaders) -> tuple[tuple[bool, ...], int, int, str]:
    """Sorts first the preferred series, then the one with the most slices, the latest, the least UID."""
    moments = [content_moment(header) for header in series.instances]
    unlike = tuple(not all(rule.holds(view) for view in series.views) for rule in wanted.prefer)
    return (unlike, -slice_count(series.instances), -max(moments), series.series_instance_uid)


def _shortcoming(wanted: Input, is_mixed: bool, series: SeriesHeaders, memory_mb: int) -> Shortcoming | None:
    """The first reason why a series that matches cannot be taken, or None."""
    for view in series.views:
        found = instance_shortcoming(view, wanted.kind)
        if found is not None:
            return found
    if is_mixed:
        return _mixture(wanted, series)
    if wanted.kind == "image":
        found = size_shortcoming(series.instances, memory_mb)
        if found is not None:
            return found
    return first_told(wanted, series.views, "refuse")


def _mixture(wanted: Input, series: SeriesHeaders) -> Shortcoming | None:
    """Which predicate holds for some instances only."""
    for rule in wanted.match:
        failing = [view for view in series.views if not rule.holds(view)]
        if failing:
            return Shortcoming(
                f"the series is mixed: {rule.explain(failing[0])}, {share(failing, series.views)}",
                rule.at_fault(failing[0]),
            )
    return None


def _without_repetitions(series: SeriesHeaders) -> tuple[SeriesHeaders, Shortcoming | None]:
    """The series with each instance once; a shortcoming when two share a UID but not their bytes."""
    kept: dict[str, InstanceHeader] = {}
    for header in series.instances:
        earlier = kept.setdefault(header.sop_instance_uid, header)
        if earlier is not header and header.sop_instance_uid:
            if earlier.content_digest != header.content_digest:
                return series, DIFFERENT_CONTENT
    if len(kept) == len(series.instances) or "" in kept:
        return series, None
    return SeriesHeaders(series.series_instance_uid, tuple(kept.values())), None


def _ambiguity(manifest: AppManifest, inputs: dict[str, tuple[InstanceHeader, ...]]) -> Outside | None:
    """Set when one series, or one instance of two series, would be two inputs."""
    owner: dict[str, str] = {}
    for name, headers in inputs.items():
        for header in headers:
            other = owner.setdefault(header.sop_instance_uid, name)
            if other != name:
                titles = f"{manifest.input_named(other).title} and {manifest.input_named(name).title}"
                return Outside(f"SOPInstanceUID: an instance is both {titles}", "SOPInstanceUID")
    return None


def _first_identity_shortcoming(series: SeriesHeaders) -> Shortcoming | None:
    found = (identity_shortcoming(header) for header in series.instances)
    return next((one for one in found if one is not None), None)
