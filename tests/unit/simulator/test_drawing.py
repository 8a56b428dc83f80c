"""Pictures, films and melodies: the same for the same prompt and seed, and legible whatever the prompt is."""

import io

import pytest
from PIL import Image, ImageChops

from simulator.drawing import draw_picture, paint, picture_size
from simulator.lettering import fit
from simulator.sounds import play_melody
from simulator.videos import film


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_the_same_prompt_and_seed_give_the_same_bytes(extension):
    small = {"width": 256, "height": 192}
    assert draw_picture("a fox", 1, small, extension) == draw_picture("a fox", 1, small, extension)
    assert draw_picture("a fox", 1, small, extension) != draw_picture("a fox", 2, small, extension)
    assert draw_picture("a fox", 1, small, extension) != draw_picture("an owl", 1, small, extension)


def test_a_film_and_a_melody_repeat_as_well():
    assert film("a fox", 1) == film("a fox", 1)
    assert play_melody("a fox", 1, 1) == play_melody("a fox", 1, 1)
    assert play_melody("a fox", 1, 1) != play_melody("a fox", 2, 1)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1344, 768)),
        ({"aspect_ratio": "9:21", "megapixels": "0.25"}, (320, 768)),
        ({"width": 640, "height": 320}, (640, 320)),
        ({"width": 640}, (640, 1024)),
        ({"aspect_ratio": "custom", "width": 300, "height": 400}, (300, 400)),
    ],
)
def test_the_size_is_what_the_input_asks_for(values, size):
    assert picture_size(values) == size
    assert paint("a fox", 1, size).size == size


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "x",
        "日本の庭園、秋の紅葉",
        "قطة تجلس",
        "🙂 robot 🤖",
        "\ud800 half a character",
        "w" * 5000,
        "word " * 5000,
        "a\nb\tc\x00d",
    ],
)
def test_any_prompt_can_be_drawn(prompt):
    assert Image.open(io.BytesIO(draw_picture(prompt, 1, {"width": 320, "height": 256}, "png"))).size == (320, 256)


def test_text_is_as_large_as_it_fits():
    short, long = fit("a fox", 800, 500, 120, 20), fit("a fox runs through the snow " * 6, 800, 500, 120, 20)
    assert short.size == 120
    assert 20 < long.size < 80
    assert long.height <= 500
    endless = fit("a fox runs through the snow " * 600, 800, 500, 120, 40)
    assert (endless.size, endless.lines[-1][-1].text) == (40, "…")


def test_the_prompt_is_what_differs_between_two_pictures_of_one_seed():
    """The letters cover a good part of the lower half: bright pixels that a picture without a prompt lacks."""
    blank, lettered = (paint(prompt, 3, (512, 512)).convert("L").crop((0, 256, 512, 512)) for prompt in ("", "HELLO WORLD"))
    bright = [sum(image.histogram()[245:]) for image in (blank, lettered)]
    assert bright[1] > bright[0] + 3000
    assert ImageChops.difference(blank, lettered).getbbox()
