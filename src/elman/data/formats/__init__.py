"""The formats of tables on disk, a file each. See `format` for the contract."""
