/**
 * Every refusal a person can meet, once: a stable code, the exit code of the command line, the status of the HTTP API,
 * a sentence with the facts, and the way out. `docs/errors.md` explains each; `test/errors.test.ts` keeps the two equal.
 */

interface Refusal {
  /** Exit code of the command line; the table stands in docs/cli.md. */
  readonly exit: number
  /** HTTP status of the same refusal. */
  readonly status: number
  readonly says: string
  readonly remedy: string
}

export const catalogue = {
  CC_ERR_ACTOR: {
    exit: 2,
    status: 400,
    says: "'{actor}' cannot be recorded as a name.",
    remedy: 'Use 1 to 200 characters on one line, without control characters, and no blanks at its ends.',
  },
  CC_ERR_ALREADY_DECIDED: {
    exit: 5,
    status: 409,
    says: 'Task {taskId} was decided already: {decision} by {decidedBy}.',
    remedy: 'The first decision stands. See: cognitive-core task {taskId}',
  },
  CC_ERR_APPCONFIG_AWAY: {
    exit: 1,
    status: 503,
    says: 'The settings in App Configuration {endpoint} cannot be read: {why}.',
    remedy: 'Check the address and the network and start again; nothing was started without these settings.',
  },
  CC_ERR_APPCONFIG_EMPTY: {
    exit: 1,
    status: 500,
    says: 'App Configuration {endpoint} has no setting {where}.',
    remedy:
      'Correct CC_APPCONFIG_LABEL, or set one: az appconfig kv set --auth-mode login --endpoint {endpoint} --key CC_DB_BACKEND --value postgres',
  },
  CC_ERR_APPCONFIG_LOGIN: {
    exit: 1,
    status: 500,
    says: 'App Configuration {endpoint} does not let this program in: {why}.',
    remedy:
      'Correct CC_APPCONFIG_CONNECTION_STRING, or give the identity the role App Configuration Data Reader; check the clock too.',
  },
  CC_ERR_APPCONFIG_REFERENCE: {
    exit: 2,
    status: 500,
    says: '{name} in App Configuration {endpoint} refers to a Key Vault, which this program does not read.',
    remedy:
      'Set {name} in the environment from the vault, or store a DSN without a password there and set CC_DB_AUTH=entra.',
  },
  CC_ERR_APP_ROLE: {
    exit: 2,
    status: 500,
    says: "The role '{role}' cannot be the one that the service has: {why}.",
    remedy: 'Make a role of its own: create role core_app login. Then: cognitive-core db init --app-role core_app',
  },
  CC_ERR_AZURE_PACKAGE: {
    exit: 1,
    status: 500,
    says: '{setting} needs the package {package}, which {why}.',
    remedy: 'Run: npm install {version}',
  },
  CC_ERR_BACKEND: {
    exit: 2,
    status: 500,
    says: "{name} is '{backend}', which is no backend.",
    remedy: 'Set CC_DB_BACKEND to sqlite or postgres.',
  },
  CC_ERR_BODY: {
    exit: 2,
    status: 422,
    says: 'The body does not fit: {problem}.',
    remedy: 'See what the route takes in /openapi.json, or in docs/http-api.md.',
  },
  CC_ERR_BODY_TOO_LARGE: {
    exit: 2,
    status: 413,
    says: 'The body of the request is larger than {maxBytes} bytes.',
    remedy: 'Send less: leave documents where they are and send references to them.',
  },
  CC_ERR_CASE_FILE: {
    exit: 2,
    status: 400,
    says: '{file} holds no case: {problem}.',
    remedy: 'Write one case as a JSON object, or a list of such objects.',
  },
  CC_ERR_CASE_LIVE: {
    exit: 5,
    status: 409,
    says: 'Case {instanceId} is {status}: its content is still needed.',
    remedy: 'Erase it once the case has ended, or cancel the case first.',
  },
  CC_ERR_CASE_STUCK: {
    exit: 4,
    status: 500,
    says: 'Case {instanceId} cannot go on: its stored state is not what was recorded.',
    remedy: 'It was left as it is. Run: cognitive-core audit verify --instance {instanceId}',
  },
  CC_ERR_CHANGES: {
    exit: 2,
    status: 422,
    says: "The changes do not fit the decision '{decision}': {problem}.",
    remedy: 'Give --changes with approve_with_changes, a JSON merge patch over the outcome, and with nothing else.',
  },
  CC_ERR_CLAIMED: {
    exit: 5,
    status: 409,
    says: 'Task {taskId} is claimed by {holder} until {until}.',
    remedy: 'Wait until then, or ask {holder} to decide it.',
  },
  CC_ERR_CLOSED: {
    exit: 1,
    status: 503,
    says: 'The store is being closed.',
    remedy: 'Ask again once the program has started anew.',
  },
  CC_ERR_CONDITION: {
    exit: 1,
    status: 422,
    says: 'The condition is wrong at character {column}: {problem}.',
    remedy: 'Write {right}.',
  },
  CC_ERR_CONTENT_DIFFERS: {
    exit: 4,
    status: 500,
    says: 'Payload {payloadId} of case {instanceId} is not what was recorded.',
    remedy: 'Nothing was decided. Run: cognitive-core audit verify --instance {instanceId}',
  },
  CC_ERR_DATABASE_NEWER: {
    exit: 3,
    status: 500,
    says: 'The database {location} was written by a newer version: it has migration {found}, this version knows {known}.',
    remedy: 'Use that version, or a newer one.',
  },
  CC_ERR_DATABASE_OLDER: {
    exit: 3,
    status: 500,
    says: 'The database {location} has migration {found}, and this version reads {known}.',
    remedy: 'Run: cognitive-core db migrate',
  },
  CC_ERR_DECISION: {
    exit: 2,
    status: 422,
    says: "'{decision}' is no decision for a task of tier {tier}.",
    remedy: 'Use one of: {allowed}.',
  },
  CC_ERR_DEFINITION_FORMAT: {
    exit: 1,
    status: 500,
    says: 'A stored definition has format {format}, which this version cannot read.',
    remedy: 'Run the case with the version that stored it, or a newer one.',
  },
  CC_ERR_DEFINITION_LOST: {
    exit: 4,
    status: 500,
    says: 'The definition {hash} of the store {location} is gone or was changed.',
    remedy: 'Cases that run by it stay as they are. Run: cognitive-core audit verify',
  },
  CC_ERR_DSN: {
    exit: 2,
    status: 500,
    says: '{name} cannot be used: {why}.',
    remedy: 'Set {name} to a DSN such as postgres://user:password@host:5432/database',
  },
  CC_ERR_DSN_PASSWORD: {
    exit: 2,
    status: 500,
    says: '{name} holds a password, and CC_DB_AUTH is entra.',
    remedy: 'Take the password out of it, or set CC_DB_AUTH=password.',
  },
  CC_ERR_DUPLICATE_WORKFLOW: {
    exit: 1,
    status: 500,
    says: "Two packs bring a workflow '{workflow}': {first} and {second}.",
    remedy: 'Load one of the two, or rename one of the workflows.',
  },
  CC_ERR_DURABILITY: {
    exit: 3,
    status: 500,
    says: 'The database {location} would not keep what it commits: {setting} is {value}.',
    remedy: 'Put it on a local file system, and leave its settings to this program.',
  },
  CC_ERR_ENTRA_TOKEN: {
    exit: 1,
    status: 503,
    says: 'Microsoft Entra gave no token for {scope}: {why}.',
    remedy:
      'Give the machine a managed identity, or log in with az login; a running service asks again with the next connection.',
  },
  CC_ERR_ERASED: {
    exit: 5,
    status: 409,
    says: 'Content of case {instanceId} was erased.',
    remedy: 'The case cannot be run again; submit it anew.',
  },
  CC_ERR_EVENT_TOO_LARGE: {
    exit: 1,
    status: 422,
    says: "The event '{type}' of instance {instanceId} would take {bytes} bytes; at most {maxBytes} are recorded.",
    remedy: 'Use shorter names and reasons: content belongs into payloads, an event only refers to it.',
  },
  CC_ERR_FILE: {
    exit: 2,
    status: 400,
    says: '{file} cannot be {verb}: {why}.',
    remedy: 'Name another file.',
  },
  CC_ERR_FILE_EXISTS: {
    exit: 2,
    status: 409,
    says: '{file} is there already.',
    remedy: 'Name another file, or remove this one first: nothing is written over.',
  },
  CC_ERR_FOUR_EYES: {
    exit: 1,
    status: 403,
    says: '{actor} may not decide task {taskId}: {because}.',
    remedy: 'Ask another person to decide it.',
  },
  CC_ERR_HEAD_TOO_LARGE: {
    exit: 2,
    status: 431,
    says: 'The head of the request is larger than {maxBytes} bytes.',
    remedy: 'Send shorter headers and a shorter address; what is long belongs into the body.',
  },
  CC_ERR_HOST: {
    exit: 1,
    status: 403,
    says: "The service does not answer to the name '{host}'.",
    remedy: 'Use localhost or 127.0.0.1, or give the service API keys (CC_API_KEYS_FILE) and put it behind a proxy.',
  },
  CC_ERR_INPUT: {
    exit: 2,
    status: 422,
    says: 'The {what} cannot be stored: {why}.',
    remedy: 'Send plain JSON: texts without NUL, finite numbers, lists and objects.',
  },
  CC_ERR_INTERRUPTED: {
    exit: 130,
    status: 503,
    says: 'The command was interrupted.',
    remedy: 'What was recorded until then stays; a case under way goes on with the next command that runs cases.',
  },
  CC_ERR_JSON_BOM: {
    exit: 2,
    status: 400,
    says: 'The JSON text begins with a byte order mark.',
    remedy: 'Save it as UTF-8 without a byte order mark.',
  },
  CC_ERR_JSON_DEPTH: {
    exit: 2,
    status: 400,
    says: 'The JSON text nests deeper than {limit} levels at line {line}, column {column}.',
    remedy: 'Send it flatter.',
  },
  CC_ERR_JSON_DUPLICATE_KEY: {
    exit: 2,
    status: 400,
    says: "The JSON text has the key '{key}' twice in one object, the second time at line {line}, column {column}.",
    remedy: 'Keep the one that is meant.',
  },
  CC_ERR_JSON_NOT_A_NUMBER: {
    exit: 2,
    status: 400,
    says: 'The JSON text says NaN or Infinity at line {line}, column {column}.',
    remedy: 'Send null, or leave the field out.',
  },
  CC_ERR_JSON_NUL: {
    exit: 2,
    status: 400,
    says: 'The JSON text has a NUL character at line {line}, column {column}.',
    remedy: 'Leave it out; no database keeps it.',
  },
  CC_ERR_JSON_NUMBER_INEXACT: {
    exit: 2,
    status: 400,
    says: 'The number {number} at line {line}, column {column} would be changed by reading it.',
    remedy: 'Send it as a string, or with at most 15 digits.',
  },
  CC_ERR_JSON_NUMBER_RANGE: {
    exit: 2,
    status: 400,
    says: 'The number {number} at line {line}, column {column} is too large or too near to zero.',
    remedy: 'Send it as a string.',
  },
  CC_ERR_JSON_PROTO: {
    exit: 2,
    status: 400,
    says: "The JSON text has the key '__proto__' at line {line}, column {column}.",
    remedy: 'Give the field another name.',
  },
  CC_ERR_JSON_SURROGATE: {
    exit: 2,
    status: 400,
    says: 'The JSON text has half of a surrogate pair at line {line}, column {column}.',
    remedy: 'Send whole characters; text was probably cut in the middle of one.',
  },
  CC_ERR_JSON_SYNTAX: {
    exit: 2,
    status: 400,
    says: 'The JSON text is broken at line {line}, column {column}: {problem}.',
    remedy: 'Correct it there.',
  },
  CC_ERR_JSON_TOO_LARGE: {
    exit: 2,
    status: 413,
    says: 'The JSON text has {bytes} bytes; at most {maxBytes} are taken.',
    remedy: 'Send less: leave documents where they are and send references to them.',
  },
  CC_ERR_JSON_TRAILING: {
    exit: 2,
    status: 400,
    says: 'The JSON text goes on after its end, at line {line}, column {column}.',
    remedy: 'Send one JSON value and nothing after it.',
  },
  CC_ERR_JSON_UTF8: {
    exit: 2,
    status: 400,
    says: 'The JSON text is not UTF-8: byte {byte} does not belong.',
    remedy: 'Send it as UTF-8.',
  },
  CC_ERR_KEYS_FILE: {
    exit: 1,
    status: 503,
    says: 'The file of API keys {file} cannot be used: {problem}.',
    remedy: 'Correct that and try again; where there is no file yet, run: cognitive-core keys add NAME --role ROLE',
  },
  CC_ERR_KEY_MISSING: {
    exit: 1,
    status: 401,
    says: 'The service wants an API key.',
    remedy: 'Send it as `Authorization: Bearer KEY`; on the command line set CC_API_KEY, or use --api-key.',
  },
  CC_ERR_KEY_NAME: {
    exit: 2,
    status: 422,
    says: "'{name}' cannot be the name of a key: {why}.",
    remedy: 'Choose another name; for those that are taken, see: cognitive-core keys list',
  },
  CC_ERR_KEY_REUSED: {
    exit: 5,
    status: 409,
    says: "The key '{key}' was used for another case ({instanceId}).",
    remedy: 'Use a new key for a new case; send the same workflow, domain and input to repeat a request.',
  },
  CC_ERR_KEY_UNKNOWN: {
    exit: 1,
    status: 401,
    says: 'The service does not know this API key.',
    remedy: 'Ask whoever runs the service for a key: cognitive-core keys add NAME --role ROLE',
  },
  CC_ERR_LOCKED: {
    exit: 3,
    status: 503,
    says: 'The store {location} is in use by {holder}.',
    remedy: 'Stop that program, or wait until it has ended; commands that only read work beside it.',
  },
  CC_ERR_MEDIA_TYPE: {
    exit: 2,
    status: 415,
    says: 'The body of the request is {type}, and only JSON is taken.',
    remedy: 'Send JSON with the header `content-type: application/json`.',
  },
  CC_ERR_MIGRATING: {
    exit: 1,
    status: 503,
    says: 'The tables of {location} could not be changed within {waitedMs} ms: {holder} has them.',
    remedy: 'Try again in a minute; what it does stands in pg_stat_activity.',
  },
  CC_ERR_MIGRATION_CHANGED: {
    exit: 3,
    status: 500,
    says: 'Migration {number} of the database {location} is not the one of this version.',
    remedy: 'Use the version that made the database; if nobody changed it by hand, report this.',
  },
  CC_ERR_MIGRATION_RIGHTS: {
    exit: 3,
    status: 500,
    says: 'The store {location} needs {needs}, and the role {role} may not do that.',
    remedy: 'Run as {owner}: cognitive-core db migrate',
  },
  CC_ERR_MODEL_KEY: {
    exit: 1,
    status: 422,
    says: 'The model {spec} cannot be called: {variable} is not set.',
    remedy: 'Set {variable}, or choose another model; docs/models.md has the variables of each provider.',
  },
  CC_ERR_MODEL_PACKAGE: {
    exit: 1,
    status: 422,
    says: 'The model {spec} needs the package {package}, which {why}.',
    remedy: 'Run: npm install {version}',
  },
  CC_ERR_NOT_A_STORE: {
    exit: 3,
    status: 500,
    says: '{location} is not a database of this program: {why}.',
    remedy: 'Name another file; that of the store with CC_DB_PATH or --db. Nothing was changed.',
  },
  CC_ERR_NOT_CANCELABLE: {
    exit: 5,
    status: 409,
    says: 'Case {instanceId} has ended: it is {status}.',
    remedy: 'See: cognitive-core case {instanceId}',
  },
  CC_ERR_NOT_PERMITTED: {
    exit: 3,
    status: 500,
    says: 'This user may not {what} the database {location}.',
    remedy: 'Give the user rights to the file, to its folder, and to the -wal and -shm beside it.',
  },
  CC_ERR_NOT_RETRYABLE: {
    exit: 5,
    status: 409,
    says: 'Case {instanceId} is {status}; only a failed case can be retried.',
    remedy: 'See: cognitive-core case {instanceId}',
  },
  CC_ERR_NOT_YET: {
    exit: 2,
    status: 501,
    says: '{what} is not part of this version.',
    remedy: '{remedy}',
  },
  CC_ERR_NO_DATABASE: {
    exit: 1,
    status: 503,
    says: 'The server has no database for {location}: {why}.',
    remedy: 'Create it (createdb, or in psql: create database NAME), or correct the DSN.',
  },
  CC_ERR_NO_DSN: {
    exit: 2,
    status: 500,
    says: 'CC_DB_BACKEND is postgres, and CC_DB_DSN is not set.',
    remedy:
      'Set CC_DB_DSN, for example CC_DB_DSN=postgres://user:password@host:5432/database, or leave CC_DB_BACKEND unset for SQLite.',
  },
  CC_ERR_NO_KEYS_FILE: {
    exit: 2,
    status: 500,
    says: 'No file of API keys is named.',
    remedy: 'Set CC_API_KEYS_FILE to a file, for example CC_API_KEYS_FILE=data/api-keys.json',
  },
  CC_ERR_NO_MODEL: {
    exit: 1,
    status: 422,
    says: "The step '{step}' ({primitive}) needs a model, and none is configured.",
    remedy: 'Set CC_MODEL, for example CC_MODEL=scripted:packs/travel-claims/scripted.yaml',
  },
  CC_ERR_NO_PACK: {
    exit: 1,
    status: 500,
    says: 'No pack can be read from {dir}: {why}.',
    remedy: 'Name the folder that holds `workflows` and coordinator_config.yaml.',
  },
  CC_ERR_NO_PRIMITIVE: {
    exit: 1,
    status: 422,
    says: "The step '{step}' needs the primitive '{primitive}', which this program does not have.",
    remedy: 'Start the program that registers it; its cases wait meanwhile.',
  },
  CC_ERR_NO_ROUTE: {
    exit: 1,
    status: 404,
    says: 'There is no {method} {path}.',
    remedy: 'The routes stand in /openapi.json, and in docs/http-api.md.',
  },
  CC_ERR_NO_SCHEMA: {
    exit: 3,
    status: 500,
    says: 'There is no schema {schema} at {location}, and the role {role} may not make it.',
    remedy: 'Run as the owner of the database: create schema {schema} authorization {role}',
  },
  CC_ERR_NO_STORE: {
    exit: 2,
    status: 404,
    says: 'There is no database at {location}.',
    remedy: 'Submit a case, or run: cognitive-core db init',
  },
  CC_ERR_OPEN_HOST: {
    exit: 3,
    status: 500,
    says: 'Without API keys the service listens on this machine only, and {host} can be reached from others.',
    remedy:
      'Set CC_API_KEYS_FILE to a file of keys (cognitive-core keys add NAME --role ROLE), or leave CC_HOST at 127.0.0.1.',
  },
  CC_ERR_ORIGIN: {
    exit: 1,
    status: 403,
    says: 'The request comes from a page of {origin}, which is not this service.',
    remedy: 'Call the service from a program, or open its own page.',
  },
  CC_ERR_OTHER_STORE: {
    exit: 3,
    status: 409,
    says: 'The service at {url} has another store than {location}.',
    remedy: 'Name the service with --url, or the store with --db, and leave the other one out.',
  },
  CC_ERR_PACK: {
    exit: 1,
    status: 422,
    says: 'The pack is wrong at {where}: {what}.',
    remedy: 'What would be right: {right}.',
  },
  CC_ERR_POOLER: {
    exit: 3,
    status: 500,
    says: '{name} leads to a connection pooler at {location}, and this takes a session of its own: {why}.',
    remedy: 'Set CC_DB_DIRECT_DSN to a DSN that leads to the server itself, past the pooler.',
  },
  CC_ERR_POOL_BUSY: {
    exit: 1,
    status: 503,
    says: 'No connection to {location} became free in time: {why}.',
    remedy: 'Try again; if it stays so, raise CC_DB_POOL_MAX as far as the server has connections.',
  },
  CC_ERR_PORT: {
    exit: 1,
    status: 500,
    says: 'The service cannot listen on {host} port {port}: {why}.',
    remedy: 'Choose another one with --port or CC_PORT, or end the program that has it.',
  },
  CC_ERR_PRIMITIVE: {
    exit: 1,
    status: 500,
    says: "The primitive '{name}' cannot be registered: {why}.",
    remedy: 'Choose another name.',
  },
  CC_ERR_RATE_LIMIT: {
    exit: 1,
    status: 429,
    says: '{actor} has made its {max} requests of this minute.',
    remedy: 'Wait as long as the header Retry-After says, or ask for a higher CC_RATE_LIMIT.',
  },
  CC_ERR_REAL_STORE: {
    exit: 3,
    status: 409,
    says: 'The store {location} holds real cases and takes no scripted model ({model}).',
    remedy: 'Use another database for simulations: set CC_DB_PATH.',
  },
  CC_ERR_REASON: {
    exit: 2,
    status: 422,
    says: '{what} needs a reason.',
    remedy: 'Say why with --reason: it is recorded, and read years later.',
  },
  CC_ERR_REQUEST: {
    exit: 2,
    status: 400,
    says: 'The request is not understood: {problem}.',
    remedy: 'See what the route takes in /openapi.json, or in docs/http-api.md.',
  },
  CC_ERR_REQUEST_TIMEOUT: {
    exit: 1,
    status: 408,
    says: 'The request did not come whole in time.',
    remedy: 'Send it again, without pauses.',
  },
  CC_ERR_ROLE: {
    exit: 1,
    status: 403,
    says: '{actor} is {role}, and this takes {allowed}.',
    remedy: 'Use a key with that role: cognitive-core keys add NAME --role ROLE',
  },
  CC_ERR_SCHEMA_TAKEN: {
    exit: 3,
    status: 500,
    says: 'The schema {schema} of {location} has tables of another program: {tables}.',
    remedy: 'Set CC_DB_SCHEMA to a schema of its own, which is made when it is not there. Nothing was changed.',
  },
  CC_ERR_SCRIPT: {
    exit: 1,
    status: 500,
    says: 'The scripted answers cannot be used: {where}: {problem}.',
    remedy: 'Write a list of entries, each with `when` and either `output` or `error`.',
  },
  CC_ERR_SERVER_AWAY: {
    exit: 1,
    status: 503,
    says: 'The server of {location} cannot be reached: {why}.',
    remedy: 'Check that it runs and that host and port are right; a running service goes on by itself once it is back.',
  },
  CC_ERR_SERVER_DISK: {
    exit: 1,
    status: 503,
    says: 'The server of {location} has no room on its disk: {why}.',
    remedy: 'Make room there; nothing of this was written, and a running service goes on by itself.',
  },
  CC_ERR_SERVER_ENCODING: {
    exit: 3,
    status: 500,
    says: 'The database {location} keeps text as {encoding}, and only UTF8 keeps every text.',
    remedy: "Make another one: create database NAME encoding 'UTF8' template template0",
  },
  CC_ERR_SERVER_FULL: {
    exit: 1,
    status: 503,
    says: 'The server of {location} has no connection left: {why}.',
    remedy: 'Lower CC_DB_POOL_MAX of the processes that share it, or raise max_connections.',
  },
  CC_ERR_SERVER_LOGIN: {
    exit: 1,
    status: 503,
    says: 'The server does not let this user in at {location}: {why}.',
    remedy:
      'Correct user and password in the DSN, or pg_hba.conf on the server, or run: grant connect on database NAME to ROLE',
  },
  CC_ERR_SERVER_OLD: {
    exit: 3,
    status: 500,
    says: '{location} is PostgreSQL {found}, and {least} is the oldest that serves.',
    remedy: 'Upgrade the server, or name another one.',
  },
  CC_ERR_SERVER_READ_ONLY: {
    exit: 3,
    status: 503,
    says: 'Nothing can be written at {location}: {why}.',
    remedy: '{remedy}',
  },
  CC_ERR_SERVER_RIGHTS: {
    exit: 3,
    status: 500,
    says: 'The role may not do what is needed at {location}: {why}.',
    remedy: 'Run as the owner of the tables: cognitive-core db init --app-role {role}',
  },
  CC_ERR_SERVER_SLOW: {
    exit: 1,
    status: 503,
    says: 'The server of {location} did not do it in time: {why}.',
    remedy: 'Try again; if it stays so, look in pg_stat_activity for what is in the way.',
  },
  CC_ERR_SERVER_TLS: {
    exit: 1,
    status: 503,
    says: 'The connection to {location} cannot be trusted: {why}.',
    remedy:
      'Name the authority with sslrootcert=FILE in the DSN, or say what is accepted with sslmode=require or sslmode=disable.',
  },
  CC_ERR_SERVICE: {
    exit: 1,
    status: 502,
    says: 'The service at {url} answered what this version does not understand: {problem}.',
    remedy: 'Check the address, and that both are of the same version.',
  },
  CC_ERR_SERVICE_AWAY: {
    exit: 1,
    status: 503,
    says: 'The service at {url} cannot be reached: {why}.',
    remedy: 'Check that it runs and that the address is right (--url, CC_URL).',
  },
  CC_ERR_SETTING: {
    exit: 2,
    status: 500,
    says: "{name} is '{value}', which it cannot be.",
    remedy: 'Set {name} to {right}, or leave it unset.',
  },
  CC_ERR_SIMULATED_STORE: {
    exit: 3,
    status: 409,
    says: 'The store {location} is a simulation and takes no real model ({model}).',
    remedy: 'Use another database for real cases: set CC_DB_PATH.',
  },
  CC_ERR_STARTING: {
    exit: 1,
    status: 503,
    says: 'The service is starting.',
    remedy: 'Ask again in a second.',
  },
  CC_ERR_STORE_AWAY: {
    exit: 1,
    status: 503,
    says: 'The service at {url} cannot read its store.',
    remedy: 'It goes on by itself once the store can be read; the log of the service says why it cannot.',
  },
  CC_ERR_STORE_BUSY: {
    exit: 1,
    status: 503,
    says: 'The database {location} stayed locked for {waitedMs} ms.',
    remedy: 'Find the program that holds a write lock on the file (a backup, a shell), end it, and try again.',
  },
  CC_ERR_STORE_EXISTS: {
    exit: 3,
    status: 409,
    says: 'A store stands at {location} already.',
    remedy: 'To replace it and keep it beside the restored one, run: cognitive-core restore {from} --replace',
  },
  CC_ERR_STORE_LOST: {
    exit: 3,
    status: 503,
    says: 'The store {location} was taken over by another process.',
    remedy: 'Stop this one: two programs must not write one file. Nothing of this write was kept.',
  },
  CC_ERR_TIMED_OUT: {
    exit: 124,
    status: 504,
    says: 'Case {instanceId} did not end within {timeoutMs} ms; it is {status}.',
    remedy: 'It goes on. See: cognitive-core case {instanceId}',
  },
  CC_ERR_TOO_MANY_STREAMS: {
    exit: 1,
    status: 503,
    says: 'The service follows cases for {max} viewers already, and takes no more.',
    remedy: 'Close streams that nobody reads, or ask for the case now and then.',
  },
  CC_ERR_TWO_STORES: {
    exit: 3,
    status: 500,
    says: 'CC_DB_BACKEND is postgres, and {name} names a SQLite store that has not been moved: {path}.',
    remedy: 'Move it with cognitive-core graduate --to DSN, or leave {name} out to start without its cases.',
  },
  CC_ERR_UNEXPECTED: {
    exit: 1,
    status: 500,
    says: 'Something happened that should not: {problem}',
    remedy: 'Set CC_LOG_LEVEL=debug to see where it happened, and report it.',
  },
  CC_ERR_UNKNOWN_CASE: {
    exit: 1,
    status: 404,
    says: 'There is no case {instanceId}.',
    remedy: 'See: cognitive-core cases',
  },
  CC_ERR_UNKNOWN_DOMAIN: {
    exit: 2,
    status: 422,
    says: "The workflow '{workflow}' has no domain '{domain}'.",
    remedy: 'Use one of: {known}.',
  },
  CC_ERR_UNKNOWN_KEY: {
    exit: 1,
    status: 404,
    says: "{file} has no key of the name '{name}'.",
    remedy: 'See: cognitive-core keys list',
  },
  CC_ERR_UNKNOWN_MODEL: {
    exit: 1,
    status: 500,
    says: "'{spec}' names no model.",
    remedy: 'Use scripted:FILE, or provider/model with one of openai, anthropic, azure, google, bedrock, compatible.',
  },
  CC_ERR_UNKNOWN_PAYLOAD: {
    exit: 1,
    status: 404,
    says: 'Case {instanceId} has no payload {payloadId}.',
    remedy: 'See: cognitive-core case {instanceId} --audit',
  },
  CC_ERR_UNKNOWN_SETTING: {
    exit: 2,
    status: 500,
    says: '{name} in {where} is {why}.',
    remedy: 'Take it out; docs/configuration.md shows what may stand there.',
  },
  CC_ERR_UNKNOWN_TASK: {
    exit: 1,
    status: 404,
    says: 'There is no task {taskId}.',
    remedy: 'See: cognitive-core tasks',
  },
  CC_ERR_UNKNOWN_WORKFLOW: {
    exit: 2,
    status: 422,
    says: "There is no workflow '{workflow}'.",
    remedy: 'Use one of: {known}.',
  },
  CC_ERR_USAGE: {
    exit: 2,
    status: 400,
    says: '{problem}',
    remedy: 'See: cognitive-core {help}',
  },
  CC_ERR_WITHDRAWN: {
    exit: 5,
    status: 409,
    says: 'Task {taskId} was withdrawn: case {instanceId} was canceled.',
    remedy: 'Nothing is left to decide. See: cognitive-core case {instanceId}',
  },
  CC_ERR_WORKER_ON_SQLITE: {
    exit: 3,
    status: 500,
    says: 'A SQLite store takes no workers beside the process that has it: {location}.',
    remedy: 'Run the service, which has workers of its own: cognitive-core serve',
  },
} as const satisfies Record<`CC_ERR_${string}`, Refusal>

