#!/usr/bin/env node
// Checks one exported case without the program that wrote it: node verify-export.mjs FILE
//
// Needs this file and Node 18 or newer, nothing else. Nothing the export says of itself is believed: every hash is
// computed again from the bytes, and every column is compared with the event that states it. Exit 0: the record is
// whole. 4: it is not, and the first bad event is named. 2: the file cannot be read as an export.
//
//   event       SHA-256("cc/event/v1\n" + envelope), each envelope naming the hash of the one before it as `prev`;
//               the first names SHA-256("cc/case/v1\n" + instance id)
//   content     SHA-256("cc/payload/v1\n" + the 16 bytes of the salt + text)
//   checkpoint  SHA-256("cc/checkpoint/v1\n" + the row as canonical JSON, without `entry` and empty columns)
//   definition  SHA-256("cc/definition/v1\n" + text)

import { createHash } from 'node:crypto'
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const format = 'cognitive-core/export/1'

export const cannotShow = [
  'whether the end of the chain was cut off, together with its head and all that belongs to it',
  'whether the chain was written anew from some event to its end, hashes and head included',
  'whether there are other cases, or were',
  'whether these columns are right, which no event states: correlation_id, updated_at_ms and ended_at_ms of the instance',
  'whether the first step of a case without any recorded step is the one that its hot row names',
  'what the file leaves out of work: state, priority, due_ms, token, claimed_by, claimed_at_ms, attempt, cancel_requested',
  'what the file leaves out of tasks: escalation_queue, because, due_ms, claimed_by, claimed_until_ms, decision_digest',
  'what erased content said',
  'whether what was recorded was true when it was recorded',
]

/** Every column of a row and what it may hold; `?` may be null. Rows have these columns and no others. */
const shapes = {
  audit_events: {
    entry: 'integer',
    instance_id: 'text',
    seq: 'integer',
    type: 'text',
    at_ms: 'integer',
    payload_id: 'text?',
    prev_hash: 'text',
    hash: 'text',
    envelope: 'text',
  },
  checkpoints: {
    entry: 'integer',
    instance_id: 'text',
    step_no: 'integer',
    step: 'text',
    primitive: 'text',
    run: 'integer',
    attempts: 'integer',
    status: 'text',
    error_code: 'text?',
    output_payload_id: 'text',
    output_commitment: 'text',
    model: 'text?',
    input_tokens: 'integer?',
    output_tokens: 'integer?',
    route: 'text',
    started_at_ms: 'integer',
    ended_at_ms: 'integer',
  },
  payloads: {
    payload_id: 'text',
    instance_id: 'text',
    kind: 'text',
    erased: 'boolean',
    erased_at_ms: 'integer?',
    salt: 'text?',
    text: 'text?',
  },
  tasks: {
    task_id: 'text',
    instance_id: 'text',
    tier: 'text',
    queue: 'text',
    status: 'text',
    submitted_by: 'text',
    barred: 'text',
    opened_at_ms: 'integer',
    escalated_at_ms: 'integer?',
    decision: 'text?',
    decided_by: 'text?',
    decided_at_ms: 'integer?',
    decision_payload_id: 'text?',
  },
  work: {
    definition_hash: 'text',
    step: 'text',
    run: 'integer',
    step_no: 'integer',
    audit_seq: 'integer',
    audit_head: 'text',
  },
  definitions: { hash: 'text', text: 'text' },
}

/** The columns of `instances` that the chain states too; the row has others, which nothing vouches for. */
const statedColumns = {
  instance_id: 'text',
  workflow: 'text',
  domain: 'text',
  definition_hash: 'text',
  submitted_by: 'text',
  input_payload_id: 'text',
  status: 'text',
  tier: 'text?',
  tier_contributions: 'text',
  proposed_payload_id: 'text?',
  outcome_payload_id: 'text?',
  failure_code: 'text?',
  resume_step: 'text?',
  simulated: 'integer',
  disputed: 'integer',
  submitted_at_ms: 'integer',
  audit_seq: 'integer',
  audit_head: 'text',
  step_count: 'integer',
}

const lists = ['audit_events', 'checkpoints', 'payloads', 'tasks']
const otherFields = [
  'format',
  'notice',
  'simulated',
  'instance_id',
  'exported_at_ms',
  'exported_at',
  'program',
  'cannot_show',
  'instances',
  'work',
  'definition',
]

