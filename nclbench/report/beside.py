"""What stands beside the figures of a table: differences from a reference, whether they are real, and intervals."""

from collections.abc import Mapping, Sequence

from nclbench.comparison import Comparison, Difference, Pair
from nclbench.files import printable
from nclbench.report.cells import Extra, Note
from nclbench.report.comparison import NOISE, REAL, tests
from nclbench.report.table import Beside, shown
from nclbench.results import Run


def beside(
    pairs: Sequence[Pair], compared: Comparison | None, *, intervals: bool, decimals: int = 1
) -> tuple[Beside, list[Note]]:
    """A function for `table.build` and the notes that explain what it gives.

    pairs: which run is set against which, none for no differences. compared: the tests of the same pairs, if any.
    """
    reference = {id(pair.other[1]): pair.reference[1] for pair in pairs}
    tested: dict[int, Mapping[str, Difference]] = {}
    if compared is not None:
        tested = {
            id(each.pair.other[1]): {found.metric: found for found in each.differences} for each in compared.compared
        }

    def extras(run: Run, metric: str) -> tuple[Extra, ...]:
        value, found = run.metrics.get(metric), []
        if value is None:
            return ()
        against = reference.get(id(run))
        if against is not None and metric in against.metrics:
            difference = value.value - against.metrics[metric].value
            places = decimals + 2 * (value.unit == "fraction")
            test = tested.get(id(run), {}).get(metric)
            signs = () if test is None else (REAL if test.significant else NOISE,)
            numbers: dict[str, float | str] = {"difference": difference}
            if test is not None:
                numbers |= {"p (Holm)": test.adjusted, "significant": str(test.significant).lower()}
            found.append(Extra(f"{difference:+.{places}f}", numbers, signs))
        if intervals and value.low is not None and value.high is not None:
            ends = " to ".join(shown(end, value.unit, decimals) for end in (value.low, value.high))
            found.append(Extra(f"[{ends}]", {"low": value.low, "high": value.high}))
        return tuple(found)

    notes = [Note("", printable(f"differences are from {_against(pairs)}"))] if pairs else []
    notes += tests(compared)[:2] if compared is not None else []
    notes += [Note("", "intervals: bootstrap, 95 %")] if intervals else []
    return extras, notes


def _against(pairs: Sequence[Pair]) -> str:
    """`none of each model`, or which model's rows."""
    specs = dict.fromkeys(pair.reference[1].operator.spec for pair in pairs)
    models = dict.fromkeys(pair.reference[1].model for pair in pairs)
    if all(pair.reference[1].model == pair.other[1].model for pair in pairs):
        return f"the row {' or '.join(specs)} of the same model" if len(specs) < 3 else "the baseline's row of the same operator"
    return f"the rows of {' and '.join(models)}"
