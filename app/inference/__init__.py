"""Running networks: arrays in, arrays out, no HTTP."""
