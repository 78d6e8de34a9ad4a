"""The best trial of a study, and the file with its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.errors import SearchError
from edgekit_converters.search.space import Values, What
from edgekit_converters.search.study import Trial, finished
from edgekit_converters.search.substitutes import STANDARD
from edgekit_converters.stage import save_model


def winner(trials: tuple[Trial, ...], what: What, parameters: int) -> Trial | None:
    """The complete trial with the highest score, the earlier of two.

    Of substitutes the paper takes only those that lessen the model's parameters (Appendix A), and
    so does this as long as there is one; the standard convolution is no substitute.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    if what == "substitutes":
        complete = [trial for trial in complete if trial.values["substitute"] != STANDARD]
        fewer = [trial for trial in complete if trial.facts["parameters"] < parameters]
        complete = fewer or complete
    return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)


@dataclass(frozen=True)
class Shelf:
    """A study's folder, which holds the model of its best trial and no other."""

    folder: Path
    parameters: int
    what: What
    study: Any

    def file(self, number: int) -> Path:
        """Where a trial's model lies, if it is kept."""
        return self.folder / f"trial-{number}.keras"

    def offer(
        self, number: int, values: Values, score: float, facts: dict[str, Any], model: Any
    ) -> None:
        """Keeps a trial's model if it would win, before the study hears of the trial."""
        new = Trial(number, values, "complete", score, "", facts)
        if winner((*finished(self.study), new), self.what, self.parameters) == new:
            self.put(number, model)

    def put(self, number: int, model: Any) -> None:
        """Writes the model, and removes those of trials that are not the best.

        Raises:
            SearchError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Keras takes no other ending, and a killed search must leave no half of a file.
            partial = self.folder / ".partial.keras"
            save_model(model, partial)
            partial.replace(self.file(number))
        except OSError as error:
            raise SearchError(
                f"The best trial's model cannot be kept in {self.folder} "
                f"({error.strerror or error}); make room there or make it writable, and give the "
                "same command again."
            ) from error
        best = winner(finished(self.study), self.what, self.parameters)
        # The study may not have heard of the new one yet: until then the old one stays best.
        kept = {self.file(number), *([self.file(best.number)] if best else [])}
        for other in self.folder.glob("trial-*.keras"):
            if other not in kept:
                other.unlink()