export type ErrorCode = keyof typeof catalogue

/** What fills the `{names}` of a sentence. Strings are shown as they are: escape at the terminal, not here. */
export type Facts = Readonly<Record<string, string | number | undefined>>

/**
 * A refusal: something the caller asked for that will not be done, and nothing was changed.
 * Everything else that is thrown is a defect or a broken machine.
 */
export class CoreError extends Error {
  override readonly name = 'CoreError'
  readonly code: ErrorCode
  readonly remedy: string
  readonly facts: Facts

  constructor(code: ErrorCode, facts: Facts = {}, options?: ErrorOptions) {
    super(fill(catalogue[code].says, facts), options)
    this.code = code
    this.remedy = fill(catalogue[code].remedy, facts)
    this.facts = facts
  }

  /** Exit code of the command line for this refusal. */
  get exit(): number {
    return catalogue[this.code].exit
  }

  /** HTTP status for this refusal. */
  get status(): number {
    return catalogue[this.code].status
  }
}

/** True for a refusal with this code, so that a caller can treat one of them apart. */
export function isCoreError(error: unknown, code?: ErrorCode): error is CoreError {
  return error instanceof CoreError && (code === undefined || error.code === code)
}

function fill(sentence: string, facts: Facts): string {
  return sentence.replace(/\{(\w+)\}/g, (_, name: string) => String(facts[name] ?? `{${name}}`))
}
