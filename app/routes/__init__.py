"""The native HTTP routes; each module holds one group of `docs`."""
