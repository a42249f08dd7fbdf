"""The page to explore a graph: what it holds, and what it does in a real browser under mouse, fingers and keys."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tinygrad_np.visualize.page import to_html
from tinygrad_np.visualize.picture import Box, Edge, Item, Picture

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from browser import chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

HOSTILE = "</script><img src=x onerror=alert(1)> <!-- \"quoted\" 'so' & \\ \u2028 \N{SNAKE}"


def model() -> Picture:
    """x -> [net: [net.0: weight, bias -> linear] -> relu -> tanh] -> loss, and x -> aside -> loss."""
    net = Box("b0", "net - Sequential", details={"calls": "1"})
    first = Box("b1", "net.0 - Linear(4, 3)", outer=net)
    x = Item("0", "input", "x", ["(2, 4) float32"], color="#fef3c7")
    weight = Item("1", "parameter", "net.0.weight", ["(3, 4) float32"], first, {"gradient": "norm 0.5"}, "#dcfce7")
    bias = Item("2", "parameter", "net.0.bias", ["(3,) float32"], first, color="#dcfce7", dashed=True)
    linear = Item("3", "operation", "linear", ["(2, 3) float32"], first, {"place": "train.py:7"}, "#dbeafe")
    relu = Item("4", "operation", "relu", ["(2, 3) float32"], net, color="#dbeafe")
    tanh = Item("5", "operation", "tanh", ["(2, 3) float32"], net, color="#dbeafe", alarming=True)
    aside = Item("6", "operation", "aside", ["(2, 4) float32"], color="#dbeafe")
    loss = Item("7", "operation", "loss", ["() float32"], color="#dbeafe")
    pairs = [(x, linear), (weight, linear), (bias, linear), (linear, relu), (linear, relu), (relu, tanh), (tanh, loss)]
    pairs += [(x, aside), (aside, loss)]
    items = [x, weight, bias, linear, relu, tanh, aside, loss]
    edges = [Edge(tail, head) for tail, head in pairs]
    return Picture(items, edges, [net, first], [("#dbeafe", "operation")], ["1 constant is not shown"])


def data_of(html: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(re.search(r'id="picture">(.*?)</script>', html)[1])
    return data


# ---- What the page holds -------------------------------------------------------------------------------------------


def test_the_page_holds_all_that_the_picture_says() -> None:
    data = data_of(to_html(model()))
    weight = data["items"][1]
    assert weight["title"] == "net.0.weight"
    assert weight["lines"] == ["(3, 4) float32"]
    assert weight["details"] == {"gradient": "norm 0.5"}
    assert data["boxes"][weight["box"]]["title"] == "net.0 - Linear(4, 3)"
    assert data["legend"] == [["#dbeafe", "operation"]]
    assert data["notices"] == ["1 constant is not shown"]


def test_every_item_stands_within_its_box_and_every_inner_box_within_its_outer_one() -> None:
    data = data_of(to_html(model()))
    for thing in data["items"] + data["boxes"]:
        around = thing.get("box", thing.get("outer"))
        if around is not None:
            (x, y, w, h), (left, top, width, height) = thing["place"], data["boxes"][around]["place"]
            assert left < x
            assert top < y
            assert x + w < left + width
            assert y + h < top + height


def test_every_edge_leads_from_its_tail_to_its_head() -> None:
    data = data_of(to_html(model()))
    for edge in data["edges"]:
        for end, (x, y) in ((edge["tail"], edge["points"][0]), (edge["head"], edge["points"][-1])):
            left, top, width, height = data["items"][end]["place"]
            assert left - 2 <= x <= left + width + 2
            assert top - 2 <= y <= top + height + 2


def test_no_text_can_end_the_script_that_holds_it() -> None:
    html = to_html(Picture([Item("0", "input", HOSTILE, [HOSTILE], details={HOSTILE: HOSTILE})], [], []))
    assert "<img" not in html
    assert html.isascii() or "\u2028" not in html
    assert data_of(html)["items"][0]["title"] == HOSTILE


def test_the_page_names_nothing_outside_of_itself() -> None:
    html = to_html(model())
    assert "default-src 'none'" in html
    assert set(re.findall(r"https?://[^\"'\s]+", html)) == {"http://www.w3.org/2000/svg"}  # the name of a namespace
    assert not re.search(r"\bsrc=|@import|url\((?!#)", html)


# ---- What it does --------------------------------------------------------------------------------------------------


class Page:
    """The page in a browser: what a user sees of it and does to it."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        self.path = path

    def show(self, picture: Picture) -> None:
        self.open(to_html(picture))

    def open(self, html: str) -> None:
        self.path.write_text(html, encoding="utf-8")
        self.driver.get(self.path.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, css: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", css)
        return found

    def one(self, css: str) -> Any:
        (found,) = self.all(css)
        return found

    def names(self, css: str) -> set[str]:
        """The titles of the items or boxes that a selector finds."""
        return {
            re.sub("^[▸▾] ", "", title)
            for title in self.run(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.querySelector('text').textContent)", css
            )
        }

    def thing(self, title: str) -> Any:
        return self.run(
            "return [...document.querySelectorAll('.thing')]"
            ".find(e => e.querySelector('text').textContent.replace(/^[▸▾] /, '') === arguments[0])",
            title,
        )

    def click(self, title: str) -> None:
        ActionChains(self.driver, 0).click(self.thing(title)).perform()

    def hover(self, title: str) -> None:
        ActionChains(self.driver, 0).move_to_element(self.thing(title)).perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.driver, 0).send_keys(*keys).perform()

    def search(self, text: str) -> None:
        self.one("#search").send_keys(text)

    def center(self, title: str) -> tuple[float, float]:
        box = self.run("return arguments[0].querySelector('rect').getBoundingClientRect()", self.thing(title))
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def width(self, title: str) -> float:
        width: float = self.run(
            "return arguments[0].querySelector('rect').getBoundingClientRect().width", self.thing(title)
        )
        return width

    def view(self) -> str:
        view: str = self.one("#scene").get_attribute("transform")
        return view


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def html() -> str:
    return to_html(model())


