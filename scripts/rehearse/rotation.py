"""rotation.py PACKAGE first: creates a region's database secrets, as Terraform and RDS do, and rotates each at once.
rotation.py PACKAGE NAME...: rotates these secrets with the package's function, step by step, as Secrets Manager."""

import json
import os
import pathlib
import secrets
import shutil
import sys
import uuid
import zipfile

import boto3

from cluster import FOLDER, command_output
from support import NAME, ROOT

PREFIX = f"{NAME}/production"
DEV = pathlib.Path(os.environ["PAYMENTS_DEV"])
FUNCTION = FOLDER / "rotation"
if not FUNCTION.exists():
    zipfile.ZipFile(sys.argv[1]).extractall(FUNCTION)
    # The only difference: the server's certificate authority is this region's own.
    shutil.copy(DEV / "secrets/ca.crt", FUNCTION / "roots.pem")
sys.path.insert(0, str(FUNCTION))
import rotate  # noqa: E402
from pg8000.native import Connection  # noqa: E402

VAULT = boto3.client("secretsmanager")
PORT = (DEV / "port").read_text().strip()


def arn(name):
    return VAULT.describe_secret(SecretId=f"{PREFIX}/{name}")["ARN"]


def rotated(name):
    token = str(uuid.uuid4())
    for step in rotate.STEPS:
        rotate.handler({"SecretId": arn(name), "ClientRequestToken": token, "Step": step}, None)
    print(f"{name}: the current login is {rotate.read(VAULT, arn(name), VersionStage='AWSCURRENT')['username']}")


def first():
    values = {
        "database": ("payments_api_a", a := secrets.token_hex(20)), "database-login-a": ("payments_api_a", a),
        "database-login-b": ("payments_api_b", secrets.token_hex(20)), "database-owner": ("payments_owner", secrets.token_hex(20)),
        "master": ("payments_admin", master := secrets.token_hex(20))}
    for name, (login, password) in values.items():
        value = {"username": login, "password": password, "host": "localhost", "port": PORT, "dbname": "payments"}
        VAULT.create_secret(Name=f"{PREFIX}/{name}", SecretString=json.dumps(value))
    # As in RDS, the administrator is not a superuser.
    folder = command_output([ROOT / "scripts/postgres.sh", "folder"]).strip()
    with Connection("postgres", unix_sock=f"{folder}/.s.PGSQL.{PORT}", database="payments") as database:
        database.run(f"CREATE ROLE payments_admin LOGIN CREATEROLE CREATEDB PASSWORD '{rotate.verifier(master)}'")
        database.run("GRANT payments_owner TO payments_admin WITH ADMIN OPTION")


if sys.argv[2] == "first":
    first()
os.environ["MASTER_SECRET"], os.environ["OWNER_SECRET"] = arn("master"), arn("database-owner")
os.environ["LOGIN_SECRETS"] = json.dumps({f"payments_api_{one}": arn(f"database-login-{one}") for one in "ab"})
for one in ["database-owner", "database"] if sys.argv[2] == "first" else sys.argv[2:]:
    rotated(one)