/** The status that each event leaves behind; the others leave it as it is. */
const statusAfter = new Map([
  ['case.submitted', 'running'],
  ['case.retried', 'running'],
  ['case.held', 'suspended'],
  ['case.completed', 'completed'],
  ['case.failed', 'failed'],
  ['case.canceled', 'canceled'],
  ['case.terminated', 'terminated'],
])

/** What an event says of the columns of the instance; what it does not name stays as an earlier one has said. */
function statedBy({ type, facts, tier, payload, step }) {
  if (type === 'case.submitted') return { workflow: facts?.workflow, domain: facts?.domain }
  if (type === 'case.held') return { tier, proposed_payload_id: payload?.id }
  // A person lets the proposal take effect as it is, or brings an outcome of their own; the engine's is both.
  if (type === 'case.completed') return { tier, outcome_payload_id: facts?.outcome ?? payload?.id }
  if (type === 'case.terminated') return { outcome_payload_id: undefined }
  if (type === 'task.opened') return { tier }
  if (type === 'case.failed') return { failure_code: facts?.error, resume_step: step }
  if (type === 'case.retried') return { failure_code: undefined, resume_step: undefined }
  return {}
}

const statedByEvents = [
  'workflow',
  'domain',
  'tier',
  'proposed_payload_id',
  'outcome_payload_id',
  'failure_code',
  'resume_step',
]

/** Decisions that ask another person, in the words in which the reasons for the tier say so. */
const passingWords = new Map([
  ['refer', 'referred'],
  ['escalate', 'escalated'],
  ['object', 'disputed'],
])

/** What a person who passes the case on adds to the reasons for its tier; undefined for any other event. */
function voiceOf({ type, facts, actor }) {
  const word = type === 'task.decided' ? passingWords.get(facts?.decision) : undefined
  return word === undefined ? undefined : { source: 'person', tier: 'hold', because: `${word} by ${actor}` }
}

class Unreadable extends Error {}

/** Judges the text of an export. Throws an `Unreadable` when it is none. */
export function verifyExport(bytes) {
  const file = readExport(bytes)
  const report = new Report()
  checkFields(file, report)
  const record = new Record(file, report)
  const { head } = record.checkChain()
  record.checkInstance()
  file.checkpoints.forEach((row) => record.checkCheckpoint(row))
  file.payloads.forEach((row) => record.checkPayload(row))
  file.tasks.forEach((row) => record.checkTask(row))
  record.checkMissing()
  return {
    finding: report.first,
    instanceId: file.instance_id,
    simulated: file.simulated || record.simulated || file.instances?.simulated === 1,
    head,
    events: file.audit_events.length,
    checkpoints: file.checkpoints.length,
    payloads: file.payloads.length,
    erased: file.payloads.filter((row) => typeof row?.erased_at_ms === 'number').length,
    tasks: file.tasks.length,
    exportedAtMs: file.exported_at_ms,
    program: file.program,
  }
}

// Reading

function readExport(bytes) {
  let text, file
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    file = JSON.parse(text)
  } catch (error) {
    throw new Unreadable(`it is not JSON in UTF-8: ${error.message}`)
  }
  if (!isMap(file) || file.format !== format) throw new Unreadable(`it is not of the format ${format}`)
  const twice = doubleName(text)
  if (twice !== undefined) throw new Unreadable(`a field stands twice in one object: ${twice}`)
  for (const name of lists) {
    if (!Array.isArray(file[name])) throw new Unreadable(`it has no list '${name}'`)
  }
  if (typeof file.instance_id !== 'string') throw new Unreadable("it has no 'instance_id'")
  if (typeof file.simulated !== 'boolean') throw new Unreadable("'simulated' is neither true nor false")
  for (const name of ['instances', 'work', 'definition']) {
    if (file[name] !== null && !isMap(file[name])) throw new Unreadable(`it has no '${name}'`)
  }
  return file
}

/** The first name that one object has twice: readers differ in which of the two they take. The text is sound JSON. */
function doubleName(text) {
  const open = []
  let name
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      const start = at++
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
      name = [start, at + 1]
    } else if (character === '{') open.push(new Set())
    else if (character === '[') open.push(undefined)
    else if (character === '}' || character === ']') open.pop()
    else if (character === ':') {
      const written = JSON.parse(text.slice(...name))
      const names = open[open.length - 1]
      if (names.has(written)) return written
      names.add(written)
    }
  }
  return undefined
}

