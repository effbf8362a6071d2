"""Industry protocols beside the native routes, so that existing clients work unchanged."""