@pytest.fixture
def page(driver: Any, html: str, tmp_path: Path) -> Iterator[Page]:
    page = Page(driver, tmp_path / "graph.html")
    page.open(html)
    yield page
    assert driver.get_log("browser") == []


def test_every_item_box_line_legend_and_notice_is_shown(page: Page) -> None:
    assert page.names(".item") == {"x", "net.0.weight", "net.0.bias", "linear", "relu", "tanh", "aside", "loss"}
    assert page.names(".bar") == {"net - Sequential", "net.0 - Linear(4, 3)"}
    assert "(3, 4) float32" in page.thing("net.0.weight").text
    assert "operation" in page.one("#legend ul").text
    assert page.one("#notices").text == "1 constant is not shown"
    assert page.driver.title == "Computation graph"


def test_items_have_the_colors_and_outlines_of_the_picture(page: Page) -> None:
    fill = page.run("return getComputedStyle(arguments[0].querySelector('rect')).fill", page.thing("linear"))
    assert fill == "rgb(219, 234, 254)"
    assert page.names(".item.dashed") == {"net.0.bias"}
    assert page.names(".item.alarming") == {"tanh"}


def test_at_first_the_whole_drawing_is_in_sight(page: Page) -> None:
    scene, canvas = (
        page.run("return document.getElementById(arguments[0]).getBoundingClientRect()", name)
        for name in ("scene", "canvas")
    )
    assert scene["left"] >= canvas["left"]
    assert scene["right"] <= canvas["right"]
    assert scene["top"] >= canvas["top"]
    assert scene["bottom"] <= canvas["bottom"]


def test_the_wheel_zooms_in_and_out_where_the_mouse_is(page: Page) -> None:
    before, width = page.center("net.0.weight"), page.width("net.0.weight")
    for turn, larger in ((-300, True), (600, False)):
        ActionChains(page.driver, 0).scroll_from_origin(
            ScrollOrigin.from_viewport(round(before[0]), round(before[1])), 0, turn
        ).perform()
        assert (page.width("net.0.weight") > 1.2 * width) == larger
        assert page.center("net.0.weight") == pytest.approx(before, abs=1.5)


def test_the_buttons_zoom_and_fit_shows_everything_again(page: Page) -> None:
    view, width = page.view(), page.width("loss")
    page.one("#zoom-in").click()
    assert page.width("loss") > 1.2 * width
    page.one("#zoom-out").click()
    page.one("#zoom-out").click()
    assert page.width("loss") < width
    page.one("#fit").click()
    assert page.view() == view