function checkFields(file, report) {
  for (const name of Object.keys(file)) {
    if (!lists.includes(name) && !otherFields.includes(name))
      report.add(undefined, 'inserted', name, 'it does not belong')
  }
  const parts = [
    ['instances', file.instances && pick(file.instances, statedColumns), statedColumns],
    ['work', file.work, shapes.work],
    ['definitions', file.definition, shapes.definitions],
  ]
  for (const [table, row, shape] of parts) {
    const problem = row && problemOfShape(row, shape)
    if (problem) report.add(1, problem.what, `${table}.${problem.column}`, problem.detail)
  }
}

function problemOfShape(row, shape) {
  if (!isMap(row)) return { what: 'changed', column: '*', detail: 'it is no row' }
  for (const [column, kind] of Object.entries(shape)) {
    if (!Object.prototype.hasOwnProperty.call(row, column))
      return { what: 'missing', column, detail: 'it is not there' }
    const value = row[column]
    if (value === null && kind.endsWith('?')) continue
    const isRight = kind.startsWith('integer')
      ? Number.isSafeInteger(value)
      : typeof value === (kind === 'boolean' ? 'boolean' : 'string')
    if (!isRight) return { what: 'changed', column, detail: `it is no ${kind.replace('?', '')}` }
  }
  const column = Object.keys(row).find((name) => !Object.prototype.hasOwnProperty.call(shape, name))
  return column === undefined ? undefined : { what: 'inserted', column, detail: 'it does not belong' }
}

// Checking

/** Keeps the first bad thing, by the number of its event; what concerns no event comes last. */
class Report {
  first = undefined

  add(seq, what, where, detail) {
    if (!this.first || (seq ?? Infinity) < (this.first.seq ?? Infinity)) this.first = { seq, what, where, detail }
  }
}

class Record {
  simulated = false
  last = undefined
  finding = undefined
  vacant = undefined
  firstEnvelope = undefined
  lastSeq = 0
  status = undefined
  disputed = false
  said = new Map()
  steps = []
  stepNo = 0
  checkpointEntry = 0
  commitments = new Map()
  erasures = new Map()
  /** The reasons for the tier, and the event that gave the last of them. */
  voices = { list: [], seq: 1 }
  /** Where the hot row has to stand; the first step of a workflow is in no event. */
  pointer = { seq: 1, step: undefined }
  runs = new Map()
  openings = new Map()
  escalations = new Map()
  decisions = new Map()
  /** The decision that asks another person, until it has opened their task. */
  passing = undefined
  found = new Set()

  constructor(file, report) {
    this.file = file
    this.report = report
    this.instanceId = file.instance_id
    const { work, instances } = file
    if (work) this.stated = { table: 'work', seq: work.audit_seq, hash: work.audit_head }
    else if (instances) this.stated = { table: 'instances', seq: instances.audit_seq, hash: instances.audit_head }
  }

  fault(seq, what, where, detail) {
    return { seq, what, where, detail }
  }

  add({ seq, what, where, detail }) {
    this.report.add(seq, what, where, detail)
  }

  /** Follows the chain. Where two events disagree, the one that the next (or the head) vouches for is believed. */
  checkChain() {
    const links = this.file.audit_events.map((row) => {
      const text = typeof row?.envelope === 'string' ? row.envelope : ''
      return { row, hash: sha256('cc/event/v1\n', text), envelope: readEnvelope(text) }
    })
    links.forEach((link, index) => this.judge(link, links[index + 1]))
    this.finding ??= this.faultOfHead()
    if (this.finding) this.add(this.finding)
    if (links.length === 0) this.report.add(1, 'missing', 'audit_events', 'the instance has no event at all')
    return { head: this.last && { seq: this.last.row.seq, hash: this.last.hash } }
  }

  judge(link, next) {
    if (this.finding) return this.lookForVacant(link)
    this.finding =
      this.faultOfRow(link) ?? this.faultOfPlace(link) ?? this.faultOfLink(link, next) ?? this.faultOfColumns(link)
    if (this.finding) return this.lookForVacant(link)
    this.last = link
    this.note(link.envelope)
  }

  get nextSeq() {
    return (this.last?.row.seq ?? 0) + 1
  }

  faultOfRow({ row }) {
    const problem = problemOfShape(row, shapes.audit_events)
    return problem && this.fault(this.nextSeq, problem.what, `audit_events.${problem.column}`, problem.detail)
  }

  faultOfPlace(link) {
    const { row } = link
    const expected = this.nextSeq
    if (row.seq === expected) return undefined
    if (row.seq > expected) return this.vacancy(expected)
    if (this.isEvent(link, expected)) return this.misplaced(expected, row.seq)
    return this.fault(row.seq, 'inserted', 'audit_events', `no event can have the number ${row.seq} here`)
  }

