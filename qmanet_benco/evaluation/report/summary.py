"""Sums a run up: which model is ahead on which set, by how much, on how many images."""

from __future__ import annotations

from dataclasses import dataclass

from qmanet_benco.evaluation.report.cells import Table
from qmanet_benco.evaluation.report.detection import KEY as DETECTION
from qmanet_benco.evaluation.report.run import ScoredRun
from qmanet_benco.evaluation.report.tables import UNITS

CONFIDENT = 1.96
"""Standard errors on both sides of a mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Lead:
    """One comparison."""

    where: str
    images: int
    best: str
    value: float
    second: str = ""
    """Empty where one model was measured."""
    lead: float | None = None
    error: float | None = None
    """Half of the 95 % interval of the lead, over images, where it can be told image by image."""
    attacked: bool = False

    @property
    def words(self) -> str:
        """The lead, and whether it is more than chance of the images."""
        if self.lead is None:
            return ""
        if self.error is None:
            return f"{self.lead:.3f}"
        told = "" if self.lead > self.error else " (within chance)"
        return f"{self.lead:.3f} ± {self.error:.3f}{told}"


def summary(run: ScoredRun, detection: Table) -> list[Lead]:
    """Pixel F1 on each set, its mean over each attack, and ImageAUC where there are authentic images."""
    leads = [_lead(run, name, "none", f"{name}: pixel F1") for name in run.sets()]
    leads += [
        _lead(run, name, attack, f"{name}: pixel F1 under {UNITS.get(attack, attack)}")
        for name, attack in dict.fromkeys((case[0], case[1]) for case in run.cases())
        if attack != "none"
    ]
    return [lead for lead in [*leads, *_detection(detection)] if lead is not None]


def _lead(run: ScoredRun, name: str, attack: str, where: str) -> Lead | None:
    level = 0.0 if attack == "none" else None
    cells = {model: run.mean(model, name, "f1", attack, level) for model in run.models()}
    values = {model: cell.value for model, cell in cells.items() if cell.value is not None}
    leaders = _first_two(values)
    if leaders is None:
        return None
    best, second = leaders
    images = cells[best].images
    attacked = attack != "none"
    if not second:
        return Lead(where, images, best, values[best], attacked=attacked)
    error = None if attacked else _error(run, name, best, second)
    return Lead(where, images, best, values[best], second, values[best] - values[second], error, attacked)


def _error(run: ScoredRun, name: str, best: str, second: str) -> float | None:
    """Half the 95 % interval of the mean difference of two models, image by image."""
    scores = [run.image_f1.get((model, name)) for model in (best, second)]
    if any(each is None for each in scores):
        return None
    difference = (scores[0] - scores[1]).dropna()
    return CONFIDENT * float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else None


def _detection(table: Table) -> list[Lead]:
    leads = []
    for panel in table.panels:
        column = panel.columns.index("ImageAUC")
        values = {row.name: row.cells[column].value for row in panel.rows}
        leaders = _first_two({name: value for name, value in values.items() if value is not None})
        if table.key != DETECTION or "own score" not in panel.title or leaders is None:
            continue
        best, second = leaders
        images = next(row.cells[column].images for row in panel.rows if row.name == best)
        value, other = values[best] or 0.0, values.get(second)
        lead = None if other is None else value - other
        leads.append(Lead(f"{panel.title.partition(':')[0]}: ImageAUC", images, best, value, second, lead))
    return leads


def _first_two(values: dict[str, float]) -> tuple[str, str] | None:
    """Return the best and the second, by name; the second is empty where there is none."""
    names = sorted(values, key=lambda name: -values[name])
    return (names[0], names[1] if len(names) > 1 else "") if names else None
