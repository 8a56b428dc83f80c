"""The models that the simulator offers: real names, real parameters, and what kind of media each makes."""

from simulator.models import Field, Model

_SEED = Field("integer", "Random seed. Set for reproducible generation")
_PROMPT = Field("string", "Prompt for the generation", required=True)
_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
_FORMAT = Field("string", "Format of the output images", default="webp", enum=("webp", "jpg", "png"))
_QUALITY = Field("integer", "Quality of jpg and webp, 0 to 100", default=80, minimum=0, maximum=100)
_UNSAFE = Field("boolean", "Disable safety checker for generated images", default=False)
_COUNT = Field("integer", "Number of outputs to generate", default=1, minimum=1, maximum=4)
_MEGAPIXELS = Field("string", "Approximate number of megapixels", default="1", enum=("1", "0.25"))
_FAST = Field("boolean", "Run faster with quantized weights", default=True)

_FLUX = {
    "aspect_ratio": Field("string", "Aspect ratio of the image", default="1:1", enum=_RATIOS),
    "num_outputs": _COUNT,
    "seed": _SEED,
    "output_format": _FORMAT,
    "output_quality": _QUALITY,
    "disable_safety_checker": _UNSAFE,
    "go_fast": _FAST,
    "megapixels": _MEGAPIXELS,
}

MODELS = {
    model.name: model
    for model in (
        Model(
            "black-forest-labs/flux-schnell",
            "The fastest image generation model tailored for local development and personal use",
            media="image",
            output="files",
            inputs={
                "prompt": _PROMPT,
                **_FLUX,
                "num_inference_steps": Field("integer", "Denoising steps", default=4, minimum=1, maximum=4),
            },
        ),
        Model(
            "black-forest-labs/flux-dev",
            "A 12 billion parameter rectified flow transformer capable of generating images from text descriptions",
            media="image",
            output="files",
            inputs={
                "prompt": _PROMPT,
                "image": Field("string", "Input image for image to image mode", uri=True),
                "prompt_strength": Field("number", "Prompt strength for img2img", default=0.8, minimum=0, maximum=1),
                **_FLUX,
                "num_inference_steps": Field("integer", "Denoising steps", default=28, minimum=1, maximum=50),
                "guidance": Field("number", "Guidance for the image", default=3, minimum=0, maximum=10),
            },
        ),
        Model(
            "black-forest-labs/flux-1.1-pro",
            "Faster, better FLUX Pro. Text-to-image model with excellent image quality and prompt adherence",
            media="image",
            output="file",
            inputs={
                "prompt": _PROMPT,
                "aspect_ratio": Field("string", "Aspect ratio", default="1:1", enum=("custom", *_RATIOS)),
                "width": Field("integer", "Width, with aspect_ratio=custom", minimum=256, maximum=1440),
                "height": Field("integer", "Height, with aspect_ratio=custom", minimum=256, maximum=1440),
                "image_prompt": Field("string", "Image to guide the composition", uri=True),
                "output_format": _FORMAT,
                "output_quality": _QUALITY,
                "safety_tolerance": Field("integer", "1 strict to 6 permissive", default=2, minimum=1, maximum=6),
                "prompt_upsampling": Field("boolean", "Let the model embellish the prompt", default=False),
                "seed": _SEED,
            },
        ),
        Model(
            "stability-ai/sdxl",
            "A text-to-image generative AI model that creates beautiful images",
            media="image",
            output="files",
            versions=(
                "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc",
                "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b",
            ),
            inputs={
                "prompt": Field("string", "Input prompt", default="An astronaut riding a rainbow unicorn"),
                "negative_prompt": Field("string", "Input negative prompt", default=""),
                "image": Field("string", "Input image for img2img or inpaint mode", uri=True),
                "mask": Field("string", "Input mask for inpaint mode", uri=True),
                "width": Field("integer", "Width of output image", default=1024, minimum=64, maximum=2048),
                "height": Field("integer", "Height of output image", default=1024, minimum=64, maximum=2048),
                "num_outputs": _COUNT,
                "scheduler": Field(
                    "string",
                    "scheduler",
                    default="K_EULER",
                    enum=("DDIM", "DPMSolverMultistep", "HeunDiscrete", "KarrasDPM", "K_EULER_ANCESTRAL", "K_EULER", "PNDM"),
                ),
                "num_inference_steps": Field("integer", "Denoising steps", default=50, minimum=1, maximum=500),
                "guidance_scale": Field("number", "Classifier-free guidance", default=7.5, minimum=1, maximum=50),
                "prompt_strength": Field("number", "Prompt strength for img2img", default=0.8, minimum=0, maximum=1),
                "seed": _SEED,
                "apply_watermark": Field("boolean", "Apply a watermark", default=True),
                "disable_safety_checker": _UNSAFE,
            },
        ),
        Model(
            "minimax/video-01",
            "Generate 6s videos with prompts or images",
            media="video",
            output="file",
            inputs={
                "prompt": _PROMPT,
                "prompt_optimizer": Field("boolean", "Use prompt optimizer", default=True),
                "first_frame_image": Field("string", "First frame image for the video", uri=True),
            },
        ),
        Model(
            "google/lyria-2",
            "Lyria 2 is a music generation model that produces 48kHz stereo audio through text-based prompts",
            media="audio",
            output="file",
            inputs={
                "prompt": _PROMPT,
                "negative_prompt": Field("string", "What to leave out of the audio"),
                "seed": _SEED,
            },
        ),
        Model(
            "meta/musicgen",
            "Generate music from a prompt or melody",
            media="audio",
            output="file",
            versions=("671ac645ce5e552cc63a54a2bbff63fcf798043055d2dac5fc9e36a837eedcfb",),
            inputs={
                "prompt": Field("string", "A description of the music you want to generate"),
                "duration": Field("integer", "Duration of the generated audio in seconds", default=8, minimum=1, maximum=30),
                "output_format": Field("string", "Output format for generated audio", default="wav", enum=("wav",)),
                "seed": _SEED,
            },
        ),
        Model(
            "meta/meta-llama-3-8b-instruct",
            "An 8 billion parameter language model from Meta, fine tuned for chat completions",
            media="text",
            output="text",
            inputs={
                "prompt": Field("string", "Prompt", default=""),
                "system_prompt": Field("string", "System prompt", default="You are a helpful assistant"),
                "max_tokens": Field("integer", "Maximum number of tokens to generate", default=512, minimum=1),
                "temperature": Field("number", "Randomness of outputs", default=0.7, minimum=0, maximum=5),
                "top_p": Field("number", "Nucleus sampling", default=0.95, minimum=0, maximum=1),
                "seed": _SEED,
            },
        ),
    )
}
"""By owner/name. Names, parameters and versions follow the real models; mp3 is left out, as it could not be made."""

DEPLOYMENTS = {"acme/pictures": MODELS["black-forest-labs/flux-dev"]}
"""Deployments by owner/name, and the model that each runs."""