  faultOfLink(link, next) {
    const { row, hash, envelope } = link
    const vouched = next ? next.envelope?.prev : this.stated?.hash
    if (hash !== row.hash && vouched === hash) {
      return this.fault(row.seq, 'changed', 'audit_events.hash', `the envelope's hash is ${hash}`)
    }
    if (hash !== row.hash) {
      return this.fault(row.seq, 'changed', 'audit_events.envelope', `its hash is ${hash}, not ${row.hash}`)
    }
    if (!envelope || !isWellFormed(row.envelope)) {
      return this.fault(row.seq, 'changed', 'audit_events.envelope', 'it is not an event of format 1')
    }
    if (envelope.instance !== this.instanceId) {
      return this.fault(row.seq, 'inserted', 'audit_events', `the event belongs to instance ${envelope.instance}`)
    }
    if (envelope.seq > row.seq) return this.vacancy(row.seq)
    if (envelope.seq < row.seq) return this.intruder(row.seq, envelope)
    const before = this.last?.hash ?? sha256('cc/case/v1\n', this.instanceId)
    if (envelope.prev === before) return undefined
    const culprit = this.last && vouched === hash ? this.last.row.seq : row.seq
    const detail = `event ${row.seq} follows an event with the hash ${envelope.prev}; the one before it has ${before}`
    return this.fault(culprit, 'changed', 'audit_events.envelope', detail)
  }

  faultOfColumns({ row, envelope }) {
    const states = [
      ['prev_hash', envelope.prev],
      ['type', envelope.type],
      ['at_ms', envelope.at],
      ['payload_id', envelope.payload?.id ?? null],
      ['instance_id', envelope.instance],
    ]
    for (const [column, says] of states) {
      if (row[column] === says) continue
      const detail = `the column has ${row[column]}, the envelope says ${says}`
      return this.fault(row.seq, 'changed', `audit_events.${column}`, detail)
    }
    const before = this.last?.row.entry ?? 0
    if (row.entry <= before) {
      const detail = `entry ${row.entry} comes after entry ${before}`
      return this.fault(row.seq, 'reordered', 'audit_events.entry', detail)
    }
    if (this.stated && row.seq > this.stated.seq) {
      const detail = `the chain ends with event ${this.stated.seq} by its head`
      return this.fault(row.seq, 'inserted', 'audit_events', detail)
    }
    return undefined
  }

  faultOfHead() {
    const { stated, last } = this
    if (!stated) return undefined
    const hash = last?.hash ?? sha256('cc/case/v1\n', this.instanceId)
    const seq = last?.row.seq ?? 0
    if (stated.seq === seq && stated.hash === hash) return undefined
    if (stated.seq === seq) {
      const detail = `the last event has the hash ${hash}, not ${stated.hash}`
      return this.fault(seq, 'head_differs', `${stated.table}.audit_head`, detail)
    }
    if (stated.hash === hash) {
      const detail = `the last event is ${seq}, not ${stated.seq}`
      return this.fault(seq, 'head_differs', `${stated.table}.audit_seq`, detail)
    }
    const detail = `the chain ends with event ${seq}; its head names event ${stated.seq}`
    return this.fault(seq + 1, 'missing', 'audit_events', detail)
  }

  intruder(seq, envelope) {
    const { last } = this
    if (last && envelope.seq === last.row.seq && envelope.prev === last.envelope.prev) {
      const detail = `two events claim to be event ${envelope.seq} and to follow the same one`
      return this.fault(envelope.seq, 'inserted', 'audit_events', detail)
    }
    return this.fault(seq, 'inserted', 'audit_events', `at the place of event ${seq} stands event ${envelope.seq}`)
  }

  vacancy(seq) {
    this.vacant = seq
    return this.fault(seq, 'missing', 'audit_events', `event ${seq} is not there`)
  }

  /** The event that was not at its place stands at another one: it was moved, not removed. */
  lookForVacant(link) {
    if (this.vacant === undefined || !this.isEvent(link, this.vacant)) return
    this.finding = this.misplaced(this.vacant, link.row.seq)
    this.vacant = undefined
  }

  /** Whether this is the event of that number, wherever it stands. */
  isEvent({ row, hash, envelope }, seq) {
    return envelope?.seq === seq && envelope.instance === this.instanceId && hash === row?.hash
  }

  misplaced(seq, place) {
    return this.fault(seq, 'reordered', 'audit_events.seq', `event ${seq} stands at the place of event ${place}`)
  }

