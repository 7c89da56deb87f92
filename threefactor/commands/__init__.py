"""Commands of the command line, which joins them in `threefactor.cli`. They alone may know controllers and worlds."""
