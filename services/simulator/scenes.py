"""The compositions behind a prompt's text: which one, and in which colours, follows from the prompt and the seed."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

Scene = Callable[[Image.Image, random.Random, "Palette"], None]


@dataclass(frozen=True)
class Palette:
    """Colours that go together."""

    sky: tuple[str, str, str]
    """The background's gradient from top to bottom."""
    layers: tuple[str, str, str, str]
    """From far to near."""
    accent: str


PALETTES = (
    Palette(("#1b1642", "#7b2d6b", "#ff8a5c"), ("#6d2f72", "#4c2565", "#301b50", "#1b1138"), "#ffd29d"),
    Palette(("#06283d", "#1d7a8c", "#b8f2e6"), ("#1a7b87", "#105e6e", "#0b4557", "#062d3d"), "#fff1c9"),
    Palette(("#12302a", "#4b8b63", "#f2e8b6"), ("#3f7d58", "#2c6149", "#1d4839", "#102e27"), "#f7b267"),
    Palette(("#3b1c32", "#c8553d", "#ffd5a5"), ("#b5483a", "#8f3438", "#662636", "#3d1a2e"), "#fff3d6"),
    Palette(("#0b1026", "#24507a", "#7bdcb5"), ("#23587d", "#1a4266", "#122d4b", "#0c1a31"), "#e9ff9e"),
    Palette(("#4b2a7b", "#e26d9f", "#ffd6e0"), ("#c2558f", "#9b417f", "#71306f", "#49235c"), "#fff6a9"),
    Palette(("#101820", "#3b5168", "#d5dfe5"), ("#4a6178", "#35495e", "#233343", "#131e29"), "#f25f4c"),
    Palette(("#2a3d66", "#e58a94", "#ffe3b3"), ("#b86d83", "#8a5476", "#5c3f65", "#33294a"), "#fffbe0"),
)


def background(size: tuple[int, int], palette: Palette) -> Image.Image:
    """The gradient that every scene is drawn on."""
    ramp = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    top, middle, bottom = palette.sky
    return ImageOps.colorize(ramp, black=top, mid=middle, white=bottom)


def glow(image: Image.Image, center: tuple[float, float], radius: float, color: str, strength: float) -> None:
    """A light that fades outwards; `strength` is its opacity in the middle, from 0 to 1."""
    side = max(2, int(2 * radius))
    # Pillow's gradient is 0 in the middle and 180 where the circle touches the border.
    fading = [int(255 * strength * max(0.0, 1 - level / 180) ** 1.6) for level in range(256)]
    mask = Image.radial_gradient("L").point(fading)
    spot = (int(center[0] - radius), int(center[1] - radius))
    image.paste(Image.new("RGB", (side, side), color), spot, mask.resize((side, side), Image.Resampling.BILINEAR))


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str) -> None:
    """A filled circle."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def dunes(image: Image.Image, chance: random.Random, palette: Palette) -> None:
    """A low sun over hills that come nearer."""
    width, height = image.size
    unit = min(width, height)
    draw = ImageDraw.Draw(image)
    for _ in range(90):
        disc(
            draw,
            chance.uniform(0, width),
            chance.triangular(0, height * 0.5, 0),
            unit * chance.uniform(0.0006, 0.0022),
            palette.accent,
        )
    sun = (width * chance.uniform(0.25, 0.75), height * chance.uniform(0.26, 0.42))
    radius = unit * chance.uniform(0.09, 0.17)
    glow(image, sun, radius * 4.5, palette.accent, 0.7)
    disc(draw, *sun, radius, palette.accent)
    for place, color in enumerate(palette.layers):
        level = height * (0.46 + 0.14 * place)
        waves = [(chance.uniform(0.6, 2.2), chance.uniform(0, math.tau), height * chance.uniform(0.02, 0.06)) for _ in range(3)]
        edge = [
            (x, level + sum(swing * math.sin(math.tau * count * x / width + shift) for count, shift, swing in waves))
            for x in range(0, width + 8, 8)
        ]
        draw.polygon([*edge, (width + 8, height), (0, height)], fill=color)


def orbits(image: Image.Image, chance: random.Random, palette: Palette) -> None:
    """A star with rings, and planets on them."""
    width, height = image.size
    unit = min(width, height)
    draw = ImageDraw.Draw(image)
    center = (width * chance.uniform(0.3, 0.7), height * chance.uniform(0.3, 0.42))
    for _ in range(160):
        disc(draw, chance.uniform(0, width), chance.uniform(0, height), unit * chance.uniform(0.0006, 0.002), palette.accent)
    glow(image, center, unit * 0.7, palette.accent, 0.75)
    disc(draw, *center, unit * 0.085, palette.accent)
    radius = unit * 0.16
    for place in range(7):
        box = (center[0] - radius, center[1] - radius, center[0] + radius, center[1] + radius)
        draw.ellipse(box, outline=palette.sky[2], width=max(1, unit // 400))
        turn = chance.uniform(0, math.tau)
        spot = (center[0] + radius * math.cos(turn), center[1] + radius * math.sin(turn))
        size = unit * chance.uniform(0.018, 0.06)
        disc(draw, *spot, size, palette.layers[place % 4])
        disc(draw, spot[0] - size * 0.22, spot[1] - size * 0.22, size * 0.62, palette.sky[1 + place % 2])
        radius += unit * chance.uniform(0.07, 0.13)


def ribbons(image: Image.Image, chance: random.Random, palette: Palette) -> None:
    """Bands that flow across and narrow and widen."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    glow(image, (width * chance.uniform(0.2, 0.8), height * 0.2), min(width, height) * 0.9, palette.accent, 0.5)
    colors = [palette.sky[2], palette.accent, palette.sky[1], *palette.layers]
    lean, sway, shift = chance.uniform(-0.35, 0.35), chance.uniform(0.5, 1.3), chance.uniform(0, math.tau)
    for place, color in enumerate(colors):
        level = height * (0.16 + 0.11 * place)

        def edge(x: int, level: float = level, place: int = place) -> float:
            phase = math.tau * sway * x / width + shift + place * 0.42
            return level + height * (0.075 * math.sin(phase) + 0.03 * math.sin(2.3 * phase)) + lean * (x - width / 2) * 0.5

        top = [(x, edge(x)) for x in range(0, width + 8, 8)]
        draw.polygon([*top, (width + 8, height), (0, height)], fill=color)


