"""The prompt's text in a picture: fonts for its characters, lines that fit, and the drawing of both.

Pillow brings a font for plain Latin. Other characters are drawn in a font of the machine, if it has one of those below, and
otherwise as the box with a code point that browsers use too: unpretty, but one can tell what was meant.
"""

import functools
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

MEASURE = 100
"""Text is measured once, at this size in pixels, and scaled: widths are proportional."""

LEADING = 1.22
"""From line to line, in sizes of the font."""

_INSTALLED = (
    "NotoSans-Bold.ttf",
    "DejaVuSans-Bold.ttf",
    "NotoSansCJK-Bold.ttc",
    "NotoSansCJKjp-Bold.otf",
    "wqy-zenhei.ttc",
    "unifont.ttf",
)
_LONG_WORD = 18
"""Words with more characters may be broken anywhere."""

_LONGEST = 700
"""Characters of a prompt that are drawn at most."""


@functools.cache
def _font(face: int, size: int) -> ImageFont.FreeTypeFont | None:
    """Font number `face`, 0 being Pillow's own; None where the machine lacks it."""
    if face == 0:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    try:
        return ImageFont.truetype(_INSTALLED[face - 1], size)
    except OSError:
        return None


@functools.lru_cache(4096)
def _covers(face: int, character: str) -> bool:
    """Whether the font draws more for the character than its sign for `I have none`."""
    if (font := _font(face, 24)) is None:
        return False
    glyph, missing = font.getmask(character), font.getmask("\U0010ffff")
    return character.isspace() or glyph.size != missing.size or bytes(glyph) != bytes(missing)


@dataclass(frozen=True)
class Piece:
    """Characters in one font; `face` None is a single character that no font has."""

    text: str
    face: int | None

    def width(self, size: float) -> float:
        """Its width in pixels."""
        if self.face is None:
            return size * 0.95
        font = _font(self.face, MEASURE)
        assert font is not None
        return font.getlength(self.text) * size / MEASURE

    def draw(self, draw: ImageDraw.ImageDraw, x: float, baseline: float, size: int, fill: str) -> None:
        """Draws it, from `x` on, on the baseline."""
        if self.face is not None:
            # Pillow's own font is a light one; the others are bold.
            stroke = size / 48 if self.face == 0 else 0
            draw.text((x, baseline), self.text, fill, _font(self.face, size), anchor="ls", stroke_width=stroke)
            return
        left, top, right, bottom = x + size * 0.06, baseline - size * 0.78, x + size * 0.88, baseline + size * 0.08
        draw.rounded_rectangle((left, top, right, bottom), size * 0.12, outline=fill, width=max(1, size // 22))
        code = f"{ord(self.text):04X}"
        half = (len(code) + 1) // 2
        for row, digits in enumerate((code[:half], code[half:])):
            spot = ((left + right) / 2, top + (bottom - top) * (0.3 + 0.4 * row))
            draw.text(spot, digits, fill, _font(0, max(4, int(size * 0.3))), anchor="mm")


@dataclass(frozen=True)
class Block:
    """Text that was fitted into a box."""

    lines: tuple[tuple[Piece, ...], ...]
    size: int
    """Of the font, in pixels."""
    width: float
    """Of the box, in pixels."""
    leftwards: bool = False
    """The script runs from right to left."""

    @property
    def height(self) -> float:
        """Of all lines, in pixels."""
        return len(self.lines) * self.size * LEADING

    def draw(self, draw: ImageDraw.ImageDraw, left: float, top: float, fill: str) -> None:
        """Draws the lines, the first one's top at `top`."""
        for place, line in enumerate(self.lines):
            x, baseline = left, top + (place * LEADING + 0.95) * self.size
            if self.leftwards:
                x += self.width - _width(line, self.size)
            for piece in reversed(line) if self.leftwards else line:
                piece.draw(draw, x, baseline, self.size, fill)
                x += piece.width(self.size)


def fit(text: str, width: float, height: float, largest: int, smallest: int) -> Block:
    """The text as large as it fits into the box; at the smallest size it is cut off with an ellipsis."""
    text = "".join(character for character in unicodedata.normalize("NFC", " ".join(text.split())) if _visible(character))
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + "…"
    directions = (unicodedata.bidirectional(character) for character in text)
    leftwards = next((direction for direction in directions if direction in ("L", "R", "AL")), "L") != "L"
    faces = sorted(range(len(_INSTALLED) + 1), key=lambda face: -sum(_covers(face, character) for character in text))
    words = [tuple(_pieces(word, faces)) for word in text.split()]
    for size in itertools.takewhile(lambda size: size > smallest, (int(largest * 0.93**step) for step in itertools.count())):
        block = Block(tuple(_wrapped(words, width, size)), size, width, leftwards)
        if block.height <= height and all(_width(line, size) <= width for line in block.lines):
            return block
    lines = list(_wrapped(words, width, smallest))
    room = max(1, int(height / (smallest * LEADING)))
    if len(lines) > room:
        lines = [*lines[: room - 1], (*lines[room - 1][:-1], Piece("…", 0))]
    return Block(tuple(lines), smallest, width, leftwards)


def _visible(character: str) -> bool:
    """Whether it is drawn: control characters, joiners, surrogates and variation selectors are not."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs") and not "\ufe00" <= character <= "\ufe0f"


def _pieces(word: str, faces: Sequence[int]) -> Iterator[Piece]:
    """A word in as few fonts as it can do with, the first of `faces` that has its characters."""
    if (whole := next((face for face in faces if all(_covers(face, character) for character in word)), None)) is not None:
        yield Piece(word, whole)
        return
    found = [(character, next((face for face in faces if _covers(face, character)), None)) for character in word]
    for face, group in itertools.groupby(found, key=lambda pair: pair[1]):
        characters = [character for character, _ in group]
        if face is None:
            yield from (Piece(character, None) for character in characters)
        else:
            yield Piece("".join(characters), face)


def _wrapped(words: list[tuple[Piece, ...]], width: float, size: int) -> Iterator[tuple[Piece, ...]]:
    """The words in lines. Scripts without spaces, and very long words, are broken anywhere."""
    space = Piece(" ", 0)
    line: list[Piece] = []
    used = 0.0
    for word in words:
        pieces = word
        long = sum(len(piece.text) for piece in word) > _LONG_WORD
        breakable = long or any(unicodedata.east_asian_width(piece.text[0]) in "WF" for piece in word)
        if breakable and _width(word, size) > width - used:
            pieces = tuple(Piece(character, piece.face) for piece in word for character in piece.text)
        groups = [(piece,) for piece in pieces] if pieces is not word else [word]
        for place, group in enumerate(groups):
            gap = (space,) if line and place == 0 else ()
            needed = _width((*gap, *group), size)
            if line and used + needed > width:
                yield tuple(line)
                line, used, gap = [], 0.0, ()
                needed = _width(group, size)
            line += [*gap, *group]
            used += needed
    if line:
        yield tuple(line)


def _width(pieces: tuple[Piece, ...], size: float) -> float:
    return sum(piece.width(size) for piece in pieces)
