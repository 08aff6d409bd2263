"""The run page in a real browser: headless Chromium watches while a real `mcmc.sample` reports."""

import re
from contextlib import contextmanager

import numpy as np
import pytest
from servers import drawn, serving

import mcmc
from mcmc.service import Client

TOKEN = "a-token-of-good-length"


@contextmanager
def visiting(browser):
    """Open pages; none is left open, for a page that outlives its server asks in vain. Nothing may have gone wrong
    in one, nor been asked of another server."""
    contexts, wrong, asked = [], [], []

    def visit(address, **settings):
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}} | settings)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        return tab

    visit.wrong = wrong
    try:
        yield visit
    finally:
        for context in contexts:
            context.close()
    own = [text for text in wrong if "404" not in text and "401" not in text]  # asked before the run began, say
    assert own == []
    assert all(url.startswith("http://127.0.0.1") for url in asked)


def number(tab, id):
    return float(tab.locator(f"#{id}").inner_text().replace(",", ""))


def seen(tab, id, pattern):
    """Wait until an element's text matches."""
    tab.wait_for_function("([id, p]) => new RegExp(p).test(document.getElementById(id).textContent)", arg=[id, pattern])


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_a_real_run_is_seen_while_it_goes_on(browser, tmp_path):
    target = mcmc.Target(lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(3)})
    with serving() as (url, _), visiting(browser) as visit:
        reporter = Client(url).run("a real run")
        tab = visit(reporter.page)
        seen(tab, "state", "has not reported yet")
        watched = []

        class Watching:
            """Reports, and looks at the page while the run is under way."""

            take_moments, end_run = reporter.take_moments, reporter.end_run

            def __call__(self, update):
                reporter(update)
                if len(watched) < 2 and update.phase == "sampling" and update.done < update.total:
                    assert reporter.flush(30)
                    seen(tab, "state", "sampling")
                    before = watched[-1] if watched else -1
                    tab.wait_for_function(
                        "n => Number(document.getElementById('draws').textContent.replaceAll(',', '')) > n", arg=before
                    )
                    watched.append(number(tab, "draws"))

        draws = mcmc.sample(target, chains=4, draws=20_000, warmup=200, seed=1, progress=Watching())
        seen(tab, "state", "finished")
        rows = {row.split("\t")[0]: row.split("\t")[1:] for row in tab.locator("#rows tr").all_inner_texts()}
        assert set(rows) == {"x[0]", "x[1]", "x[2]"}
        assert float(rows["x[0]"][1]) == pytest.approx(float(draws["posterior"]["x"][..., 0].std()), rel=0.05)
        assert watched == sorted(set(watched))
        assert len(watched) >= 1
        assert number(tab, "draws") == draws["posterior"]["x"].sizes["draw"] * 4 == 80_000
        assert number(tab, "divergences") == int(draws["sample_stats"]["diverging"].sum())
        assert 0.99 < number(tab, "rhat") < 1.05
        assert number(tab, "ess") > 100
        assert tab.locator("#rhat-chart polyline").count() == 1
        assert tab.title() == "a real run: MCMC run"
        tab.screenshot(path=tmp_path / "run.png", full_page=True)


def test_a_run_that_failed_says_why(browser):
    target = mcmc.Target(lambda p: -(p["x"] ** 2), {"x": mcmc.real()})
    with serving() as (url, _), visiting(browser) as visit:
        reporter = Client(url).run("fails")
        with pytest.raises(ValueError, match="chains"):
            mcmc.sample(target, chains=-2, progress=reporter)
        tab = visit(reporter.page)
        seen(tab, "state", "^failed: ValueError: chains: got -2")


def test_draws_fill_the_table_and_names_are_text(browser):
    x = drawn(4, 300, 3)
    with serving() as (url, _), visiting(browser) as visit:
        with Client(url).run("<script>alert(1)</script>") as reporter:
            reporter.block(x, ["<img src=x onerror=alert(2)>", "mu", "tau"])
        tab = visit(reporter.page)
        seen(tab, "state", "finished")
        rows = [text.split("\t") for text in tab.locator("#rows tr").all_inner_texts()]
        by_name = {row[0]: [float(cell.replace(",", "")) for cell in row[1:]] for row in rows}
        assert "<img src=x onerror=alert(2)>" in by_name
        assert by_name["mu"][:2] == pytest.approx([x[:, :, 1].mean(), x[:, :, 1].std()], rel=0.01, abs=1e-3)
        assert tab.locator("#title").inner_text() == "<script>alert(1)</script>"
        assert tab.locator("img").count() == 0


def test_what_is_not_finite_is_named(browser):
    x = drawn(4, 300, 1)
    x[1, 7] = np.nan
    with serving() as (url, _), visiting(browser) as visit:
        with Client(url).run("nan") as reporter:
            reporter.block(x, ["mu"])
        tab = visit(reporter.page)
        seen(tab, "rhat", "nan")
        assert tab.locator("#rows tr").first.inner_text().split("\t")[1:] == ["nan"] * 4


def test_a_token_comes_after_the_hash(browser):
    with serving(token=TOKEN) as (url, _), visiting(browser) as visit:
        with Client(url, TOKEN).run("secret") as reporter:
            reporter.block(drawn(4, 300, 1), ["mu"])
        tab = visit(reporter.page)
        seen(tab, "state", "needs a token")
        assert tab.locator("#draws").inner_text() == "-"
        told = visit(f"{reporter.page}#token={TOKEN}")
        seen(told, "state", "finished")
        assert number(told, "draws") == 1200


def test_it_fits_a_phone_in_the_dark(browser):
    with serving() as (url, _), visiting(browser) as visit:
        with Client(url).run("a-run-with-a-name-that-is-long-enough-for-a-phone") as reporter:
            reporter.block(drawn(4, 300, 4), [f"a_parameter_with_a_long_name[{i}]" for i in range(4)])
        tab = visit(reporter.page, viewport={"width": 375, "height": 812}, color_scheme="dark")
        seen(tab, "state", "finished")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 375
        assert tab.locator("#rows td").first.bounding_box()["width"] > 100  # a name is not broken letter by letter
        colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", colour)[:3])) < 60


def test_a_server_that_ends_is_noticed(browser):
    with visiting(browser) as visit:
        with serving() as (url, _):
            reporter = Client(url).run("ends")
            reporter.block(drawn(4, 300, 1), ["mu"])
            reporter.close(finished=False)
            tab = visit(reporter.page)
            seen(tab, "state", "sampling")
        seen(tab, "state", "does not answer")
        visit.wrong[:] = [text for text in visit.wrong if "ERR_CONNECTION" not in text]
