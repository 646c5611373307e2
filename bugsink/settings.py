"""Bugsink's settings for Docker, with a SECRET_KEY that is made at the first start and then kept."""

import os
import re
import secrets
import sys
import tempfile
from pathlib import Path

from bugsink_conf import *
from bugsink_conf import SECRET_KEY

# Every program of Bugsink begins here: a wrong setting ends in a line that helps, and in no traceback.
# The login is nobody's business, so that it is not repeated.
if not re.fullmatch(r"[0-9a-fA-F]{32}", os.environ["PROJECT_KEY"]):
    sys.exit(f"BUGSINK_PROJECT_KEY is {os.environ['PROJECT_KEY']!r}, but takes 32 hex digits.")
if not re.fullmatch(r"[^:@\s]+@[^:@\s]+:.+", os.environ["CREATE_SUPERUSER"]):
    sys.exit("BUGSINK_LOGIN has another form, but takes email:password, without spaces in the email.")


def read_or_create_key(path: Path) -> str:
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(secrets.token_urlsafe(48))
            draft.flush()
            os.fsync(draft.fileno())
            # Gunicorn and the task runner start together. A link either is made whole or exists
            # already, so both read the same key and never half of one.
            try:
                os.link(draft.name, path)
            except FileExistsError:
                pass
    return path.read_text()


SECRET_KEY = SECRET_KEY or read_or_create_key(Path("/data/secret_key"))
