"""The command line. Each verb is a module; none is imported before it is used."""