def tiles(image: Image.Image, chance: random.Random, palette: Palette) -> None:
    """A quilt of quarter circles, discs and half-moons."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    side = max(width, height) / chance.choice((6, 7, 8))
    colors = [*palette.layers, *palette.sky, palette.accent]
    for row in range(math.ceil(height / side)):
        for column in range(math.ceil(width / side)):
            ground, shape = chance.sample(colors, 2)
            x, y = column * side, row * side
            draw.rectangle((x, y, x + side, y + side), fill=ground)
            match chance.randrange(4):
                case 0:
                    corner = chance.randrange(4)
                    left, top = x - side * (corner % 2), y - side * (corner // 2)
                    start = (0, 90, 270, 180)[corner]
                    draw.pieslice((left, top, left + 2 * side, top + 2 * side), start, start + 90, fill=shape)
                case 1:
                    disc(draw, x + side / 2, y + side / 2, side * 0.36, shape)
                    disc(draw, x + side / 2, y + side / 2, side * 0.16, ground)
                case 2:
                    start = chance.choice((0, 90, 180, 270))
                    draw.pieslice((x, y, x + side, y + side), start, start + 180, fill=shape)
                case _:
                    half = chance.choice(((x, y), (x + side, y + side)))
                    draw.polygon([half, (x + side, y), (x, y + side)], fill=shape)


def bubbles(image: Image.Image, chance: random.Random, palette: Palette) -> None:
    """Discs of glass that overlap in the light."""
    width, height = image.size
    unit = min(width, height)
    glow(image, (width * chance.uniform(0.3, 0.7), height * 0.3), unit * 0.9, palette.accent, 0.6)
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(26):
        x, y = chance.uniform(0, width), chance.uniform(-0.05, 1.05) * height
        radius = unit * chance.triangular(0.03, 0.3, 0.08)
        color = chance.choice((*palette.layers[:3], palette.sky[2], palette.accent))
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=f"{color}66", outline=f"{palette.accent}99", width=max(1, unit // 350))
        spark = radius * 0.18
        disc(draw, x - radius * 0.42, y - radius * 0.42, spark, "#ffffff70")


SCENES: tuple[Scene, ...] = (dunes, orbits, ribbons, tiles, bubbles)
