"""What is to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from bench import backups, restores
from bench.backups import CHANGED, DIFF, FIRST, RESTIC, START_UP, STREAM, UNCHANGED, US
from bench.data import ONE, SETS
from bench.measure import Figures
from bench.restores import ONE_FILE, RESTORE, ROLLBACK, UNCHECKED, WRITE

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound; `measured` is None where it was not measured."""

    what: str
    measured: float | None
    bound: float
    unit: str
    is_floor: bool = False
    """The figure is to be at least the bound, not at most."""

    @property
    def is_met(self) -> bool:
        """Whether it is; False where nothing was measured."""
        if self.measured is None:
            return False
        return self.measured >= self.bound if self.is_floor else self.measured <= self.bound


def net(figures: Figures, name: str, case: str, who: str = US) -> float | None:
    """Seconds of the command without its start-up."""
    return _of(
        lambda whole, start: whole - start,  # below nothing: lost in the noise
        figures.seconds(name, case, who),
        figures.seconds(name, case, START_UP),
    )


def to_floor(figures: Figures, name: str) -> float | None:
    """First backup to the bare stream, both without their start-ups."""
    return _ratio(net(figures, name, FIRST), figures.inner(name, FIRST, STREAM))


def targets(figures: Figures, *, is_embedded: bool = True) -> list[Target]:
    """All that were measured."""
    found = [*_first(figures), *_later(figures), *_sizes(figures), *_restores(figures), *_general(figures)]
    found += _embedded(figures) if is_embedded else []
    return [target for target in found if target.measured is not None]


def _first(figures: Figures) -> Iterator[Target]:
    for name, bound in (("mib", 1.2), ("text", 1.2), ("small", 1.3)):
        yield Target(f"first backup, {name}: to the bare stream", to_floor(figures, name), bound, "×")
    for name in ("mib", "text"):
        ratio = _ratio(figures.seconds(name, FIRST, US), figures.seconds(name, FIRST, RESTIC))
        yield Target(f"first backup, {name}: to read + restic", ratio, 2 / 3, "×")


def _later(figures: Figures) -> Iterator[Target]:
    for each in SETS:
        seconds = net(figures, each.name, UNCHANGED)
        yield Target(f"nothing changed, {each.name}: without start-up", seconds, 0.5, "s")
    ratio = _ratio(net(figures, "small", CHANGED), figures.inner("small", CHANGED, DIFF))
    yield Target("one of 100,000 changed: to one DiffFile call, without start-up", ratio, 3, "×")
    started = [figures.seconds(name, case, START_UP) for name, case in figures.cases()]
    yield Target("start-up", _of_all(started), 1, "s")


def _sizes(figures: Figures) -> Iterator[Target]:
    for each in SETS:
        ours, theirs = (figures.printed(each.name, "size", who, "value") for who in (US, RESTIC))
        yield Target(f"vault, {each.name}: to restic's repository", _ratio(ours, theirs), 1, "×")


def _restores(figures: Figures) -> Iterator[Target]:
    for each in SETS:
        written = figures.inner(each.name, RESTORE, WRITE)
        ratio = _ratio(net(figures, each.name, RESTORE, UNCHECKED), written)
        yield Target(f"restore unchecked, {each.name}: to writing the same bytes", ratio, 1.3, "×")
        for who, theirs, what in (
            (UNCHECKED, restores.RESTIC, "unchecked"),
            (US, restores.COMPARED, "compared"),
        ):
            ours = figures.seconds(each.name, RESTORE, who)
            ratio = _ratio(ours, figures.seconds(each.name, RESTORE, theirs))
            yield Target(f"restore {what}, {each.name}: to {theirs}", ratio, 1, "×")
    yield Target("one file of 100,000 restored, without start-up", net(figures, "small", ONE_FILE), 1, "s")


def _general(figures: Figures) -> Iterator[Target]:
    freeze = [figures.printed(name, FIRST, US, "freeze_seconds") for name in ("big", ONE.name)]
    yield Target("freeze of 2 GiB: longer than of 1 MiB by", _difference(*freeze), 0.1, "s")
    rollback = [figures.seconds(name, ROLLBACK, US) for name in ("big", ONE.name)]
    yield Target("rollback of 2 GiB: longer than of 1 MiB by", _difference(*rollback), 0.2, "s")
    peaks = [
        (figures.peak(name, case, who), f"{name}, {case}")
        for name, case in figures.cases()
        for who in (US, UNCHECKED)
    ]
    peak = max(((peak, where) for peak, where in peaks if peak is not None), default=None)
    if peak is not None:
        yield Target(f"largest peak memory of any command ({peak[1]})", peak[0] / MIB, 500, "MiB")


def _embedded(figures: Figures) -> Iterator[Target]:
    seconds, size = figures.inner("mib", FIRST, STREAM), figures.printed("mib", FIRST, STREAM, "bytes")
    rate = _of(lambda size, seconds: size / seconds / 1e6, size, seconds)
    yield Target("the embedded server's bare stream", rate, 500, "MB/s", is_floor=True)
    listed = figures.inner("small", backups.SERVER, backups.LIST)
    yield Target("the embedded server lists 100,000 files", listed, 6, "s")


def _of(make: Callable[[float, float], float], first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else make(first, second)


def _ratio(first: float | None, second: float | None) -> float | None:
    return _of(lambda first, second: first / second, first, second)


def _difference(first: float | None, second: float | None) -> float | None:
    return _of(lambda first, second: first - second, first, second)


def _of_all(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None
