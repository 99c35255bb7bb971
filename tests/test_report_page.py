"""The hubness report's page in a real browser: what a person does with it, and that it says what the rows say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import factories
import numpy as np
import pytest
from PIL import Image

from nclbench import Results, evaluate
from nclbench.audit.advice import advise
from nclbench.audit.page import render
from nclbench.audit.states import directions
from nclbench.audit.thumbnails import load
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance

SPECS = ["sinkhorn:tau=0.1", "gc"]
HOSTILE = "<img src=x onerror=alert(1)><script>console.log('ran')</script> & \"quoted\""


def written() -> Problem:
    """60 captions, 45 clips, every seventh of which is a hub; captions that nobody else wrote, one of them hostile."""
    made = factories.hubs(60, 45, 12, 4, noise=1.2)
    animals = ("heron", "otter", "badger", "lynx", "wren")
    texts = [f"a {animals[n % 5]} crosses stream number {n}" for n in range(59)] + [HOSTILE]
    queries = Embeddings(made.queries.ids, made.queries.vectors, captions=tuple(texts))
    items = Embeddings(("<b>clip</b>", *made.items.ids[1:]), made.items.vectors)
    return Problem(queries, items, made.relevance, logit_scale=10.0, dataset="streams", model="eyes & ears")


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate(written(), SPECS, hubness=True)


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("page")
    Image.new("RGB", (800, 450), "teal").save(folder / "v7.png")
    found = directions(results)
    advice = [advise(written(), each.name, 0.1, Plan()) for each in found]
    path = folder / "report.html"
    path.write_text(render(results, found, advice, load(str(folder), found)), encoding="utf-8")
    with browser.opened(path) as (opened, wrong):
        yield opened
        assert wrong == []


def mine(results: Results, table: str, spec: str, direction: str = "t2v") -> dict[str, Any]:
    columns = getattr(results, table)
    chosen = (columns["spec"] == spec) & (columns["direction"] == direction) & (columns["protocol"] != "videos")
    return {name: values[chosen] for name, values in columns.items()}


def rows(page: Any, table: str) -> list[list[str]]:
    """The texts of a table's cells."""
    found: list[list[str]] = page.eval_on_selector_all(
        f"#{table} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return found


def heads(page: Any, table: str) -> list[str]:
    return [text.rstrip(" ▲▼") for text in page.eval_on_selector_all(f"#{table} thead th", "all => all.map(c => c.innerText)")]


def choose(page: Any, direction: str, label: str) -> None:
    page.click(f"#directions button:text-is('{direction}')")
    page.click(f"#states button:text-matches('^{label}')")
    page.fill("#item-search", "")
    page.select_option("#item-filter", "all")
    page.fill("#query-search", "")
    page.select_option("#query-filter", "all")


def test_it_says_what_the_rows_say(page: Any, results: Results) -> None:
    for direction in ("t2v", "v2t"):
        for spec, label in (("none", "raw"), (SPECS[0], "sinkhorn"), ("gc", "gc")):
            choose(page, direction, label)
            items = mine(results, "items", spec, direction)
            raw = mine(results, "items", "none", direction)
            place = {name: at for at, name in enumerate(items["id"])}
            names = heads(page, "items")
            shown: list[list[str]] = []
            while True:
                shown += rows(page, "items")
                later = page.query_selector("#item-pages button:text-is('Later')")
                if later is None or later.is_disabled():
                    break
                later.click()
            assert len(shown) == len(items["id"])
            for cells in shown:
                values = dict(zip(names, cells, strict=True))
                at = next(place[name] for name in place if cells[0].endswith(name))
                assert int(values["top-10 lists"]) == items["occurrence@10"][at]
                assert int(values["wrongly first"]) == items["bad@1"][at]
                assert int(values["above the right one"]) == items["over"][at]
                for name, column in (("p", "p"), ("false positive", "fp"), ("false negative", "fn")):
                    wanted = items[column][at]
                    assert values[name] == "–" if np.isnan(wanted) else abs(float(values[name]) - wanted) <= 0.0051
                if spec != "none":
                    assert int(values["lists before"]) == raw["occurrence@10"][at]
                    assert abs(float(values["p before"]) - raw["p"][at]) <= 0.00051


def test_search_finds_a_caption_and_an_id(page: Any) -> None:
    choose(page, "t2v", "sinkhorn")
    page.fill("#query-search", "OTTER number 21")
    assert [row[0].split("\n")[0] for row in rows(page, "queries")] == ["a otter crosses stream number 21 q21"]
    assert page.inner_text("#query-count") == "1 of 60"
    page.fill("#item-search", "v31")
    assert [row[0].endswith("v31") for row in rows(page, "items")] == [True]
    page.fill("#item-search", "crosses stream number 31")
    assert len(rows(page, "items")) == 1  # the caption that wants it names it
    page.fill("#item-search", "nothing of that kind")
    assert rows(page, "items") == []


def test_columns_sort_both_ways_and_say_so(page: Any, results: Results) -> None:
    choose(page, "t2v", "raw")
    mass = mine(results, "items", "none")["p"]
    page.click("#items th button:text-matches('^p( |$)')")
    largest = [float(row[heads(page, "items").index("p")]) for row in rows(page, "items")]
    assert largest == sorted(largest, reverse=True) and largest[0] == pytest.approx(mass.max(), abs=1e-3)
    assert page.get_attribute("#items th:has(button:text-matches('^p '))", "aria-sort") == "descending"
    page.click("#items th button:text-matches('^p ')")
    least = [float(row[heads(page, "items").index("p")]) for row in rows(page, "items")]
    assert least == sorted(least) and least[0] == pytest.approx(mass.min(), abs=1e-3)
    page.click("#items th button:text-matches('^top-10')")


def test_filters_count_what_the_rows_count(page: Any, results: Results) -> None:
    choose(page, "t2v", "raw")
    items = mine(results, "items", "none")
    fair = len(mine(results, "queries", "none")["id"]) / len(items["id"])
    for name, count in (
        ("never", (items["occurrence@10"] == 0).sum()),
        ("hubs", (items["occurrence@10"] >= 20 * fair).sum()),
        ("under", (items["p"] < fair / 2).sum()),
        ("over", (items["p"] > 2 * fair).sum()),
        ("thieves", (items["bad@1"] > 0).sum()),
    ):
        page.select_option("#item-filter", name)
        assert page.inner_text("#item-count") == f"{count} of {len(items['id'])}"
    choose(page, "t2v", "sinkhorn")
    queries = mine(results, "queries", results.runs[1].operator.spec)
    for name, count in (("won", (queries["won"] > 0).sum()), ("lost", (queries["won"] < 0).sum())):
        page.select_option("#query-filter", name)
        assert page.inner_text("#query-count") == f"{count} of 60"


def test_a_hub_lists_the_queries_that_it_stole(page: Any, results: Results) -> None:
    choose(page, "t2v", "raw")
    items, queries = mine(results, "items", "none"), mine(results, "queries", "none")
    hub = items["id"][np.argmax(items["bad@1"])]
    stolen = np.flatnonzero(queries["beaten_by"] == hub)
    assert len(stolen) > 1
    page.fill("#item-search", hub)
    page.focus("#items tbody tr")
    page.keyboard.press("Enter")
    box = page.query_selector("#detail-body h3:text-matches('^Stolen')").query_selector("xpath=..")
    texts = [line.inner_text() for line in box.query_selector_all("li")]
    assert len(texts) == len(stolen)
    for at, text in zip(stolen, texts, strict=True):
        assert text.startswith(queries["caption"][at])
        assert f"({queries['right'][at]}), at rank {queries['rank'][at]:.0f}" in text
    assert page.evaluate("document.activeElement.id") == "detail-title"


def test_a_starved_item_says_who_outranks_it(page: Any, results: Results) -> None:
    choose(page, "t2v", "raw")
    queries = mine(results, "queries", "none")
    at = int(np.flatnonzero((queries["above"] > 0) & (queries["above"] < 10))[0])
    name = queries["right"][at]
    page.fill("#item-search", name)
    page.click(f"#items tbody tr[data-at='{mine(results, 'items', 'none')['id'].tolist().index(name)}']")
    box = page.query_selector("#detail-body h3:text-matches('^Wanted')").query_selector("xpath=..")
    texts = [line.inner_text() for line in box.query_selector_all("li")]
    (text,) = (text for text in texts if text.split("\n")[0] == queries["caption"][at])
    assert f"rank {queries['rank'][at]:.0f}" in text
    for name in queries["top"][at][: queries["above"][at]]:
        assert name in text


def test_a_query_says_whether_it_was_helped(page: Any, results: Results) -> None:
    choose(page, "t2v", "sinkhorn")
    queries = mine(results, "queries", results.runs[1].operator.spec)
    at = int(np.argmax(queries["won"]))
    page.fill("#query-search", queries["id"][at])
    page.click(f"#queries tbody tr[data-at='{at}']")
    text = page.inner_text("#query-detail-body")
    assert f"at rank {queries['rank'][at]:.0f}; helped, it was at {queries['rank_raw'][at]:.0f}" in text
    if queries["gave_way"][at] is not None:
        assert f"{queries['gave_way'][at]}" in text and "moved out of the way" in text
    assert text.count("✓ right") >= 1


def test_names_are_text_and_nothing_else(page: Any) -> None:
    choose(page, "t2v", "raw")
    page.fill("#query-search", "onerror")
    assert rows(page, "queries")[0][0].startswith(HOSTILE)
    assert page.query_selector_all("main img[src='x'], main script, main b") == []
    page.fill("#item-search", "<b>clip")
    assert rows(page, "items")[0][0].endswith("<b>clip</b>")
    page.click("#items tbody tr")
    assert "<b>clip</b>" in page.inner_text("#detail-title")


def test_pictures_tables_and_keys_work_in_the_dark(page: Any, results: Results) -> None:
    choose(page, "t2v", "sinkhorn")
    for name in ("representation", "sorted", "lorenz", "occurrence", "errors", "changes"):
        assert page.eval_on_selector(f"#plot-{name} .main-svg", "svg => svg.getBoundingClientRect().height") > 100
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.click("#theme")
    page.focus("#items tbody tr")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.rowIndex") == 2
    page.fill("#item-search", "v7")
    assert page.get_attribute("#items tbody img", "src").startswith("data:image/jpeg;base64,")
    findings = page.inner_text("#findings")
    assert "share of items with under half" in findings and "by chance" in findings
    assert page.inner_text("#advice").startswith("Try: ")


def test_without_labels_nothing_about_them_is_shown(tmp_path: Path) -> None:
    made = written()
    found = directions(evaluate(Problem(made.queries, made.items, None, logit_scale=10.0), ["csls:k=3"], hubness=True))
    path = tmp_path / "report.html"
    path.write_text(render(evaluate(Problem(made.queries, made.items, None, logit_scale=10.0), hubness=True), found, []), "utf-8")
    with browser.opened(path, dark=True) as (page, wrong):
        assert not page.is_visible("#plot-changes") and not page.is_visible("#query-filter")
        assert "rank" not in heads(page, "queries") and not {"wrongly first", "above the right one"} & set(heads(page, "items"))
        page.click("#items tbody tr")
        assert "In the top-10 lists of" in page.inner_text("#detail-body") and "Stolen" not in page.inner_text("#detail-body")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert wrong == []


def test_queries_with_several_right_ones_and_with_none(tmp_path: Path) -> None:
    made = factories.hubs(30, 20, 8, 4, noise=2.0)
    pairs = [(query, item) for query in range(29) for item in (query % 20, (query + 7) % 20)]
    problem = Problem(made.queries, made.items, Relevance.of(*np.array(pairs).T), logit_scale=10.0)
    results = evaluate(problem, hubness=True)
    path = tmp_path / "report.html"
    path.write_text(render(results, directions(results), []), encoding="utf-8")
    queries, items = mine(results, "queries", "none"), mine(results, "items", "none")
    with browser.opened(path) as (page, wrong):
        lost = int(np.flatnonzero([len(set(w) & set(t)) == 1 for w, t in zip(queries["wants"], queries["top"], strict=True)])[0])
        other = next(name for name in queries["wants"][lost] if name not in queries["top"][lost])
        page.fill("#item-search", other)
        page.click(f"#items tbody tr[data-at='{items['id'].tolist().index(other)}']")
        text = page.inner_text("#detail-body")
        assert f"{queries['id'][lost]}\nnot among the first 10; above it:" in text and "(right too)" in text
        unknown = queries["id"][29]
        for name in set(queries["top"][29][:1]):
            page.fill("#item-search", name)
            page.click(f"#items tbody tr[data-at='{items['id'].tolist().index(name)}']")
            right, stolen = (
                page.query_selector(f"#detail-body h3:text-matches('^{head}')").query_selector("xpath=..").inner_text()
                for head in ("Answers", "Stolen")
            )
            assert unknown not in right.split() and unknown not in stolen.split()
        assert wrong == []


def test_what_is_open_stays_open_under_other_scores_and_colours(page: Any, results: Results) -> None:
    choose(page, "t2v", "raw")
    page.click("#items tbody tr")
    title = page.inner_text("#detail-title")
    before = page.inner_text("#detail-body")
    page.click("#states button:text-matches('^sinkhorn')")
    assert page.inner_text("#detail-title") == title and page.inner_text("#detail-body") != before
    page.click("#theme")
    assert page.is_visible("#detail")
    page.click("#theme")
    page.click("#directions button:text-is('v2t')")
    assert not page.is_visible("#detail")


def test_it_prints_on_paper_and_fits_a_telephone(page: Any) -> None:
    choose(page, "t2v", "sinkhorn")
    page.set_viewport_size({"width": 400, "height": 800})
    for _ in range(50):
        if page.evaluate("document.documentElement.scrollWidth") <= 400:
            break
        page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.wait_for_timeout(300)
    widths = page.eval_on_selector_all(".js-plotly-plot .main-svg", "all => all.map(svg => svg.getBoundingClientRect().width)")
    assert widths and max(widths) <= 330
    assert not page.is_visible(".bar")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.set_viewport_size({"width": 1200, "height": 900})


def test_a_long_gallery_is_a_stated_sample(tmp_path: Path) -> None:
    made = factories.hubs(300, 200, 12, 4)
    results = evaluate(made, hubness=True)
    found = directions(results)
    path = tmp_path / "report.html"
    path.write_text(render(results, found, [], most=60), encoding="utf-8")
    hub = mine(results, "items", "none")["id"][np.argmax(mine(results, "items", "none")["occurrence@10"])]
    with browser.opened(path) as (page, wrong):
        assert "60 of 200 items are listed" in page.inner_text("#sample")
        assert "60 of 300 queries are listed" in page.inner_text("#sample")
        assert "Tables and lists are of a part" in page.inner_text("#short") and "of 200 items" in page.inner_text("#short")
        assert page.inner_text("#item-count") == "60 of 60"
        page.fill("#item-search", hub)
        assert len(rows(page, "items")) >= 1
        assert wrong == []
