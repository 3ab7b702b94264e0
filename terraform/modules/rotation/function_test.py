"""The rotation function against a real PostgreSQL over TLS; Secrets Manager is moto's.

scripts/rotation-test.sh starts the server, packs the function and sets the variables. The master is made like RDS': it
may make roles and is no superuser. There is no RDS Proxy here: the secret's host is the server itself.
"""

import json
import os
import socket
import subprocess
import sys
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, os.environ["FUNCTION"])  # unpacked as in Lambda, so its driver is the packed one
import boto3  # noqa: E402
from moto import mock_aws  # noqa: E402
from pg8000.native import Connection, DatabaseError, InterfaceError  # noqa: E402

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="eu-south-2")
import rotate  # noqa: E402

SOCKET, PORT, ROOTS, BINARY = (os.environ[name] for name in ("PG_SOCKET", "PG_PORT", "PG_ROOTS", "SERVICE_BINARY"))
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
AT = {"host": "localhost", "port": int(PORT), "dbname": "rotated"}
rotate.ROOTS = ROOTS
rotate.TRIAL_S, rotate.TRIAL_PAUSE_S = 2, 0.1


def administrator(sql, database="postgres"):
    with Connection("postgres", unix_sock=f"{SOCKET}/.s.PGSQL.{PORT}", database=database) as session:
        return session.run(sql)


