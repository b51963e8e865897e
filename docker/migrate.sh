#!/bin/sh
# Makes ready what Airflow's services need, and ends: their secrets as files, the database, the account admin.
#
# Secrets come by this container's environment. A process shows what it was started with, and so does
# all that it forks; so they go on by files that only Airflow's user may read.
set -eu

private=${MAGNETON_PRIVATE:-/airflow/private}

# Whole or not at all: services may be running.
keep() {
    (umask 077 && printf '%s' "$2" >"$private/.$1")
    mv "$private/.$1" "$private/$1"
}

keep database "postgresql+psycopg2://airflow:$POSTGRES_PASSWORD@postgres/airflow"
keep fernet_key "$FERNET_KEY"
keep jwt_secret "$JWT_SECRET"
keep api_secret_key "$API_SECRET_KEY"
admin=$ADMIN_PASSWORD
unset POSTGRES_PASSWORD FERNET_KEY JWT_SECRET API_SECRET_KEY ADMIN_PASSWORD

airflow db migrate
python -m magneton_tasks.airflow.service.pools
# Airflow asks for it twice. printf belongs to the shell, so the password is no process's argument.
printf '%s\n%s\n' "$admin" "$admin" | airflow users create --username admin --role Admin \
    --firstname Admin --lastname Admin --email "$ADMIN_EMAIL"
