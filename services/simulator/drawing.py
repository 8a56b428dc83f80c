"""Pictures for image models: a composition that follows from the prompt, and the prompt itself in large letters on it."""

import hashlib
import io
import random
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw

from simulator.lettering import fit
from simulator.scenes import PALETTES, SCENES, background

_SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}

SMOOTH_PIXELS = 1_600_000
"""Pictures up to this size are drawn at twice their size and reduced, for smooth edges; larger ones would take too long."""


def picture_size(values: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that an input asks for, in pixels."""
    ratio = str(values.get("aspect_ratio", "1:1" if "width" not in values and "height" not in values else "custom"))
    if ratio == "custom":
        return int(values.get("width", 1024)), int(values.get("height", 1024))
    width, height = _SIZES[ratio]
    return (width // 2, height // 2) if values.get("megapixels") == "0.25" else (width, height)


def draw_picture(prompt: str, seed: int, values: Mapping[str, Any], extension: str) -> bytes:
    """A picture file; the same bytes for the same arguments, as long as the machine's fonts stay the same."""
    image = paint(prompt, seed, picture_size(values))
    file = io.BytesIO()
    quality = int(values.get("output_quality", 80))
    options = {
        "png": {"compress_level": 3},
        "jpg": {"quality": max(1, min(quality, 95))},
        "webp": {"quality": quality, "method": 1},
    }
    image.save(file, _FORMATS[extension], **options[extension])
    return file.getvalue()


def paint(prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """The picture itself."""
    digest = hashlib.sha256(f"{prompt}\0{seed}".encode("utf-8", "surrogatepass")).digest()
    chance = random.Random(digest)  # noqa: S311  repeatable by design
    palette, scene = chance.choice(PALETTES), chance.choice(SCENES)
    scale = 2 if size[0] * size[1] <= SMOOTH_PIXELS else 1
    image = background((size[0] * scale, size[1] * scale), palette)
    scene(image, chance, palette)
    if scale > 1:
        image = image.reduce(scale)
    _write(image, prompt, f"SIMULATED   ·   SEED {seed}", palette.layers[3])
    return image


def _write(image: Image.Image, prompt: str, caption: str, shade: str) -> None:
    """Puts the prompt at the bottom, over a shade that rises as far as the text needs."""
    width, height = image.size
    unit = min(width, height)
    margin = unit * 0.07
    small = max(8, int(unit * 0.021))
    block = fit(prompt, width - 2 * margin, height * 0.56, int(unit * 0.125), max(7, int(unit * 0.034)))
    top = height - margin - block.height - small * 2.2
    rise = int(min(height, height - top + unit * 0.32))
    ramp = Image.linear_gradient("L").point([min(232, int(level * 1.55)) for level in range(256)])
    image.paste(Image.new("RGB", (width, rise), shade), (0, height - rise), ramp.resize((width, rise)))
    draw = ImageDraw.Draw(image)
    block.draw(draw, margin, top, "#fffdf7")
    fit(caption, width, small * 2, small, small - 1).draw(draw, margin, height - margin - small, "#ffffffb0")
