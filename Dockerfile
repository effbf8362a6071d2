# The service as an image. Build: docker build -t digitscope . ; run: docker run -p 8000:8000 digitscope
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /srv/digitscope
RUN python3 -m venv /venv
# Dependencies first: this layer changes only when they do.
COPY pyproject.toml constraints.txt README.md LICENSE digitscope.py ./
COPY app/version.py app/__init__.py app/
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --editable .
COPY app app
COPY model model
RUN /venv/bin/python -m compileall -q app digitscope.py

FROM ${BASE}
LABEL org.opencontainers.image.title="digitscope" \
      org.opencontainers.image.description="Handwritten digits, recognised and explained" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home digitscope
COPY --from=build /venv /venv
COPY --from=build /srv/digitscope /srv/digitscope
WORKDIR /srv/digitscope
USER digitscope
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DIGITSCOPE_HOST=0.0.0.0 DIGITSCOPE_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# Without a shell in between, so that SIGTERM reaches the server and it finishes what it has accepted.
CMD ["digitscope", "serve"]