  /** Remembers what a whole event says of the other rows. */
  note(envelope) {
    const { seq, type, facts, payload, checkpoint } = envelope
    this.firstEnvelope ??= envelope
    this.lastSeq = seq
    this.status = statusAfter.get(type) ?? this.status
    for (const [column, value] of Object.entries(statedBy(envelope))) this.said.set(column, { value, seq })
    if (type === 'case.completed' && !this.said.has('proposed_payload_id')) {
      this.said.set('proposed_payload_id', this.said.get('outcome_payload_id'))
    }
    const voice = voiceOf(envelope)
    if (Array.isArray(facts?.contributions)) this.voices = { list: facts.contributions, seq }
    else if (voice) this.voices = { list: [...this.voices.list, voice], seq }
    if (payload) this.commit(payload, seq)
    if (checkpoint !== undefined) this.steps.push({ seq, digest: checkpoint, payload })
    if (type === 'case.disputed') this.disputed = true
    else if (type === 'payload.erased') this.noteOnce(this.erasures, facts?.payload, envelope)
    this.notePointer(envelope)
    this.noteTask(envelope)
    this.compareEvent(envelope)
  }

  notePointer({ seq, type, step, facts }) {
    if (type === 'step.completed' || type === 'step.failed') this.runs.set(step, (this.runs.get(step) ?? 0) + 1)
    if (type === 'step.completed') this.pointer = { seq, step: facts?.to === '__end__' ? step : facts?.to }
    else if (type === 'step.failed' || type === 'case.retried') this.pointer = { seq, step }
  }

  noteTask(envelope) {
    const { seq, type, facts, actor } = envelope
    if (type === 'task.opened') this.noteOpening(envelope)
    else if (type === 'task.escalated') this.noteOnce(this.escalations, facts?.task, envelope)
    else if (type === 'task.decided') {
      this.noteOnce(this.decisions, facts?.task, envelope)
      if (voiceOf(envelope)) this.passing = envelope
      const excluded = [this.firstEnvelope.actor, ...this.barredFrom(facts?.task)]
      if (!excluded.some((name) => nameOf(name) === nameOf(actor))) return
      this.report.add(seq, 'inserted', 'audit_events', `${actor} may not decide task ${facts?.task}`)
    }
  }

  /** A decision that passes the case on opens the next task in the same breath; any other task the engine opened. */
  noteOpening(envelope) {
    const { passing } = this
    this.passing = undefined
    const barred = passing ? [...this.barredFrom(passing.facts?.task), passing.actor] : []
    this.noteOnce(this.openings, envelope.facts?.task, { ...envelope, barred })
  }

  barredFrom(taskId) {
    return this.openings.get(String(taskId))?.barred ?? []
  }

  noteOnce(map, id, envelope) {
    const earlier = map.get(String(id))
    if (!earlier) return void map.set(String(id), envelope)
    const detail = `event ${earlier.seq} has said the same of ${id}`
    this.report.add(envelope.seq, 'inserted', 'audit_events', detail)
  }

  commit(payload, seq) {
    const earlier = this.commitments.get(payload.id)
    if (!earlier) return void this.commitments.set(payload.id, { ...payload, seq })
    if (earlier.commitment === payload.commitment && earlier.kind === payload.kind) return
    const detail = `event ${earlier.seq} commits to other content`
    this.report.add(seq, 'payload_differs', 'audit_events.envelope', detail)
  }

  compareEvent({ seq, definition, simulated: mark }) {
    const { instances, simulated: whole } = this.file
    const simulated = mark === true
    if (simulated) this.simulated = true
    if (!instances) return
    if (definition !== instances.definition_hash) {
      const detail = `event ${seq} ran by definition ${definition}`
      this.report.add(seq, 'changed', 'instances.definition_hash', detail)
    }
    const ofInstance = instances.simulated === 1
    if (simulated === ofInstance && simulated === whole) return
    const where = simulated === ofInstance ? 'meta.simulated' : 'instances.simulated'
    this.report.add(seq, 'changed', where, `event ${seq} is ${simulated ? '' : 'not '}marked as simulated`)
  }

