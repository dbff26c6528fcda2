import { type Command, Option } from 'commander'
import { type ApiKey, type Role, roles } from '../domain/role.ts'
import { type JsonDocument, listJson } from '../engine/as-json.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { localTime } from './times.ts'

export function addKeys(program: Command, act: Act): void {
  const keys = program.command('keys').description('look after the keys of the API')

  const add = keys
    .command('add <name>')
    .description('make a key; its secret is shown once')
    .addOption(new Option('--role <role>', 'what its holder may do').choices(roles).makeOptionMandatory())
    .action(act(addOne))
  example(add, 'keys add ann --role reviewer')

  const list = keys.command('list').description('list the keys, without their secrets').action(act(listKeys))
  example(list, 'keys list')

  const revoke = keys.command('revoke <name>').description('end a key, at once').action(act(revokeOne))
  example(revoke, 'keys revoke ann')
}

async function addOne(context: Context, name: string, { role }: { readonly role: Role }): Promise<void> {
  const { terminal, config } = context
  const nowMs = Date.now()
  const keys = await context.openKeys()
  const secret = await keys.add({ name, role }, nowMs)
  const created = new Date(nowMs).toISOString()
  terminal.document({ name, role, key: secret, created, file: config.apiKeysFile ?? null })
  terminal.err.line(`Made a key for ${name} (${role}). It is shown this once and never again:`)
  // Alone on standard output, so that it can be copied, or taken by a script, without the words around it.
  terminal.out.line(secret)
  terminal.err.facts([
    ['over HTTP:', 'Authorization: Bearer KEY'],
    ['for commands:', 'CC_API_KEY=KEY beside CC_URL'],
  ])
}

async function listKeys(context: Context): Promise<void> {
  const { terminal } = context
  const keys = await (await context.openKeys()).list()
  terminal.document(listJson(keys.map(keyJson)))
  if (keys.length === 0) return terminal.out.line('No key: nobody can use the service.')
  const rows = keys.map(({ name, role, created }) => [name, role, localTime(Date.parse(created))])
  terminal.out.table(['name', 'role', 'created'], rows)
}

async function revokeOne(context: Context, name: string): Promise<void> {
  const { terminal } = context
  const key = await (await context.openKeys()).revoke(name)
  terminal.document({ ...keyJson(key), revoked: true })
  terminal.out.line(`Revoked the key of ${key.name} (${key.role}). From now on it is refused.`)
  terminal.out.line('What was done with it stays in the record, under its name.')
}

function keyJson({ name, role, sha256, created }: ApiKey): JsonDocument {
  return { name, role, sha256, created }
}
