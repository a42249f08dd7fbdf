"""scripts/predict.py: how it turns photos, scans and drawings into images like MNIST's, and what it refuses."""

import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts_in_process import SCRIPTS, imported, run_script

from tinygrad_np import data
from tinygrad_np.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
from PIL import ImageDraw, ImageFilter  # noqa: E402

handwriting = imported("handwriting")
MNIST = data.load_mnist(SCRIPTS.parent / "models" / "data" / "mnist")
SEVEN = MNIST.test_images[0]
NETWORK = "predict.py: network: {} (last.safetensors, after 2 of 2 epochs)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handwriting") / "run"
    result = run_script("train.py", "--limit", "5000", "--epochs", "2", "--hidden", "64", "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


def predict(*arguments):
    return run_script("predict.py", *arguments)


def enlarged(digit, times=10):
    """A digit of MNIST as a picture, dark on white."""
    return Image.fromarray(255 - digit).resize((28 * times, 28 * times))


def photographed(digit, generator):
    """A digit of MNIST as a photo shows it: small on a sheet, in fading light and half in shadow, blurred and noisy."""
    height, width = 240, 320
    ink = np.zeros((height, width))
    top, left = generator.integers(10, 90), generator.integers(10, 170)
    ink[top : top + 140, left : left + 140] = 1 - np.asarray(enlarged(digit, 5)) / 255
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 190 + 40 * x - 25 * y - 20 * (x * x + y * y)
    light[:, : width // 3] *= 0.8
    levels = light * (1 - 0.7 * ink) + 5 * generator.standard_normal(ink.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1)).convert("RGB")


def difference(one, other):
    """How far two images differ where there is ink, in levels of 255. A shift by one pixel does not count."""
    shifts = [np.roll(one, (down, right), axis=(0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return min(np.abs(shifted - other.astype(float))[(shifted > 0) | (other > 0)].mean() for shifted in shifts)


# ---- MNIST's form --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "picture",
    [
        enlarged,
        lambda digit: Image.fromarray(digit),
        lambda digit: Image.fromarray(digit).resize((280, 280)).convert("RGB"),
        lambda digit: photographed(digit, np.random.default_rng(int(digit.sum()))),
    ],
    ids=["enlarged", "as it is", "light on dark", "photographed"],
)
def test_a_network_knows_digits_of_mnist_again_in_pictures_of_them(run, picture):
    network = handwriting.load_network(run)
    images, labels = MNIST.test_images[:80], MNIST.test_labels[:80]

    def correct(images):
        answers = [handwriting.probabilities(network, image).argmax() for image in images]
        return np.count_nonzero(answers == labels)

    assert correct(images) > 65
    assert correct([handwriting.to_mnist(picture(image)) for image in images]) >= correct(images) - 2


points = st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9))


@settings(max_examples=30, deadline=None)
@given(st.lists(points, min_size=1, max_size=5), st.integers(20, 700), st.integers(20, 700), st.booleans())
def test_whatever_is_drawn_comes_to_20_pixels_with_its_mass_in_the_middle(way, width, height, dark):
    paper, ink = (230, 20) if dark else (20, 230)
    picture = Image.new("L", (width, height), paper)
    pen = ImageDraw.Draw(picture)
    size = max(3, min(width, height) // 20)
    # The ink stays off the edge: in 20 pixels it would reach it, cut off a side as a border does, and be refused.
    corners = [tuple(np.clip((x * width, y * height), size, (width - size, height - size))) for x, y in way]
    pen.line(corners, ink, size)
    for x, y in corners:
        pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), ink)
    image = handwriting.to_mnist(picture)
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert image.max() == 255
    extents, centers = [], []
    for axis in (0, 1):
        mass = image.sum(axis=1 - axis, dtype=float)
        extents.append(np.ptp(np.flatnonzero(mass)) + 1)
        centers.append(np.average(np.arange(28), weights=mass))
    assert 18 <= max(extents) <= 20  # the outermost row of pixels can be too faint to be there
    for center in centers:
        assert abs(center - 14) <= 0.6 or max(extents) + 2 * abs(center - 14) > 20, "only what does not fit is moved"


