"""From results to responses, and the OpenAPI document."""
