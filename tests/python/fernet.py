"""Seals and opens for the tests: a line of JSON in, a line of JSON out.

With "info" the key is the one that HKDF derives from "key"."""
import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

for line in sys.stdin:
    ask = json.loads(line)
    key = ask["key"]
    if "info" in ask:
        hkdf = HKDF(SHA256(), 32, None, bytes.fromhex(ask["info"]))
        key = urlsafe_b64encode(hkdf.derive(urlsafe_b64decode(key)))
    fernet = Fernet(key)
    if "token" in ask:
        try:
            answer = fernet.decrypt(ask["token"].encode()).hex()
        except InvalidToken:
            answer = None
    else:
        answer = fernet.encrypt(bytes.fromhex(ask["plain"])).decode()
    print(json.dumps(answer), flush=True)
