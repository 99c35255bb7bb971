"""Specs read back to what was shown; everything else is one line that says what to write. Nothing is ever executed."""

import builtins
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar, Union

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nclbench.errors import NclbenchError, UsageError
from nclbench.operators import operators
from nclbench.operators.sinkhorn import Sinkhorn
from nclbench.registry import Registry, parameters, show
from nclbench.scorers import scorers

toys: Registry[object] = Registry("toy", "nclbench.scorers", aliases={"bear": "teddy"})


@toys.register("teddy")
@dataclass(frozen=True)
class Teddy:
    source: ClassVar[str] = "a shop"

    count: int = 3
    rate: float = 0.5
    soft: bool = False
    colour: str = "brown"
    price: float | None = None
    age: int | None = None
    maker: str | None = None
    size: int | float = 2
    either: Union[str, bool, None] = None  # noqa: UP007


@toys.register("kite")
@dataclass(frozen=True)
class Kite:
    length: float
    tail: str = "none"


@toys.register("ball_2")
@dataclass(frozen=True)
class Ball:
    pass


def generated(cases):
    return settings(max_examples=cases, deadline=None, derandomize=True, database=None)


finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(10**30), 10**30)
awkward = st.sampled_from([
    "", " ", "true", "false", "True", "nan", "NaN", "-nan", "inf", "-inf", "Infinity", "-Infinity", "1", "-1", "+1",
    "1e5", "1_000", "0x10", ".5", "-.5", "1.", "None", '"', '""', "\\", '\\"', '"\\', "a,b", "a=b", "a:b", "a+b", "--",
    "/a/b.npy", "~/x", "C:\\dir\\", "x\ny", "\t", "\x00", "\x1b[31m", "\u2028", "é", "\U0001f9f8", "\ud800", "\u0661",
    "a b", "'", "#", "…",
])  # fmt: skip
words = awkward | st.text(max_size=12) | st.text(alphabet='",\\=: \na1', max_size=8)
teddies = st.builds(
    Teddy,
    count=integers,
    rate=finite,
    soft=st.booleans(),
    colour=words,
    price=st.none() | finite,
    age=st.none() | integers,
    maker=st.none() | words,
    size=integers | finite,
    either=st.none() | words | st.booleans(),
)


def refused(registry, spec):
    """The one printable line that says why a spec is refused."""
    with pytest.raises(UsageError) as caught:
        registry.parse(spec)
    text = str(caught.value)
    assert text and "\n" not in text and "\r" not in text and text.isprintable(), text
    assert caught.value.exit_code == 2
    return text


# --- there and back ---------------------------------------------------------------------------------------------------


@generated(1000)
@given(teddies)
def test_what_is_shown_reads_back(toy):
    spec = show(toy)
    back = toys.parse(spec)
    assert back == toy and show(back) == spec
    kinds = [type(getattr(toy, name)) for name in ("count", "rate", "soft", "colour", "either")]
    assert [type(getattr(back, name)) for name in ("count", "rate", "soft", "colour", "either")] == kinds
    assert spec.isascii() and spec.isprintable()


@generated(300)
@given(
    st.builds(Kite, finite, words),
    st.sampled_from(["", " ", "  "]),
)
def test_required_parameters_are_always_shown(toy, space):
    spec = show(toy)
    assert spec.startswith("kite:length=")
    assert toys.parse(spec) == toy
    name, _, rest = spec.partition(":")
    assert toys.parse(f"{space}{name}{space}:{space}{rest}{space}") == toy


@generated(300)
@given(
    tau=st.none() | st.floats(1e-6, 1e6),
    stop=st.one_of(
        st.builds(lambda tol: {"tol": tol}, st.floats(0, 1, exclude_min=True, exclude_max=True)),
        st.builds(lambda iters: {"iters": iters}, st.integers(0, 10**9)),
        st.just({}),
    ),
    max_iters=st.integers(1, 10**9),
    start=st.sampled_from(["gallery", "query"]),
    fit=st.sampled_from(["auto", "bank", "test"]),
    precision=st.sampled_from(["auto", "single", "double"]),
)
def test_sinkhorn_reads_back(tau, stop, max_iters, start, fit, precision):
    made = Sinkhorn(tau=tau, max_iters=max_iters, start=start, fit=fit, precision=precision, **stop)
    assert operators.parse(show(made)) == made


