"""The page in a real browser: headless Chromium reads it, sorts its table, and looks at it on a phone."""

import numpy as np
import pytest
from pages import draws, troubled

from mcmc.diagnostics import diagnose
from mcmc.reporting import report

PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}


@pytest.fixture
def visit(browser, tmp_path):
    """Open a run's page; afterwards nothing may have gone wrong in the browser, nor been asked of a network."""
    contexts, wrong, asked = [], [], []

    def visit(run, viewport=DESK, **settings):
        place = report(run, tmp_path / f"{len(contexts)}.html", title="<script>alert(0)</script>")
        context = browser.new_context(viewport=viewport, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(place.as_uri())
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []
    assert set(asked) == {(tmp_path / f"{i}.html").as_uri() for i in range(len(contexts))}


def cells(tab, column):
    """The texts of one column of the table of all parameters, as they are shown."""
    return [row.split("\t")[column] for row in tab.locator("#parameters tbody tr").all_inner_texts()]


def sizes(texts):
    return [float(text.replace(",", "")) for text in texts]


def picture(tab, place):
    """A screenshot as pixels in [0, 1]; it must show something."""
    from matplotlib.image import imread

    tab.screenshot(path=place)
    pixels = imread(place)[..., :3]
    assert pixels.std() > 0.02
    return pixels


def test_verdict_and_table_are_read(visit):
    run = troubled()
    tab = visit(run)
    assert tab.locator("h2").first.inner_text() == "Do not use these draws"
    box = tab.locator("#verdict").bounding_box()
    assert box["y"] + box["height"] < DESK["height"]
    assert cells(tab, 0) == list(diagnose(run).table.index)
    assert tab.locator("#worst tbody tr th").first.inner_text() == "tau"
    assert tab.locator("figure svg").count() == 3 * 5 + 2 + 3
    assert "tau" in tab.locator("#pictures figure", has_text="The two worst together").inner_text()


def test_a_column_is_sorted_up_and_down(visit):
    tab = visit(draws(x=(40,)))
    before, heads = cells(tab, 0), tab.locator("#parameters thead th").all_inner_texts()
    column = heads.index("bulk ESS")
    head = tab.locator("#parameters thead th").nth(column)
    head.get_by_role("button").click()
    up = sizes(cells(tab, column))
    assert up == sorted(up)
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert sizes(cells(tab, column)) == up[::-1]
    tab.get_by_role("button", name="parameter").click()
    assert cells(tab, 0) == before == [f"x[{i}]" for i in range(40)]
    assert head.get_attribute("aria-sort") == "none"


def test_dashes_come_last_either_way(visit):
    run = draws(x=(5,))
    run["posterior"]["x"][0, 0, 2] = np.nan
    tab = visit(run)
    mean = tab.get_by_role("button", name="mean", exact=True)
    for _ in "up", "down":
        mean.click()
        assert cells(tab, 1)[-1] == "–"
        assert "–" not in cells(tab, 1)[:-1]


def test_many_parameters_are_searched_and_shown_by_and_by(visit):
    run = draws(x=(250,), tau=())
    run["posterior"]["tau"][1] += 9
    tab = visit(run)
    assert len(cells(tab, 0)) == 100
    tab.get_by_role("button", name="Show more").click()
    tab.get_by_role("button", name="Show more").click()
    assert len(cells(tab, 0)) == 251
    assert tab.get_by_role("button", name="Show more").count() == 0
    tab.get_by_label("Search").fill("X[24")
    assert cells(tab, 0) == ["x[24]", *(f"x[{i}]" for i in range(240, 250))]
    assert tab.locator("#count").inner_text() == "11 of 11 shown"
    tab.get_by_label("Search").fill("")
    tab.get_by_label("only those that fail").check()
    failed = {name for check in diagnose(run).failures for name in check.parameters}
    assert set(cells(tab, 0)) == failed


def test_a_phone_shows_it_without_scrolling_sideways(visit, tmp_path):
    run = troubled()
    run["posterior"]["a_very_long_name_of_a_parameter_" * 4] = run["posterior"].pop("mu")
    tab = visit(run, PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert picture(tab, tmp_path / "phone.png").shape[1] == PHONE["width"]
    wide = tab.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg') && "
        "e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    scroller = tab.locator("#parameters .scroll")
    assert scroller.evaluate("e => e.scrollWidth > e.clientWidth")


def test_light_and_dark_by_the_system_and_by_the_switch(visit, tmp_path):
    run = troubled()
    light = visit(run, color_scheme="light")
    dark = visit(run, color_scheme="dark")
    bright, dim = picture(light, tmp_path / "light.png"), picture(dark, tmp_path / "dark.png")
    assert bright.mean() > 0.9
    assert dim.mean() < 0.25
    text = "getComputedStyle(document.querySelector('#pictures svg text')).fill"
    assert light.evaluate(text) != dark.evaluate(text)
    dark.get_by_role("button", name="Light or dark").click()
    assert picture(dark, tmp_path / "switched.png").mean() > 0.9
    dark.reload()
    assert picture(dark, tmp_path / "again.png").mean() > 0.9
    dark.get_by_role("button", name="Light or dark").click()
    assert picture(dark, tmp_path / "back.png").mean() < 0.25


def test_without_a_script_every_row_is_there(visit):
    tab = visit(draws(x=(150,)), java_script_enabled=False)
    assert tab.locator("#parameters tbody tr").count() == 150
    assert not tab.get_by_label("Search").is_visible()


def test_hostile_names_do_nothing(visit):
    run = {"posterior": {"<script>alert(1)</script>": draws(x=())["posterior"]["x"]}}
    tab = visit(run)
    assert cells(tab, 0) == ["<script>alert(1)</script>"]
    assert tab.title().endswith("<script>alert(0)</script>")
    assert tab.locator("script").count() == 1


def test_a_script_that_is_not_the_pages_own_is_not_run(browser, tmp_path):
    place = report(draws(x=()), tmp_path / "run.html")
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace("</main>", "<script>document.title = 'taken'</script></main>"), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(place.as_uri())
    assert tab.title().endswith("MCMC report")
    assert tab.locator("#count").inner_text() == "1 of 1 shown"
    tab.close()
