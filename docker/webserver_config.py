"""Who may log in to Airflow (FAB auth manager): OIDC or LDAP where it's set, else accounts of its own.

Settings come from the environment, see docker/env.example; the secret of OIDC or LDAP from a file, see
docker/compose.login.yaml.
"""

import os
from pathlib import Path

from flask_appbuilder.const import AUTH_DB, AUTH_LDAP, AUTH_OAUTH


def _secret() -> str:
    path = Path("/run/login_secret")  # only the api-server has it
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


WTF_CSRF_ENABLED = True
#: Role of somebody who logs in for the first time; Viewer sees, User starts runs, Admin may all.
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = os.environ.get("MAGNETON_NEW_USER_ROLE", "Viewer")

if os.environ.get("MAGNETON_OIDC_METADATA_URL"):
    AUTH_TYPE = AUTH_OAUTH
    OAUTH_PROVIDERS = [
        {
            "name": "oidc",
            "icon": "fa-key",
            "token_key": "access_token",
            "remote_app": {
                "client_id": os.environ["MAGNETON_OIDC_CLIENT_ID"],
                "client_secret": _secret(),
                "server_metadata_url": os.environ["MAGNETON_OIDC_METADATA_URL"],
                "client_kwargs": {"scope": "openid email profile"},
            },
        }
    ]
elif os.environ.get("MAGNETON_LDAP_SERVER"):
    AUTH_TYPE = AUTH_LDAP
    AUTH_LDAP_SERVER = os.environ["MAGNETON_LDAP_SERVER"]
    AUTH_LDAP_USE_TLS = AUTH_LDAP_SERVER.startswith("ldap://")
    AUTH_LDAP_SEARCH = os.environ.get("MAGNETON_LDAP_SEARCH", "")
    AUTH_LDAP_UID_FIELD = os.environ.get("MAGNETON_LDAP_UID_FIELD", "uid")
    AUTH_LDAP_BIND_USER = os.environ.get("MAGNETON_LDAP_BIND_USER", "")
    AUTH_LDAP_BIND_PASSWORD = _secret()
else:
    AUTH_TYPE = AUTH_DB
    AUTH_USER_REGISTRATION = False