def test_the_form_does_not_depend_on_how_the_picture_is_stored(tmp_path):
    plain = enlarged(SEVEN).point(lambda level: 255 * (level > 128))
    expected = handwriting.to_mnist(plain)
    see_through = Image.new("RGBA", plain.size, (0, 0, 0, 0))
    see_through.putalpha(plain.point(lambda level: 255 - level))  # black where it is not transparent
    stored = {
        "rgb.jpg": plain.convert("RGB"),
        "cmyk.jpg": plain.convert("CMYK"),
        "see-through.png": see_through,
        "palette.gif": plain,
        "palette.png": plain.convert("RGB").quantize(16),
        "gray-and-alpha.png": plain.convert("LA"),
        "16-bit.png": Image.fromarray(np.asarray(plain).astype(np.uint16) * 257),
        "black-and-white.tiff": plain.convert("1", dither=Image.Dither.NONE),
        "scan.bmp": plain,
        "scan.webp": plain,
        "scan.pgm": plain,
    }
    for name, picture in stored.items():
        picture.save(tmp_path / name)
        assert difference(handwriting.read(tmp_path / name), expected) < 12, name


def test_a_photo_taken_with_the_phone_on_its_side_is_turned_upright(tmp_path):
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned by 90 degrees clockwise
    lying = enlarged(SEVEN).transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "photo.jpg", exif=orientation)
    assert difference(handwriting.read(tmp_path / "photo.jpg"), handwriting.to_mnist(enlarged(SEVEN))) < 12


@pytest.mark.parametrize("size", [(16, 20), (4000, 3000)], ids=["tiny", "12 megapixels"])
def test_a_picture_is_of_any_size(size):
    picture = Image.new("L", size, 240)
    side = min(size)
    picture.paste(enlarged(SEVEN).resize((side, side)), (0, 0))
    allowed = 60 if side < 28 else 12
    assert difference(handwriting.to_mnist(picture), handwriting.to_mnist(enlarged(SEVEN))) < allowed


def test_a_digit_that_fills_the_picture_to_its_edges_is_found():
    rows, columns = (np.flatnonzero(SEVEN.any(axis=axis)) for axis in (1, 0))
    box = (columns[0] * 10, rows[0] * 10, columns[-1] * 10 + 10, rows[-1] * 10 + 10)
    expected = handwriting.to_mnist(enlarged(SEVEN))
    assert difference(handwriting.to_mnist(enlarged(SEVEN).crop(box)), expected) < 15


def test_specks_and_what_reaches_in_from_the_edge_are_left_out():
    picture = Image.new("L", (400, 400), 220)
    picture.paste(enlarged(SEVEN).point(lambda level: level * 220 // 255), (60, 60))
    expected = handwriting.to_mnist(picture)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 400, 18), 30)  # the table below the sheet
    for x, y in [(40, 370), (365, 60), (370, 300)]:
        pen.ellipse((x, y, x + 6, y + 6), 30)
    guesses = []
    assert difference(handwriting.to_mnist(picture, guesses.append), expected) < 12
    assert ["border" in guess for guess in guesses] == [True]


def test_a_hairline_is_thickened_to_the_pens_of_mnist():
    def zigzag(width):
        picture = Image.new("L", (500, 500), 255)
        ImageDraw.Draw(picture).line([(100, 40), (300, 40), (150, 470)], 0, width, joint="curve")
        return handwriting.to_mnist(picture)

    assert zigzag(1).sum() > 0.7 * zigzag(40).sum()


# ---- What has to be guessed ----------------------------------------------------------------------------------------


def on_a_sheet(digit, generator):
    """A digit of MNIST as gray levels of shape (300, 400), dark on a light sheet with a little noise."""
    levels = 235 + 3 * generator.standard_normal((300, 400))
    top, left = generator.integers(40, 80), generator.integers(60, 160)
    levels[top : top + 180, left : left + 180] -= 0.8 * np.asarray(Image.fromarray(digit).resize((180, 180)), float)
    return levels.clip(0, 255).astype(np.uint8)


def framed(digit, generator, sides="tblr"):
    levels = on_a_sheet(digit, generator)
    borders = {"t": np.s_[:20], "b": np.s_[-20:], "l": np.s_[:, :20], "r": np.s_[:, -20:]}
    for side in sides:
        levels[borders[side]] = 10
    return Image.fromarray(levels)


