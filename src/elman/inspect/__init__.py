"""Looking inside: what the units have learned, what was expected, how far the gradient reaches."""
