"""Files to problems. Every container, every layout, one function; nothing heavy is imported before it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

from nclbench.problem import Problem
from nclbench.sources.reading import Assignments, Paths

if TYPE_CHECKING:
    from nclbench.sources.containers import Shelf


def load(
    emb: Paths | None = None,
    *,
    layout: str | None = None,
    mapping: Assignments | None = None,
    bank: Paths | None = None,
    split: str | None = None,
    captions: str | Path | None = None,
    no_labels: bool = False,
    together: bool = False,
) -> Problem:
    """Reads a problem.

    emb: one file or folder, or two files as `text.npy,video.npy` or a sequence. layout: a name of `list layouts`;
    recognised if None. mapping: `KEY=SOURCE` texts or a table of them (`nclbench.sources.keys`), over the layout.
    bank: a file whose texts and items (or whose bank) become the banks. split: which one, of several.
    captions: a file with texts for the queries. no_labels: nothing is taken as relevant. together: all processes of
    torch.distributed call this, each reads its own rows of the tables in the files, and all get the problem.

    UsageError for options that cannot be understood, MissingError for files that are not there, InputError for
    files that must not be scored.
    """
    from nclbench.sources.containers import Shelf

    if together:
        from nclbench.machine.processes import world

        together = world() > 1
    if not together:
        return _load(Shelf(), emb, layout, mapping, bank, split, captions, no_labels)
    from nclbench.machine.machines import Machines
    from nclbench.machine.together import agreed

    shelf = Shelf(Machines.met())
    with agreed("the input") as seen:
        problem = _load(shelf, emb, layout, mapping, bank, split, captions, no_labels)
        seen += shelf.seen()
    return problem


def _load(
    shelf: "Shelf",
    emb: Paths | None,
    layout: str | None,
    mapping: Assignments | None,
    bank: Paths | None,
    split: str | None,
    captions: str | Path | None,
    no_labels: bool,
) -> Problem:
    from nclbench.sources.assemble import assemble
    from nclbench.sources.banks import with_bank
    from nclbench.sources.captions import with_captions
    from nclbench.sources.reading import plan

    problem = assemble(plan(emb, shelf, layout, mapping, split), shelf, no_labels)
    if bank is not None:
        problem = with_bank(problem, bank, shelf)
    if captions is not None:
        problem = with_captions(problem, captions, shelf)
    return problem
