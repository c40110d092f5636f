"""Kernels made from a cell's equation: differentiated, printed as C++, compiled, loaded."""