def on_a_table(digit, generator):
    table = Image.new("L", (560, 460), 40)
    table.paste(Image.fromarray(on_a_sheet(digit, generator)), (80, 80))
    return table.rotate(generator.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=40)


def ruled(digit, generator, tilt=0.0, squared=False):
    sheet = Image.fromarray(on_a_sheet(digit, generator))
    pen = ImageDraw.Draw(lines := Image.new("L", sheet.size, 255))
    for start in range(int(generator.integers(-60, -30)), 460, 30):
        pen.line((0, start, 400, start + 400 * tilt), 120, 2)
        if squared:
            pen.line((start, 0, start - 300 * tilt, 300), 120, 2)
    return Image.fromarray(np.minimum(sheet, lines))


def see_through(digit, color):
    picture = Image.new("RGB", (280, 280), color).convert("RGBA")
    picture.putalpha(Image.fromarray(digit).resize((280, 280)))
    return picture


def of_bits(digit, bits):
    levels = np.asarray(enlarged(digit)) / 255 * (2**bits - 1)
    return Image.fromarray(levels.round().astype(np.uint16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("picture", "guess"),
    [
        (framed, "border"),
        (lambda digit, generator: framed(digit, generator, "tl"), "border"),
        (lambda digit, generator: framed(digit, generator, "r"), "border"),
        (lambda digit, generator: Image.fromarray(255 - np.asarray(framed(digit, generator))), "border"),
        (on_a_table, "table"),
        (ruled, "ruling"),
        (lambda digit, generator: ruled(digit, generator, tilt=0.04), "ruling"),
        (lambda digit, generator: ruled(digit, generator, squared=True), "ruling"),
        (lambda digit, generator: Image.fromarray(255 - np.asarray(ruled(digit, generator))), "ruling"),
        (lambda digit, generator: see_through(digit, "white"), "light ink"),
        (lambda digit, generator: of_bits(digit, 8), "255.* 8 bits"),
        (lambda digit, generator: of_bits(digit, 12), "4095.* 12 bits"),
        (lambda digit, generator: Image.fromarray(np.asarray(enlarged(digit), np.float32) / 255), "fractions"),
    ],
    ids=[
        *("frame", "two sides", "one side", "light frame", "table", "lines", "tilted lines", "squares", "blackboard"),
        *("white on nothing", "8 bits of 16", "12 bits of 16", "fractions"),
    ],
)
def test_what_is_around_a_digit_is_told_from_it_and_the_guess_is_told(run, picture, guess):
    network, generator = handwriting.load_network(run), np.random.default_rng(0)
    plain = guessed = 0
    for digit, label in zip(MNIST.test_images[:30], MNIST.test_labels[:30], strict=True):
        guesses = []
        image = handwriting.to_mnist(picture(digit, generator), guesses.append)
        guessed += any(re.search(guess, told) for told in guesses)
        plain += handwriting.probabilities(network, handwriting.to_mnist(enlarged(digit))).argmax() == label
        plain -= handwriting.probabilities(network, image).argmax() == label
    assert plain <= 2, "hardly more wrong answers than to plain pictures"
    assert guessed >= 28


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, "ROTATE_180"), (5, "TRANSPOSE"), (6, "ROTATE_90"), (7, "TRANSVERSE"), (8, "ROTATE_270")],
)
def test_a_scan_that_says_how_it_lies_is_turned_upright(orientation, turned, compression, tmp_path):
    sheet = Image.fromarray(on_a_sheet(SEVEN, np.random.default_rng(0)))
    tags = Image.Exif()
    tags[0x0112] = orientation
    sheet.transpose(Image.Transpose[turned]).save(tmp_path / "scan.tiff", exif=tags, compression=compression)
    np.testing.assert_array_equal(handwriting.read(tmp_path / "scan.tiff"), handwriting.to_mnist(sheet))


