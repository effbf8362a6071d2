"""The common way of tutorials: FastAPI, and `model.predict` for each request."""

from digits import Digits
from fastapi import FastAPI, Request, UploadFile

app = FastAPI()
digits = Digits()


@app.post("/predict")
async def predict(request: Request) -> dict:
    """Read a raw body."""
    return digits.read(await request.body())


@app.post("/form")
async def form(file: UploadFile) -> dict:
    """Read a form's file."""
    return digits.read(await file.read())
