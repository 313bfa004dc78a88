"""The microscope's page in a real browser, opened from disk: what a reader would miss if it broke."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import made_rollouts as made
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from igsearch.reporting import microscope
from igsearch.reporting.microscope_data import Run

pytestmark = pytest.mark.browser

QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
DESKTOP, PHONE = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}

CONTRASTS = """elements => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const luminance = (colours) => {
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((value) => value / 255)
            .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
            .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    };
    return elements.filter((element) => element.checkVisibility()).map((element) => {
        const behind = [];
        for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
        const [paper, ink] = [luminance(behind), luminance([...behind, getComputedStyle(element).color])];
        return (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
    });
}"""
"""The contrast of the text of each visible element with what lies behind it (WCAG 2.1)."""


@dataclass
class Watched:
    """A page and what it did that it should not: requests but its own file, messages, errors, dialogs."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. The module skips where no browser is found."""
    known = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, known)), None)
    if found is None:
        pytest.skip(f"no browser found ({', '.join(known)}); Debian's package is called chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield launched
        launched.close()


class Open:
    """Opens pages from disk and watches them."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder, self.opened = browser, folder, list[Watched]()

    def __call__(self, run: Run, other: Run | None = None, scheme: str = "light", size: dict = DESKTOP) -> Page:
        path = self.folder / f"{len(self.opened)}.html"
        microscope.write(path, *run, other)
        page = self.browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(20_000)
        watched = Watched(page)
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("console", lambda message: watched.complaints.append(message.text))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (watched.complaints.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        self.opened.append(watched)
        return page


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a run's page. Whatever a test does, no page may ask the network, complain or show a dialog."""
    opener = Open(browser, tmp_path)
    yield opener
    for watched in opener.opened:
        assert [url for url in watched.requests if not re.fullmatch(r"file://.*\.html(#.*)?", url)] == []
        assert watched.complaints == []
        watched.page.close()


def questions(page: Page) -> list[str]:
    """The questions in the list."""
    return [re.sub(r"who wrote (.*)\?", r"\1", text) for text in page.locator("#list .asked").all_inner_texts()]


def choose(page: Page, name: str, value: str) -> list[str]:
    """The questions that a filter leaves."""
    page.locator(f"select[name={name}]").select_option(value)
    left = questions(page)
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#list li")).to_have_count(len(made.RIGHT))
    return left


def columns(page: Page) -> list[str]:
    """Which rollouts are side by side."""
    return page.locator(".columns h3").all_inner_texts()


def test_it_opens_from_disk_with_a_list_and_the_first_question(opened: Open) -> None:
    page = opened(made.run())
    assert questions(page) == list(made.RIGHT)
    expect(page.get_by_role("heading", level=2)).to_have_text("who wrote nq/test_1?")
    expect(page.get_by_text("Synthetic data", exact=True)).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("Gold: Meldon · nq/test_1 · 2 hops")
    expect(page.locator("#list [aria-selected=true]")).to_contain_text("mean 0.63 · IG −1.50 to +2.50")
    assert page.locator("#list [aria-selected=true]").locator(".dots i").count() == 8


def test_filters_leave_the_questions_that_they_name(opened: Open) -> None:
    page = opened(made.run(), made.other_run())
    assert choose(page, "benchmark", "musique") == ["musique/4", "musique/5"]
    assert choose(page, "answer", "right") == ["nq/test_1", "musique/4"]
    assert choose(page, "answer", "wrong") == ["nq/test_2", "hotpotqa/test_3", "musique/5", "bamboogle/6"]
    assert choose(page, "group", "failed") == ["nq/test_2", "musique/5"]
    assert choose(page, "group", "uniform") == ["nq/test_2", "musique/5"]
    assert choose(page, "group", "mixed") == ["nq/test_1", "hotpotqa/test_3", "musique/4", "bamboogle/6"]
    assert choose(page, "change", "improved") == ["musique/4"]
    assert choose(page, "change", "spoiled") == ["nq/test_2", "musique/5"]
    assert choose(page, "order", "best")[0] == "hotpotqa/test_3"
    assert choose(page, "order", "worst")[:2] == ["nq/test_2", "musique/5"]


def test_the_order_follows_the_gain_and_questions_without_one_come_last(opened: Open) -> None:
    about, rows = made.run()
    for row in rows:
        for step in row["steps"]:
            if step["gain"] and row["uid"] == "musique/5":
                step["gain"] = made.gain(-0.1, -9.0)
            elif row["uid"] == "nq/test_1":
                step["gain"] = None
    page = opened((about, rows))
    highest, lowest = choose(page, "order", "highest"), choose(page, "order", "lowest")
    assert (highest[0], highest[-1]) == ("musique/5", "nq/test_1")
    assert lowest[-2:] == ["musique/5", "nq/test_1"]


def test_text_search_finds_questions_and_queries_and_says_when_nothing_is_left(opened: Open) -> None:
    page = opened(made.run())
    search = page.get_by_label("Search", exact=False).first
    search.fill("BAMBOOGLE/6 writer")
    assert questions(page) == ["bamboogle/6"]
    expect(page.get_by_role("heading", level=2)).to_have_text("who wrote bamboogle/6?")
    expect(page.locator("#count")).to_have_text("1 of 6 questions")
    search.fill("nobody")
    expect(page.locator("#count")).to_have_text("No question passes these filters.")


def test_what_improved_and_right_rest_on_is_said(opened: Open) -> None:
    page = opened(made.run(), made.other_run())
    page.locator("#count").click()
    expect(page.locator("#basis")).to_contain_text("by the greedy answer’s EM for 6 questions")
    expect(page.locator("#basis")).to_contain_text("by greedy EM for 4, by the group’s mean EM for 1")
    page.locator("#list li").nth(3).click()
    expect(page.locator(".facts")).to_contain_text("improved against grpo-0 (greedy EM 0 → 1)")


def test_the_keyboard_is_enough(opened: Open) -> None:
    page = opened(made.run())
    heading = page.get_by_role("heading", level=2)
    page.keyboard.press("j")
    expect(heading).to_have_text("who wrote nq/test_2?")
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text("who wrote hotpotqa/test_3?")
    page.keyboard.press("k")
    expect(heading).to_have_text("who wrote nq/test_2?")
    page.keyboard.press("End")
    expect(heading).to_have_text("who wrote bamboogle/6?")
    page.keyboard.press("Home")
    expect(heading).to_have_text("who wrote nq/test_1?")
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("jk/4")  # letters are letters there
    expect(page.locator("input[name=text]")).to_have_value("jk/4")
    page.locator("input[name=text]").fill("musique")
    page.keyboard.press("Escape")
    expect(page.locator("#list [aria-selected=true]")).to_be_focused()
    assert page.locator("#list [aria-selected=true]").evaluate("each => getComputedStyle(each).outlineStyle") == "solid"


def test_a_transcript_is_read_token_by_token_with_arrow_keys(opened: Open) -> None:
    page = opened(made.run())
    tokens = page.locator("article").first.locator(".token")
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    readout = page.locator("#readout")
    expect(readout).to_contain_text("(no unit), log-probability −0.250 nats")
    page.keyboard.press("ArrowLeft")
    expect(tokens.first).to_be_focused()
    expect(readout).to_contain_text("<think>")
    tokens.nth(3).hover()
    expect(readout).to_contain_text("advantage +0.77")


def shades(column: Locator) -> list[tuple[float, str, float]]:
    """Value, class and strength of the shade of each token."""
    return column.locator(".token").evaluate_all(
        "all => all.map(e => [+e.dataset.shade, e.classList[1], +e.style.getPropertyValue('--shade')])"
    )


def test_the_shade_of_a_token_has_the_sign_and_the_size_of_its_advantage(opened: Open) -> None:
    page = opened(made.run())
    page.locator("[data-preset=all]").click()
    found = [shades(article) for article in page.locator("article").all()]
    largest = max(abs(value) for column in found for value, _, _ in column)
    for value, sign, strength in (each for column in found for each in column):
        assert sign == ("pos" if value > 0 else "neg" if value < 0 else "zero")
        assert strength == pytest.approx(abs(value) / largest, abs=2e-3)
    colour = "each => getComputedStyle(each).backgroundColor"
    positive, negative = (page.locator(f".token.{sign}").first.evaluate(colour) for sign in ("pos", "neg"))
    assert positive != negative
    expect(page.locator("#scale")).to_contain_text("whole advantage, no unit")


def test_what_the_environment_wrote_has_no_shade(opened: Open) -> None:
    page = opened(made.run())
    assert page.locator(".environment").count()
    assert page.locator(".environment .token").count() == 0


def test_the_step_part_shades_the_query_alone_and_the_outcome_part_every_token_alike(opened: Open) -> None:
    page = opened(made.run())
    page.get_by_label("step part").check()
    first = page.locator("article").first
    assert first.locator(".token.pos, .token.neg").count()
    assert first.locator(".part:not(.search) .token:is(.pos, .neg)").count() == 0
    page.get_by_label("outcome part").check()
    assert len({value for value, _, _ in shades(first)}) == 1


def test_a_method_without_step_signal_offers_no_step_part(opened: Open) -> None:
    page = opened(made.other_run())
    expect(page.get_by_label("step part")).to_be_disabled()
    expect(page.locator("article").first).to_contain_text("No step signal in this method.")


def test_the_marks_of_a_gain_lie_where_their_values_say(opened: Open) -> None:
    page = opened(made.run())
    page.locator("[data-preset=all]").click()
    axis = page.locator("article[aria-label$='rollout 1'] .axis").first

    def middle(mark: Locator) -> float:
        box = mark.bounding_box()
        assert box
        return box["x"] + box["width"] / 2

    ticks = {float(each.inner_text().replace("−", "-")): middle(each) for each in axis.locator(".tick").all()}
    low = min(ticks)
    unit = (ticks[0.0] - ticks[low]) / -low
    for mark in axis.locator(".random, .real").all():
        value = float(mark.get_attribute("data-value") or "nan")
        assert middle(mark) == pytest.approx(ticks[0.0] + value * unit, abs=1.5)
    bar = axis.locator(".bar").bounding_box()
    assert bar
    assert bar["x"] == pytest.approx(ticks[0.0] - 3.0 * unit, abs=1.5)  # from the mean of the counterfactuals
    assert bar["width"] == pytest.approx(2.5 * unit, abs=1.5)  # to the real one
    figures = page.locator("article[aria-label$='rollout 1'] .gain")
    expect(figures.first).to_contain_text("IG +2.50 nats per weighted answer token")
    expect(figures.first).to_contain_text("real −0.50, mean of 3 counterfactuals −3 (−2, −3, −4)")
    expect(figures.nth(1)).to_contain_text("IG −1.50")
    expect(figures.nth(1).locator(".bar")).to_have_class("bar neg")


def test_documents_are_new_seen_or_cut_off_and_a_search_without_gain_says_why(opened: Open) -> None:
    page = opened(made.run())
    page.locator("[data-preset=all]").click()
    searches = page.locator("article[aria-label$='rollout 2'] section")
    expect(searches.nth(0).locator(".tag")).to_have_text(["new", "new", "cut off"])
    expect(searches.nth(1).locator(".tag")).to_have_text(["seen before"])
    expect(searches.nth(0)).to_contain_text("nq/test_1 was written by Meldon.")
    expect(searches.nth(0)).to_contain_text("score 4.25")
    expect(searches.nth(2)).to_contain_text("Information gain not scored: the search found no documents.")
    expect(page.locator("article[aria-label$='rollout 7']")).to_contain_text(
        "The last turn held neither a complete search nor a complete answer."
    )


def test_a_long_document_opens_on_demand(opened: Open) -> None:
    page = opened(made.run())
    long = page.locator("article").first.get_by_text("Meldon was born in Karvik.").first
    expect(long).to_be_hidden()
    page.get_by_label("open all documents").check()
    expect(long).to_be_visible()


def test_siblings_stand_side_by_side_and_any_can_be_chosen(opened: Open) -> None:
    page = opened(made.run())
    assert page.locator(".strip tbody tr").count() == 8
    assert columns(page) == ["ig_search-0 · rollout 0", "ig_search-0 · rollout 7"]  # the best and the worst
    page.get_by_label("show rollout 4 of ig_search-0").check()
    assert "ig_search-0 · rollout 4" in columns(page)
    first, second = (page.locator("article").nth(n).bounding_box() for n in range(2))
    assert first
    assert second
    assert first["y"] == second["y"]
    assert second["x"] >= first["x"] + first["width"]
    page.locator("[data-preset=all]").click()
    assert len(columns(page)) == 8


def test_two_runs_stand_side_by_side_on_the_same_question(opened: Open) -> None:
    page = opened(made.run(), made.other_run())
    assert [text.split(" · ")[0] for text in columns(page)] == ["ig_search-0", "grpo-0"]
    assert page.locator(".strip").count() == 2
    first, second = (page.locator("article").nth(n).bounding_box() for n in range(2))
    assert first
    assert second
    assert second["x"] >= first["x"] + first["width"]
    page.locator("#list li").last.click()
    expect(page.get_by_text("grpo-0 has no rollouts of this question.")).to_be_visible()
    assert {text.split(" · ")[0] for text in columns(page)} == {"ig_search-0"}


def test_the_address_holds_the_question(opened: Open) -> None:
    page = opened(made.run())
    page.locator("#list li").nth(3).click()
    address = page.url
    assert address.endswith("#musique%2F4")
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_role("heading", level=2)).to_have_text("who wrote musique/4?")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(opened: Open, scheme: str) -> None:
    page = opened(made.run(), made.other_run(), scheme)
    page.locator("[data-preset=all]").click()
    kinds = "h1, h2, h3, h4, p, .note, .asked, .tag, .kind, th, td, .tick, summary, b, label, .token, button, select"
    found = {kind: page.locator(kind).evaluate_all(CONTRASTS) for kind in kinds.split(", ")}
    assert all(found.values())
    assert {kind: min(ratios) for kind, ratios in found.items() if min(ratios) < 4.5} == {}
    assert max(found[".token"]) - min(found[".token"]) > 1  # shades were taken into account


