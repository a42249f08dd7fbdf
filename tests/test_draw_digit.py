"""scripts/draw_digit.py: the server, whom it answers and whom not, and its page in a real browser."""

import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scripts_in_process import SCRIPTS, imported, run_script

from tinygrad_np import checkpoint, data

pytest.importorskip("PIL", reason="Pillow is not installed")
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawing") / "runs" / "first"
    settings = ["--limit", "5000", "--epochs", "2", "--hidden", "64", "32", "--dropout", "0.1", "--activation", "tanh"]
    result = run_script("train.py", *settings, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


def start(*arguments, **options):
    """The server in a process of its own, as a user starts it; `port` is where it answers."""
    command = [sys.executable, str(SCRIPTS / "draw_digit.py"), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
    return SimpleNamespace(process=process, line=line, port=int(address[1]) if address else None)


def stop(server):
    """Presses Ctrl-C; what the server printed since it started is its standard output and error."""
    server.process.send_signal(signal.SIGINT)
    return (*server.process.communicate(timeout=30), server.process.returncode)


@pytest.fixture(scope="module")
def server(run):
    server = start(run, "--no-browser")
    yield server
    output, errors, status = stop(server)
    assert (output.strip(), errors, status) == ("", "", 0), "nothing is printed for a request, and Ctrl-C is no error"


def request(server, method="POST", path="/predict", body=None, headers=BYTES):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def drawing_of(way):
    """Ink along a line through these points, as the page sends it."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (280, 280))
    ImageDraw.Draw(picture).line(way, 255, 20, joint="curve")
    return picture.tobytes()


ONE = drawing_of([(140, 50), (140, 230)])


# ---- The server ----------------------------------------------------------------------------------------------------


def test_a_drawing_is_answered_with_digit_probabilities_image_and_activations(server, run):
    response, content = request(server, body=ONE)
    assert response.status == 200
    answer = json.loads(content)
    assert answer["digit"] == np.argmax(answer["probabilities"]) == 1
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    image = np.array(answer["image"])
    assert image.shape == (28, 28)
    assert image.max() == 255
    layers = [(layer["module"], layer["shape"], len(layer["activations"])) for layer in answer["layers"]]
    assert layers == [
        ("Linear(784, 64)", [64], 64),
        ("Tanh()", [64], 64),
        ("Linear(64, 32)", [32], 32),
        ("Tanh()", [32], 32),
        ("Linear(32, 10)", [10], 10),
    ]
    weights = checkpoint.load(run / "best.safetensors")["model"]
    first = data.to_inputs(image[np.newaxis].astype(np.uint8))[0] @ weights["layers.0.weight"].T
    np.testing.assert_allclose(answer["layers"][0]["activations"], first + weights["layers.0.bias"], atol=1e-4)


def test_an_empty_drawing_is_an_empty_image(server):
    _, content = request(server, body=bytes(280 * 280))
    assert not np.any(json.loads(content)["image"])


def test_many_drawings_at_the_same_time_are_answered_as_one_by_one(server):
    expected = request(server, body=ONE)[1]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(request(server, body=ONE)[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_the_page_names_nothing_outside_of_itself(server):
    response, content = request(server, "GET", "/")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search(rb"https?:|\bsrc=|@import|url\(", content)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (403, {"headers": {**BYTES, "Host": "evil.example"}}),
        (403, {"headers": {**BYTES, "Host": "127.0.0.1:1"}}),
        (403, {"headers": {**BYTES, "Host": "127.0.0.1"}}),
        (403, {"headers": {**BYTES, "Origin": "http://evil.example"}}),
        (403, {"headers": {**BYTES, "Origin": "null"}}),
        (403, {"method": "GET", "path": "/", "headers": {"Host": "evil.example"}}),
        (404, {"method": "GET", "path": "/../draw_digit.py"}),
        (404, {"path": "/"}),
        (415, {"headers": {"Content-Type": "application/json"}, "body": b'{"digit": '}),
        (415, {"headers": {"Content-Type": "text/plain"}, "body": ONE}),
        (413, {"headers": {**BYTES, "Content-Length": "78401"}}),
        (413, {"headers": {**BYTES, "Content-Length": "9" * 5000}}),
        (400, {"body": ONE[1:]}),
        (400, {"headers": {**BYTES, "Content-Length": "-1"}}),
        (400, {"headers": {**BYTES, "Content-Length": "many"}}),
        (501, {"method": "PUT"}),
    ],
)
def test_what_is_not_a_drawing_from_its_own_page_is_refused(server, status, changes):
    assert request(server, **{"body": b"", **changes})[0].status == status
    assert request(server, body=ONE)[0].status == 200, "and the next one is answered"


def talk(server, sent):
    """What the server answers to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.read()


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: {host}", "Host: evil.example"],
        ["Host: evil.example", "Host: {host}"],
        ["Host: {host}", "Host: {host}"],
        ["Host: {host}", "Host : evil.example"],
        ["Host: {host}", "no header", "Host: evil.example"],
        ["Host: {host}", "Origin: http://{host}", "Origin: http://evil.example"],
        ["Host: {host}", "Content-Length: 78400", "Content-Length: 0"],
        ["Host: {host}", "Transfer-Encoding: chunked"],
        ["Host: {host}", "Transfer-Encoding: chunked", "Content-Length: 78400"],
    ],
)
@pytest.mark.parametrize("start", ["GET /", "POST /predict"])
def test_a_request_that_can_be_read_in_two_ways_is_refused(server, start, lines):
    host = f"127.0.0.1:{server.port}"
    head = [f"{start} HTTP/1.1", *(line.format(host=host) for line in lines)]
    answer = talk(server, "\r\n".join([*head, *("Content-Type: application/octet-stream", "", "")]).encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1, "and nothing after it is read as another request"


@pytest.mark.parametrize("changes", [{"method": "GET", "path": "/"}, {"path": "/elsewhere"}, {"method": "PUT"}])
def test_every_response_says_what_a_browser_may_do_with_it(server, changes):
    headers = request(server, **changes)[0].headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_more_connections_at_once_than_a_browser_makes_are_all_kept(run):
    draw_digit = imported("draw_digit")
    server = draw_digit.Server(0, None, 1.0)  # it accepts nothing yet
    connections = [socket.socket() for _ in range(50)]
    try:
        for connection in connections:
            connection.settimeout(5)
            connection.connect(server.server_address)
            connection.sendall(
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % server.server_port
            )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert [connection.recv(12) for connection in connections] == [b"HTTP/1.1 200"] * 50
        server.shutdown()
    finally:
        for connection in connections:
            connection.close()
        server.server_close()


@pytest.mark.parametrize(
    "start",
    ["", "GET / HTTP/1.1\r\nX: ", "POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
    "Content-Length: 78400\r\n\r\n"],
    ids=["line", "header", "body"],
)  # fmt: skip
def test_a_client_that_sends_byte_after_byte_is_not_waited_for_beyond_the_limit(start, monkeypatch):
    draw_digit = imported("draw_digit")
    monkeypatch.setattr(draw_digit.Handler, "timeout", 0.5)
    with draw_digit.Server(0, None, 1.0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection(server.server_address) as connection:
            connection.sendall(start.format(host=f"127.0.0.1:{server.server_port}").encode())
            connection.settimeout(0.05)
            sent = 0
            while sent < 400:  # a byte in 0.05 seconds, for 20 seconds at most
                try:
                    connection.sendall(b"x")
                    sent += 1
                    if connection.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        server.shutdown()
    assert sent < 400, "the server has hung up"


def test_its_own_page_is_answered_under_both_names(server):
    for name in ("localhost", "127.0.0.1"):
        host = f"{name}:{server.port}"
        headers = {**BYTES, "Host": host, "Origin": f"http://{host}"}
        assert request(server, body=ONE, headers=headers)[0].status == 200


def test_a_browser_that_goes_away_in_the_middle_disturbs_nothing(server):
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/octet-stream\r\n"
    for rest in (b"", b"Content-Length: 78400\r\n\r\n" + ONE[:1000], b"Content-Length: 78400\r\n\r\n" + ONE):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends it with a reset
            connection.sendall(head.encode() + rest)
    assert request(server, body=ONE)[0].status == 200


def test_only_this_machine_reaches_it(server):
    with pytest.raises((ConnectionError, TimeoutError)):
        socket.create_connection(("127.0.0.2", server.port), timeout=5).close()


def test_a_port_in_use_is_refused_in_one_line(server, run):
    result = run_script("draw_digit.py", run, "--no-browser", "--port", server.port)
    assert result.returncode == 2
    assert re.fullmatch(rf"draw_digit.py: error: port {server.port} .*--port.*\n", result.stderr)


def test_without_a_run_it_takes_the_newest_and_opens_it_in_the_browser(run, tmp_path):
    older = run.parent / "older"
    older.mkdir(exist_ok=True)
    (older / "best.safetensors").write_bytes(b"")
    os.utime(older / "best.safetensors", (0, 0))
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    server = start(cwd=run.parents[1], env={**os.environ, "BROWSER": str(browser)})
    deadline = time.monotonic() + 30
    while not (opened.exists() and opened.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert stop(server)[1:] == ("", 0)
    assert "runs/first " in server.line
    assert opened.read_text().strip() == f"http://127.0.0.1:{server.port}/"


def test_where_there_is_no_run_it_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_script("draw_digit.py", "--no-browser")
    assert result.returncode == 2
    assert re.fullmatch(r"draw_digit.py: error: .*train\.py.*\n", result.stderr)


# ---- The page ------------------------------------------------------------------------------------------------------


class Page:
    """The page in a browser: what a user sees of it and does to it."""

    def __init__(self, driver, server):
        self.driver = driver
        driver.get(f"http://127.0.0.1:{server.port}/")
        self.wait(lambda: self.strips())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def one(self, css):
        (found,) = self.driver.find_elements("css selector", css)
        return found

    def wait(self, condition):
        """Until the condition holds; the server takes some milliseconds to answer."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 20, poll_frequency=0.02).until(lambda _: condition())

    def digit(self):
        return self.one("#digit b").text

    def shares(self):
        return [bar.text for bar in self.driver.find_elements("css selector", "#bars li span:last-child")]

    def strips(self):
        """What is painted of each layer."""
        return self.run("return [...document.querySelectorAll('.layer canvas')].map(canvas => canvas.toDataURL())")

    def draw(self, *way, kind="mouse"):
        """One stroke through points in shares of the field."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        field = self.one("#field")
        self.run("arguments[0].scrollIntoView({block: 'center'})", field)
        box = self.run("return arguments[0].getBoundingClientRect()", field)
        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=0)
        for k, (x, y) in enumerate(way):
            actions.pointer_action.move_to_location(
                round(box["x"] + x * box["width"]), round(box["y"] + y * box["height"])
            )
            if k == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
        actions.perform()


CIRCLE = [(0.5 + 0.22 * math.sin(k / 2), 0.5 - 0.32 * math.cos(k / 2)) for k in range(14)]
STROKE = [(0.5, 0.15), (0.5, 0.5), (0.5, 0.85)]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from browser import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(driver, server):
    page = Page(driver, server)
    yield page
    assert driver.get_log("browser") == []


def test_at_first_there_is_no_answer_but_the_layers_are_there(page):
    assert page.digit() == "?"
    assert page.shares() == [""] * 10
    captions = [caption.text for caption in page.driver.find_elements("css selector", ".layer figcaption")]
    assert [caption.split(" layers")[0] for caption in captions] == [
        "Linear(784, 64)",
        "Tanh()",
        "Linear(64, 32)",
        "Tanh()",
        "Linear(32, 10)",
    ]
    assert "64 units" in captions[0]


def test_a_drawn_digit_is_answered_and_every_layer_changes(page):
    before = page.strips()
    page.draw(*STROKE)
    page.wait(lambda: page.digit() == "1")
    assert page.one("#bars .best").text.startswith("1")
    assert sum(float(share.rstrip("%")) for share in page.shares()) == pytest.approx(100, abs=1)
    assert all(old != new for old, new in zip(before, page.strips(), strict=True))
    assert page.run("return document.querySelector('#image').getContext('2d').getImageData(14, 14, 1, 1).data[3]") > 100


def test_the_answer_follows_while_the_pen_is_down(page):
    from selenium.webdriver.common.action_chains import ActionChains

    field = page.one("#field")
    size = field.size["width"]
    chain = ActionChains(page.driver, 0).move_to_element_with_offset(field, 0, -round(0.3 * size)).click_and_hold()
    chain.move_by_offset(0, round(0.6 * size)).perform()
    page.wait(lambda: page.digit() == "1")
    ActionChains(page.driver, 0).release().perform()


def test_a_finger_draws_and_does_not_scroll(page):
    page.driver.set_window_size(400, 500)
    try:
        page.draw(*CIRCLE, kind="touch")
        page.wait(lambda: page.digit() == "0")
        at = page.run("return scrollY")
        page.draw(*STROKE, kind="touch")
        assert page.run("return scrollY") == at
    finally:
        page.driver.set_window_size(1200, 800)


@pytest.mark.parametrize("how", ["button", "Escape", "c"])
def test_clearing_resets_all(page, how):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    before = page.strips()
    page.draw(*STROKE)
    page.wait(lambda: page.digit() == "1")
    if how == "button":
        page.one("#clear").click()
    else:
        ActionChains(page.driver, 0).send_keys({"Escape": Keys.ESCAPE}.get(how, how)).perform()
    page.wait(lambda: page.digit() == "?")
    assert page.shares() == [""] * 10
    assert page.strips() == before


def test_a_unit_tells_its_activation_under_the_mouse(page):
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = page.driver.find_elements("css selector", ".layer canvas")[-1]
    ActionChains(page.driver, 0).move_to_element_with_offset(canvas, 5 - canvas.size["width"] // 2, 0).perform()
    page.wait(lambda: re.fullmatch(r"unit 0: \N{MINUS SIGN}?\d+\.\d\d", canvas.get_attribute("title")))


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(page, width):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 700, "deviceScaleFactor": 2, "mobile": False}
    )
    try:
        assert page.run("return document.documentElement.scrollWidth") <= width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_in_the_dark_the_page_is_dark_and_its_ink_is_light(page):
    def brightness(css):
        return page.run(
            "const s = getComputedStyle(document.querySelector(arguments[0]));"
            "return [s.backgroundColor.match(/\\d+/g).slice(0, 3).map(Number), s.filter]",
            css,
        )

    assert min(brightness("body")[0]) > 200
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        assert max(brightness("body")[0]) < 60
        assert brightness("#field")[1] == "invert(1)"
        page.draw(*STROKE)
        page.wait(lambda: page.digit() == "1")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_when_the_server_has_ended_the_page_says_so(driver, run):
    server = start(run, "--no-browser")
    page = Page(driver, server)
    stop(server)
    page.draw(*STROKE)
    page.wait(lambda: "draw_digit.py" in page.one("#notice").text)
    driver.get_log("browser")  # the failed request is in it


def test_the_page_is_usable_without_seeing_it(page):
    assert page.run("return document.documentElement.lang") == "en"
    unnamed = page.run(
        "return [...document.querySelectorAll('canvas, button, section')]"
        ".filter(e => !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert page.one("#digit").get_attribute("aria-live") == "polite"


def test_answers_come_one_at_a_time_and_the_newest_drawing_is_answered_last(page):
    page.run(
        "window.inFlight = 0; window.most = 0; const real = fetch;"
        "window.fetch = async (...given) => {"
        "  most = Math.max(most, ++inFlight);"
        "  try { return await real(...given); } finally { inFlight -= 1; }"
        "}"
    )
    page.draw(*CIRCLE)
    page.wait(lambda: page.digit() == "0")
    assert page.run("return most") == 1