  /** Compares the instance's own row with what the chain says of it. */
  checkInstance() {
    const { instances, work, definition } = this.file
    if (!instances) return this.report.add(1, 'missing', 'instances', 'there is no such instance')
    if (this.finding || !this.firstEnvelope) return
    const { firstEnvelope: first, lastSeq, status, disputed } = this
    const changed = (seq, column, says) => {
      if (instances[column] === says) return
      const detail = `the column has ${instances[column]}, the chain says ${says}`
      this.report.add(seq, 'changed', `instances.${column}`, detail)
    }
    if (definition?.hash !== instances.definition_hash) {
      this.report.add(1, 'missing', 'definitions', `definition ${instances.definition_hash} is not there`)
    } else if (!isText(definition.text) || sha256('cc/definition/v1\n', definition.text) !== definition.hash) {
      this.report.add(1, 'changed', 'definitions.text', `it does not have the hash ${definition.hash}`)
    }
    if (first.type !== 'case.submitted') {
      const detail = `a chain begins with case.submitted, not ${first.type}`
      this.report.add(1, 'changed', 'audit_events.type', detail)
    }
    changed(1, 'instance_id', this.instanceId)
    changed(1, 'submitted_by', first.actor)
    changed(1, 'input_payload_id', first.payload?.id)
    changed(1, 'submitted_at_ms', first.at)
    changed(this.voices.seq, 'tier_contributions', textOfVoices(this.voices.list))
    for (const column of statedByEvents) {
      const { value = null, seq = lastSeq } = this.said.get(column) ?? {}
      changed(seq, column, value)
    }
    changed(lastSeq, 'status', status)
    if ((instances.status === 'running') !== (work !== null)) {
      const detail = 'an instance has a work row as long as it runs, and only then'
      this.report.add(lastSeq, 'missing', 'work', detail)
    }
    if (work) this.checkWork(work, first)
    changed(lastSeq, 'disputed', disputed ? 1 : 0)
    const [where, steps] = work ? ['work.step_no', work.step_no] : ['instances.step_count', instances.step_count]
    if (steps !== this.steps.length) {
      const detail = `it has ${steps}, the chain has ${this.steps.length} steps`
      this.report.add(lastSeq, 'head_differs', where, detail)
    }
  }

  checkWork(work, first) {
    const { seq, step = work.step } = this.pointer
    const run = (this.runs.get(this.pointer.step) ?? 0) + 1
    const states = [
      ['definition_hash', first.definition, 1],
      ['step', step, seq],
      ['run', run, seq],
    ]
    for (const [column, says, at] of states) {
      if (work[column] === says) continue
      const detail = `the column has ${work[column]}, the chain says ${says}`
      this.report.add(at, 'changed', `work.${column}`, detail)
    }
  }

  checkCheckpoint(row) {
    const problem = problemOfShape(row, shapes.checkpoints)
    const stepNo = Number.isSafeInteger(row?.step_no) ? row.step_no : this.stepNo + 1
    const mark = this.steps[stepNo - 1]
    if (!mark || stepNo <= this.stepNo) {
      return this.report.add(undefined, 'inserted', 'checkpoints', `no event commits to checkpoint ${stepNo}`)
    }
    this.missCheckpoints(stepNo)
    this.stepNo = stepNo
    if (problem) return this.report.add(mark.seq, problem.what, `checkpoints.${problem.column}`, problem.detail)
    if (digestOf(row) !== mark.digest) {
      const detail = `event ${mark.seq} commits to another checkpoint ${stepNo}`
      return this.report.add(mark.seq, 'checkpoint_differs', 'checkpoints', detail)
    }
    if (mark.payload?.id !== row.output_payload_id || mark.payload.commitment !== row.output_commitment) {
      const detail = `event ${mark.seq} has another output than its own checkpoint`
      return this.report.add(mark.seq, 'checkpoint_differs', 'checkpoints.output_payload_id', detail)
    }
    if (row.entry <= this.checkpointEntry) {
      const detail = `entry ${row.entry} of checkpoint ${stepNo} comes after entry ${this.checkpointEntry}`
      return this.report.add(mark.seq, 'reordered', 'checkpoints.entry', detail)
    }
    this.checkpointEntry = row.entry
  }

  missCheckpoints(before) {
    const mark = this.steps[this.stepNo]
    if (!mark || this.stepNo + 1 >= before) return
    const detail = `checkpoint ${this.stepNo + 1} of event ${mark.seq} is not there`
    this.report.add(mark.seq, 'missing', 'checkpoints', detail)
  }

