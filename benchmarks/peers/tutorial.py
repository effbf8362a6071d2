"""The common way of tutorials: FastAPI, and `model.predict` for each request."""

import io
import os

import keras
import numpy as np
from fastapi import FastAPI, Request, UploadFile
from PIL import Image

app = FastAPI()
model = keras.models.load_model(os.environ["PEER_KERAS"], compile=False)


@app.post("/predict")
async def predict(request: Request) -> dict:
    """Read a raw body."""
    return _answer(await request.body())


@app.post("/form")
async def form(file: UploadFile) -> dict:
    """Read a form's file."""
    return _answer(await file.read())


def _answer(content: bytes) -> dict:
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float32)
    probabilities = model.predict(pixels[None, ..., None], verbose=0)[0]
    return {"digit": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
