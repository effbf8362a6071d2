"""HTTP itself: bytes, connections, middleware, authentication, errors, shutdown."""
