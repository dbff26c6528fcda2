# Who administers the database: a group of Microsoft Entra that you belong to.
GROUP=cognitive-core-admins
OBJECT_ID=$(az ad group show --group "$GROUP" --query id --output tsv)

# The server. It takes no passwords, and no connections from the internet: give it a private endpoint.
# A burstable size is for trials: it lives on CPU credits, has no pooler, and Standard_B1ms leaves 35 connections.
az postgres flexible-server create \
  --resource-group 'rg-(claims)' --name claims-db --location westeurope \
  --tier Burstable --sku-name Standard_B1ms --storage-size 32 --storage-auto-grow Enabled \
  --version 16 --backup-retention 14 \
  --microsoft-entra-auth Enabled --password-auth Disabled \
  --admin-object-id "$OBJECT_ID" --admin-display-name "$GROUP" --admin-type Group \
  --public-access Disabled

# The database. Before az 2.86 the last option was called --database-name.
az postgres flexible-server db create \
  --resource-group 'rg-(claims)' --server-name claims-db --name cognitive_core

# What the service is told. It reads this with
# CC_APPCONFIG_ENDPOINT=https://cc-app-config.azconfig.io; there is no secret in it.
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_BACKEND --value postgres
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_AUTH --value entra
az appconfig kv set --yes \
  --name cc-app-config --key CC_DB_DSN --value "postgresql://cognitive-core@claims-db.postgres.database.azure.com:5432/cognitive_core?sslmode=verify-full"

# The service runs under the managed identity cognitive-core, which needs a role of the same name. A member of the group
# makes it with psql in the database postgres; the password that psql asks for is a token (az account get-access-token
# --resource-type oss-rdbms):
#   select pgaadauth_create_principal('cognitive-core', false, false);