class Rotation(unittest.TestCase):
    def setUp(self):
        self.moto = mock_aws()
        self.moto.start()
        self.addCleanup(self.moto.stop)
        self.vault = boto3.client("secretsmanager")
        administrator("CREATE ROLE master LOGIN CREATEROLE CREATEDB PASSWORD 'master'")
        administrator("CREATE DATABASE rotated OWNER master")
        self.addCleanup(self.drop_everything)
        arns = {
            name: self.vault.create_secret(Name=name, SecretString=json.dumps(value))["ARN"]
            for name, value in {
                "master": {"username": "master", "password": "master"},
                "database": {**AT, "username": "payments_api_a", "password": "first-a"},
                "login-a": {"username": "payments_api_a", "password": "first-a"},
                "login-b": {"username": "payments_api_b", "password": "first-b"},
                "owner": {**AT, "username": "rotated_owner", "password": "first-owner"},
            }.items()
        }
        self.database, self.owner = arns["database"], arns["owner"]
        os.environ["MASTER_SECRET"] = arns["master"]
        os.environ["OWNER_SECRET"] = arns["owner"]
        os.environ["LOGIN_SECRETS"] = json.dumps({"payments_api_a": arns["login-a"], "payments_api_b": arns["login-b"]})

    def drop_everything(self):
        administrator("DROP DATABASE rotated WITH (FORCE)")
        for role in ("payments_api_a", "payments_api_b", "payments_app", "rotated_owner", "master"):
            administrator(f"DROP ROLE IF EXISTS {role}")

    def step(self, secret, token, step):
        rotate.handler({"SecretId": secret, "ClientRequestToken": token, "Step": step}, None)

    def rotate(self, secret, repeats=1):
        token = str(uuid.uuid4())
        for step in STEPS:
            for _ in range(repeats):
                self.step(secret, token, step)

    def value(self, secret):
        return json.loads(self.vault.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"])

    def migrate(self):
        url = "postgresql://{username}:{password}@{host}:{port}/{dbname}?sslmode=verify-full&sslrootcert=" + ROOTS
        environment = {
            "MIGRATE_DATABASE_URL": url.format(**self.value(self.owner)),
            "DATABASE_URL": url.format(**self.value(self.database)),
            "REGION": "local",
        }
        run = subprocess.run([BINARY, "migrate"], env=environment, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def assertPays(self, value):
        with rotate.session(value) as session:
            self.assertEqual(session.run("SELECT count(*) FROM payments"), [[0]])

    def set_up_and_migrate(self):
        self.rotate(self.owner)
        self.rotate(self.database)
        self.migrate()

    def test_the_first_rotations_make_the_logins_that_migrate_needs(self):
        self.set_up_and_migrate()
        self.assertPays(self.value(self.database))

    def test_each_rotation_switches_to_the_other_login_with_the_applications_rights(self):
        self.set_up_and_migrate()
        before = self.value(self.database)
        for _ in range(3):
            self.rotate(self.database)
            after = self.value(self.database)
            self.assertNotEqual(after["username"], before["username"])
            self.assertPays(after)
            before = after

    def test_the_login_in_use_keeps_its_password_and_its_connections(self):
        self.set_up_and_migrate()
        before = self.value(self.database)
        with rotate.session(before) as in_use:
            self.rotate(self.database)
            self.assertEqual(in_use.run("SELECT count(*) FROM payments"), [[0]])
        self.assertPays(before)

    def test_the_proxys_secret_of_the_login_follows(self):
        self.set_up_and_migrate()
        self.rotate(self.database)
        value = self.value(self.database)
        self.assertEqual(self.value(rotate.logins()[value["username"]]), value)

    def test_the_owners_old_password_is_void(self):
        self.set_up_and_migrate()
        before = self.value(self.owner)
        self.rotate(self.owner)
        self.assertEqual(self.value(self.owner)["username"], before["username"])
        rotate.session(self.value(self.owner)).close()
        with self.assertRaisesRegex((DatabaseError, InterfaceError), "28P01"):
            rotate.session(before)

    def test_a_login_that_cannot_get_in_never_becomes_the_current_one(self):
        self.set_up_and_migrate()
        before = self.value(self.database)
        token = str(uuid.uuid4())
        self.step(self.database, token, "createSecret")
        self.step(self.database, token, "setSecret")
        idle = next(login for login in rotate.logins() if login != before["username"])
        administrator(f"ALTER ROLE {idle} NOLOGIN")
        with self.assertRaises((DatabaseError, InterfaceError)):
            self.step(self.database, token, "testSecret")
        self.assertEqual(self.value(self.database), before)
        self.assertPays(before)

        administrator(f"ALTER ROLE {idle} LOGIN")
        for step in STEPS:
            self.step(self.database, token, step)
        self.assertPays(self.value(self.database))
        self.assertEqual(self.value(self.database)["username"], idle)

    def test_a_login_that_gets_in_a_little_later_is_waited_for(self):
        """As if through a proxy that does not know the database yet."""
        self.set_up_and_migrate()
        token = str(uuid.uuid4())
        self.step(self.database, token, "createSecret")
        self.step(self.database, token, "setSecret")
        administrator("ALTER ROLE payments_api_a NOLOGIN")
        refused = []

        def session(value, really=rotate.session):
            try:
                return really(value)
            except (DatabaseError, InterfaceError):
                refused.append(value["username"])
                administrator("ALTER ROLE payments_api_a LOGIN")
                raise

        self.addCleanup(setattr, rotate, "session", rotate.session)
        rotate.session = session
        self.step(self.database, token, "testSecret")
        self.assertEqual(refused, ["payments_api_a"])

    def test_a_server_that_says_nothing_yet_is_waited_for(self):
        """In this case pg8000 raises the socket's own error."""
        self.set_up_and_migrate()
        token = str(uuid.uuid4())
        self.step(self.database, token, "createSecret")
        self.step(self.database, token, "setSecret")
        silent = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        first = [{"port": silent.getsockname()[1]}]

        def session(value, really=rotate.session):
            return really(value | (first.pop() if first else {}))

        for name, value in (("session", session), ("CONNECT_TIMEOUT_S", 0.3)):
            self.addCleanup(setattr, rotate, name, getattr(rotate, name))
            setattr(rotate, name, value)
        self.step(self.database, token, "testSecret")
        self.assertEqual(first, [])

    def test_every_step_may_be_repeated(self):
        self.set_up_and_migrate()
        before = self.value(self.database)
        self.rotate(self.database, repeats=2)
        self.assertNotEqual(self.value(self.database)["username"], before["username"])
        self.assertPays(self.value(self.database))

    def test_owner_and_application_rotate_at_the_same_time(self):
        self.set_up_and_migrate()
        for _ in range(5):
            before = self.value(self.database)
            with ThreadPoolExecutor() as pool:
                for done in [pool.submit(self.rotate, secret) for secret in (self.owner, self.database)]:
                    done.result()
            self.assertNotEqual(self.value(self.database)["username"], before["username"])
            self.assertPays(self.value(self.database))
        self.migrate()

    def test_no_password_is_in_the_servers_log(self):
        administrator("ALTER SYSTEM SET log_statement = 'all'")
        administrator("SELECT pg_reload_conf()")
        self.set_up_and_migrate()
        administrator("ALTER SYSTEM RESET log_statement")
        administrator("SELECT pg_reload_conf()")
        log = Path(SOCKET, "log").read_text()
        self.assertIn("ALTER DATABASE", log)
        for secret in (self.database, self.owner):
            self.assertNotIn(self.value(secret)["password"], log)


if __name__ == "__main__":
    unittest.main()
