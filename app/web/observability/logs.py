"""The log: lines of text for people, or one JSON object per line for machines."""

import json
import logging
import sys
from typing import Literal

# Below ERROR these log what they find in uploads, such as texts in their metadata.
_LOGS_UPLOADS = ("PIL", "python_multipart")
_EXTRA_FIELDS = ("request_id", "ms", "client")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _EXTRA_FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text that ends with the request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = [
            f"{name}={getattr(record, name)}" for name in _EXTRA_FIELDS if hasattr(record, name)
        ]
        return " ".join([super().format(record), *fields])


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Send the lines of all loggers, including uvicorn's, to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if form == "json"
        else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _LOGS_UPLOADS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
