# The service as an image: `make image`, or docker build -t digitscope . ; then docker run -p 8000:8000 digitscope
ARG BASE=python:3.13-slim-bookworm

# A stage of its own: it is large and changes only with pyproject.toml and constraints.txt.
FROM ${BASE} AS dependencies
# Extras of pyproject.toml, separated by commas: otel sends traces; tensorflow compiles bundles that
# come without a compiled model (model.tflite). Nothing else needs TensorFlow: explanations are computed in NumPy.
# gRPC (extra grpc) is always part of the image; it is loaded only if DIGITSCOPE_GRPC_PORT is set.
ARG EXTRAS=""
WORKDIR /dependencies
RUN python3 -m venv --without-pip /venv
COPY pyproject.toml constraints.txt ./
# An empty package replaces digitscope here, so that pip installs only the dependencies of pyproject.toml.
RUN mkdir app && echo 'VERSION = "0"' > app/version.py && touch app/__init__.py README.md \
    && python3 -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt ".[grpc${EXTRAS:+,$EXTRAS}]" \
    && python3 -m pip --python /venv/bin/python uninstall --yes digitscope \
    # Not needed to serve on CPUs: LiteRT's accelerator libraries, and the tests of the dependencies.
    && cd /venv/lib/python3*/site-packages \
    && rm -rf ai_edge_litert/tools ai_edge_litert/vendors ai_edge_litert/libLiteRtWebGpuAccelerator.so \
        h5py/tests \
    && find numpy -name tests -prune -exec rm -r {} +

FROM dependencies AS code
WORKDIR /code
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY digitscope digitscope
RUN python3 -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --target /srv/digitscope .

FROM ${BASE}
RUN useradd --system --uid 10001 --no-create-home digitscope
COPY --from=dependencies /venv /venv
COPY model /srv/digitscope/model
COPY --from=code /srv/digitscope /srv/digitscope
ENV PATH=/srv/digitscope/bin:/venv/bin:$PATH PYTHONPATH=/srv/digitscope PYTHONUNBUFFERED=1 \
    DIGITSCOPE_HOST=0.0.0.0 DIGITSCOPE_PORT=8000
WORKDIR /srv/digitscope
# A numeric user, so that Kubernetes can verify that it is not root.
USER 10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"DIGITSCOPE_PORT\"]}/readyz', timeout=2)"]
# Exec form without a shell, so that SIGTERM reaches the server and it can finish its requests.
CMD ["digitscope", "serve"]
# Last, because the labels differ in every build.
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="digitscope" \
      org.opencontainers.image.description="Handwritten digits, recognised and explained" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}" \
      io.digitscope.platforms="linux/amd64,linux/arm64" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
