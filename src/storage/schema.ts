import { type Dialect, postgresDialect, sqliteDialect } from './dialect.ts'

/**
 * The three schemas, each written once. Same tables, columns, order and values in both databases: times are integer
 * milliseconds, flags 0 and 1, ids and hashes text, JSON the text that was hashed. No key may be null.
 */
export const schemaParts = ['coordinator', 'audit', 'checkpoint'] as const
export type SchemaPart = (typeof schemaParts)[number]

/** What moves: instances, their hot rows, tasks, and what the store is. */
function coordinatorSchema({ integer, text, strict }: Dialect): string {
  return `create table meta (
  id ${integer} not null primary key check (id = 1),
  database_id ${text} not null,
  epoch ${integer} not null,
  simulated ${integer} check (simulated in (0, 1)),
  lease_pid ${integer},
  lease_host ${text},
  lease_url ${text},
  lease_since_ms ${integer},
  created_at_ms ${integer} not null
)${strict};

create table definitions (
  hash ${text} not null primary key,
  text ${text} not null,
  stored_at_ms ${integer} not null
)${strict};

create table instances (
  instance_id ${text} not null primary key,
  correlation_id ${text} not null,
  workflow ${text} not null,
  domain ${text} not null,
  definition_hash ${text} not null,
  submitted_by ${text} not null,
  input_payload_id ${text} not null,
  status ${text} not null
    check (status in ('running', 'suspended', 'completed', 'failed', 'terminated', 'canceled')),
  tier ${text} check (tier in ('auto', 'spot_check', 'gate', 'hold')),
  tier_contributions ${text} not null,
  proposed_payload_id ${text},
  outcome_payload_id ${text},
  failure_code ${text},
  resume_step ${text},
  simulated ${integer} not null check (simulated in (0, 1)),
  disputed ${integer} not null check (disputed in (0, 1)),
  audit_seq ${integer} not null,
  audit_head ${text} not null,
  step_count ${integer} not null,
  submitted_at_ms ${integer} not null,
  updated_at_ms ${integer} not null,
  ended_at_ms ${integer}
)${strict};
create index instances_by_status on instances (status, instance_id);
create index instances_by_workflow on instances (workflow, instance_id);

create table work (
  instance_id ${text} not null primary key,
  state ${text} not null check (state in ('ready', 'claimed', 'sleeping')),
  priority ${integer} not null,
  due_ms ${integer},
  token ${text},
  claimed_by ${text},
  claimed_at_ms ${integer},
  definition_hash ${text} not null,
  step ${text} not null,
  run ${integer} not null check (run >= 1),
  attempt ${integer} not null check (attempt >= 0),
  step_no ${integer} not null check (step_no >= 0),
  audit_seq ${integer} not null,
  audit_head ${text} not null,
  cancel_requested ${integer} not null check (cancel_requested in (0, 1)),
  check ((state = 'claimed') = (token is not null)),
  check ((state = 'sleeping') = (due_ms is not null))
)${strict};
-- Partial, and over no column that a step changes: a step's update touches the row alone.
create index work_ready on work (priority desc, instance_id) where state = 'ready';
create index work_sleeping on work (due_ms, instance_id) where state = 'sleeping';

create table tasks (
  task_id ${text} not null primary key,
  instance_id ${text} not null,
  tier ${text} not null check (tier in ('spot_check', 'gate', 'hold')),
  queue ${text} not null,
  escalation_queue ${text} not null,
  status ${text} not null check (status in ('open', 'decided', 'withdrawn')),
  because ${text} not null,
  submitted_by ${text} not null,
  barred ${text} not null,
  opened_at_ms ${integer} not null,
  due_ms ${integer} not null,
  escalated_at_ms ${integer},
  claimed_by ${text},
  claimed_until_ms ${integer},
  decision ${text},
  decided_by ${text},
  decided_at_ms ${integer},
  decision_digest ${text},
  decision_payload_id ${text},
  check ((status = 'decided') = (decided_by is not null))
)${strict};
create index tasks_of_instance on tasks (instance_id, task_id);
create index tasks_by_status on tasks (status, due_ms, task_id);
create index tasks_in_queue on tasks (queue, due_ms, task_id) where status = 'open';
create index tasks_due on tasks (due_ms, task_id) where status = 'open' and escalated_at_ms is null;

create table work_orders (
  work_order_id ${text} not null primary key,
  instance_id ${text} not null,
  work_type ${text} not null,
  target ${text} not null,
  status ${text} not null,
  result_instance_id ${text},
  ordered_at_ms ${integer} not null,
  ended_at_ms ${integer}
)${strict};
create index work_orders_of_instance on work_orders (instance_id, work_order_id);

create table submission_keys (
  actor ${text} not null,
  key ${text} not null,
  digest ${text} not null,
  instance_id ${text} not null,
  primary key (actor, key)
)${strict};

create table workers (
  worker_id ${text} not null primary key,
  host ${text} not null,
  pid ${integer} not null,
  concurrency ${integer} not null,
  started_at_ms ${integer} not null,
  beat_at_ms ${integer} not null
)${strict};
`
}

