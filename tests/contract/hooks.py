"""Generate binary bodies, for which the OpenAPI document says only that they are bytes."""

import numpy as np
import schemathesis
from hypothesis import strategies as st

from app.samples import sample_png
from app.web.requests.images import IMAGE_TYPES, NPY_TYPE
from tests.forms import npy

images = st.builds(sample_png, st.integers(0, 9)) | st.binary(max_size=200)
arrays = st.builds(
    lambda shape, ink: npy(np.full(shape, ink, np.uint8)),
    st.sampled_from([(28, 28), (1, 28, 28), (2, 28, 28), (0, 28, 28), (3,)]),
    st.integers(0, 255),
)

schemathesis.openapi.format("binary", images)
for kind in IMAGE_TYPES:
    schemathesis.openapi.media_type(kind, images)
schemathesis.openapi.media_type(NPY_TYPE, arrays | st.binary(max_size=200))
