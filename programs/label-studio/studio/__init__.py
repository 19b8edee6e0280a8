"""Label Studio, with the people of the login gate as its people (gate.py); `python3 -m studio` runs it."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SETTINGS: Final = "core.settings.label_studio"
_FIRST: Final = "studio.gate.Credentials"
_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_TOKENS: Final = "jwt_auth.middleware.JWTAuthenticationMiddleware"


def prepare() -> None:
    """Make Label Studio importable, and put our parts into its settings.

    Its folder must be on the path, for it imports `core` and others from there; not by PYTHONPATH: Python would start
    with the sitecustomize.py that lies in it. Its own settings are changed here: a settings module of ours that imports
    them dies in the middle.
    """
    spec = find_spec("label_studio")
    if spec is None or spec.origin is None:
        message = "label_studio is not installed"
        raise ModuleNotFoundError(message)
    sys.path.insert(1, str(Path(spec.origin).parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS

    import django  # noqa: PLC0415 - it reads its settings
    from django.conf import settings  # noqa: PLC0415 - as above

    ours = [
        (0, _FIRST),
        (settings.MIDDLEWARE.index(_AUTHENTICATION) + 2, "studio.gate.SignIn"),
        (settings.MIDDLEWARE.index(_TOKENS) + 3, "studio.gate.Tokens"),
    ]
    for place, name in ours:
        settings.MIDDLEWARE.insert(place, name)
    django.setup()
