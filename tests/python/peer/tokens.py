"""Chapter 3.1: tokens."""

import time
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken

from .fields import Malformed, unb64


class Sealer:
    def __init__(self, key):
        self._fernet = Fernet(urlsafe_b64encode(key))

    def seal(self, plain):
        return self._fernet.encrypt_at_time(plain, int(time.time())).decode()

    def open(self, token):
        """The plaintext. Fernet itself would skip what base64 does not know, so that is checked."""
        unb64(token)
        try:
            return self._fernet.decrypt(token.encode())
        except InvalidToken:
            raise Malformed("a token does not open") from None


def token_size(plain):
    """The characters of the token of so many bytes."""
    return 4 * -(-(25 + 16 * (plain // 16 + 1) + 32) // 3)
