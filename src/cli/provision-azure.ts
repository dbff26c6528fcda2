import { shellWord } from './invocation.ts'

/** A server of Azure Database for PostgreSQL that is to be made. */
export interface AzureServer {
  readonly resourceGroup: string
  readonly name: string
  readonly location: string
  readonly sku: string
  readonly tier: 'Burstable' | 'GeneralPurpose' | 'MemoryOptimized'
  readonly version: string
  readonly storageGb: string
}

/** One command, in the pieces that stand on lines of their own, and what it is for. */
interface Step {
  readonly says: readonly string[]
  readonly command: readonly string[]
}

/** The database, the store of settings, the identity of the service and who may change its rights. */
const database = 'cognitive_core'
const appConfiguration = 'cc-app-config'
const identity = 'cognitive-core'
const administrators = 'cognitive-core-admins'

/** What the service is told: no password, since each connection shows a token. */
export function azureSettings({ name }: AzureServer): Readonly<Record<string, string>> {
  const host = `${name}.postgres.database.azure.com`
  return {
    CC_DB_BACKEND: 'postgres',
    CC_DB_AUTH: 'entra',
    CC_DB_DSN: `postgresql://${identity}@${host}:5432/${database}?sslmode=verify-full`,
  }
}

/** The steps as a shell takes them, with a word about each; read before it is run. */
export function azureScript(server: AzureServer): string {
  const steps = azureSteps(server).map(({ says, command }) => {
    const about = says.length === 0 ? '' : `\n${says.map((line) => `# ${line}\n`).join('')}`
    return `${about}${command.join(' \\\n  ')}\n`
  })
  return `${steps.join('').trimStart()}\n${roleNote.map((line) => `# ${line}\n`).join('')}`
}

export function azureSteps(server: AzureServer): Step[] {
  const { location, sku, tier, version, storageGb } = server
  const [group, name] = [shellWord(server.resourceGroup), server.name]
  const ofServer = `--resource-group ${group} --server-name ${name}`
  return [
    {
      says: ['Who administers the database: a group of Microsoft Entra that you belong to.'],
      command: [`GROUP=${administrators}`],
    },
    { says: [], command: ['OBJECT_ID=$(az ad group show --group "$GROUP" --query id --output tsv)'] },
    {
      says: [
        'The server. It takes no passwords, and no connections from the internet: give it a private endpoint.',
        ...(tier === 'Burstable' ? burstableNote : []),
      ],
      command: [
        'az postgres flexible-server create',
        `--resource-group ${group} --name ${name} --location ${location}`,
        `--tier ${tier} --sku-name ${sku} --storage-size ${storageGb} --storage-auto-grow Enabled`,
        `--version ${version} --backup-retention 14`,
        '--microsoft-entra-auth Enabled --password-auth Disabled',
        '--admin-object-id "$OBJECT_ID" --admin-display-name "$GROUP" --admin-type Group',
        '--public-access Disabled',
      ],
    },
    {
      says: ['The database. Before az 2.86 the last option was called --database-name.'],
      command: ['az postgres flexible-server db create', `${ofServer} --name ${database}`],
    },
    ...(tier === 'Burstable' ? [] : [poolerStep(ofServer)]),
    ...settingSteps(server),
  ]
}

function poolerStep(ofServer: string): Step {
  return {
    says: [
      'A transaction pooler on port 6432, for many replicas: CC_DB_DSN may then lead there, with CC_DB_DIRECT_DSN to 5432.',
    ],
    command: ['az postgres flexible-server parameter set', `${ofServer} --name pgbouncer.enabled --value true`],
  }
}

function settingSteps(server: AzureServer): Step[] {
  return Object.entries(azureSettings(server)).map(([key, value], place) => ({
    says:
      place === 0
        ? [
            'What the service is told. It reads this with',
            `CC_APPCONFIG_ENDPOINT=https://${appConfiguration}.azconfig.io; there is no secret in it.`,
          ]
        : [],
    command: [
      'az appconfig kv set --yes',
      `--name ${appConfiguration} --key ${key} --value ${key === 'CC_DB_DSN' ? `"${value}"` : value}`,
    ],
  }))
}

const burstableNote = [
  'A burstable size is for trials: it lives on CPU credits, has no pooler, and Standard_B1ms leaves 35 connections.',
]

const roleNote = [
  `The service runs under the managed identity ${identity}, which needs a role of the same name. A member of the group`,
  'makes it with psql in the database postgres; the password that psql asks for is a token (az account get-access-token',
  '--resource-type oss-rdbms):',
  `  select pgaadauth_create_principal('${identity}', false, false);`,
]
