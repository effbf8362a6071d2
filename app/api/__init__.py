"""The Python API, which the module `digitscope` exports: models that are loaded, and their results.

Imports no web framework, no command line and no TensorFlow.
"""

import warnings

from PIL import Image as _pillow

# The decoder turns off Pillow's limits and warnings, because it has its own. It decodes in other
# processes, so the limits stay for the images that this process opens itself.
_max_pixels = _pillow.MAX_IMAGE_PIXELS
with warnings.catch_warnings():
    from app.api.images import Image
    from app.api.layers import Activations, Explanation, Layer, Layers, Unit
    from app.api.loading import load, model_names
    from app.api.model import Model
    from app.api.results import Line, Page, Prediction, Preparation
    from app.boxes import Box
    from app.bundle import Metadata
    from app.group_reading import PageDigit
    from app.imaging.stages import Stage
    from app.inspection.checks import Deletion
    from app.inspection.explanation import Randomised
    from app.inspection.methods.method import Completeness
    from app.network.equation import Equation
    from app.page_reading import Field
    from app.predictions import InputSummary
_pillow.MAX_IMAGE_PIXELS = _max_pixels

__all__ = [
    "Activations",
    "Box",
    "Completeness",
    "Deletion",
    "Equation",
    "Explanation",
    "Field",
    "Image",
    "InputSummary",
    "Layer",
    "Layers",
    "Line",
    "Metadata",
    "Model",
    "Page",
    "PageDigit",
    "Prediction",
    "Preparation",
    "Randomised",
    "Stage",
    "Unit",
    "load",
    "model_names",
]