/** What is known for good: the chains, and the content that they commit to. */
function auditSchema(dialect: Dialect): string {
  const { integer, text, identity, strict, withoutRowId, appendOnly } = dialect
  const kept = ['payload_id', 'instance_id', 'kind'].map((column) => `new.${column} = old.${column}`).join(' and ')
  return `create table audit_events (
  entry ${identity},
  instance_id ${text} not null,
  seq ${integer} not null check (seq >= 1),
  type ${text} not null,
  at_ms ${integer} not null,
  payload_id ${text},
  envelope ${text} not null,
  prev_hash ${text} not null,
  hash ${text} not null,
  unique (instance_id, seq)
)${strict};
${appendOnly({ table: 'audit_events', keys: [['entry'], ['instance_id', 'seq']] })}

create table payloads (
  payload_id ${text} not null,
  instance_id ${text} not null,
  kind ${text} not null,
  text ${text},
  salt ${text},
  erased_at_ms ${integer},
  primary key (instance_id, payload_id),
  check ((erased_at_ms is null) = (text is not null)),
  check ((erased_at_ms is null) = (salt is not null))
)${strict}${withoutRowId};
${appendOnly({
  table: 'payloads',
  keys: [['instance_id', 'payload_id']],
  exceptUpdate: `old.erased_at_ms is null and new.erased_at_ms is not null and ${kept}`,
})}
`
}

/** What each step gave: one row per step of an instance, and one per run of a step. */
function checkpointSchema(dialect: Dialect): string {
  const { integer, text, identity, strict, appendOnly } = dialect
  return `create table checkpoints (
  entry ${identity},
  instance_id ${text} not null,
  step_no ${integer} not null check (step_no >= 1),
  step ${text} not null,
  primitive ${text} not null,
  run ${integer} not null check (run >= 1),
  attempts ${integer} not null check (attempts >= 1),
  status ${text} not null check (status in ('completed', 'failed')),
  error_code ${text},
  output_payload_id ${text} not null,
  output_commitment ${text} not null,
  model ${text},
  input_tokens ${integer},
  output_tokens ${integer},
  route ${text} not null,
  started_at_ms ${integer} not null,
  ended_at_ms ${integer} not null,
  unique (instance_id, step_no),
  unique (instance_id, step, run)
)${strict};
${appendOnly({
  table: 'checkpoints',
  keys: [['entry'], ['instance_id', 'step_no'], ['instance_id', 'step', 'run']],
})}
`
}

/** What a migration adds to or changes in one schema. */
export interface SchemaChange {
  readonly part: SchemaPart
  /** In a word, for whoever looks into the table of migrations. */
  readonly name: string
  readonly sql: (dialect: Dialect) => string
}

/** In the order in which they came; only ever added to. */
export const schemaChanges: readonly SchemaChange[] = [
  {
    part: 'coordinator',
    name: 'cases by submitter',
    sql: () => `create index instances_by_submitter on instances (submitted_by, instance_id);
create index instances_of_submitter on instances (submitted_by, status, instance_id);
create index instances_of_workflow on instances (workflow, status, instance_id);
`,
  },
  {
    part: 'coordinator',
    name: 'work of many processes',
    sql: ({ manyWriters }) => manyWriters,
  },
  { part: 'coordinator', name: 'tasks in line', sql: ({ line }) => line('tasks') },
  {
    part: 'audit',
    name: 'events and payloads that only grow',
    sql: ({ growing }) => growing('audit_events', 'payloads'),
  },
  { part: 'checkpoint', name: 'checkpoints that only grow', sql: ({ growing }) => growing('checkpoints') },
]

const writers = { coordinator: coordinatorSchema, audit: auditSchema, checkpoint: checkpointSchema } as const

/** The DDL of one schema as it was first made, in one database's words. */
export function firstSchema(part: SchemaPart, dialect: Dialect): string {
  return writers[part](dialect)
}

/** The DDL of one schema as it stands now. */
function schemaText(part: SchemaPart, dialect: Dialect): string {
  const changes = schemaChanges.filter((change) => change.part === part)
  return [firstSchema(part, dialect), ...changes.map(({ sql }) => sql(dialect))].join('\n')
}

/** The six DDL texts, for people and programs that make the tables themselves. */
export const schemas: Readonly<Record<SchemaPart, Readonly<Record<Dialect['name'], string>>>> = {
  coordinator: both('coordinator'),
  audit: both('audit'),
  checkpoint: both('checkpoint'),
}

function both(part: SchemaPart): Readonly<Record<Dialect['name'], string>> {
  return { sqlite: schemaText(part, sqliteDialect), postgres: schemaText(part, postgresDialect) }
}
