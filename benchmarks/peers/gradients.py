"""Explanations by TensorFlow's own gradients: `python gradients.py integrated|smooth MODEL PNG`.

The steps, samples and noise are those of digitscope.
"""

import os
import sys

import numpy as np
from loop import repeat
from PIL import Image

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import keras
import tensorflow as tf

STEPS, SAMPLES, NOISE = 64, 32, 0.15 * 255
model = keras.models.load_model(sys.argv[2], compile=False)
image = np.asarray(Image.open(sys.argv[3]).convert("L"), np.float32)[..., None]
digit = int(np.argmax(model(image[None])))
generator = np.random.default_rng(7)


@tf.function
def gradients(images):
    """Return the gradient of the digit's logit, which is its log-probability but for a constant."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.math.log(model(images)[:, digit])
    return tape.gradient(score, images)


def integrated() -> str:
    """Return the sum of integrated gradients, by the midpoint rule."""
    path = ((np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS)[:, None, None, None] * image
    mean = gradients(tf.constant(path)).numpy().mean(0)
    return f"{digit} {float((mean * image).sum()):.3f}"


def smooth() -> str:
    """Return the largest mean gradient over noisy copies."""
    noisy = image + generator.normal(0, NOISE, (SAMPLES, *image.shape)).astype(np.float32)
    return f"{digit} {float(gradients(tf.constant(noisy)).numpy().mean(0).max()):.5f}"


if __name__ == "__main__":
    repeat({"integrated": integrated, "smooth": smooth}[sys.argv[1]])