  checkPayload(row) {
    const id = row?.payload_id
    const commitment = this.commitments.get(id)
    if (!commitment || this.found.has(id)) {
      const detail = commitment ? `payload ${id} is there twice` : `no event refers to payload ${id}`
      return this.report.add(undefined, 'inserted', 'payloads', detail)
    }
    this.found.add(id)
    const shape = problemOfShape(row, shapes.payloads)
    if (shape) return this.report.add(commitment.seq, shape.what, `payloads.${shape.column}`, shape.detail)
    const erasure = this.erasures.get(id)
    if (!erasure && row.text === null && this.finding) return
    const problem = this.problemOfPayload(row, commitment, erasure)
    if (!problem) return
    const [column, detail] = problem
    this.report.add(commitment.seq, 'payload_differs', `payloads.${column}`, `payload ${id}: ${detail}`)
  }

  problemOfPayload(row, commitment, erasure) {
    const { kind, text, salt, erased, erased_at_ms: erasedAtMs } = row
    if (kind !== commitment.kind) return ['kind', `it is stored as ${kind}, event ${commitment.seq} says otherwise`]
    if (row.instance_id !== this.instanceId) return ['instance_id', `it belongs to instance ${row.instance_id}`]
    if (erasedAtMs !== null && !erasure) return ['erased_at_ms', 'no event says that it was erased']
    if (erasure && erasedAtMs !== erasure.at) return ['erased_at_ms', `event ${erasure.seq} erased it at ${erasure.at}`]
    if (erased !== (erasedAtMs !== null)) return ['erased', `it is ${erased} beside 'erased_at_ms'`]
    if (erasure) {
      if (text !== null) return ['text', `event ${erasure.seq} erased it, and it is still there`]
      return salt === null ? undefined : ['salt', `event ${erasure.seq} erased it, and its salt is still there`]
    }
    if (text === null) return ['text', 'it is gone, and no event says that it was erased']
    if (salt === null || !/^[0-9a-f]{32}$/.test(salt)) return ['salt', 'it is not 32 lower-case hex digits']
    if (!isWellFormed(text)) return ['text', 'it is not UTF-8']
    if (sha256('cc/payload/v1\n', Buffer.from(salt, 'hex'), text) === commitment.commitment) return undefined
    return ['text', `text and salt do not match what event ${commitment.seq} commits to`]
  }

  checkTask(row) {
    const id = row?.task_id
    const opening = this.openings.get(id)
    if (!opening || this.found.has(id)) {
      const detail = opening ? `task ${id} is there twice` : `no event opened task ${id}`
      return this.report.add(undefined, 'inserted', 'tasks', detail)
    }
    this.found.add(id)
    const shape = problemOfShape(row, shapes.tasks)
    if (shape) return this.report.add(opening.seq, shape.what, `tasks.${shape.column}`, shape.detail)
    if (row.instance_id !== this.instanceId) {
      this.report.add(opening.seq, 'changed', 'tasks.instance_id', `task ${id} belongs to instance ${row.instance_id}`)
    }
    for (const [column, says, seq] of this.statementsOn(id, opening)) {
      if (row[column] === says) continue
      const detail = `task ${id}: the column has ${row[column]}, the chain says ${says}`
      this.report.add(seq, 'changed', `tasks.${column}`, detail)
    }
  }

  /** What the events say of a task; of what only events beyond the first bad one could explain, nothing. */
  statementsOn(id, opening) {
    const { seq, tier, at, barred, facts } = opening
    const escalation = this.escalations.get(id)
    const decision = this.decisions.get(id)
    const moved = (escalation ?? opening).seq
    const decided = (decision ?? opening).seq
    const undecided = this.status === 'canceled' ? 'withdrawn' : 'open'
    const ofPlace = [
      ['queue', escalation ? escalation.facts?.to : facts?.queue, moved],
      ['escalated_at_ms', escalation?.at ?? null, moved],
    ]
    const ofDecision = [
      ['status', decision ? 'decided' : undecided, decided],
      ['decision', decision?.facts?.decision ?? null, decided],
      ['decided_by', decision?.actor ?? null, decided],
      ['decided_at_ms', decision?.at ?? null, decided],
      ['decision_payload_id', decision?.payload?.id ?? null, decided],
    ]
    return [
      ['tier', tier, seq],
      ['submitted_by', this.firstEnvelope.actor, seq],
      ['barred', JSON.stringify(barred), seq],
      ['opened_at_ms', at, seq],
      ...(escalation || !this.finding ? ofPlace : []),
      ...(decision || !this.finding ? ofDecision : []),
    ]
  }

