"""Rotates the database's logins; Secrets Manager calls it, one step at a time.

For the secret that the application reads, the login that is idle gets a new password and is tried through the proxy,
before the secret switches to it: the login in use is never touched, so no connection is lost. The owner has one login,
whose password changes. Passwords reach the server as SCRAM verifiers, so no log of statements can contain one.

Every step may be repeated. One that fails leaves the application's login in use as it was; Secrets Manager tries again.
"""

import base64
import hashlib
import hmac
import json
import os
import ssl
import time
from pathlib import Path

import boto3
from pg8000.native import Connection, DatabaseError, InterfaceError, identifier, literal

GROUP = "payments_app"  # `payment-latency-api migrate` creates it and grants it its rights
ROOTS = Path(__file__).with_name("roots.pem")
CONNECT_TIMEOUT_S = 5
# The proxy may take a moment to notice that a secret has changed, and minutes to know a database that was just created.
# The trial must be shorter than the function's own time limit (timeout in main.tf).
TRIAL_S, TRIAL_PAUSE_S = 270, 3


def handler(event, _context):
    secret, token = event["SecretId"], event["ClientRequestToken"]
    vault = boto3.client("secretsmanager")
    if "AWSCURRENT" in vault.describe_secret(SecretId=secret)["VersionIdsToStages"].get(token, []):
        return  # a step that Secrets Manager repeats after the last one
    STEPS[event["Step"]](vault, secret, token)


def create(vault, secret, token):
    """Chooses the login and its new password."""
    if read(vault, secret, VersionId=token, VersionStage="AWSPENDING"):
        return
    value = read(vault, secret, VersionStage="AWSCURRENT")
    if not is_owner(secret):
        value["username"] = next(login for login in logins() if login != value["username"])
    value["password"] = vault.get_random_password(PasswordLength=40, ExcludePunctuation=True)["RandomPassword"]
    write(vault, secret, token, value, "AWSPENDING")


def change(vault, secret, token):
    """Gives the login its new password, and creates the login if it does not exist."""
    value = read(vault, secret, VersionId=token, VersionStage="AWSPENDING")
    owner = read(vault, os.environ["OWNER_SECRET"], VersionStage="AWSCURRENT")
    master = read(vault, os.environ["MASTER_SECRET"], VersionStage="AWSCURRENT")
    with session({**owner, **master}) as database:
        database.run("BEGIN")
        ensure_login(database, value, createrole=is_owner(secret))
        if is_owner(secret):
            take_over(database, value)
        else:
            join_group(database, value["username"], owner["username"])
        database.run("COMMIT")
    if not is_owner(secret):
        # The proxy's copy. The same token, so a repeated step writes no second version.
        write(vault, logins()[value["username"]], token, value, "AWSCURRENT")


def ensure_login(database, value, createrole):
    """Creates the login or changes its password; an existing login keeps its other attributes."""
    if exists(database, value["username"]):
        verb, rights = "ALTER ROLE", ""
    else:
        verb, rights = "CREATE ROLE", "LOGIN CREATEROLE" if createrole else "LOGIN"
    password = literal(verifier(value["password"]))
    database.run(f"{verb} {identifier(value['username'])} {rights} PASSWORD {password}")


def take_over(database, value):
    """Makes the owner the owner of the database, and so of what it migrates."""
    name = identifier(value["username"])
    database.run(f"GRANT {name} TO CURRENT_USER")
    database.run(f"ALTER DATABASE {identifier(value['dbname'])} OWNER TO {name}")


def join_group(database, login, owner):
    """Before the first migration there is no group: that migration then adds the current login to it."""
    if exists(database, GROUP):
        database.run(f"SET LOCAL ROLE {identifier(owner)}")
        database.run(f"GRANT {identifier(GROUP)} TO {identifier(login)}")


def exists(database, role):
    return bool(database.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=role))


def try_out(vault, secret, token):
    """Logs in as the application will: the secret's host is the proxy."""
    value = read(vault, secret, VersionId=token, VersionStage="AWSPENDING")
    until = time.monotonic() + TRIAL_S
    while True:
        try:
            with session(value) as database:
                database.run("SELECT 1")
            return
        except (DatabaseError, InterfaceError, OSError):
            if time.monotonic() >= until:
                raise
            time.sleep(TRIAL_PAUSE_S)


def switch(vault, secret, token):
    """From here on, everybody who reads the secret gets the new login."""
    versions = vault.describe_secret(SecretId=secret)["VersionIdsToStages"]
    current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
    vault.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
    )


STEPS = {"createSecret": create, "setSecret": change, "testSecret": try_out, "finishSecret": switch}


def is_owner(secret):
    return secret == os.environ["OWNER_SECRET"]


def logins():
    """The secret of each application login, by the login's name in the database."""
    return json.loads(os.environ["LOGIN_SECRETS"])


def read(vault, secret, **version):
    try:
        return json.loads(vault.get_secret_value(SecretId=secret, **version)["SecretString"])
    except vault.exceptions.ResourceNotFoundException:
        return None


def write(vault, secret, token, value, stage):
    vault.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=[stage]
    )


def session(value):
    return Connection(
        value["username"],
        password=value["password"],
        host=value["host"],
        port=int(value["port"]),
        database=value["dbname"],
        timeout=CONNECT_TIMEOUT_S,
        ssl_context=ssl.create_default_context(cafile=ROOTS),
    )


def verifier(password, iterations=4096):
    """What PostgreSQL stores instead of a password (RFC 5802 and 7677)."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"