def test_the_command_tells_its_guesses_on_standard_error(run, tmp_path):
    ruled(SEVEN, np.random.default_rng(0)).save(tmp_path / "seven.png")
    result = predict(run, tmp_path / "seven.png")
    assert result.returncode == 0
    network, guess = result.stderr.splitlines()
    assert network == NETWORK.format(run)
    assert re.fullmatch(r"predict.py: .*seven\.png: straight lines .* left out", guess)
    assert re.fullmatch(r".*seven\.png: 7 .*\n", result.stdout)


def test_of_several_pictures_in_a_file_the_first_is_read_and_this_is_told(tmp_path):
    enlarged(SEVEN).save(tmp_path / "two.tiff", save_all=True, append_images=[enlarged(MNIST.test_images[1])])
    guesses = []
    image = handwriting.read(tmp_path / "two.tiff", guesses.append)
    np.testing.assert_array_equal(image, handwriting.to_mnist(enlarged(SEVEN)))
    assert guesses == ["it has several pictures; the first one is read"]


def test_a_ruled_page_without_a_digit_is_refused():
    with pytest.raises(DataError, match="many places"):
        handwriting.to_mnist(ruled(np.zeros((28, 28), np.uint8), np.random.default_rng(0)))


def test_a_digit_that_is_joined_to_the_border_is_refused():
    levels = np.full((300, 400), 235, np.uint8)
    levels[:, :40] = levels[:, -40:] = levels[:40] = levels[-40:] = 10
    levels[40:200, 190:210] = 10  # a stroke that begins at the border
    with pytest.raises(DataError, match="connected with its border"):
        handwriting.to_mnist(Image.fromarray(levels))


@pytest.mark.parametrize("color", ["black", (160, 160, 160)])
def test_ink_that_is_seen_on_white_is_not_guessed_about(color):
    guesses = []
    handwriting.to_mnist(see_through(SEVEN, color), guesses.append)
    assert guesses == []


@pytest.mark.parametrize(("kind", "mode"), [("png", "RGBA"), ("webp", "RGBA"), ("tiff", "RGB")])
def test_a_small_file_of_a_picture_that_is_too_large_is_refused_before_it_is_decoded(kind, mode, tmp_path, monkeypatch):
    monkeypatch.setattr(handwriting, "MAX_BYTES", 1_000_000)
    path = tmp_path / f"picture.{kind}"
    Image.new(mode, (800, 800)).save(path, **({"lossless": True} if kind == "webp" else {}))
    assert path.stat().st_size < 3_000_000
    monkeypatch.setattr("PIL.Image.Image.convert", None)
    with pytest.raises(DataError, match=r"picture\.\w+ .*800 x 800 pixels of [34] bytes .* limit of 1,000,000 bytes"):
        handwriting.read(path)


def test_the_limit_counts_the_bits_of_a_level(tmp_path, monkeypatch):
    monkeypatch.setattr(handwriting, "MAX_BYTES", 100_000)
    of_bits(SEVEN, 16).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="280 x 280 pixels of 2 bytes"):
        handwriting.read(tmp_path / "deep.png")
    enlarged(SEVEN).save(tmp_path / "plain.png")
    assert handwriting.read(tmp_path / "plain.png").any()


# ---- The command ---------------------------------------------------------------------------------------------------


def test_each_picture_gets_a_line_with_its_digit_its_probability_and_the_runners_up(run, tmp_path):
    files = []
    for k in range(4):
        files.append(tmp_path / f"{k}.png")
        enlarged(MNIST.test_images[k]).save(files[-1])
    result = predict(run, *files)
    assert (result.returncode, result.stderr) == (0, NETWORK.format(run) + "\n")
    for file, label, line in zip(files, MNIST.test_labels[:4], result.stdout.splitlines(), strict=True):
        percents = re.fullmatch(rf"{re.escape(str(file))}: {label}  (.*)%  \(\d: (.*)%, \d: (.*)%\)", line)
        assert percents, line
        first, second, third = map(float, percents.groups())
        assert 100 >= first >= second >= third >= 0


def test_show_prints_the_picture_as_the_network_sees_it(run, tmp_path):
    enlarged(SEVEN).save(tmp_path / "seven.png")
    rows = predict(run, tmp_path / "seven.png", "--show").stdout.splitlines()[1:]
    assert [len(row) for row in rows] == [56] * 28
    inked = np.array([[character != " " for character in row[::2]] for row in rows])
    np.testing.assert_array_equal(inked, handwriting.to_mnist(enlarged(SEVEN)) >= 52)