def test_the_keys_plus_minus_and_f_zoom_and_fit(page: Page) -> None:
    view, width = page.view(), page.width("loss")
    page.press("+")
    assert page.width("loss") > 1.2 * width
    page.press("-", "-")
    assert page.width("loss") < width
    page.press("f")
    assert page.view() == view


def test_a_double_click_zooms_in_where_the_mouse_is(page: Page) -> None:
    before, width = page.center("x"), page.width("x")
    ActionChains(page.driver, 0).double_click(page.thing("x")).perform()
    assert page.width("x") == pytest.approx(2 * width)
    assert page.center("x") == pytest.approx(before, abs=1.5)


def test_dragging_moves_the_drawing_and_is_no_click(page: Page) -> None:
    x, y = page.center("relu")
    ActionChains(page.driver, 0).drag_and_drop_by_offset(page.thing("relu"), 70, -40).perform()
    assert page.center("relu") == pytest.approx((x + 70, y - 40), abs=1)
    assert page.all(".chosen") == []


def test_two_fingers_zoom_in_between_them(page: Page) -> None:
    (x, y), width = page.center("relu"), page.width("relu")
    for kind, spread in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        fingers = [] if spread is None else [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    assert page.width("relu") == pytest.approx(2 * width, rel=0.05)
    assert page.center("relu") == pytest.approx((x, y), abs=3)


def test_hovering_shows_details_and_leaving_hides_them(page: Page) -> None:
    assert not page.one("#details").is_displayed()
    page.hover("net.0.weight")
    shown = page.one("#details").text.split("\n")
    assert shown == ["net.0.weight", "parameter", "(3, 4) float32", "gradient", "norm 0.5"]
    page.hover("net - Sequential")
    assert "calls" in page.one("#details").text
    ActionChains(page.driver, 0).move_to_element(page.one("#search")).perform()
    assert not page.one("#details").is_displayed()


def test_every_item_can_be_reached_by_keyboard_which_shows_its_details_and_enter_clicks_it(page: Page) -> None:
    page.one("#unfold-all").send_keys(Keys.TAB)  # to the first box
    seen = []
    while page.run("return Boolean(document.activeElement.thing)"):
        seen.append(page.one("#details h2").text)
        page.press(Keys.TAB)
    assert set(seen) == page.names(".thing")
    page.run("arguments[0].focus()", page.thing("linear"))
    page.press(Keys.ENTER)
    assert page.names(".item.chosen") == {"linear"}


def test_a_click_lights_up_what_an_item_was_computed_from_and_what_it_flows_into(page: Page) -> None:
    page.click("relu")
    assert page.names(".item.chosen") == {"relu"}
    assert page.names(".item.before") == {"x", "net.0.weight", "net.0.bias", "linear"}
    assert page.names(".item.after") == {"tanh", "loss"}
    assert (len(page.all(".edge.before")), len(page.all(".edge.after"))) == (5, 2)
    strokes = {
        page.run("return getComputedStyle(arguments[0].querySelector('rect')).stroke", page.thing(title))
        for title in ("linear", "relu", "loss", "aside")
    }
    assert len(strokes) == 4
    opacity = {
        title: float(page.run("return getComputedStyle(arguments[0]).opacity", page.thing(title)))
        for title in ("linear", "aside")
    }
    assert opacity["linear"] == 1
    assert opacity["aside"] < 0.5
    assert {"computed from 4 items", "flows into 2 items"} <= set(page.one("#details").text.split("\n"))


@pytest.mark.parametrize("way", ["escape", "background"])
def test_escape_or_a_click_beside_the_drawing_clears_the_light(page: Page, way: str) -> None:
    page.click("relu")
    if way == "escape":
        page.press(Keys.ESCAPE)
    else:
        ActionChains(page.driver, 0).move_to_element_with_offset(page.one("#canvas"), -400, -200).click().perform()
    assert page.all("#scene :is(.chosen, .before, .after), .lit") == []
    assert not page.one("#details").is_displayed()


def test_a_click_on_a_boxs_title_folds_it_into_one_item_and_another_unfolds_it(page: Page) -> None:
    places = [page.center(title) for title in ("x", "linear", "loss")]
    page.click("net.0 - Linear(4, 3)")
    assert page.names(".item") == {"x", "net.0 - Linear(4, 3)", "relu", "tanh", "aside", "loss"}
    assert "3 items" in page.thing("net.0 - Linear(4, 3)").text
    page.click("net.0 - Linear(4, 3)")
    page.one("#fit").click()
    assert [page.center(title) for title in ("x", "linear", "loss")] == places


def test_what_was_pressed_stays_under_the_mouse(page: Page) -> None:
    before = page.center("net.0 - Linear(4, 3)")
    page.click("net.0 - Linear(4, 3)")
    assert page.center("net.0 - Linear(4, 3)") == pytest.approx(before, abs=1)


def test_an_inner_box_stays_folded_while_its_outer_one_is_folded_and_unfolded(page: Page) -> None:
    page.click("net.0 - Linear(4, 3)")
    page.click("net - Sequential")
    assert page.names(".item") == {"x", "net - Sequential", "aside", "loss"}
    page.click("net - Sequential")
    assert page.names(".item.folded") == {"net.0 - Linear(4, 3)"}


def test_a_box_folds_and_unfolds_by_keyboard_and_stays_in_focus(page: Page) -> None:
    page.run("arguments[0].focus()", page.thing("net.0 - Linear(4, 3)"))
    page.press(Keys.ENTER)
    assert page.names(".item.folded:focus") == {"net.0 - Linear(4, 3)"}
    page.press(Keys.SPACE)
    assert page.names(".bar:focus") == {"net.0 - Linear(4, 3)"}


def test_all_boxes_fold_and_unfold_at_once(page: Page) -> None:
    page.one("#fold-all").click()
    assert page.names(".item") == {"x", "net - Sequential", "aside", "loss"}
    assert page.all(".bar") == []
    page.one("#unfold-all").click()
    assert len(page.all(".item")) == 8
    assert len(page.all(".bar")) == 2


def test_edges_of_hidden_items_lead_to_the_folded_box_once(page: Page) -> None:
    assert len(page.all(".edge")) == 9
    page.click("net.0 - Linear(4, 3)")
    assert len(page.all(".edge")) == 6  # from x, and one to relu for two
    ends = page.run(
        """
        const box = edges.find((edge) => edge.tail.title === "x" && edge.head.title === "linear").element;
        const { x, y } = box.getPointAtLength(box.getTotalLength());
        return [x, y, ...boxes[1].at];
        """
    )
    x, y, left, top, width, height = ends
    assert left - 1 <= x <= left + width + 1
    assert top - 1 <= y <= top + height + 1


def test_folding_closes_the_gap_that_the_box_leaves(page: Page) -> None:
    def distance() -> float:
        height: float = page.run(
            "const [x, ...rest] = items; const loss = rest.at(-1); return loss.at[1] - x.at[1] - x.at[3]"
        )
        return height

    picture = model()  # without the way around the box, which keeps the place it needs
    picture.edges = [edge for edge in picture.edges if edge.tail.title != "aside" and edge.head.title != "aside"]
    picture.items = [item for item in picture.items if item.title != "aside"]
    page.show(picture)
    before = distance()
    page.click("net - Sequential")
    assert distance() < 0.6 * before


def test_things_do_not_overlap_once_gaps_are_closed(page: Page) -> None:
    page.click("net.0 - Linear(4, 3)")
    places = page.run("return [...document.querySelectorAll('.item')].map((e) => e.thing.at)")
    for k, (x1, y1, w1, h1) in enumerate(places):
        for x2, y2, w2, h2 in places[:k]:
            assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1


def test_a_folded_box_is_alarming_if_something_in_it_is(page: Page) -> None:
    page.click("net.0 - Linear(4, 3)")
    assert page.names(".item.alarming") == {"tanh"}
    page.click("net - Sequential")
    assert page.names(".item.alarming") == {"net - Sequential"}


def test_folding_keeps_the_light_on(page: Page) -> None:
    page.click("relu")
    page.click("net.0 - Linear(4, 3)")
    assert page.names(".item.before") == {"x", "net.0 - Linear(4, 3)"}
    assert page.names(".item.after") == {"tanh", "loss"}


def test_a_folded_box_does_not_join_what_only_passes_through_it_side_by_side(page: Page) -> None:
    box = Box("b", "pair - Pair")
    names = [("a", None), ("b", None), ("exp", box), ("log", box), ("after exp", None), ("after log", None)]
    a, b, exp, log, after_exp, after_log = items = [
        Item(str(k), "operation", name, box=where) for k, (name, where) in enumerate(names)
    ]
    pairs = [(a, exp), (b, log), (exp, after_exp), (log, after_log)]
    page.show(Picture(items, [Edge(*pair) for pair in pairs], [box]))
    page.click("pair - Pair")
    page.click("a")
    assert page.names(".item.after") == {"pair - Pair", "after exp"}


def test_search_counts_and_marks_what_it_finds_by_name(page: Page) -> None:
    page.press("/")
    page.press("NET.0.")
    assert page.one("#count").text == "2 found"
    assert page.names(".match") == {"net.0.weight", "net.0.bias"}
    page.press("nothing of the kind")
    assert page.one("#count").text == "none found"
    assert page.all(".match") == []
    page.press(Keys.ESCAPE)
    assert page.one("#count").text == ""


def test_enter_goes_to_the_next_match_and_centers_it(page: Page) -> None:
    canvas = page.run("return document.getElementById('canvas').getBoundingClientRect()")
    middle = (canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.search("net.0.")
    visited = []
    for place in ("1 of 2", "2 of 2", "1 of 2"):
        page.press(Keys.ENTER)
        assert page.one("#count").text == place
        (name,) = page.names(".match.current")
        assert page.center(name) == pytest.approx(middle, abs=1)
        assert page.one("#details h2").text == name
        visited.append(name)
    assert visited[0] == visited[2] != visited[1]


def test_search_finds_things_inside_of_folded_boxes_and_unfolds_them(page: Page) -> None:
    page.one("#fold-all").click()
    page.search("bias")
    assert page.one("#count").text == "1 found"
    assert page.names(".match") == {"net - Sequential"}
    page.press(Keys.ENTER)
    assert page.names(".match") == {"net.0.bias"}
    assert page.thing("net.0.bias").is_displayed()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("(3, 4)", {"net.0.weight"}),
        ("train.py:7", {"linear"}),
        ("nan", {"tanh"}),
        ("g * y", {"relu"}),
        ("becomes float64", {"aside"}),
        ("PARAMETER", {"net.0.weight", "net.0.bias"}),
    ],
)
def test_search_finds_shapes_lines_of_code_nan_formulas_marks_and_kinds(
    page: Page, wanted: str, found: set[str]
) -> None:
    picture = model()
    _, _, _, linear, relu, tanh, aside, _ = picture.items
    linear.details["line"] = "train.py:7"
    relu.formulas.append("dx = g * y")
    tanh.lines.append("4 nan")
    aside.marks.append("float32 becomes float64")
    page.show(picture)
    page.search(wanted)
    assert page.names(".match") == found