@pytest.mark.parametrize("registry", [operators, scorers], ids=["operators", "scorers"])
def test_every_registered_name_reads_back(registry):
    for name in registry.names():
        cls = registry.get(name)
        assert cls.name == name
        if "required" not in parameters(cls).values():
            assert show(registry.parse(name)) == name
            assert registry.parse(name) == cls()
            assert hash(registry.parse(name)) == hash(cls())
            with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
                registry.parse(name).name_of_nothing = 1


def test_defaults_are_left_out():
    assert show(Teddy()) == "teddy"
    assert show(Teddy(rate=0.25)) == "teddy:rate=0.25"
    assert show(Teddy(count=3, soft=True, colour="dark blue")) == 'teddy:soft=true,colour="dark blue"'
    assert show(Teddy(colour="/a/b-1.npy")) == "teddy:colour=/a/b-1.npy"
    assert show(Ball()) == "ball_2" and toys.parse("ball_2") == Ball()
    assert show(operators.parse("sinkhorn:max_iters=1000,tau=0.01,start=gallery,fit=auto")) == "sinkhorn:tau=0.01"


def test_parameters_are_listed_with_their_defaults():
    assert parameters(Kite) == {"length": "required", "tail": "none"}
    assert parameters(Teddy)["price"] == "auto" and parameters(Teddy)["soft"] == "false"
    assert list(parameters(Sinkhorn)) == ["tau", "tol", "iters", "max_iters", "start", "fit", "precision"]