# ---- What cannot be read -------------------------------------------------------------------------------------------


def png_of_size(width, height):
    """The first bytes of a PNG file that says it has this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"")


def in_bytes(picture, kind, path):
    picture.save(path, kind)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lambda path: in_bytes(Image.new("L", (90, 60), 255), "png", path), "nothing on it"),
        (lambda path: in_bytes(Image.new("RGBA", (90, 60)), "png", path), "nothing on it"),
        (lambda path: in_bytes(Image.effect_noise((300, 200), 12), "png", path), "nothing on it"),
        (lambda path: in_bytes(enlarged(SEVEN), "png", path)[:-2000], "truncated"),
        (lambda path: in_bytes(enlarged(SEVEN), "jpeg", path)[:-2000], "truncated"),
        (lambda path: b"", "no picture"),
        (lambda path: b"a letter", "no picture"),
        (lambda path: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (lambda path: png_of_size(10_000, 10_000), "more than"),
        (lambda path: png_of_size(100_000, 100_000), "more than"),
    ],
    ids=["blank", "transparent", "noise", "cut png", "cut jpeg", "empty", "text", "program", "bomb", "larger bomb"],
)
def test_a_file_without_a_digit_is_named_and_the_others_are_answered(run, tmp_path, content, complaint):
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    bad.write_bytes(content(bad))
    enlarged(SEVEN).save(good)
    result = predict(run, bad, good)
    assert result.returncode == 2
    network, error = result.stderr.splitlines()
    assert network == NETWORK.format(run)
    assert re.fullmatch(rf"predict.py: error: .*bad\.png .*{complaint}.*", error), error
    assert re.fullmatch(r".*good\.png: \d .*\n", result.stdout)


def test_a_folder_and_a_missing_file_are_named(run, tmp_path):
    result = predict(run, tmp_path, tmp_path / "nowhere.png")
    assert result.returncode == 2
    network, *errors = result.stderr.splitlines()
    assert network == NETWORK.format(run)
    assert re.fullmatch(r".*irectory\n.*nowhere\.png .*o such file.*", "\n".join(errors)), errors


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "webp", "bmp"])
def test_damaged_files_lead_to_an_answer_or_to_an_error_that_names_them(kind, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / f"picture.{kind}"
    exif = Image.Exif()
    exif[0x0112] = 3
    enlarged(SEVEN).save(path, kind, **({"exif": exif} if kind in ("png", "jpeg", "webp") else {}))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    complaints = []
    for _ in range(40):
        damaged = whole.copy()
        places = generator.integers(0, min(len(whole), 400), 4)
        damaged[places] = generator.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert handwriting.read(path, notice=lambda guess: None).shape == (28, 28)
        except DataError as error:
            complaints.append(str(error))
    assert complaints
    assert all(path.name in complaint and "\n" not in complaint for complaint in complaints)


@pytest.mark.slow
def test_a_network_for_images_of_another_size_is_refused(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (60, 5, 4)), np.arange(60) % 3
    np.savez(tmp_path / "small.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    run_script(
        "train.py", "--data", tmp_path / "small.npz", "--hidden", "8", "--epochs", "1", "--out", tmp_path / "run"
    )
    result = predict(tmp_path / "run", tmp_path / "any.png")
    assert result.returncode == 2
    assert "takes 20 pixels" in result.stderr


def test_a_folder_without_a_run_is_named(tmp_path):
    result = predict(tmp_path, "any.png")
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["predict", "draw_digit"])
def test_without_pillow_it_says_what_to_install(name, tmp_path):
    program = f"import runpy, sys; sys.modules['PIL'] = None; sys.argv = ['{name}.py', 'run', *sys.argv[1:]]; "
    program += (
        f"sys.path.insert(0, {str(SCRIPTS)!r}); runpy.run_path({str(SCRIPTS / name)!r} + '.py', None, '__main__')"
    )
    arguments = ["any.png"] if name == "predict" else []
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert re.fullmatch(rf"{name}\.py: error: Pillow is needed .* pip install Pillow\n", result.stderr), result.stderr
