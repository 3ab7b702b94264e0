//! The roles of the schema: a group that holds the application's rights, and the application's
//! login as a member of it.
//!
//! Roles belong to the whole server, not to one database, so the advisory lock does not keep two
//! databases' migrations apart: each missing role is made in a savepoint and, where another session
//! was quicker, looked for again.

use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::report::{MigrateError, failed, failed_for_rights};
use crate::config::DatabaseTarget;

/// The group role: INSERT and SELECT on `payments`, and what it takes to get there. It cannot log in.
pub const GROUP: &str = "payments_app";

/// Makes what is missing of the group and the login of `application`. Returns the owner if there is a group, which
/// [`grant`] then gives its rights.
pub(super) async fn make(
    transaction: &mut Transaction<'_>,
    application: Option<&DatabaseTarget>,
    steps: &mut Vec<String>,
) -> Result<Option<Owner>, MigrateError> {
    let owner = Owner::read(transaction).await?;
    let application = match application {
        Some(target) if target.user == owner.name => {
            steps.push(format!(
                "the application uses the owner's login {}, which has all rights; a login of its own would have fewer",
                owner.name
            ));
            None
        }
        other => other,
    };
    let group = role(transaction, GROUP).await?;
    if group.is_none() && !owner.may_create_roles && application.is_none() {
        steps.push(format!(
            "group role {GROUP} was not created: the owner may not create roles, and no other login needs it"
        ));
        return Ok(None);
    }
    if group.is_none() && make_group(transaction, &owner).await? {
        steps.push(format!("group role {GROUP} was created"));
    }
    if let Some(target) = application {
        login(transaction, target, &owner, steps).await?;
    }
    Ok(Some(owner))
}

/// The role that migrates.
pub(super) struct Owner {
    name: String,
    database: String,
    may_create_roles: bool,
}

impl Owner {
    async fn read(transaction: &Transaction<'_>) -> Result<Self, MigrateError> {
        let row = transaction
            .query_one(
                "SELECT rolname::text, rolcreaterole OR rolsuper, current_database()::text \
                 FROM pg_roles WHERE rolname = current_user",
                &[],
            )
            .await
            .map_err(failed("reading the owner's role"))?;
        Ok(Self {
            name: row.get(0),
            may_create_roles: row.get(1),
            database: row.get(2),
        })
    }

    fn quoted(&self) -> String {
        escape_identifier(&self.name)
    }
}