def test_the_arrow_keys_move_the_drawing(page: Page) -> None:
    x, y = page.center("relu")
    page.press(Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_UP)
    assert page.center("relu") == pytest.approx((x + 80, y + 160), abs=1)
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.center("relu") == pytest.approx((x, y), abs=1)


def test_what_the_picture_collapses_is_folded_at_first_and_opens(page: Page) -> None:
    picture = model()
    picture.boxes[1].folded = True
    page.show(picture)
    assert page.names(".item.folded") == {"net.0 - Linear(4, 3)"}
    page.click("net.0 - Linear(4, 3)")
    assert "linear" in page.names(".item")


def test_a_long_graph_opens_at_its_result_where_it_can_be_read(page: Page) -> None:
    items = [Item(str(k), "operation", f"step {k}", ["(3, 3) float64"]) for k in range(200)]
    page.show(Picture(items, [Edge(*pair) for pair in pairwise(items)], []))
    canvas = page.run("return document.getElementById('canvas').getBoundingClientRect()")
    x, y = page.center("step 199")
    assert canvas["left"] < x < canvas["right"]
    assert canvas["top"] < y < canvas["bottom"]
    assert page.run("return view.scale") > 0.5
    page.press("f")
    assert page.run("return view.scale") < 0.2
    page.press("r")
    assert page.run("return view.scale") > 0.5