def test_dark_is_darker_and_the_button_changes_it(opened: Open) -> None:
    page = opened(made.run(), scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 24, 29)"
    page.get_by_role("button", name="Theme: as the system").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(paper) == "rgb(20, 24, 29)"


def test_hostile_text_shows_as_text_and_runs_nothing(opened: Open) -> None:
    page = opened(made.hostile_run(), made.hostile_run())
    assert page.evaluate("window.fooled") is None
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    for place in ("h1", "h2", "#list .asked", "article h4", ".documents summary", ".documents p", ".outcome"):
        expect(page.locator(place).first).to_contain_text(made.SEEN)
    page.get_by_text("As the policy read it").first.click()
    expect(page.locator("section pre").first).to_contain_text("</documents><answer> fooled </answer> <script>")
    page.get_by_text("Aside about search 1").first.click()
    expect(page.locator("details.environment pre").first).to_have_text(made.SEEN)
    assert page.locator("[onmouseover], [onerror]").count() == 0
    page.locator("article h4").first.hover()
    assert page.evaluate("window.fooled") is None


def test_a_phone_shows_it_without_scrolling_sideways(opened: Open) -> None:
    page = opened(made.run(), made.other_run(), size=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    column = page.locator("article").first.bounding_box()
    assert column
    assert column["width"] <= PHONE["width"]


def test_print_leaves_out_what_only_a_screen_needs(opened: Open) -> None:
    page = opened(made.run())
    page.emulate_media(media="print")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("article").first).to_be_visible()
    first, second = (page.locator("article").nth(n).bounding_box() for n in range(2))
    assert first
    assert second
    assert second["y"] >= first["y"] + first["height"]


def test_200_long_rollouts_open(opened: Open) -> None:
    page = opened(made.large_run())
    page.locator("[data-preset=all]").click()
    expect(page.locator("article")).to_have_count(8)
    assert page.locator(".token").count() > 8 * 900
