"""Kernels generated from the equation of a cell: differentiated, scheduled, printed as C++, compiled, loaded."""