def test_the_details_of_a_chosen_item_stand_beside_the_drawing_and_lead_to_its_neighbours(page: Page) -> None:
    page.click("relu")
    details, canvas = page.one("#details").rect, page.one("#canvas").rect
    assert details["x"] >= canvas["x"] + canvas["width"]
    assert [button.text for button in page.all("#details button")] == ["linear (2, 3) float32", "tanh (2, 3) float32"]
    page.all("#details button")[1].click()
    assert page.names(".item.chosen") == {"tanh"}


def test_the_keys_are_listed(page: Page) -> None:
    listed = page.one("#keys").text
    assert all(key in listed for key in ("arrows", "+ and -", "f", "r", "/", "Tab", "Escape"))


def test_gradients_on_their_way_back_are_edges_of_their_own(page: Page) -> None:
    picture = model()
    linear, relu = picture.items[3:5]
    relu.formulas.append("dx = g * y")
    picture.edges.append(Edge(relu, linear, "(2, 3) norm 0.5", backward=True))
    page.show(picture)
    assert len(page.all(".edge.backward")) == 1
    assert "dx = g * y" in page.thing("relu").text
    page.click("relu")
    assert page.names(".item.after") == {"tanh", "loss"}


def test_hostile_names_are_shown_as_they_stand(page: Page) -> None:
    box = Box("b", HOSTILE)
    x = Item("0", "input", HOSTILE, [HOSTILE], box, {HOSTILE: HOSTILE})
    page.show(Picture([x], [Edge(x, x, HOSTILE, carried=True)], [box], [("#ffffff", HOSTILE)], [HOSTILE]))
    page.run("arguments[0].focus()", page.one(".item"))
    assert page.run("return document.querySelector('#details h2').textContent") == HOSTILE
    assert page.run("return document.querySelector('#notices').textContent") == HOSTILE
    assert page.run("return document.querySelector('#legend li').textContent") == HOSTILE
    assert page.all("img") == []


