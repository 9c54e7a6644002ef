"""Seals and opens for the tests: a line of JSON in, a line of JSON out."""
import json
import sys

from cryptography.fernet import Fernet, InvalidToken

for line in sys.stdin:
    ask = json.loads(line)
    fernet = Fernet(ask["key"])
    if "token" in ask:
        try:
            answer = fernet.decrypt(ask["token"].encode()).hex()
        except InvalidToken:
            answer = None
    else:
        answer = fernet.encrypt(bytes.fromhex(ask["plain"])).decode()
    print(json.dumps(answer), flush=True)
