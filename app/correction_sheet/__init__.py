"""HTML sheets on which a person corrects the digits that were read."""