def test_long_names_stay_within_their_item_and_box(page: Page) -> None:
    box = Box("b", "outer.inner." * 200)
    page.show(Picture([Item("0", "input", "w" * 300, ["9" * 5000], box)], [], [box]))
    for thing in page.all(".thing"):
        widths = page.run(
            "return [...arguments[0].querySelectorAll('rect, text')].map((e) => e.getBoundingClientRect().width)", thing
        )
        assert max(widths) == widths[0]
    page.run("arguments[0].focus()", page.one(".item"))
    assert page.one("#details h2").text == "w" * 300


def test_one_item_is_shown_at_a_sensible_size(page: Page) -> None:
    page.show(Picture([Item("0", "input", "x", ["() float64"])], [], []))
    assert page.names(".item") == {"x"}
    assert 40 < page.width("x") < 300


def test_rounds_of_a_repetition_are_shown_as_such(page: Page) -> None:
    box = Box("b", "12 rounds", rounds=12)
    step = Item("0", "operation", "tanh", box=box)
    page.show(Picture([step], [Edge(step, step, "next round", carried=True)], [box]))
    assert len(page.all(".edge.carried")) == 1
    page.hover("12 rounds")
    assert "repeated 12 times" in page.one("#details").text
    page.click("12 rounds")
    assert page.names(".item") == {"12 rounds"}
    assert page.all(".edge") == []


def test_it_fits_a_phone(page: Page) -> None:
    size = {"width": 375, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.driver.refresh()
        assert page.run("return document.documentElement.scrollWidth") == 375
        assert all(0 <= e.rect["x"] <= 375 - e.rect["width"] for e in page.all("header > *, .item"))
        page.click("relu")
        assert page.one("#details").rect["width"] == 375
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_is_dark_where_the_user_prefers_dark(page: Page) -> None:
    def background() -> Any:
        return page.run("return getComputedStyle(document.body).backgroundColor")

    light = background()
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [dark]})
    try:
        assert background() != light
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_is_asked_of_the_network(page: Page) -> None:
    page.driver.get_log("performance")
    page.driver.refresh()
    page.click("relu")
    page.one("#fold-all").click()
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked[0] == page.path.as_uri()
    assert [url for url in asked[1:] if not url.startswith("data:")] == []
