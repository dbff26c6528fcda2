# Who administers the database: a group of Microsoft Entra that you belong to.
GROUP=cognitive-core-admins
OBJECT_ID=$(az ad group show --group "$GROUP" --query id --output tsv)

# The server. It takes no passwords, and no connections from the internet: give it a private endpoint.
az postgres flexible-server create \
  --resource-group rg-ai-engineering --name cognitive-core-db --location eastus \
  --tier GeneralPurpose --sku-name Standard_D2ds_v5 --storage-size 64 --storage-auto-grow Enabled \
  --version 17 --backup-retention 14 \
  --microsoft-entra-auth Enabled --password-auth Disabled \
  --admin-object-id "$OBJECT_ID" --admin-display-name "$GROUP" --admin-type Group \
  --public-access Disabled

# The database. Before az 2.86 the last option was called --database-name.
az postgres flexible-server db create \
  --resource-group rg-ai-engineering --server-name cognitive-core-db --name cognitive_core

# A transaction pooler on port 6432, for many replicas: CC_DB_DSN may then lead there, with CC_DB_DIRECT_DSN to 5432.
az postgres flexible-server parameter set \
  --resource-group rg-ai-engineering --server-name cognitive-core-db --name pgbouncer.enabled --value true

# What the service is told. It reads this with
# CC_APPCONFIG_ENDPOINT=https://cc-app-config.azconfig.io; there is no secret in it.
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_BACKEND --value postgres
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_AUTH --value entra
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_DSN --value "postgresql://cognitive-core@cognitive-core-db.postgres.database.azure.com:5432/cognitive_core?sslmode=verify-full"

# The service runs under the managed identity cognitive-core, which needs a role of the same name. A member of the group
# makes it with psql in the database postgres; the password that psql asks for is a token (az account get-access-token
# --resource-type oss-rdbms):
#   select pgaadauth_create_principal('cognitive-core', false, false);