@pytest.mark.parametrize(
    ("spec", "toy"),
    [
        ("teddy", Teddy()),
        ("bear", Teddy()),
        ("bear:count=4", Teddy(count=4)),
        ("teddy:count=+4", Teddy(count=4)),
        ("teddy:count=4.0", Teddy(count=4)),
        ("teddy:count=1e3", Teddy(count=1000)),
        ("teddy:rate=1", Teddy(rate=1.0)),
        ("teddy:rate=1e-3", Teddy(rate=0.001)),
        ("teddy:rate=.5,count=-2", Teddy(count=-2)),
        ("teddy: count = 4 , rate = 2 ", Teddy(count=4, rate=2.0)),
        ("teddy:soft=true", Teddy(soft=True)),
        ('teddy:colour="true"', Teddy(colour="true")),
        ('teddy:colour="1"', Teddy(colour="1")),
        ('teddy:colour=""', Teddy(colour="")),
        ('teddy:colour="red, green",count=4', Teddy(colour="red, green", count=4)),
        ('teddy:colour="a\\"b",count=4', Teddy(colour='a"b', count=4)),
        ('teddy:colour="a\\\\",count=4', Teddy(colour="a\\", count=4)),
        ('teddy:colour="a\\\\\\"",count=4', Teddy(colour='a\\"', count=4)),
        ('teddy:colour="count=9",count=4', Teddy(colour="count=9", count=4)),
        ('teddy:colour="\\u00e9"', Teddy(colour="é")),
        ("teddy:colour=../a.npy", Teddy(colour="../a.npy")),
        ("teddy:price=3", Teddy(price=3.0)),
        ("kite:length=2", Kite(2.0)),
    ],
)
def test_what_can_be_written(spec, toy):
    found = toys.parse(spec)
    assert found == toy
    assert [type(getattr(found, name)) for name in vars(found)] == [type(getattr(toy, name)) for name in vars(toy)]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("teddi", "did you mean 'teddy'?"), ("Teddy", "did you mean 'teddy'?"), ("zzzz", "known: ball_2, kite, teddy"),
        ("", "unknown toy ''"), (":", "unknown toy"), (":count=3", "unknown toy"), ("teddy,count=3", "unknown toy"),
        ("teddy+kite", "unknown toy"), ("teddy count=3", "unknown toy"), ("teddy=3", "unknown toy"),
        ("teddy:cuont=3", "no parameter 'cuont'; did you mean 'count'?"), ("teddy:Count=3", "did you mean 'count'?"),
        ("teddy:source=x", "no parameter 'source'"), ("teddy:name=x", "no parameter 'name'"),
        ("teddy:__class__=x", "no parameter '__class__'"), ("ball_2:a=1", "no parameter 'a'"),
        ("teddy:count=3,count=3", "'count' twice"), ("teddy:count=3, count=4", "'count' twice"),
        ("teddy:count=3,", "comma"), ("teddy:count=3, ", "comma"), ("teddy:count=3,,rate=1", "cannot read"),
        ("teddy:,count=3", "cannot read"), ("teddy:", "cannot read"), ("teddy: ", "cannot read"),
        ("teddy:,", "cannot read"),
        ("teddy:count", "cannot read"), ("teddy:count=", "cannot read"), ("teddy:count= ", "cannot read"),
        ("teddy:count=,rate=1", "cannot read"), ("teddy:=3", "cannot read"), ("teddy:3=3", "cannot read"),
        ("teddy:count==3", "cannot read"), ("teddy:count=3:rate=1", "cannot read"), ("teddy::count=3", "cannot read"),
        ("teddy:count=3;rate=1", "cannot read"), ("teddy:count=3 rate=1", "cannot read"),
        ("teddy:rate=nan", "not a finite number"), ("teddy:rate=NaN", "finite"), ("teddy:rate=inf", "finite"),
        ("teddy:rate=-inf", "finite"), ("teddy:rate=Infinity", "finite"), ("teddy:rate=1e999", "finite"),
        ("teddy:colour=nan", "finite"), ("teddy:count=inf", "finite"),
        ("teddy:count=2.5", "teddy:count is 2.5; it must be a whole number"), ("teddy:count=true", "a whole number"),
        ("teddy:count=many", "it must be a whole number"), ('teddy:count="3"', "it must be a whole number"),
        ("teddy:rate=fast", "it must be a number"), ("teddy:rate=true", "it must be a number"),
        ('teddy:rate="0.5"', "be a number"), ("teddy:soft=1", "true or false"), ("teddy:soft=yes", "true or false"),
        ("teddy:soft=True", "true or false"), ("teddy:colour=1", "must be a text"), ("teddy:colour=true", "must be a text"),
        ("teddy:price=None", "be a number"), ("teddy:age=1.5", "a whole number"), ("teddy:maker=3", "must be a text"),
        ('teddy:colour="red', "cannot read"), ('teddy:colour=red"', "cannot read"), ('teddy:colour="', "cannot read"),
        ('teddy:colour="a"b"', "cannot read"), ("teddy:colour='red'", "quote it"), ('teddy:colour="r"x', "cannot read"),
        ('teddy:colour="a\\', "cannot read"), ('teddy:colour="a\\"', "cannot read"),
        ('teddy:colour="\\q"', "cannot read"),
        ("teddy:colour=a b", "quote it"), ("teddy:colour=a:b", "cannot read"), ("teddy:colour=a\\b", "quote it"),
        ("teddy:count=[3]", "quote it"), ("teddy:count=3**9", "quote it"), ("teddy:count=0x10", "quote it"),
        ("kite", "needs length="), ("kite:tail=x", "needs length="),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(spec, hint):
    assert hint in refused(toys, spec)


@pytest.mark.parametrize(
    "spec",
    [
        "teddy:rate=1" + "0" * 400,
        "teddy:price=-1" + "0" * 400,
        "teddy:count=" + "9" * 5000,
        "teddy:rate=" + "9" * 5000,
        "teddy:count=1e400",
        'teddy:colour="a\nb"',
        'teddy:colour="a\rb\x1b[31m"',
        "teddy\n:count=x",
        "teddy\x1c:count=x",
        "teddy:colour=a\nb",
        "no\nsuch",
        "teddy:x\ny=3",
        "teddy:\u202ecount=3",
    ],
)  # fmt: skip
def test_huge_numbers_and_control_characters_are_refused_in_one_line(spec):
    refused(toys, spec)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("sinkorn", "did you mean 'sinkhorn'?"), ("sinkhorn:tua=1", "did you mean 'tau'?"),
        ("nothing", "unknown operator"), ("sinkhorn:tau=hot", "must be a number"),
        ("sinkhorn:tau=0", "tau"), ("sinkhorn:tau=-1", "tau"), ("sinkhorn:tau=1e9", "tau"),
        ("sinkhorn:tol=0", "tol"), ("sinkhorn:tol=1", "tol"), ("sinkhorn:iters=-1", "iters"),
        ("sinkhorn:max_iters=0", "max_iters"), ("sinkhorn:iters=3,tol=0.1", "not both"),
        ("sinkhorn:start=middle", "gallery or query"), ("sinkhorn:fit=train", "auto, bank or test"),
        ("none:k=1", "'k'"),
    ],
)  # fmt: skip
def test_operators_refuse_what_they_cannot_do(spec, hint):
    assert hint in refused(operators, spec)


