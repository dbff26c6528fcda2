import type { Command } from 'commander'
import { CoreError } from '../errors.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import type { AzureServer } from './provision-azure.ts'

/** As commander hands them over. */
interface AzureOptions {
  readonly resourceGroup: string
  readonly name: string
  readonly location: string
  readonly sku: string
  readonly version: string
  readonly storageGb: string
}

export function addProvision(program: Command, act: Act): void {
  const provision = program.command('provision').description('prepare a database elsewhere')
  const azure = provision
    .command('azure')
    .description('print the az commands that make a database; they hold no secrets, and nothing is run')
    .option('--resource-group <name>', 'where it belongs', 'rg-ai-engineering')
    .option('--name <name>', 'its name', 'cognitive-core-db')
    .option('--location <location>', 'its region', 'eastus')
    .option('--sku <sku>', 'its size', 'Standard_D2ds_v5')
    .option('--version <version>', 'of PostgreSQL', '17')
    .option('--storage-gb <n>', 'its disk', '64')
    .action(act(printAzure, { needsSettings: false }))
  example(azure, 'provision azure --name cases-db --location westeurope')
}

async function printAzure({ terminal }: Context, options: AzureOptions): Promise<void> {
  const { azureScript, azureSettings, azureSteps } = await import('./provision-azure.ts')
  const server = readServer(options)
  const steps = azureSteps(server).map(({ says, command }) => ({ says, command: command.join(' ') }))
  terminal.document({ steps, settings: azureSettings(server) })
  if (!terminal.json) terminal.text(azureScript(server))
}

function readServer(options: AzureOptions): AzureServer {
  const { sku } = options
  return {
    resourceGroup: matching(options, 'resourceGroup', /^[\w().-]{0,89}[\w()-]$/, 'the name of a resource group'),
    name: matching(options, 'name', /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, '3 to 63 of the characters a-z, 0-9 and -'),
    location: matching(options, 'location', /^[a-z][a-z0-9]*$/, 'a region as az writes it, such as eastus'),
    sku: matching(options, 'sku', /^Standard_[BDE]\d+[a-z]*(_v\d+)?$/, 'a size such as Standard_D2ds_v5'),
    tier: tiers[sku.charAt('Standard_'.length) as keyof typeof tiers],
    version: matching(options, 'version', /^1[5-8]$/, 'one of 15, 16, 17, 18'),
    storageGb: matching(options, 'storageGb', sizes, '32, 64, 128 and so on up to 16384'),
  }
}

/** By the letter of the size. The wrong one is refused by az, and so is none where the size is burstable. */
const tiers = { B: 'Burstable', D: 'GeneralPurpose', E: 'MemoryOptimized' } as const

/** Disks double from size to size. */
const sizes = /^(32|64|128|256|512|1024|2048|4096|8192|16384)$/

function matching(options: AzureOptions, key: keyof AzureOptions, shape: RegExp, right: string): string {
  const value = options[key]
  if (shape.test(value)) return value
  const name = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  throw new CoreError('CC_ERR_SETTING', { name, value, right })
}
