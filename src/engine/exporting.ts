import { exportInstance, type InstanceRows } from '../domain/export.ts'
import type { JsonObject } from '../domain/json.ts'
import { CoreError } from '../errors.ts'
import type { Reader } from '../storage/backend.ts'
import { readDefinition } from '../storage/definitions.ts'
import { readInstanceColumns } from '../storage/instances.ts'
import { readMeta } from '../storage/meta.ts'
import {
  pageCheckpoints,
  pageEvents,
  pageInstances,
  pagePayloads,
  type PageReader,
  pageTasks,
} from '../storage/verification.ts'
import { version } from '../version.ts'
import { RecordRows } from './record-rows.ts'

/** One case with everything that its record consists of, read on the caller's snapshot. */
export async function exportCase(reader: Reader, instanceId: string, nowMs: number): Promise<JsonObject> {
  const { simulated } = await readMeta(reader)
  const rows = await readRows(reader, instanceId)
  return exportInstance(rows, { simulated: simulated === true, exportedAtMs: nowMs, version })
}

async function readRows(reader: Reader, instanceId: string): Promise<InstanceRows> {
  const columns = await readInstanceColumns(reader, instanceId)
  const [instance] = await rowsOf(reader, instanceId, pageInstances)
  if (!columns || !instance) throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
  const text = await readDefinition(reader, instance.definitionHash)
  return {
    instance,
    columns,
    events: await rowsOf(reader, instanceId, pageEvents),
    checkpoints: await rowsOf(reader, instanceId, pageCheckpoints),
    payloads: await rowsOf(reader, instanceId, pagePayloads),
    tasks: await rowsOf(reader, instanceId, pageTasks),
    definition: text === undefined ? undefined : { hash: instance.definitionHash, text },
  }
}

async function rowsOf<R extends { readonly instanceId: string }>(
  reader: Reader,
  instanceId: string,
  read: PageReader<R>,
): Promise<R[]> {
  const rows: R[] = []
  await new RecordRows(reader, { only: instanceId }, read).take(instanceId, (row) => rows.push(row))
  return rows
}