/// Whether the role `name` exists and, if so, whether it may log in.
async fn role(transaction: &Transaction<'_>, name: &str) -> Result<Option<bool>, MigrateError> {
    let row = transaction
        .query_opt(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = $1::text",
            &[&name],
        )
        .await
        .map_err(failed("reading roles"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Runs `sql` in a savepoint; false when another session has just done the same.
async fn run_unless_done(
    transaction: &mut Transaction<'_>,
    sql: &str,
) -> Result<bool, tokio_postgres::Error> {
    let savepoint = transaction.savepoint("role").await?;
    match savepoint.batch_execute(sql).await {
        Ok(()) => savepoint.commit().await.map(|()| true),
        Err(error) if is_done_elsewhere(&error) => savepoint.rollback().await.map(|()| false),
        Err(error) => Err(error),
    }
}

/// `CREATE ROLE` and `GRANT` of the same thing from two databases: the later one waits for the
/// earlier one's commit and then finds the name taken, the index entry there, or the row changed.
fn is_done_elsewhere(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) if *code == SqlState::DUPLICATE_OBJECT => true,
        Some(code) if *code == SqlState::UNIQUE_VIOLATION => true,
        Some(code) => {
            *code == SqlState::INTERNAL_ERROR
                && error
                    .as_db_error()
                    .is_some_and(|e| e.message() == "tuple concurrently updated")
        }
        None => false,
    }
}

async fn make_group(
    transaction: &mut Transaction<'_>,
    owner: &Owner,
) -> Result<bool, MigrateError> {
    let sql = format!("CREATE ROLE {} NOLOGIN", escape_identifier(GROUP));
    let remedy = format!(
        "ask an administrator to run: ALTER ROLE {} CREATEROLE; or: {sql}",
        owner.quoted()
    );
    run_unless_done(transaction, &sql)
        .await
        .map_err(failed_for_rights("creating the group role", remedy))
}

/// Each right, with the question whether the group (`$1`) has it already. For the schema, only a
/// grant to the group itself counts, since what everybody has there may be revoked.
const RIGHTS: [(&str, &str); 4] = [
    (
        "CONNECT ON DATABASE {database}",
        "SELECT has_database_privilege($1::text, current_database(), 'CONNECT')",
    ),
    (
        "USAGE ON SCHEMA {schema}",
        "SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) AS granted \
         WHERE nspname = current_schema() AND privilege_type = 'USAGE' \
         AND grantee = (SELECT oid FROM pg_roles WHERE rolname = $1::text))",
    ),
    (
        "SELECT ON TABLE payments",
        "SELECT has_table_privilege($1::text, 'payments', 'SELECT')",
    ),
    (
        "INSERT ON TABLE payments",
        "SELECT has_table_privilege($1::text, 'payments', 'INSERT')",
    ),
];

/// Gives the group the rights that it lacks.
pub(super) async fn grant(
    transaction: &Transaction<'_>,
    schema: &str,
    owner: &Owner,
    steps: &mut Vec<String>,
) -> Result<(), MigrateError> {
    for (right, question) in RIGHTS {
        let row = transaction
            .query_one(question, &[&GROUP])
            .await
            .map_err(failed("reading the group role's rights"))?;
        if row.get::<_, bool>(0) {
            continue;
        }
        let right = right
            .replace("{database}", &escape_identifier(&owner.database))
            .replace("{schema}", &escape_identifier(schema));
        let sql = format!("GRANT {right} TO {}", escape_identifier(GROUP));
        let remedy = format!("ask the object's owner to run: {sql}");
        transaction
            .batch_execute(&sql)
            .await
            .map_err(failed_for_rights(&format!("granting {right}"), remedy))?;
        steps.push(format!("{GROUP} was granted {right}"));
    }
    revoke_temporary(transaction, owner, steps).await
}

/// By default every login may make temporary tables, which fill the disk that payments are written
/// to. The first column says whether that is so here, the second whether the owner can revoke it.
const TEMPORARY_SQL: &str = "SELECT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) \
     WHERE grantee = 0 AND privilege_type = 'TEMPORARY'), pg_has_role(datdba, 'USAGE') \
     FROM pg_database WHERE datname = current_database()";

async fn revoke_temporary(
    transaction: &Transaction<'_>,
    owner: &Owner,
    steps: &mut Vec<String>,
) -> Result<(), MigrateError> {
    let doing = "revoking TEMPORARY from PUBLIC";
    let row = transaction
        .query_one(TEMPORARY_SQL, &[])
        .await
        .map_err(failed(doing))?;
    let database = escape_identifier(&owner.database);
    match (row.get(0), row.get(1)) {
        (false, _) => {}
        (true, false) => steps.push(format!(
            "everybody may create temporary tables; ask the database's owner to run: \
             REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
        )),
        (true, true) => {
            let sql = format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC");
            transaction
                .batch_execute(&sql)
                .await
                .map_err(failed(doing))?;
            steps.push(format!(
                "TEMPORARY ON DATABASE {database} was revoked from PUBLIC"
            ));
        }
    }
    Ok(())
}

async fn login(
    transaction: &mut Transaction<'_>,
    target: &DatabaseTarget,
    owner: &Owner,
    steps: &mut Vec<String>,
) -> Result<(), MigrateError> {
    let name = &target.user;
    steps.push(match role(transaction, name).await? {
        None if make_login(transaction, target, owner).await? => {
            format!("login {name} was created")
        }
        None | Some(true) => format!("login {name} already exists and was left unchanged"),
        Some(false) => format!("role {name} exists but cannot log in; it was left unchanged"),
    });
    if !holds(transaction, name, "MEMBER").await? && join(transaction, name, owner).await? {
        steps.push(format!("login {name} was added to {GROUP}"));
    }
    if !holds(transaction, name, "USAGE").await? {
        let role = escape_identifier(name);
        steps.push(format!(
            "login {role} is a member of {GROUP} but does not inherit its rights; ask an administrator to run: \
             ALTER ROLE {role} INHERIT; and, from PostgreSQL 16 on: GRANT {GROUP} TO {role} WITH INHERIT TRUE"
        ));
    }
    Ok(())
}

async fn make_login(
    transaction: &mut Transaction<'_>,
    target: &DatabaseTarget,
    owner: &Owner,
) -> Result<bool, MigrateError> {
    let name = escape_identifier(&target.user);
    let Some(password) = &target.password else {
        return Err(MigrateError::NoPassword(target.user.clone()));
    };
    // The verifier is made here, so that the password never reaches the server or its log.
    let verifier = scram_sha_256(password.expose().as_bytes());
    let sql = format!(
        "CREATE ROLE {name} LOGIN PASSWORD {}",
        escape_literal(&verifier)
    );
    let remedy = format!(
        "ask an administrator to run: ALTER ROLE {} CREATEROLE; or create the login {name}",
        owner.quoted()
    );
    run_unless_done(transaction, &sql)
        .await
        .map_err(failed_for_rights(
            "creating the application's login",
            remedy,
        ))
}

/// Whether the login is in the group (`MEMBER`), and whether that gives it the group's rights (`USAGE`): a login that
/// does not inherit them would have to ask for them by SET ROLE, which the service does not.
async fn holds(
    transaction: &Transaction<'_>,
    name: &str,
    membership: &str,
) -> Result<bool, MigrateError> {
    let row = transaction
        .query_one(
            "SELECT pg_has_role($1::text, $2::text, $3::text)",
            &[&name, &GROUP, &membership],
        )
        .await
        .map_err(failed("reading the login's memberships"))?;
    Ok(row.get(0))
}

async fn join(
    transaction: &mut Transaction<'_>,
    name: &str,
    owner: &Owner,
) -> Result<bool, MigrateError> {
    let group = escape_identifier(GROUP);
    let sql = format!("GRANT {group} TO {}", escape_identifier(name));
    let remedy = format!(
        "ask an administrator to run: {sql}; or: GRANT {group} TO {} WITH ADMIN OPTION",
        owner.quoted()
    );
    run_unless_done(transaction, &sql)
        .await
        .map_err(failed_for_rights(
            "adding the login to the group role",
            remedy,
        ))
}
