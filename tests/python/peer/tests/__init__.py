"""What the Python peer is tested with, alone:

    cd tests/python && python -m unittest discover -t . -s peer/tests
"""
