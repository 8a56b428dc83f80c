"""Sounds for audio models: a short melody that follows from the prompt, as a WAV file."""

import hashlib
import io
import math
import wave
from array import array

RATE = 22_050
"""Samples a second, one channel, 16 bits each."""

_SCALE = (0, 3, 5, 7, 10, 12, 15, 17)
"""A pentatonic scale, in semitones: any order of its notes sounds well."""


def play_melody(prompt: str, seed: int, seconds: int) -> bytes:
    """A WAV file of `seconds` seconds, four notes in each; the same bytes for the same arguments."""
    notes = hashlib.sha256(f"{prompt}\0{seed}".encode("utf-8", "surrogatepass")).digest()
    base = 196.0 * 2 ** (notes[0] % 12 / 12)
    samples = array("h")
    tones: dict[int, array[int]] = {}
    for place in range(seconds * 4):
        step = _SCALE[notes[place % 29 + 1] % len(_SCALE)]
        if step not in tones:
            tones[step] = _tone(base * 2 ** (step / 12))
        samples.extend(tones[step])
    file = io.BytesIO()
    with wave.open(file, "wb") as track:
        track.setnchannels(1)
        track.setsampwidth(2)
        track.setframerate(RATE)
        track.writeframes(samples.tobytes())
    return file.getvalue()


def _tone(hertz: float) -> "array[int]":
    """A quarter of a second of a plucked string: a tone and two overtones that fade."""
    samples = array("h")
    for place in range(RATE // 4):
        t = place / RATE
        swell = min(1.0, place / 200) * math.exp(-7 * t)
        wave_sum = sum(math.sin(2 * math.pi * hertz * k * t) / k**2 for k in (1, 2, 3))
        samples.append(int(14_000 * swell * wave_sum / 1.36))
    return samples