  checkMissing() {
    this.missCheckpoints(this.steps.length + 1)
    for (const { id, seq } of this.commitments.values()) {
      if (!this.found.has(id)) this.report.add(seq, 'missing', 'payloads', `payload ${id} of event ${seq} is not there`)
    }
    for (const [id, { seq }] of this.openings) {
      if (!this.found.has(id)) this.report.add(seq, 'missing', 'tasks', `task ${id} of event ${seq} is not there`)
    }
  }
}

/** Who was verified later is still who they were before. */
function nameOf(actor) {
  return actor
    .replace(/^(unverified:\s*)+/, '')
    .normalize('NFKC')
    .toLowerCase()
}

/** As the engine writes the list: the order of the fields is not the one of canonical JSON. */
function textOfVoices(voices) {
  return JSON.stringify(voices.map((voice) => ({ source: voice?.source, tier: voice?.tier, because: voice?.because })))
}

function readEnvelope(text) {
  let value
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (value === null || value.v !== 1) return undefined
  const { instance, prev, type, definition, actor, seq, at, payload, facts } = value
  if (![instance, prev, type, definition, actor].every(isText)) return undefined
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(at)) return undefined
  if (payload !== undefined && ![payload?.id, payload?.kind, payload?.commitment].every(isText)) return undefined
  if (facts !== undefined && (typeof facts !== 'object' || facts === null)) return undefined
  return value
}

/** The row as canonical JSON (RFC 8785): names in order, nothing between the parts, empty columns left out. */
function digestOf(row) {
  const columns = Object.keys(shapes.checkpoints).filter((name) => name !== 'entry' && row[name] !== null)
  const parts = columns.sort().map((name) => `${JSON.stringify(name)}:${JSON.stringify(row[name])}`)
  return sha256('cc/checkpoint/v1\n', `{${parts.join(',')}}`)
}

function sha256(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Half of a surrogate pair would be hashed as another character. */
function isWellFormed(text) {
  return !/\p{Surrogate}/u.test(text)
}

function isText(value) {
  return typeof value === 'string' && isWellFormed(value)
}

function isMap(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function pick(row, shape) {
  return Object.fromEntries(Object.entries(row).filter(([name]) => Object.prototype.hasOwnProperty.call(shape, name)))
}

// Telling

const maxShown = 400

/** Text from the file, so that it cannot move the cursor, hide a line or look like one of ours. */
function show(value) {
  const text = String(value)
  const cut = text.length > maxShown ? `${text.slice(0, maxShown)}…` : text
  return cut.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu, (character) => {
    return `\\u{${character.codePointAt(0).toString(16)}}`
  })
}

function wordsOf({ seq, what, where, detail }) {
  const kind = where.startsWith('definitions') ? 'definition differs' : what.replace('_', ' ')
  const event = seq === undefined ? 'beside the events' : `first bad event: ${seq}`
  return `${event}, ${kind} (${show(where)}): ${show(detail)}`
}

function tell({ finding, head, ...report }) {
  const lines = [
    finding ? `NOT WHOLE  case ${show(report.instanceId)}` : `WHOLE  case ${show(report.instanceId)}`,
    ...(finding ? [wordsOf(finding)] : []),
    ...(report.simulated ? ['SIMULATED  the answers of the model were written beforehand'] : []),
    `events       ${report.events}`,
    `checkpoints  ${report.checkpoints}`,
    `payloads     ${report.payloads}, of which ${report.erased} erased`,
    `tasks        ${report.tasks}`,
    `head         ${head ? `event ${head.seq}, ${head.hash}` : 'none'}${finding ? ' (the last one that is whole)' : ''}`,
    `exported     ${when(report.exportedAtMs)} by ${show(report.program)}, as the file says`,
    'What this cannot show:',
    ...cannotShow.map((line) => `- ${line}`),
    'A head that was noted elsewhere and equals this one rules out the first two.',
  ]
  return `${lines.join('\n')}\n`
}

function when(ms) {
  const date = new Date(Number.isSafeInteger(ms) ? ms : NaN)
  return Number.isNaN(date.getTime()) ? 'at no time that can be read' : date.toISOString()
}

function main([file, ...others]) {
  if (file === undefined || others.length > 0 || file.startsWith('-')) {
    process.stderr.write('Usage: node verify-export.mjs FILE\n')
    return 2
  }
  try {
    const report = verifyExport(readFileSync(file))
    process.stdout.write(tell(report))
    return report.finding ? 4 : 0
  } catch (error) {
    if (!(error instanceof Unreadable) && error.code === undefined) throw error
    process.stderr.write(`The file cannot be read as an exported case: ${show(error.message)}\n`)
    return 2
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.slice(2))
}