parts = st.sampled_from([
    "teddy", "kite", "bear", ":", ",", "=", " ", "\n", '"', "\\", "count", "rate", "soft", "colour", "length", "true",
    "nan", "inf", "1", "-", ".", "e", "_", "9" * 400, "9" * 5000, "x", "'", "(", ")", "[", "{", "\x1b", "\u2028", "é",
    "\u0663",
])  # fmt: skip


@generated(1500)
@given(st.sampled_from(["", "teddy:colour="]), st.lists(parts, max_size=9).map("".join))
@example("teddy:count=", "9" * 5000)
def test_any_text_is_read_or_refused_in_one_line(start, rest):
    try:
        toy = toys.parse(start + rest)
    except UsageError as error:
        text = str(error)
    else:
        text = show(toy)
        assert toys.parse(text) == toy
    assert text.isprintable(), text


@generated(300)
@given(st.text(max_size=20))
def test_any_value_is_read_or_refused(text):
    for key in ("count", "rate", "soft", "colour", "price", "either"):
        said = ""
        try:
            toys.parse(f"teddy:{key}={text}")
        except NclbenchError as error:
            said = str(error)
        assert said.isprintable()


# --- never executed ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "__import__('os').system('touch {canary}')",
    "$(touch {canary})",
    "`touch {canary}`",
    "!!python/object/apply:os.system ['touch {canary}']",
    "{{{{ cycler.__init__.__globals__.os.system('touch {canary}') }}}}",
    "open('{canary}','w')",
    "lambda: 1",
    "%s%n{{0.__class__}}",
]


@pytest.mark.parametrize("template", HOSTILE)
def test_nothing_is_executed(template, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    text = template.format(canary=canary)
    toys.names()

    def forbidden(*args, **kwargs):
        raise AssertionError("executed")

    # compile is left alone: re uses its own, dataclasses were made before
    for owner, name in ((builtins, "eval"), (builtins, "exec"), (os, "system"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, forbidden)
    for spec in (text, f"teddy:{text}", f"teddy:colour={text}", f"teddy:count={text}", f"{text}:count=1"):
        with pytest.raises(UsageError):
            toys.parse(spec)
    quoted = show(Teddy(colour=text))
    assert toys.parse(quoted).colour == text
    assert not canary.exists()


# --- finding and registering ------------------------------------------------------------------------------------------


def test_a_new_file_is_found_and_a_name_is_unique(tmp_path, monkeypatch):
    package = tmp_path / "shelf_of_toys"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from nclbench.registry import Registry\nshelf = Registry('toy', __name__, aliases={'top': 'spinner'})\n"
    )
    (package / "spin.py").write_text(
        "from dataclasses import dataclass\nfrom shelf_of_toys import shelf\n"
        "@shelf.register('spinner')\n@dataclass(frozen=True)\nclass Spinner:\n    turns: int = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from shelf_of_toys import shelf

    try:
        assert "shelf_of_toys.spin" not in sys.modules  # found when asked for, not before
        assert show(shelf.parse("top:turns=9")) == "spinner:turns=9"
        assert shelf.names() == ["spinner"]
        for name in ("spinner", "top", "Spinner", "two words", "a-b", "1st", "", "a:b", "a,b", "é"):
            with pytest.raises(ValueError, match="is taken, or is not a plain word"):
                shelf.register(name)(Teddy)
        assert shelf.names() == ["spinner"]
    finally:
        for name in [name for name in sys.modules if name.startswith("shelf_of_toys")]:
            del sys.modules[name]


def test_names_are_sorted_and_aliases_are_not_listed():
    assert toys.names() == ["ball_2", "kite", "teddy"]
    assert toys.get("bear") is Teddy
    assert operators.get("ncl") is Sinkhorn and show(operators.parse("ncl:tau=0.1")) == "sinkhorn:tau=0.1"
    assert "ncl" not in operators.names() and {"none", "sinkhorn"} <= set(operators.names())
