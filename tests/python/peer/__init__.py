"""A second implementation of the PeerBase protocol, written from docs/PROTOCOL.md alone.

Its files follow the chapters of that document. It has no streams of programs, no broadcasts, no
seeds and no records of peers; whoever asks it for those is answered as the document says. It
speaks on 127.0.0.0/8 only, since it is there to be tested against.
"""
