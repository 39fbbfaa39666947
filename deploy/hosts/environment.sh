# The environment of every host; source it. You say where the services are, the rest follows.
# Secrets are not here. PGPASSWORD, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, HF_TOKEN and the key of
# an endpoint come from where you keep secrets, and are read only from the environment.
: "${POSTGRES_URL:=postgresql+psycopg2://aidsafe@db:5432/aidsafe}"
: "${AWS_ENDPOINT_URL:=http://objects:9000}"
: "${AWS_DEFAULT_REGION:=us-east-1}"
: "${AIDSAFE_LAKE_URL:=s3://aidsafe/lake}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export DAGSTER_POSTGRES_URL=$POSTGRES_URL
export CELERY_BROKER_URL=sqla+$POSTGRES_URL
export CELERY_RESULT_BACKEND=db+$POSTGRES_URL
export AIDSAFE_JOURNAL_URL=$POSTGRES_URL
export AIDSAFE_LAKE_URL AWS_ENDPOINT_URL AWS_DEFAULT_REGION
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
