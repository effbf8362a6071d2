"""Industry inference protocols, so that existing clients can use the service unchanged."""
