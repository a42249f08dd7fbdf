"""Draw a digit in the browser, and watch the network's answer and its layers' activations change as you draw.

The page is served until Ctrl-C, to this machine only.
"""

import argparse
import io
import json
import re
import signal
import socket
import sys
import threading
import time
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server runs, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, fail, in_one_line, number, path  # noqa: E402
from training_run import Network, describe, find_checkpoint  # noqa: E402

from tinygrad_np import TinygradNpError, functional, nn, no_grad  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402

PAGE = Path(__file__).with_name("draw_digit.html")
SIDE = 280  # pixels of the drawing that the page sends, one byte each
SINGLE = ("host", "origin", "content-length", "content-type")  # headers that a request may have once
HEADERS = {  # of every response
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="draw_digit.py",
        description=__doc__,
        epilog="examples:\n"
        "  draw_digit.py                                     the newest run in runs/\n"
        "  draw_digit.py runs/20260101-120000 --port 8000 --no-browser",
    )
    parser.add_argument("run", type=path, nargs="?", metavar="RUN", help="the folder of a run, or a checkpoint")
    parser.add_argument(
        "--port", type=number(int, 0, 65536), default=0, metavar="N", help="the port to serve at (any free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address, and open no browser")
    return parser.parse_args(arguments)


def newest_run() -> Path:
    """The folder in runs/ with the network that was saved last."""
    networks = Path("runs").glob("*/best.safetensors")
    newest = max(networks, key=lambda network: network.stat().st_mtime, default=None)
    if newest is None:
        raise ArgumentError("there is no run in runs/; make one with scripts/train.py, or give the folder of one")
    return newest.parent


def answer(network: Network, full_ink: float, drawing: np.ndarray) -> dict[str, Any]:
    """The network's answer to a drawing of shape (SIDE, SIDE), ink 0 to 255, with its input and each layer's output."""
    from handwriting import fit, to_inputs

    ink = drawing / np.float32(255)
    image = fit(ink) if (ink > 0.5).any() else np.zeros((28, 28), np.uint8)
    layers = []
    with no_grad():
        outputs: Any = to_inputs(image, full_ink)
        for name, layer in enumerate(network.layers):
            outputs = layer(outputs)
            if not isinstance(layer, (nn.Dropout, nn.Flatten, nn.Unflatten)):  # dropout does nothing here
                activations = np.ravel(outputs.numpy()[0]).tolist()
                shape = [len(activations)]
                layers.append(
                    {"name": f"layers.{name}", "module": repr(layer), "shape": shape, "activations": activations}
                )
        probabilities = functional.softmax(outputs)[0].numpy()
    return {
        "digit": int(probabilities.argmax()),
        "probabilities": probabilities.tolist(),
        "image": image.tolist(),
        "layers": layers,
    }


class Incoming(io.RawIOBase):
    """What a client sends, until a deadline. A socket's own timeout begins anew with every byte that comes in."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.deadline = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.connection.settimeout(max(self.deadline - time.monotonic(), 1e-3))
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """Serves the page and answers its drawings. Refuses requests that other pages in the same browser might send."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds to wait for a request and to read all of it, and then to send the answer
    wbufsize = -1  # buffers, so that head and content are sent together
    server: "Server"

    def setup(self) -> None:
        super().setup()
        self.incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self.incoming)

    def handle_one_request(self) -> None:
        self.incoming.deadline = time.monotonic() + self.timeout
        super().handle_one_request()

    def do_GET(self) -> None:
        if not self.is_from_here():
            return
        if self.path != "/":
            self.refuse(HTTPStatus.NOT_FOUND, "there is only one page, /")
        else:
            self.send(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes())

    def do_POST(self) -> None:
        if not self.is_from_here():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/predict":
            self.refuse(HTTPStatus.NOT_FOUND, "drawings go to /predict")
        elif self.headers.get("Content-Type") != "application/octet-stream":
            self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a drawing is of the type application/octet-stream")
        elif length.isdecimal() and int(length[:9]) > SIDE * SIDE:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a drawing has {SIDE} x {SIDE} bytes")
        elif length != str(SIDE * SIDE):
            self.refuse(HTTPStatus.BAD_REQUEST, f"a drawing has {SIDE} x {SIDE} bytes")
        else:
            drawing = self.rfile.read(SIDE * SIDE)
            if len(drawing) == SIDE * SIDE:  # with fewer, the browser has hung up
                ink = np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE)
                found = answer(self.server.network, self.server.full_ink, ink)
                self.send(HTTPStatus.OK, "application/json", json.dumps(found).encode())

    def is_from_here(self) -> bool:
        """Refuse a page that reaches this server under another host name (DNS rebinding) or from another origin.

        A request that two programs could read in two ways is refused, too (RFC 9112, sections 3.2, 5.1 and 6.3): with a
        header that is given twice, one that is no header, or a body whose length is not told by Content-Length.
        """
        names = [name.lower() for name in self.headers]
        doubtful = self.headers.defects or not all(re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.A) for name in names)
        if doubtful or "transfer-encoding" in names or any(names.count(name) > 1 for name in SINGLE):
            self.refuse(HTTPStatus.BAD_REQUEST, "the headers of the request are not clear")
            return False
        port = self.server.server_port
        hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")] + ["127.0.0.1", "localhost"] * (port == 80)
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if host in hosts and origin in (None, f"http://{host}"):
            return True
        self.refuse(HTTPStatus.FORBIDDEN, "only this server's own page is answered")
        return False

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # the rest of the request has not been read
        self.send(status, "text/plain; charset=utf-8", reason.encode())

    def send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.connection.settimeout(self.timeout)
        self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Listens at the loopback address, which other machines cannot reach."""

    request_queue_size = 128  # connections that wait to be accepted; the system resets those beyond

    def __init__(self, port: int, network: Network, full_ink: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.network = network
        self.full_ink = full_ink

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(
            sys.exception(), (ConnectionError, TimeoutError)
        ):  # the browser may close a connection at any time
            super().handle_error(request, client_address)


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed = parse_arguments(arguments)
        from handwriting import load_full_ink, load_network  # needs Pillow, which not everyone has

        file = find_checkpoint(parsed.run or newest_run())
        network, full_ink, name = load_network(file), load_full_ink(file), describe(file)
        try:
            server = Server(parsed.port, network, full_ink)
        except OSError as error:
            raise ArgumentError(f"port {parsed.port} cannot be used: {error.strerror}; leave --port out") from error
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("draw_digit.py", error)
    address = f"http://127.0.0.1:{server.server_port}/"
    with server:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            print(f"the network of {in_one_line(name)} answers at {address} until Ctrl-C", flush=True)
            if not parsed.no_browser:  # in a thread: some browsers block until they are closed
                threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
