"""Pictures for image models."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont


def draw_picture(prompt: str, seed: int, values: Mapping[str, Any], extension: str) -> bytes:
    """A picture."""
    image = Image.new("RGB", (512, 512), (seed % 255, 80, 120))
    ImageDraw.Draw(image).text((20, 200), prompt[:60], font=ImageFont.load_default(30))
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[extension])
    return file.getvalue()
