import { eventColumns, eventValues } from './audit.ts'
import { definitionColumns } from './definitions.ts'
import type { Beginnings, Submission } from './hot-path.ts'
import { instanceValues, newInstanceColumns } from './instances.ts'
import { payloadColumns, payloadValues } from './payloads.ts'
import { placed, type Statement } from './postgres-statement.ts'
import { submissionKeyColumns, submissionKeyValues } from './submission-keys.ts'
import { newWorkColumns, newWorkValues } from './work.ts'

/**
 * The parts of a WITH that take new cases. `settled` has a row unless the kind of store was settled by somebody else;
 * `done` has the place of each member whose key was free. Keys are taken in their order, so that two batches never wait
 * for each other in a circle.
 */
export function submitting(
  statement: Statement,
  submissions: readonly Submission[],
  { definitions, simulated }: Beginnings,
): string[] {
  const keys = placed(submissions, ({ key }) => (key ? [submissionKeyValues(key)] : []))
  const unkeyed = placed(submissions, ({ key }) => (key ? [] : [[]]))
  const done = [
    ...(keys.length === 0 ? [] : ['select place from keyed join taken using (instance_id)']),
    ...(unkeyed.length === 0 ? [] : [`select place from ${statement.table('n', [], unkeyed)}, settled`]),
  ]
  return [
    simulated === undefined
      ? 'settled as (select 1)'
      : `settled as (update meta set simulated = ${statement.bind(simulated ? 1 : 0, 'bigint')}
          where id = 1 and simulated is null returning 1)`,
    ...(keys.length === 0 ? [] : takingKeys(statement, keys)),
    `done as (${done.join(' union all ')})`,
    ...(definitions.length === 0 ? [] : [keeping(statement, submissions, definitions)]),
    ...statement.insert(submissions, 'instances', newInstanceColumns, ({ instance }) => [instanceValues(instance)]),
    ...statement.insert(submissions, 'payloads', payloadColumns, ({ input }) => [payloadValues(input)]),
    ...statement.insert(submissions, 'audit_events', eventColumns, ({ event }) => [eventValues(event)]),
    ...statement.insert(submissions, 'work', newWorkColumns, ({ work }) => [newWorkValues(work)]),
  ]
}

function takingKeys(statement: Statement, keys: ReturnType<typeof placed>): string[] {
  const columns = submissionKeyColumns.join(', ')
  return [
    `keyed as (select n.* from ${statement.table('n', submissionKeyColumns, keys)})`,
    `taken as (insert into submission_keys (${columns})
       select ${columns} from keyed, settled order by actor, key
       on conflict (actor, key) do nothing returning instance_id)`,
  ]
}

/** A definition is kept with the first case that needs it. */
function keeping(
  statement: Statement,
  submissions: readonly Submission[],
  definitions: Beginnings['definitions'],
): string {
  const nowMs = submissions[0]!.instance.submittedAtMs
  const texts = placed(definitions, ({ hash, text }) => [[hash, text, nowMs]])
  const used = placed(submissions, ({ instance }) => [[instance.definitionHash]])
  return `new_definitions as (insert into definitions (${definitionColumns.join(', ')})
     select hash, text, stored_at_ms from ${statement.table('n', definitionColumns, texts)}
      where hash in (select hash from ${statement.table('u', ['hash'], used)} join done using (place))
      order by hash on conflict (hash) do nothing)`
}
