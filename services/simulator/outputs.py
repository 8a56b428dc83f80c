"""What a prediction will output: its files, and the JSON around them."""

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

from simulator.models import Model
from simulator.prediction import OutputFile
from simulator.prediction_rules import PredictionOutput

_IMAGE_TYPES = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}

_OPENINGS = ("Certainly.", "Here is what comes to mind.", "Let me think about that for a moment.", "Gladly.")
_MIDDLES = (
    "There are three things worth knowing",
    "It begins, as it often does, with a question",
    "The short answer fits in one line",
    "Much depends on how one looks at it",
)
_CLOSINGS = ("This is a simulated answer, and it costs nothing.", "No model was run for these words.")


def planned_files(model: Model, values: Mapping[str, Any], token: str) -> tuple[OutputFile, ...]:
    """The files that a model makes from an input; their URLs carry the token."""
    match model.media:
        case "image":
            extension = values.get("output_format", "webp" if "output_format" in model.inputs else "png")
            count = int(values.get("num_outputs", 1))
            media_type = _IMAGE_TYPES[extension]
            return tuple(OutputFile(token, f"out-{index}.{extension}", media_type) for index in range(count))
        case "video":
            return (OutputFile(token, "output.mp4", "video/mp4"),)
        case "audio":
            return (OutputFile(token, "output.wav", "audio/wav"),)
        case "text":
            return ()


def planned_output(model: Model, files: tuple[OutputFile, ...], prompt: str, seed: int) -> Any:
    """The output in the model's own shape."""
    if model.output == "text":
        return answer_text(prompt, seed)
    return files[0] if model.output == "file" else list(files)


def reshaped(rule: PredictionOutput, files: tuple[OutputFile, ...], output: Any) -> Any:
    """The output that a fault rule asks for; `data_uri` is left to the caller, which has to draw the file first."""
    links = list(files)
    match rule.shape:
        case "string":
            return links[0] if links else "".join(output)
        case "list":
            return links or output
        case "nested":
            inner = {"image": links[0], "mask": None, "score": 0.93} if links else {"text": output}
            return {"results": [inner], "all": {"files": links}, "note": "nested by a fault rule"}
        case "empty_list":
            return []
        case "null":
            return None
        case "text":
            return rule.value if rule.value is not None else "A sentence instead of a file."
        case "json":
            return rule.value
        case "data_uri":
            return output


def answer_text(prompt: str, seed: int) -> list[str]:
    """An answer in pieces of about a word, as a language model streams them; the same for the same prompt and seed."""
    draw = random.Random(f"{prompt}\0{seed}")  # noqa: S311  repeatable by design
    about = " ".join(prompt.split()[:12]) or "nothing in particular"
    middle = draw.choice(_MIDDLES)
    text = f"{draw.choice(_OPENINGS)} You asked about “{about}”. {middle}. {draw.choice(_CLOSINGS)}"
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def input_digest(values: Mapping[str, Any]) -> str:
    """The sha256 of an input as canonical JSON (keys sorted, no spaces, text unescaped), which a test can compute as well."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
