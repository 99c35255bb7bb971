"""One HTML file that needs nothing else: data, styles and code inside, plotly's bundle inlined from the installed package."""

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources

from jinja2 import Environment
from markupsafe import Markup

from nclbench import __version__
from nclbench.audit.advice import Advice
from nclbench.audit.page.data import payload
from nclbench.audit.states import Direction
from nclbench.errors import MissingError
from nclbench.results import Results

SCRIPTS = ("plots.js", "tables.js", "page.js")


def render(
    results: Results,
    directions: Sequence[Direction],
    advice: Sequence[Advice],
    thumbnails: Mapping[str, str] | None = None,
    most: int = 20_000,
) -> str:
    """The page. thumbnails: data URIs by item id. most: items and queries that are listed; beyond, a stated sample."""
    here = resources(__name__)
    template = Environment(autoescape=True).from_string((here / "page.html").read_text("utf-8"))
    data = payload(results, directions, advice, thumbnails or {}, most)
    return template.render(
        title=data["title"],
        version=__version__,
        style=Markup((here / "page.css").read_text("utf-8")),
        data=Markup(_inside_script(json.dumps(data, allow_nan=False, separators=(",", ":")))),
        bundle=_bundle(),
        scripts=[Markup((here / name).read_text("utf-8")) for name in SCRIPTS],
    )


def _inside_script(text: str) -> str:
    """JSON that no HTML parser takes for markup: names from files are data and stay data."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _bundle() -> str:
    """plotly's own code, as the installed package has it, packed: a third of its size, and no markup."""
    try:
        code = (resources("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ImportError, OSError):
        raise MissingError("the report page needs plotly; pip install plotly") from None
    return b64encode(gzip.compress(code, compresslevel=9, mtime=0)).decode("ascii")
